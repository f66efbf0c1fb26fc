package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/oracle/reader"
	"sluice/test/topology"
)

// partitionedEnv is set in the process that has a network of its own.
const partitionedEnv = "CHAOS_OWN_NETWORK"

// TestPartition cuts one edge off from every NATS server for a minute, by a firewall that drops packets both ways: its clients
// stay, with heartbeats, and get all of it afterwards; meanwhile it says that it is not ready: A26. The test runs itself in a
// network namespace, so that the rules concern nobody else.
func TestPartition(t *testing.T) {
	for _, need := range []string{"unshare", "ip", "nft"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("%s is not installed (apt-get install util-linux iproute2 nftables)", need)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("a network namespace needs root (run as root)")
	}
	if os.Getenv(partitionedEnv) == "" {
		inOwnNetwork(t, "^TestPartition$")
		return
	}
	const away = time.Minute
	sc := &scenario{name: "edge-partition", row: "A26", n: 1, brokerHost: map[string]string{"edge-1": "127.0.1.1"}}
	r := newRun(t, sc, uint64(number(t, "CHAOS_SEED", 1)), load{clients: 6, rate: 100, quiet: time.Second}, &programs)
	edge := r.topo.Named("edge-1")
	var inside, outside []*reader.Client
	for _, feed := range feeds {
		inside = append(inside, r.readAt("in "+feed, "http://"+edge.Addr+"/market/1.0.0"+feed, feed, nil))
		outside = append(outside, r.readAt("out "+feed, "http://"+r.topo.Named("edge-2").Addr+"/market/1.0.0"+feed, feed, nil))
	}
	curious := r.readAt("curious", "http://"+edge.Addr+"/market/1.0.0"+feeds[0]+"?control=stale", feeds[0], nil)
	inside = append(inside, curious)
	r.flow()
	beats := r.heartbeats("http://" + edge.Addr + "/market/1.0.0" + feeds[0])

	r.fault("edge-1 is cut off from the NATS servers")
	drop(t, "127.0.1.1")
	cut := time.Now()
	r.waitNotReady(edge)
	lost := time.Since(cut)
	r.flowTo(outside)
	r.wait(away - time.Since(cut))
	count := beats()
	for _, c := range inside {
		if s := c.State(); s.Connects != 1 {
			t.Errorf("a client of the edge that is cut off connected again: %+v", s)
		}
	}
	if lost > 3*15*time.Second { // 8 to 12 s until the silence is noticed; 10 s of it are allowed
		t.Errorf("not ready %v after the cut", lost)
	}
	if count < 3 { // one in 15 s
		t.Errorf("%d heartbeats in %v, want 3", count, away)
	}
	undrop(t)
	healed := time.Now()
	r.flow()
	caught := time.Since(healed)
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if err := edge.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	r.await(curious, "told of stale and fresh", func(s reader.State) bool {
		told := strings.Join(s.Notices, "\n")
		at := strings.Index(told, `gateway.stale {"reason":"broker"`)
		return at >= 0 && strings.Contains(told[at:], "gateway.fresh")
	})
	v := r.judge()
	t.Log(v)
	if !v.OK() || v.Gaps.Told > 0 {
		t.Error("promises were broken, or gaps told: see above")
	}
	t.Logf("not ready %v after the cut; %d heartbeats in %v; all there %v after it ended", lost.Round(time.Millisecond), count, away, caught.Round(time.Millisecond))
}

// inOwnNetwork runs this test binary's tests once more, in a network namespace that has nothing but loopback.
func inOwnNetwork(t *testing.T, tests string) {
	t.Helper()
	script := `ip link set lo up && exec "$0" "$@"`
	cmd := exec.Command("unshare", "--net", "sh", "-c", script, os.Args[0], "-test.run", tests, "-test.v", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), partitionedEnv+"=1", builtEnv+"="+filepath.Dir(programs.Sluice))
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		t.Log(strings.TrimRight(line, "\n"))
	}
	if err != nil {
		t.Fatalf("in a network of its own: %v", err)
	}
}

// drop loses all packets from and to an address.
func drop(t *testing.T, addr string) {
	t.Helper()
	nft(t, fmt.Sprintf("table ip cut { chain out { type filter hook output priority 0; ip daddr %[1]s drop; ip saddr %[1]s drop; }; }", addr))
}

func undrop(t *testing.T) {
	t.Helper()
	nft(t, "delete table ip cut")
}

func nft(t *testing.T, rules string) {
	t.Helper()
	if out, err := exec.Command("nft", rules).CombinedOutput(); err != nil {
		t.Fatalf("nft %s: %v: %s", rules, err, out)
	}
}

// waitNotReady waits until a process says that it is not ready.
func (r *run) waitNotReady(p *topology.Process) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	for p.Ready(ctx) {
		r.wait(100 * time.Millisecond)
	}
	if ctx.Err() != nil {
		r.t.Fatalf("%s is still ready %v after it was cut off", p.Name, patience)
	}
}

// heartbeats reads a stream until the function that it returns is called, which says how many comments came.
func (r *run) heartbeats(url string) (count func() int) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := once.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	n, failed := 0, error(nil)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer resp.Body.Close()
		s := bufio.NewScanner(resp.Body)
		for s.Scan() {
			if strings.HasPrefix(s.Text(), ":") {
				n++
			}
		}
		failed = s.Err()
	})
	return func() int {
		r.t.Helper()
		cancel()
		reading.Wait()
		if !errors.Is(failed, context.Canceled) {
			r.t.Errorf("the stream with heartbeats ended: %v", failed)
		}
		return n
	}
}
