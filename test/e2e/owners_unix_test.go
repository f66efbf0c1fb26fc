//go:build unix

package e2e

import (
	"syscall"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestStoppedOwner stops the owner for ten seconds and continues it: it finds out that it is not the owner any more, before it
// has stored anything: A17.
func TestStoppedOwner(t *testing.T) {
	t.Parallel()
	const stopped = 10 * time.Second
	o := newOwners(t, feed.Options{Rate: 200}, oracle.Run{MinFaults: 1, Overlap: 60_000_000}, "in-1", "in-2")
	o.readMany("/ticks", 3, nil)
	o.awaitAll(o.Stats("/ticks").Head + 20)
	name, before := o.owner()
	o.fault("ingest SIGSTOP", func() { o.nodes[name].Signal(syscall.SIGSTOP) })
	timer := time.NewTimer(stopped)
	defer timer.Stop()
	<-timer.C
	o.nodes[name].Signal(syscall.SIGCONT)
	o.wait("/ticks", "the old owner's connection is gone", func(s feed.Stats) bool { return s.Open == 1 })
	o.awaitAll(o.Stats("/ticks").Head + 100)
	if now, epoch := o.owner(); now == name || epoch <= before {
		t.Errorf("owner %s in epoch %d, after %s in %d", now, epoch, name, before)
	}
	o.nodes[name].WaitLog("the feed is given up", func(e gateway.Entry) bool { return e.Is("msg", "feed given up") })
	if n := o.metric(name, "sluice_ingest_self_fences_total") + o.metric(name, "sluice_ingest_fenced_total"); n == 0 {
		t.Error("no fence was counted")
	}
	if n := o.metric(name, "sluice_ingest_feeds_lost_total"); n != 1 {
		t.Errorf("%v feeds lost, want 1", n)
	}
	if s := o.Stats("/ticks"); s.Opens != 2 || s.Peak != 2 {
		t.Errorf("%d connections, %d at one time; want 2 and 2", s.Opens, s.Peak)
	}
	if v := o.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps told, %d clients had to come back", v.Gaps.Told, v.Resumes)
	}
}
