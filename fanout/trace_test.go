package fanout

import (
	"testing"

	"sluice/internal/trace"
	"sluice/internal/trace/tracetest"
)

var testSpan = trace.Context{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: true}

// A repair is one span: why, what it read and brought, and the commits that stored that.
// Live events make none.
func TestRepairIsOneSpan(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		kept := &tracetest.Kept{}
		r.hub.tracer = trace.New(kept)
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f})
		defer j.Release()
		r.want("live events", r.read(j, Identity, r.commit(f, 20)), frames(r.stored(f)[3:]))
		if spans := kept.String(); spans != "[]" {
			t.Errorf("live events made spans: %s", spans)
		}
		r.b.DropLast(f)
		r.span = testSpan
		r.commit(f, 1)
		r.span = trace.Context{}
		last := r.commit(f, 1)
		r.want("after a loss", r.read(j, Identity, last), frames(r.stored(f)[3:]))
		r.until("the repair has ended", func() bool { return len(kept.Named("fanout.repair")) > 0 })
		d := kept.Named("fanout.repair")[0]
		for key, want := range map[string]any{"sluice.cause": "chain", "sluice.result": "synced", "sluice.events": int64(2), "sluice.gaps": int64(0)} {
			if got := tracetest.Attr(d, key); got != want {
				t.Errorf("%s = %v, want %v", key, got, want)
			}
		}
		if n, _ := tracetest.Attr(d, "sluice.reads").(int64); n < 1 || !tracetest.LinksTo(d, testSpan) || d.Parent.Valid() || d.Failed != "" {
			t.Errorf("%d reads, %+v", n, d)
		}
	})
}

// A client is told which commits stored what it is sent: those of the block it begins in,
// and the newest the feed has seen live.
func TestJoinedKnowsCommits(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		first := r.commit(f, 1)
		r.span = testSpan
		r.commit(f, 5)
		r.span = trace.Context{}
		r.commit(f, 5)
		old := r.join(Want{Feed: f, At: At{Kind: AtID, Pos: first}})
		defer old.Release()
		if old.Start.Block == nil || len(old.Traces) != 1 || old.Traces[0] != testSpan {
			t.Errorf("a resume from the store knows %v", old.Traces)
		}
		newest := trace.Context{Trace: [16]byte{3}, Span: [8]byte{4}, Sampled: true}
		r.span = newest
		r.commit(f, 1)
		r.until("the commit is live", func() bool { return len(old.Feed.traces(nil)) > 0 })
		live := r.join(Want{Feed: f})
		defer live.Release()
		if len(live.Traces) != 1 || live.Traces[0] != newest {
			t.Errorf("a client that joins live knows %v", live.Traces)
		}
		if gone := r.join(Want{Feed: f, At: At{Kind: AtBadID}}); gone.Reason != GapUnknown || live.Reason != "" {
			t.Errorf("gap reasons %q and %q", gone.Reason, live.Reason)
		} else {
			gone.Release()
		}
	})
}
