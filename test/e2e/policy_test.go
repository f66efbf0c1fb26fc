package e2e

import (
	"strings"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// TestSlowPolicies lets a client sleep through more than its log holds: with backlog it then gets everything from the store,
// with latest it is told how much it missed and goes on with the newest; neither is cut.
func TestSlowPolicies(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"backlog", "latest"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			bothEngines(t, func(t *testing.T, engine string) {
				topic := strings.Replace(ticksTopic, "security: none", "security: none, slow: "+policy, 1)
				l := newLine(t, feed.Options{Manual: true, Size: 4000}, gateway.Options{Engine: engine, Env: []string{
					"SLUICE_FANOUT_WINDOW_BYTES=512KiB", "SLUICE_FANOUT_SLOW_LAG=256KiB", "SLUICE_FANOUT_SLOW_SOFTLAG=256KiB"}},
					oracle.Run{}, topic)
				l.wait("/ticks", "the gateway is connected", func(s feed.Stats) bool { return s.Open == 1 })
				stop := make(chan struct{})
				o := l.options("/ticks")
				o.HTTP, o.From = sleepyClient(stop), 1
				c := l.read(o)
				l.Emit("/ticks", 10)
				l.await(c, "at event 10", func(s reader.State) bool { return s.N == 10 })
				go func() { stop <- struct{}{} }() // taken at the client's next read
				for n := uint64(11); n <= 3000; n += 100 {
					l.Emit("/ticks", 100)
					l.gate.WaitFeed("/ticks", "the events stored", func(s gateway.FeedStatus, _ bool) bool { return s.Events >= n })
				}
				close(stop)
				head := l.head("/ticks")
				l.await(c, "at the newest event or told", func(s reader.State) bool { return s.N == head || len(s.Gaps) > 0 })
				l.Emit("/ticks", 10) // behind a gap the stream goes on with what comes next
				head += 10
				l.await(c, "at the newest event", func(s reader.State) bool { return s.N == head })
				s := c.State()
				if s.Connects != 1 {
					t.Errorf("%d connects, gaps %v, notices %v", s.Connects, s.Gaps, s.Notices)
				}
				var missed uint64
				for _, g := range s.Gaps {
					missed += g.Missed
					if g.Reason != "slow" || g.Possible {
						t.Errorf("gap %+v", g)
					}
				}
				if want := s.N - s.Events; missed != want || (missed == 0) != (policy == "backlog") {
					t.Errorf("%d events missed, told %d in %d gaps", want, missed, len(s.Gaps))
				}
				l.judge()
			})
		})
	}
}

// head is the newest event of a feed.
func (l *line) head(feedName string) uint64 { return l.Stats(feedName).Head }

// TestLifetime ends streams after their life, with a word, and the clients go on where they were.
func TestLifetime(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Rate: 50}, gateway.Options{Engine: engine, Env: []string{"SLUICE_FANOUT_LIFE_MAX=10s"}}, oracle.Run{}, ticksTopic)
		l.readMany("/ticks", 10, nil)
		for _, c := range l.clients {
			l.await(c, "back after its life", func(s reader.State) bool { return s.Connects == 2 && s.Events > 100 })
			if n := c.State().Notices; len(n) != 1 || !strings.Contains(n[0], `"lifetime"`) {
				t.Errorf("notices %v", n)
			}
		}
		if v := l.judge(); v.Gaps.Told != 0 {
			t.Errorf("%d gaps", v.Gaps.Told)
		}
	})
}

// TestStarts begins where the client says: everything kept, the last few, since a time; the id beats the query.
func TestStarts(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Manual: true}, gateway.Options{Engine: engine}, oracle.Run{}, ticksTopic)
		l.wait("/ticks", "the gateway is connected", func(s feed.Stats) bool { return s.Open == 1 })
		l.Emit("/ticks", 40)
		l.gate.WaitFeed("/ticks", "40 events", func(s gateway.FeedStatus, _ bool) bool { return s.Events == 40 })
		noted := l.options("/ticks")
		noted.URL, noted.From = noted.URL+"?from=last:1", 40
		c := l.read(noted)
		l.await(c, "at event 40", func(s reader.State) bool { return s.N == 40 })
		_, micros, _ := oracle.ParseID(c.State().ID)
		since := time.UnixMicro(micros + 1).UTC().Format("2006-01-02T15:04:05.000000Z")
		id := c.State().ID
		l.Emit("/ticks", 60)
		l.gate.WaitFeed("/ticks", "100 events", func(s gateway.FeedStatus, _ bool) bool { return s.Events == 100 })
		l.await(c, "at event 100", func(s reader.State) bool { return s.N == 100 }) // so the edge has them too
		for query, from := range map[string]uint64{
			"?from=earliest": 1, "?from=last:5": 96, "?from=last": 100, "?since=" + since: 41, "?lastEventId=" + id: 41,
			"?from=earliest&Last-Event-ID=" + id: 41, "?since=2020-01-01T00:00:00Z": 1,
		} {
			o := l.options("/ticks")
			o.URL, o.From = o.URL+query, from
			r := l.read(o)
			l.await(r, "at event 100 with "+query, func(s reader.State) bool { return s.N == 100 })
			if s := r.State(); s.Events != 101-from {
				t.Errorf("%s: %d events, want %d", query, s.Events, 101-from)
			}
		}
		l.Emit("/ticks", 10)
		l.judge()
	})
}
