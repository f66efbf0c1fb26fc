package e2e

import (
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// TestSlowReaderIsCut leaves a client that does not read: it is cut and resumes without loss, nobody else notices: A8.
func TestSlowReaderIsCut(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Rate: 100, Size: 8000}, gateway.Options{Engine: engine, Env: []string{"SLUICE_FANOUT_SLOW_STALL=4s"}},
			oracle.Run{}, ticksTopic)
		l.readMany("/ticks", 5, nil)
		o := l.options("/ticks")
		stopped := make(chan struct{})
		o.HTTP = sleepyClient(stopped)
		o.Pause = time.Millisecond
		slow := l.read(o)
		l.await(slow, "reading", func(s reader.State) bool { return s.Events > 2 })
		stopped <- struct{}{} // from here its first connection reads nothing
		cut := func(e gateway.Entry) bool {
			return e.Is("msg", "conn.close") && (e.Is("end", "slow") || e.Is("end", "stall"))
		}
		l.gate.WaitLog("the slow client cut", cut)
		close(stopped) // it reads what is left in its socket, then resumes
		l.await(slow, "back", func(s reader.State) bool { return s.Connects == 2 })
		l.awaitAll(l.Stats("/ticks").Head + 50)
		v := l.judge()
		if v.Gaps.Told != 0 || v.Resumes != 1 {
			t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
		}
		if n := l.gate.Logged(cut); n > 1 {
			t.Errorf("%d clients were cut as slow, only one is", n)
		}
	})
}
