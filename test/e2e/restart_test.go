package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// TestRestart ends the whole process under load, by SIGTERM and by kill -9 in turn, and starts it again on its data:
// A20, A31, A32, A43. SLUICE_E2E_RESTARTS=20 SLUICE_E2E_CLIENTS=200 is the run of the acceptance.
func TestRestart(t *testing.T) {
	t.Parallel()
	restarts, clients := number(t, "SLUICE_E2E_RESTARTS", 4), number(t, "SLUICE_E2E_CLIENTS", 40)
	for _, c := range []struct {
		name   string
		engine string
		o      feed.Options
		unsure bool // the upstream loses events over a restart
	}{
		{"honour auto", "auto", feed.Options{}, false},
		{"honour portable", "portable", feed.Options{}, false},
		{"honour with opaque ids", "auto", feed.Options{IDs: feed.IDOpaque}, false},
		{"honour with too much replay", "auto", feed.Options{Overlap: 40}, false},
		{"ignore auto", "auto", feed.Options{Resume: feed.ResumeIgnore}, true},
		{"ignore portable", "portable", feed.Options{Resume: feed.ResumeIgnore}, true},
		{"no ids", "auto", feed.Options{IDs: feed.IDNone}, true},
		{"one constant id", "auto", feed.Options{IDs: feed.IDSame, Resume: feed.ResumeIgnore}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.Rate = 200
			run := oracle.Run{Unsure: c.unsure, MinProduced: uint64(restarts) * 50, MinFaults: restarts}
			l := newLine(t, c.o, gateway.Options{Engine: c.engine}, run, ticksTopic)
			l.readMany("/ticks", clients, nil)
			for i := range restarts {
				l.awaitAll(l.Stats("/ticks").Head + 20)
				name := "SIGTERM"
				if i%2 == 1 {
					name = "kill -9"
				}
				l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: name, Edge: oracle.Begin})
				if i%2 == 1 {
					l.gate.Kill()
				} else {
					l.gate.Stop()
				}
				l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: oracle.ProcessGone, Edge: oracle.End})
				l.gate.Start()
			}
			l.awaitAll(l.Stats("/ticks").Head + 20)
			v := l.judge()
			if v.Resumes < restarts*clients {
				t.Errorf("%d resumes, want at least %d", v.Resumes, restarts*clients)
			}
			if !c.unsure && v.Gaps.Told != 0 {
				t.Errorf("%d gaps were told, and the upstream honours Last-Event-ID", v.Gaps.Told)
			}
			// One marker per seam, for everybody: what was lost while the process was away.
			if c.unsure && (v.Gaps.Told != restarts*clients || v.Gaps.Real != v.Gaps.Told) {
				t.Errorf("%d gaps told, %d real, want %d", v.Gaps.Told, v.Gaps.Real, restarts*clients)
			}
		})
	}
}

// TestUpstreamCuts cuts the upstream connection at every kind of place while clients stay: A29.
func TestUpstreamCuts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		o      feed.Options
		unsure bool
		gap    string
	}{
		{"honour", feed.Options{}, false, ""},
		{"honour, close delimited", feed.Options{CloseDelimited: true}, false, ""},
		{"keeps enough", feed.Options{Keep: 10_000}, false, ""},
		{"keeps too little", feed.Options{Keep: 20}, true, "upstream-ignored-id"},
		{"ignore", feed.Options{Resume: feed.ResumeIgnore}, true, "upstream-ignored-id"},
		{"no ids", feed.Options{IDs: feed.IDNone}, true, "upstream-no-id"},
		{"ids with NUL", feed.Options{IDs: feed.IDNul}, true, "upstream-no-id"},
		{"ids too long", feed.Options{IDs: feed.IDLong}, true, "upstream-no-id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.Rate, c.o.UTF8, c.o.Lines = 300, true, 2
			l := newLine(t, c.o, gateway.Options{}, oracle.Run{Unsure: c.unsure, MinFaults: 8}, ticksTopic)
			l.readMany("/ticks", 3, nil)
			cuts := []string{"fin:3", "rst:id", "fin:line", "rst:crlf", "fin:rune", "eof:40", "fin:-1", "accept-close"}
			for _, text := range cuts {
				f, err := feed.ParseFault(text)
				if err != nil {
					t.Fatal(err)
				}
				opens := l.Stats("/ticks").Opens
				l.Inject(f)
				l.wait("/ticks", fmt.Sprintf("the gateway is back after %s", text), func(s feed.Stats) bool { return s.Opens > opens })
				l.awaitAll(l.Stats("/ticks").Head + 50)
			}
			v := l.judge()
			for _, g := range l.clients[0].State().Gaps {
				if g.Reason != c.gap || !g.Possible {
					t.Errorf("gap %+v, want reason %q", g, c.gap)
				}
			}
			if told := len(l.clients[0].State().Gaps); c.unsure != (told > 0) || told > len(cuts) {
				t.Errorf("%d gaps for %d cuts", told, len(cuts))
			}
			if v.Resumes != 0 {
				t.Errorf("%d clients had to come back for trouble upstream", v.Resumes)
			}
		})
	}
}

// TestSecondSignalEndsAtOnce sends SIGTERM twice: A43.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 50}, gateway.Options{Env: []string{"SLUICE_EDGE_DRAIN_DELAY=2m"}}, oracle.Run{}, ticksTopic)
	c := l.read(l.options("/ticks"))
	l.await(c, "reading", func(s reader.State) bool { return s.Events > 3 })
	l.gate.Signal(syscall.SIGTERM)
	l.gate.WaitLog("draining", func(e gateway.Entry) bool { return e.Is("msg", "draining") })
	if code, _ := l.gate.Ops("/readyz"); code != 503 {
		t.Errorf("/readyz answers %d while draining", code)
	}
	if code, _ := l.gate.Ops("/livez"); code != 200 {
		t.Errorf("/livez answers %d while draining", code)
	}
	n := c.State().Events
	l.await(c, "reading during the delay", func(s reader.State) bool { return s.Events > n+3 })
	l.gate.Signal(syscall.SIGTERM)
	if code := l.gate.Wait(); code != 1 {
		t.Errorf("exit code %d after the second SIGTERM, want 1", code)
	}
}

// TestDrain ends streams in order, spread over the window: A12 for one node.
func TestDrain(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Engine: engine, Env: []string{"SLUICE_FANOUT_DRAIN_OVER=2s"}},
			oracle.Run{MinFaults: 1}, ticksTopic)
		l.readMany("/ticks", 30, nil)
		l.awaitAll(l.Stats("/ticks").Head + 10)
		l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: "SIGTERM", Edge: oracle.Begin})
		l.gate.Stop()
		for i, c := range l.clients {
			s := c.State()
			if s.Connects != 1 || len(s.Notices) != 1 || !isDrain(s.Notices[0]) {
				t.Errorf("client %d: %d connects, notices %v; want one drain", i, s.Connects, s.Notices)
			}
			if s.Status != 200 {
				t.Errorf("client %d: status %d", i, s.Status)
			}
		}
		if n := l.gate.Logged(func(e gateway.Entry) bool { return e.Is("msg", "conn.close") && e.Is("end", "drain") }); n != 30 {
			t.Errorf("%d streams were logged as ended by drain, want 30", n)
		}
		l.gate.Start()
		l.awaitAll(l.Stats("/ticks").Head + 10)
		if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 30 {
			t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
		}
	})
}
