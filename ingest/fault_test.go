package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/broker"
)

// held is a Writer whose commits wait while it is shut, or fail with err.
type heldWriter struct {
	broker.Writer
	shut atomic.Pointer[chan struct{}]
	err  atomic.Pointer[error]
}

func (h *heldWriter) Commit(ctx context.Context, f broker.FeedID, c *broker.Commit) (broker.Position, error) {
	if gate := h.shut.Load(); gate != nil {
		select {
		case <-*gate:
		case <-ctx.Done():
			return broker.Position{}, ctx.Err()
		}
	}
	if err := h.err.Load(); err != nil {
		return broker.Position{}, *err
	}
	return h.Writer.Commit(ctx, f, c)
}

func (h *heldWriter) close() (open func()) {
	gate := make(chan struct{})
	h.shut.Store(&gate)
	return func() { h.shut.Store(nil); close(gate) }
}

func (r *rig) holdCommits() *heldWriter {
	h := &heldWriter{}
	r.deps = func(d *Deps) { h.Writer = d.Writer; d.Writer = h }
	return h
}

func TestU24FullQueueStopsReadingAndDropsNothing(t *testing.T) {
	r := newRig(t)
	r.cfg.Ingest.Queue.Bytes = 64 << 10
	r.define(ticksOnly)
	h := r.holdCommits()
	open := h.close()
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	pad := strings.Repeat("x", 1000)
	for i := range uint64(6000) { // 6 MB: more than the queue holds
		p.add(fmt.Sprint(i, pad))
	}
	r.wantState("/ticks", "backpressure")
	if st := r.status("/ticks"); st.QueueBytes > 80<<10 {
		t.Errorf("queue holds %d bytes", st.QueueBytes)
	}
	open()
	f := feedOf("/ticks")
	r.until("all stored", func() bool { return r.status("/ticks").Events == 6000 })
	for i, m := range r.stored(f) {
		if string(m.Body) != fmt.Sprintf("data: %d%s\n", i, pad) {
			t.Fatalf("event %d is %.40q", i, m.Body)
		}
	}
	r.wantState("/ticks", "up")
	if st := r.status("/ticks"); st.Markers != 0 || st.Opens != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestAgeOfTheQueueStopsReading(t *testing.T) {
	r := newRig(t)
	r.cfg.Ingest.Queue.Age = 50 * time.Millisecond
	r.define(ticksOnly)
	h := r.holdCommits()
	open := h.close()
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	p.add("a")
	n := 0
	r.until("reading stops", func() bool {
		n++
		p.add("b")
		return r.status("/ticks").State == "backpressure"
	})
	open()
	r.until("all stored", func() bool { return r.status("/ticks").Events == uint64(n+1) })
}

func TestFailingCommitsAreDegradedAndTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err      error
		why, log string
	}{
		{broker.ErrUnavailable, "broker unavailable", "level=WARN"},
		{broker.ErrUnknownOutcome, "no answer", "level=WARN"},
		{broker.ErrNoStream, "no stream", "level=WARN"},
		{broker.ErrStoreFull, "store.full", "level=ERROR"},
		{broker.ErrRefused, "refused", "level=ERROR"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			r.define(ticksOnly)
			h := r.holdCommits()
			h.err.Store(&c.err)
			p := newTape(r.up, true, true)
			r.run()
			r.wantState("/ticks", "up")
			p.add("a", "b")
			r.wantState("/ticks", "degraded")
			if st := r.status("/ticks"); st.Why != c.why {
				t.Errorf("status %+v", st)
			}
			if !strings.Contains(r.log.String(), c.log+" msg=\"commit failed, trying again\"") {
				t.Errorf("log:\n%s", r.log)
			}
			h.err.Store(nil)
			r.wantTexts(feedOf("/ticks"), "a b")
			r.wantState("/ticks", "up")
		})
	}
}

func TestBusyBrokerIsTriedAgainQuietly(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	h := r.holdCommits()
	busy := error(broker.ErrBusy)
	h.err.Store(&busy)
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	p.add("a")
	r.until("tried", func() bool { return r.s.met != nil && r.status("/ticks").QueueBytes > 0 })
	h.err.Store(nil)
	r.wantTexts(feedOf("/ticks"), "a")
	if strings.Contains(r.log.String(), "commit failed") {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestLostAcksStoreOnce(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	var want []string
	for i := range 12 {
		if i%3 == 0 {
			r.b.HoldAck(1)
		}
		e := fmt.Sprint("e", i)
		p.add(e, e+"'")
		want = append(want, e, e+"'")
		r.wantTexts(feedOf("/ticks"), strings.Join(want, " "))
	}
	if st := r.status("/ticks"); st.Markers != 0 || st.Opens != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestForeignWriterFencesAndTheFeedStartsOver(t *testing.T) {
	r, p, f := storedTwo(t, true, true)
	prev := r.status("/ticks").Seq
	_, err := r.b.Writer().Commit(t.Context(), f, &broker.Commit{Epoch: 7, Tx: 1, Prev: prev,
		Events: []broker.Event{{Body: []byte("data: c\n"), UpstreamID: "3"}}})
	r.check(err)
	p.add("c", "d")
	r.wantTexts(f, "a b c d") // c came from the other writer and is not stored again
	if !strings.Contains(r.log.String(), "commit fenced") {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestLostLeaseEndsTheFeed(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a")
	r.wantTexts(f, "a")
	e, err := r.own.Get(t.Context(), f.String())
	r.check(err)
	_, err = r.own.Put(t.Context(), f.String(), []byte(`{"node":"n2","boot":"x"}`), e.Revision)
	r.check(err)
	_, err = r.b.Writer().Commit(t.Context(), f, &broker.Commit{Epoch: e.Revision + 1, Tx: 1,
		Prev: r.status("/ticks").Seq, Events: []broker.Event{{Body: []byte("data: n2\n")}}})
	r.check(err)
	p.add("b")
	r.until("given up", func() bool { return strings.Contains(r.log.String(), "lease lost") })
}

func TestPurgedFeedGoesOn(t *testing.T) {
	r, p, f := storedTwo(t, true, true)
	prev := r.status("/ticks").Seq
	r.check(r.b.Admin().PurgeFeed(t.Context(), f))
	p.add("c", "d")
	r.wantTexts(f, "c d")
	if m := r.stored(f)[0]; m.Link != prev {
		t.Errorf("link is %d, want the purged %d", m.Link, prev)
	}
	if st := r.status("/ticks"); st.Opens != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestRecreatedStreamGoesOn(t *testing.T) {
	r, p, f := storedTwo(t, true, true)
	r.b.Recreate(f.API)
	p.add("c")
	r.wantTexts(f, "c")
	p.add("d")
	r.wantTexts(f, "c d")
}

func TestBrokerRestartLosesNothing(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, false, false) // without ids: whatever is read twice or not at all shows
	r.run()
	r.wantState("/ticks", "up")
	p.add("a", "b")
	f := feedOf("/ticks")
	r.wantTexts(f, "a b")
	r.b.Stop()
	p.add("c", "d")
	r.wantState("/ticks", "degraded")
	r.b.Restart()
	r.wantTexts(f, "a b c d")
	r.wantState("/ticks", "up")
	if st := r.status("/ticks"); st.Opens != 1 || st.Markers != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestEventTooLargeForTheBrokerIsMarked(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	h := &limitedWriter{}
	r.deps = func(d *Deps) { h.Writer = d.Writer; d.Writer = h }
	r.up.set(text("data: a\n\ndata: " + strings.Repeat("x", 5000) + "\n\ndata: b\n\ndata: c\n\n")(r))
	r.run()
	r.wantTexts(feedOf("/ticks"), "a <oversize> b c")
}

// limitedWriter refuses bodies above 4 KB.
type limitedWriter struct{ broker.Writer }

func (l *limitedWriter) Commit(ctx context.Context, f broker.FeedID, c *broker.Commit) (broker.Position, error) {
	for _, e := range c.Events {
		if len(e.Body) > 4096 {
			return broker.Position{}, fmt.Errorf("event: %w", broker.ErrTooLarge)
		}
	}
	return l.Writer.Commit(ctx, f, c)
}

func TestDrainStoresWhatWasRead(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	h := r.holdCommits()
	open := h.close()
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	p.add("a", "b", "c")
	r.until("read", func() bool { return r.status("/ticks").QueueBytes > 0 })
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.s.Drain(short); !errors.Is(err, context.Canceled) {
		t.Errorf("drain with no time: %v", err)
	}
	open()
	r.stop()
	if got := strings.Join(r.texts(feedOf("/ticks")), " "); got != "a b c" {
		t.Errorf("stored %q", got)
	}
	e, err := r.own.Get(t.Context(), feedOf("/ticks").String())
	r.check(err)
	if !strings.Contains(string(e.Value), `"node":""`) || !strings.Contains(string(e.Value), "/ticks") {
		t.Errorf("owner's entry after drain: %s", e.Value)
	}
}

func TestForeignMessageOnTheSubject(t *testing.T) {
	r, p, f := storedTwo(t, true, true)
	r.b.Inject(f, []byte("not ours"))
	p.add("c")
	r.until("stored", func() bool { return r.status("/ticks").Epoch != 0 && len(r.s.Feeds()) == 1 && r.hasText(f, "c") })
	r.stop()
	r.b.Inject(f, []byte("not ours either"))
	r.run()
	r.wantState("/ticks", "up")
	p.add("d")
	r.until("stored after a restart", func() bool { return r.hasText(f, "d") })
	if !strings.Contains(r.log.String(), "stream.foreign") {
		t.Errorf("log:\n%s", r.log)
	}
}

// hasText says that a feed's newest events hold text.
func (r *rig) hasText(f broker.FeedID, text string) bool {
	tail, err := r.b.Writer().Tail(r.t.Context(), f, 10)
	r.check(err)
	for _, m := range tail {
		if string(m.Body) == "data: "+text+"\n" {
			return true
		}
	}
	return false
}
