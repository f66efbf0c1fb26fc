//go:build unix

package chaos

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"sluice/test/oracle"
	"sluice/test/topology"
)

// programs are built once for all runs.
var programs topology.Options

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(main(m))
}

// builtEnv names the folder with the programs, for a run within a run.
const builtEnv = "CHAOS_BUILT"

func main(m *testing.M) int {
	for _, need := range []string{"ss", "haproxy", "redis-server"} {
		if _, err := exec.LookPath(need); err != nil {
			fmt.Printf("--- SKIP: TestChaos\n    %s is not installed (apt-get install iproute2 haproxy redis-server)\n", need)
			return 0
		}
	}
	dir := os.Getenv(builtEnv)
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "sluice-chaos-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
	}
	programs = topology.Options{Root: "../..", Sluice: filepath.Join(dir, "sluice"), Server: filepath.Join(dir, "nats-server")}
	for program, pkg := range map[string]string{programs.Sluice: "sluice/cmd/sluice", programs.Server: "github.com/nats-io/nats-server/v2"} {
		if _, err := os.Stat(program); err == nil {
			continue
		}
		if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// number reads a number from the environment.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number above 0", name, text)
	}
	return n
}

// TestChaos runs the smoke scenarios with one fresh seed or, with CHAOS_SEEDS=n, all scenarios with n seeds; CHAOS_SEED is
// the first one, CHAOS_SCENARIO names a single scenario.
func TestChaos(t *testing.T) {
	l := load{clients: number(t, "CHAOS_CLIENTS", 30), rate: float64(number(t, "CHAOS_RATE", 100)), quiet: 2 * time.Second}
	all := os.Getenv("CHAOS_SEEDS") != ""
	seeds, first := number(t, "CHAOS_SEEDS", 1), number(t, "CHAOS_SEED", int(time.Now().UnixMilli()%1_000_000))
	only := os.Getenv("CHAOS_SCENARIO")
	if only != "" && named(only) == nil {
		t.Fatalf("no scenario %q", only)
	}
	var sum total
	for _, sc := range scenarios() {
		if only != "" && sc.name != only || only == "" && !all && !sc.smoke {
			continue
		}
		for i := range seeds {
			seed := uint64(first + i)
			t.Run(fmt.Sprintf("%s/%d", sc.name, seed), func(t *testing.T) {
				v := sc.run(t, seed, l)
				sum.add(v)
				report(t, sc, seed, v)
			})
		}
	}
	t.Logf("first seed %d: %v", first, &sum)
}

// run plays a scenario and judges it.
func (sc *scenario) run(t *testing.T, seed uint64, l load) *oracle.Verdict {
	r := newRun(t, sc, seed, l, &programs)
	r.flow()
	for i := range sc.times() {
		r.pause(l.quiet)
		sc.do(r, i)
		r.flow()
	}
	if sc.after != nil {
		sc.after(r)
	}
	v := r.judge()
	t.Log(v)
	if !v.OK() {
		t.Error("promises were broken, or the run is void: see above")
	}
	if sc.told {
		for i, c := range r.clients {
			want := sc.times()
			if at := slices.Index(r.late, c); at >= 0 { // it was there for its own fault and those after it
				want -= at / len(feeds)
			}
			if gaps := c.State().Gaps; len(gaps) < want {
				t.Errorf("client %d of %s was told of %d gaps, want %d: %+v", i, c.Feed(), len(gaps), want, gaps)
			}
		}
	} else if !sc.unsure && v.Gaps.Told > 0 {
		t.Errorf("%d gaps were told, and the upstream honours Last-Event-ID", v.Gaps.Told)
	}
	return v
}

// total sums verdicts up.
type total struct {
	runs, void, resumes, faults int
	deliveries                  uint64
	lost, doubled, reordered    uint64
	told, real                  int
	slowest                     time.Duration
}

func (s *total) add(v *oracle.Verdict) {
	s.runs++
	if len(v.Void) > 0 {
		s.void++
	}
	s.resumes += v.Resumes
	s.faults += v.Faults
	s.deliveries += v.Deliveries
	s.lost += v.Lost.Prefix + v.Lost.Middle + v.Lost.Postfix
	s.doubled += v.Doubled
	s.reordered += v.Reordered
	s.told += v.Gaps.Told
	s.real += v.Gaps.Real
	s.slowest = max(s.slowest, v.Slowest)
}

// String is the line for a report.
func (s *total) String() string {
	return fmt.Sprintf("%d runs, %d faults, %d deliveries, %d resumes: %d lost, %d doubled, %d reordered; %d of %d gaps real; %d void; slowest recovery %v",
		s.runs, s.faults, s.deliveries, s.resumes, s.lost, s.doubled, s.reordered, s.real, s.told, s.void, s.slowest.Round(time.Millisecond))
}

// report appends a run to CHAOS_REPORT, a line of JSON each.
func report(t *testing.T, sc *scenario, seed uint64, v *oracle.Verdict) {
	t.Helper()
	name := os.Getenv("CHAOS_REPORT")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.NewEncoder(f).Encode(struct {
		Scenario, Rows string
		Seed           uint64
		*oracle.Verdict
	}{sc.name, sc.row, seed, v}); err != nil {
		t.Error(err)
	}
}
