package load

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// reportRun is a result with everything that a report can show.
func reportRun() *Result {
	r := &Result{
		Name: "ours", URL: "http://127.0.0.1/</script><b>", Clients: 100, Connected: 100, Delivered: 5000, Expected: 5000, RSSIdle: 1 << 20, ServerPer: 4.5,
		Resume: &Resume{Clients: 100, Back: 100, AllLiveS: 1.5}, Told: []Told{{"gateway.gap expired", 3}},
		Faults: []FaultCount{{"lost", 2, true, &Offence{Client: 7, N: 9, What: "events 9 to 10"}}}, Failed: "2 lost",
	}
	for i, phase := range []string{"connect", "warmup", "measure", "measure", "drain"} {
		s := Sample{Second: float64(i + 1), Phase: phase, Live: 100, Delivered: 1000, Rate: 1000, CPUPer: 4.5, RSS: 3 << 20}
		if i > 1 {
			s.Latency = Latency{Count: 1000, P50: 3, P90: 5, P99: 9, Max: 1500}
		}
		r.Samples = append(r.Samples, s)
	}
	return r
}

// TestReportDrawsWithoutNetwork opens reports in a real browser that has no network.
func TestReportDrawsWithoutNetwork(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium: not found (apt-get install chromium)")
	}
	passed, empty := reportRun(), &Result{Name: "idle", Failed: "no client connected"}
	passed.Faults, passed.Failed, passed.Resume = nil, "", nil
	one := &Comparison{Rounds: 1, Series: []Series{{Name: "ours", Runs: []*Result{passed}}}}
	one.sumUp(-1)
	two := &Comparison{Rounds: 2, Series: []Series{{Name: "ours", Runs: []*Result{passed, reportRun()}}, {Name: "raw", Runs: []*Result{reportRun(), passed}}}}
	two.sumUp(1)
	machine := ReadMachine([]string{"sluice", "bench", "<b>"})
	ctx, cancelProcess := chromedp.NewExecAllocator(t.Context(), slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("proxy-server", "127.0.0.1:9"), // nobody answers there: no network
	})...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancelTab(); cancelProcess() })
	for name, c := range map[string]struct {
		d     Document
		plots int
		want  []string
	}{
		"a run that passed":     {Document{Machine: machine, Result: passed}, 5, []string{"Passed", "5,000 of 5,000", "Server memory", "gateway.gap expired"}},
		"a run that failed":     {Document{Machine: machine, Result: reportRun()}, 5, []string{"Failed", "client 7, topic 0, event 9: events 9 to 10", "all back after"}},
		"a run without samples": {Document{Machine: machine, Result: empty}, 3, []string{"no client connected"}},
		"one server":            {Document{Machine: machine, Comparison: one}, 7, []string{"ours, round 1"}},
		"two servers":           {Document{Machine: machine, Comparison: two}, 7, []string{"ours, round 2", "raw, round 1", "Void"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			var page strings.Builder
			if err := WriteReport(&page, c.d); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := chromedp.Do(ctx, chromedp.Navigate("file://"+file)); err != nil {
				t.Fatal(err)
			}
			text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
			if err != nil {
				t.Fatal(err)
			}
			plots, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.querySelectorAll('svg').length"))
			if err != nil {
				t.Fatal(err)
			}
			// The machine stands last: it is there only if nothing before it went wrong.
			for _, want := range append(c.want, "sluice bench <b>", "Machine") {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if plots != c.plots {
				t.Errorf("%d plots, want %d", plots, c.plots)
			}
		})
	}
}
