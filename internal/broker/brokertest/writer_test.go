package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
)

// writeAll stores events 0…n-1 of one feed as a worker would: the same commit again
// until its fate is known.
func writeAll(ctx context.Context, w broker.Writer, f broker.FeedID, epoch uint64, n, size int) error {
	var prev uint64
	for i, tx := 0, uint64(0); i < n; i, tx = i+size, tx+1 {
		c := &broker.Commit{Epoch: epoch, Tx: tx, Prev: prev, Events: events(i, min(size, n-i))}
		for {
			p, err := w.Commit(ctx, f, c)
			if err == nil {
				prev = p.Seq
				break
			}
			if !errors.Is(err, broker.ErrUnknownOutcome) && !errors.Is(err, broker.ErrUnavailable) &&
				!errors.Is(err, broker.ErrNoStream) && !errors.Is(err, broker.ErrBusy) {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func short(c *broker.Config) { c.CommitTimeout = 150 * time.Millisecond }

// Lost answers cost time, never an event, its order or a double, in every commit form.
// Invariant 5.
func TestLostAcks(t *testing.T) {
	for _, p := range []string{broker.ProfileProcess, broker.ProfileMemory} {
		t.Run(p, func(t *testing.T) {
			n := Start(t, Profile(p), With(short))
			r := &rig{T: t, b: n, ctx: t.Context()}
			r.stream(broker.StreamSpec{})
			f := feed("ticks")
			n.DropAcks(10)
			if err := writeAll(t.Context(), n.Writer(), f, 1, 200, 20); err != nil {
				t.Fatal(err)
			}
			n.DropAcks(0)
			all := r.readAll(f, 0)
			r.bodies(all, 0, 200)
			r.chained(all)
		})
	}
}

// Only the newest event of the feed is kept, so a lost answer can be judged by nothing
// but its place in the commit.
func TestLostAcksLastValue(t *testing.T) {
	n := Start(t, With(short))
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{MaxEvents: 1})
	f := feed("ticks")
	l := r.live(f)
	n.DropAcks(7)
	if err := writeAll(t.Context(), n.Writer(), f, 1, 120, 20); err != nil {
		t.Fatal(err)
	}
	for i, d := range r.receive(l, 120) {
		if want := fmt.Sprintf("data: %d\n", i); string(d.Message.Body) != want {
			t.Fatalf("event %d is %q", i, d.Message.Body)
		}
	}
}

// Several processes write different feeds of one stream at full speed: wrong guesses of
// sequences are frequent, and every feed stays whole and in order; a batch's sequences are consecutive, because
// its events name no predecessor. Invariant 5.
func TestForeignWritersBetween(t *testing.T) {
	for _, p := range []string{broker.ProfileProcess, broker.ProfileMemory} {
		t.Run(p, func(t *testing.T) { foreignWriters(t, Start(t, Profile(p))) })
	}
}

func foreignWriters(t *testing.T, n *Node) {
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	writers := []broker.Writer{n.Writer(), n.Peer().Writer(), n.Writer(), n.Peer().Writer()}
	const events = 3000
	var wg sync.WaitGroup
	for i, w := range writers {
		wg.Go(func() {
			if err := writeAll(t.Context(), w, feed(fmt.Sprint(i)), 1, events, 200); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range writers {
		all := r.readAll(feed(fmt.Sprint(i)), 0)
		r.bodies(all, 0, events)
		r.chained(all)
	}
}

// A stale owner that sends ahead finds, in the place of its first event, exactly the
// sequence that its second one expects, but of the new owner's event. Nothing of the
// stale commit may be stored. Invariant 5.
func TestForeignEventInPredictedPlace(t *testing.T) {
	n := Start(t)
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	stale, owner := n.Writer(), n.Peer().Writer()
	for k, name := range []string{"a", "b", "c"} {
		f := feed(name)
		p, err := stale.Commit(t.Context(), f, &broker.Commit{Epoch: 1, Tx: 1, Events: events(0, 10)})
		r.check(err)
		_, err = owner.Commit(t.Context(), f, &broker.Commit{Epoch: 2, Tx: 1, Prev: p.Seq, Events: events(10, k+1)})
		r.check(err)
		_, err = stale.Commit(t.Context(), f, &broker.Commit{Epoch: 1, Tx: 2, Prev: p.Seq, Events: events(10, 10)})
		var fenced *broker.FencedError
		if !errors.As(err, &fenced) || fenced.Actual != p.Seq+uint64(k)+1 {
			t.Fatalf("feed %s: stale commit: %v", name, err)
		}
		all := r.readAll(f, 0)
		r.bodies(all, 0, 11+k)
		r.chained(all)
	}
}

// Two writers believe that they own a feed: per commit one wins, the other is told, and
// no commit is torn apart by the other's events.
func TestTwoOwners(t *testing.T) {
	for _, p := range []string{broker.ProfileProcess, broker.ProfileMemory} {
		t.Run(p, func(t *testing.T) { twoOwners(t, Start(t, Profile(p))) })
	}
}

func twoOwners(t *testing.T, n *Node) {
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	f := feed("ticks")
	var wg sync.WaitGroup
	won := make([]int, 2)
	for k, w := range []broker.Writer{n.Writer(), n.Peer().Writer()} {
		wg.Go(func() {
			var prev uint64
			for tx := range uint64(200) {
				p, err := w.Commit(t.Context(), f, &broker.Commit{Epoch: uint64(k + 1), Tx: tx, Prev: prev, Events: events(0, 5)})
				var fenced *broker.FencedError
				switch {
				case err == nil:
					won[k]++
					prev = p.Seq
				case errors.As(err, &fenced):
					prev = fenced.Actual
				default:
					t.Errorf("writer %d: %v", k, err)
					return
				}
			}
		})
	}
	wg.Wait()
	all := r.readAll(f, 0)
	r.chained(all)
	whole := map[string]int{}
	for _, m := range all {
		whole[fmt.Sprint(m.Epoch, m.Tx)]++
	}
	complete := 0
	for _, k := range whole {
		complete += k / 5
	}
	if complete < won[0]+won[1] {
		t.Fatalf("%d commits are whole, %d were acknowledged", complete, won[0]+won[1])
	}
}

// The broker goes away and comes back in the middle: nothing acknowledged is lost.
func TestRestartWhileWriting(t *testing.T) {
	n := Start(t, With(short))
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	f := feed("ticks")
	l := r.live(f)
	done := make(chan error, 1)
	go func() { done <- writeAll(t.Context(), n.Writer(), f, 1, 4000, 100) }()
	r.receive(l, 200)
	n.Restart()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	all := r.readAll(f, 0)
	r.bodies(all, 0, 4000)
	r.chained(all)
}

// Answers to reads that lose messages on the way are asked for again, never taken for
// whole. Invariant 3.
func TestCutReads(t *testing.T) {
	n := Start(t, With(func(c *broker.Config) { c.ReadTimeout = time.Second }))
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	f := feed("ticks")
	r.commit(f, 0, events(0, 900))
	n.DropReadMessages(700) // one in every third block or so
	r.bodies(r.readAll(f, 0), 0, 900)
	n.DropReadMessages(2)
	var b broker.Block
	if err := n.Direct().Read(t.Context(), f, broker.From{Seq: 1}, &b); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatalf("read of a line that loses every other message: %d messages, %v", len(b.Messages), err)
	}
}

// A stream that is deleted between two commits is told as that, also where the last messages that were sent want no answer.
func TestDeletedStreamIsTold(t *testing.T) {
	n := Start(t, With(func(c *broker.Config) { c.Window = 100 }))
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	f := feed("ticks")
	prev := r.commit(f, 0, events(0, 40))
	r.check(n.Admin().DeleteStream(t.Context(), f.API))
	_, err := n.Writer().Commit(t.Context(), f, &broker.Commit{Epoch: 1, Tx: 50, Prev: prev, Events: events(40, 400)})
	r.want(err, broker.ErrNoStream)
}

// Messages that others stored are left out; the hole shows.
func TestForeignMessages(t *testing.T) {
	n := Start(t)
	r := &rig{T: t, b: n, ctx: t.Context()}
	r.stream(broker.StreamSpec{})
	f := feed("ticks")
	l := r.live(f)
	one := r.commit(f, 0, events(0, 1))
	n.Inject(f, []byte("data: forged\n\n"))
	_, err := n.Writer().Commit(t.Context(), f, &broker.Commit{Epoch: 1, Tx: 50, Prev: one, Events: events(1, 1)})
	var fenced *broker.FencedError
	if !errors.As(err, &fenced) {
		t.Fatalf("commit behind a foreign message: %v", err)
	}
	r.commit(f, fenced.Actual, events(1, 1))
	got := r.receive(l, 3)
	if got[0].Err != nil || !errors.Is(got[1].Err, broker.ErrForeign) || got[2].Err != nil {
		t.Fatalf("received %+v", got)
	}
	var b broker.Block
	r.check(n.Direct().Read(t.Context(), f, broker.From{Seq: 1}, &b))
	r.bodies(b.Messages, 0, 2)
	if b.Foreign != 1 || b.Messages[1].Link == b.Messages[0].Seq {
		t.Fatalf("foreign %d, second event links to %d, first is %d", b.Foreign, b.Messages[1].Link, b.Messages[0].Seq)
	}
}
