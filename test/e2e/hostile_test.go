package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"sluice/internal/sse"
	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// memoryBound is how much the peak of the resident size may grow while an upstream sends what never ends: a few times what
// is kept of one event (1 MiB) and of one head (64 KiB), and the collector's share. 100 MiB of it must not pass.
const memoryBound = 64 << 20

// bounded runs what and wants that the gateway's peak memory grew by no more than the bound.
func bounded(t *testing.T, g *gateway.Gateway, what func()) {
	t.Helper()
	before := g.PeakMemory()
	what()
	after := g.PeakMemory()
	t.Logf("peak memory %d MiB, grown by %d MiB", after>>20, (after-before)>>20)
	if after-before > memoryBound {
		t.Errorf("peak memory grew from %d to %d MiB", before>>20, after>>20)
	}
}

// TestUpstreamHeads lets the upstream answer what is hardly HTTP: GET /feeds tells, memory stays bounded, the feed heals.
func TestUpstreamHeads(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 200}, gateway.Options{Plain: true, Env: []string{"SLUICE_UPSTREAM_HEADER_TIMEOUT=1s"}},
		oracle.Run{MinFaults: 6}, ticksTopic)
	l.readMany("/ticks", 3, nil)
	l.awaitAll(l.Stats("/ticks").Head + 20)
	bounded(t, l.gate, func() {
		for _, c := range []struct{ fault, state, why string }{
			{"endless-head", "error", "response head is too large"},
			{"interim", "error", "response head is too large"},
			{"not-http", "error", "answer is not HTTP"},
			{"bad-chunk", "backoff", "chunk"},
			{"late:20s", "stalled", "no response head in time"},
			{"redirect:/stream/any/no%2", "error", "no URL"},
			{"redirect:ftp://127.0.0.1/x", "blocked", "redirect to scheme ftp"},
		} {
			f, err := feed.ParseFault(c.fault)
			if err != nil {
				t.Fatal(err)
			}
			f.Times = -1
			l.Inject(f)
			l.gate.WaitFeed("/ticks", c.state+": "+c.why, func(s gateway.FeedStatus, _ bool) bool {
				return s.State == c.state && strings.Contains(s.Why, c.why)
			})
			l.Clear()
			l.gate.WaitFeed("/ticks", "up again after "+c.fault, func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
			l.awaitAll(l.Stats("/ticks").Head + 10)
		}
	})
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// TestUpstreamSilent tells a silent upstream, and one whose event is never finished, as stalled.
func TestUpstreamSilent(t *testing.T) {
	t.Parallel()
	env := []string{"SLUICE_UPSTREAM_IDLE=5s", "SLUICE_UPSTREAM_ASSEMBLY=1s", "SLUICE_UPSTREAM_BACKOFF_MAX=2s", "SLUICE_UPSTREAM_BACKOFF_BASE=2s"}
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Plain: true, Env: env}, oracle.Run{MinFaults: 3}, ticksTopic)
	l.readMany("/ticks", 2, nil)
	l.awaitAll(l.Stats("/ticks").Head + 20)
	bounded(t, l.gate, func() {
		for _, c := range []struct {
			kind feed.Kind
			why  string
		}{{feed.Stall, "no byte for the idle time"}, {feed.Endless, "not finished in time"}, {feed.EndlessLine, "not finished in time"}} {
			var opens int // when the fault was injected: the pause after it may be too short to be seen, then it comes again
			l.gate.WaitFeed("/ticks", "stalled", func(s gateway.FeedStatus, _ bool) bool {
				if now := l.Stats("/ticks").Opens; s.State == "up" && now > opens {
					opens = now
					l.Inject(feed.Fault{Kind: c.kind})
				}
				return s.State == "stalled" && strings.Contains(s.Why, c.why)
			})
			l.gate.WaitFeed("/ticks", "up", func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
			l.awaitAll(l.Stats("/ticks").Head + 20)
		}
	})
	if v := l.judge(); v.Resumes != 0 || v.Gaps.Real != v.Gaps.Told {
		t.Errorf("%d gaps, %d real, %d resumes", v.Gaps.Told, v.Gaps.Real, v.Resumes)
	}
}

// TestLongLinesOnManyFeeds sends 100 MiB lines on four feeds at once, in data, which is told, and in a comment, which is not.
func TestLongLinesOnManyFeeds(t *testing.T) {
	t.Parallel()
	const feeds = 4
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Plain: true}, oracle.Run{MinFaults: 2 * feeds}, anyTopic)
	for i := range feeds {
		l.readMany(fmt.Sprint("/any/f", i), 1, nil)
	}
	past := func(told int) {
		for _, c := range l.clients {
			l.await(c, fmt.Sprintf("told %d gaps", told), func(s reader.State) bool { return len(s.Gaps) == told })
			n := c.State().N
			l.await(c, "reading on", func(s reader.State) bool { return s.N > n+20 })
		}
	}
	past(0)
	bounded(t, l.gate, func() {
		l.Inject(feed.Fault{Kind: feed.LongLine, Size: 100 << 20})
		past(1)
		l.Inject(feed.Fault{Kind: feed.LongComment, Size: 100 << 20})
		l.await(l.clients[0], "past the comment", func(s reader.State) bool { return s.Events > 0 })
		past(1)
	})
	for _, c := range l.clients {
		if s := c.State(); s.Gaps[0].Reason != "oversize" || s.Gaps[0].Possible {
			t.Errorf("gap %+v", s.Gaps[0])
		}
		if s := l.Stats(c.Feed()); s.Opens != 1 {
			t.Errorf("%s was opened %d times", c.Feed(), s.Opens)
		}
	}
	if v := l.judge(); v.Gaps.Told != feeds || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// startMarket starts `sluice feed` as a process and returns when it listens.
func startMarket(t *testing.T, path, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, "feed", "--addr", addr, "--rate", "200")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.HasPrefix(line, "market feed on") {
		t.Fatalf("sluice feed says %q, %v", line, err)
	}
	return cmd
}

// TestUpstreamKilled kills the upstream's process again and again with kill -9 while a client reads: it stays connected and
// gets every event once and in order, as the market goes on where it would have been.
func TestUpstreamKilled(t *testing.T) {
	t.Parallel()
	addr := gateway.FreeAddr(t)
	g := gateway.New(t, gateway.Options{APIs: map[string]string{"market.yaml": fmt.Sprintf(definition, addr) + ticksTopic}})
	market := startMarket(t, g.Path, addr)
	g.Start()
	dec := sse.NewDecoder(open(t, gateway.OneShot(), g.URL(ticksPath)).Body, sse.Options{})
	var last uint64
	read := func(n int) {
		t.Helper()
		for range n {
			ev, err := dec.Next()
			if err != nil {
				t.Fatal(err)
			}
			var p struct{ N uint64 }
			if err := json.Unmarshal(ev.Data, &p); err != nil || len(ev.Type) > 0 || last != 0 && p.N != last+1 {
				t.Fatalf("event %q %q after number %d: %v", ev.Type, ev.Data, last, err)
			}
			last = p.N
		}
	}
	for range 4 {
		read(100)
		_ = market.Process.Kill()
		_ = market.Wait() // killed
		g.WaitFeed("/ticks", "backoff, refused", func(s gateway.FeedStatus, _ bool) bool {
			return s.State == "backoff" && strings.Contains(s.Why, "refused")
		})
		market = startMarket(t, g.Path, addr)
		g.WaitFeed("/ticks", "proven again", func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" && s.Resume == "proven" })
	}
	read(100)
	_ = market.Process.Kill()
	_ = market.Wait() // killed
	if resp := open(t, gateway.OneShot(), g.URL(ticksPath)); resp.StatusCode != http.StatusOK {
		t.Errorf("without an upstream a client gets %s", resp.Status)
	}
	g.Stop()
}
