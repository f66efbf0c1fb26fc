package fanout

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/broker"
)

// While a feed misses something its lag grows, and is nothing again once it is complete.
func TestLagIsWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hub{feeds: map[broker.FeedID]*Feed{}}
		f := &Feed{id: testFeed("a"), api: "m@1", hub: h, log: NewLog(LogConfig{}), phase: phaseSynced, repairing: true}
		h.feeds[f.id] = f
		reg := prometheus.NewRegistry()
		reg.MustRegister(newFeedCollector(h))
		want := func(what, text string) {
			t.Helper()
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "sluice_fanout_lag_seconds"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		head := "# HELP sluice_fanout_lag_seconds Longest time since which a feed of the API has been missing stored events here; 0 = all are complete.\n# TYPE sluice_fanout_lag_seconds gauge\n"
		want("synced", head+"sluice_fanout_lag_seconds{api=\"m@1\"} 0\n")
		f.dirty("chain")
		time.Sleep(3 * time.Second)
		f.dirty("beacon") // known already: the time goes on
		time.Sleep(time.Second)
		want("missing for four seconds", head+"sluice_fanout_lag_seconds{api=\"m@1\"} 4\n")
		if s := h.Status()[0]; s.State != "repairing" || s.Lag != 4*time.Second {
			t.Errorf("status %+v", s)
		}
		f.phase = phaseSynced
		want("repaired", head+"sluice_fanout_lag_seconds{api=\"m@1\"} 0\n")
	})
}

// A feed's status counts its events and clients and the gaps that were told.
func TestStatus(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f, Demand: broker.Demand{API: "m", Version: "1", Path: "/a"}})
		defer j.Release()
		bad := r.join(Want{Feed: f, At: At{Kind: AtBadID}})
		defer bad.Release()
		last := r.commit(f, 5)
		r.read(j, Identity, last)
		s := r.hub.Status()[0]
		if s.Feed != f || s.Demand.Path != "/a" || s.Clients != 2 || s.State != "synced" || s.Events != 5 || s.Gaps != 1 ||
			s.Last.Seq != last.Seq || s.PerSecond <= 0 || s.LogBytes <= 0 || s.Lag != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// The figures of the kernel are those of its line on TCP, in pages.
func TestTCPPages(t *testing.T) {
	const text = "sockets: used 40\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 31\nUDP: inuse 1 mem 2\n"
	if n, ok := tcpPages(text); n != 31 || !ok {
		t.Errorf("%d, %v, want 31", n, ok)
	}
	for _, bad := range []string{"", "UDP: inuse 1 mem 2\n", "TCP: inuse 5 mem\n", "TCP: mem x\n"} {
		if n, ok := tcpPages(bad); ok {
			t.Errorf("%q: %d", bad, n)
		}
	}
}

// The probe of the read lag measures, and its goroutines end with it.
func TestReadLag(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := NewReadLag(reg)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := uint64(0); n < 2; <-tick.C {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n = families[0].GetMetric()[0].GetHistogram().GetSampleCount()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
