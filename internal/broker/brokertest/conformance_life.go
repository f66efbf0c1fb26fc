package brokertest

import (
	"context"
	"errors"
	"time"

	"sluice/internal/broker"
)

func testTrim(r *rig) {
	f, g := feed("ticks"), feed("other")
	r.stream(broker.StreamSpec{MaxEvents: 10})
	r.commit(g, 0, events(0, 1))
	last := r.commit(f, 0, events(0, 25))
	all := r.readAll(f, 0)
	r.bodies(all, 15, 10)
	r.chained(all)
	if all[0].Link != all[0].Seq-1 {
		r.Fatalf("oldest kept %d links to %d", all[0].Seq, all[0].Link)
	}
	r.bodies(r.readAll(g, 0), 0, 1)
	r.stream(broker.StreamSpec{MaxEvents: 20}) // an update keeps what is there
	r.commit(f, last, events(25, 10))
	r.bodies(r.readAll(f, 0), 15, 20)
}

func testExpire(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{MaxAge: time.Second})
	r.commit(f, 0, events(0, 3))
	r.until("events to expire", func() bool { return len(r.readAll(f, 0)) == 0 })
	_, err := r.b.Writer().Last(r.ctx, f)
	r.want(err, broker.ErrNotFound)
}

// until polls cond.
func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, waitTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

func testDelete(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	r.commit(f, 0, events(0, 5))
	all := r.readAll(f, 0)
	r.b.DeleteMsg(f.API, all[2].Seq)
	left := r.readAll(f, all[1].Seq)
	if len(left) != 3 || left[1].Seq != all[3].Seq || left[1].Link != all[2].Seq {
		r.Fatalf("left %+v, want a hole at %d", left, all[2].Seq)
	}
}

func testPurge(r *rig) {
	f, g := feed("ticks"), feed("other")
	r.stream(broker.StreamSpec{})
	r.commit(f, 0, events(0, 5))
	r.commit(g, 0, events(0, 2))
	all := r.readAll(f, 0)
	r.b.PurgeTo(f.API, all[3].Seq)
	r.bodies(r.readAll(f, 0), 3, 2)
	r.check(r.b.Admin().PurgeFeed(r.ctx, f))
	r.bodies(r.readAll(f, 0), 0, 0)
	r.bodies(r.readAll(g, 0), 0, 2)
	s, err := r.b.Admin().StreamState(r.ctx, f.API)
	r.check(err)
	if s.Messages != 2 || s.Feeds != 1 || s.LastSeq < all[4].Seq {
		r.Fatalf("state %+v", s)
	}
	feeds, err := r.b.Admin().Feeds(r.ctx, f.API)
	r.check(err)
	if len(feeds) != 1 || feeds[0] != g {
		r.Fatalf("feeds %v", feeds)
	}
	r.check(r.b.Admin().PurgeStream(r.ctx, f.API))
	r.bodies(r.readAll(g, 0), 0, 0)
	if p := r.commit(g, 0, events(2, 1)); p <= s.LastSeq {
		r.Fatalf("stored at %d, before the purge the last was %d", p, s.LastSeq)
	}
	_, err = r.b.Admin().Feeds(r.ctx, "none_v1")
	r.want(err, broker.ErrNoStream)
}

func testStreams(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	r.stream(broker.StreamSpec{})
	last := r.commit(f, 0, events(0, 3))
	first, err := r.b.Direct().FirstSeq(r.ctx, f.API)
	r.check(err)
	if first > last || first < 1_000_000 {
		r.Fatalf("stream began at %d, last is %d", first, last)
	}
	r.b.Recreate(f.API)
	_, err = r.b.Writer().Last(r.ctx, f)
	r.want(err, broker.ErrNotFound)
	again, err := r.b.Direct().FirstSeq(r.ctx, f.API)
	r.check(err)
	if again <= last {
		r.Fatalf("recreated stream begins at %d, the old one ended at %d", again, last)
	}
	if got := r.commit(f, 0, events(0, 1)); got < again {
		r.Fatalf("stored at %d, stream began at %d", got, again)
	}
	r.check(r.b.Admin().DeleteStream(r.ctx, f.API))
	r.check(r.b.Admin().DeleteStream(r.ctx, f.API))
	_, err = r.b.Admin().StreamState(r.ctx, f.API)
	r.want(err, broker.ErrNoStream)
	_, err = r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: 1, Events: events(0, 1)})
	r.want(err, broker.ErrNoStream)
	r.want(r.b.Admin().EnsureStream(r.ctx, broker.StreamSpec{}), broker.ErrRefused)
}

func testRestore(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	prev := r.commit(f, 0, events(0, 3))
	r.b.Save()
	if n, ok := r.b.(*Node); ok && n.cfg.Durability == broker.ProfileMemory {
		var b broker.Block // a restart of the broker loses all
		r.want(r.b.Direct().Read(r.ctx, f, broker.From{Seq: 1}, &b), broker.ErrNoStream)
		return
	}
	r.commit(f, prev, events(3, 3))
	lost := r.readAll(f, prev+1)
	r.b.RestoreOld()
	r.bodies(r.readAll(f, 0), 0, 3)
	r.commit(f, prev, events(6, 3))
	again := r.readAll(f, prev+1)
	if len(lost) != 3 || len(again) != 3 || again[0].Seq != lost[0].Seq || again[0].Micros == lost[0].Micros {
		r.Fatalf("lost %+v, now %+v: want the sequence again at another time", lost, again)
	}
}

func testDrop(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	l := r.live(f)
	r.b.DropLive(3)
	prev := r.commit(f, 0, events(0, 10))
	got := r.receive(l, 7)
	breaks := 0
	for i := 1; i < len(got); i++ {
		if got[i].Last != got[i-1].Message.Seq {
			breaks++
		}
	}
	if breaks != 3 {
		r.Fatalf("%d breaks in the chain, want 3", breaks)
	}
	r.b.DropLive(0)
	r.b.DropLast(f)
	dropped := r.commit(f, prev, events(10, 1))
	next := r.commit(f, dropped, events(11, 1))
	if d := r.receive(l, 1)[0]; d.Message.Seq != next || d.Last != dropped {
		r.Fatalf("received %+v behind the dropped %d", d, dropped)
	}
}

func testCut(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	prev := r.commit(f, 0, events(0, 1))
	l := r.live(f)
	if !r.b.Link().Up {
		r.Fatalf("link %+v", r.b.Link())
	}
	changed := r.b.LinkChanged()
	r.b.Cut()
	<-changed
	if link := r.b.Link(); link.Up || link.Why == "" {
		r.Fatalf("cut link: %+v", link)
	}
	if d := r.receive(l, 1)[0]; d.Kind != broker.KindDirty || d.Feed != (broker.FeedID{}) {
		r.Fatalf("received %+v, want all dirty", d)
	}
	_, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: 99, Prev: prev, Events: events(1, 1)})
	if !errors.Is(err, broker.ErrUnavailable) && !errors.Is(err, broker.ErrUnknownOutcome) {
		r.Fatalf("commit without link: %v", err)
	}
	var b broker.Block
	r.want(r.b.Direct().Read(r.ctx, f, broker.From{Seq: 1}, &b), broker.ErrUnavailable)
	r.want(l.Add(r.ctx, feed("other")), broker.ErrUnavailable)
	changed = r.b.LinkChanged()
	r.b.Heal()
	<-changed
	if !r.b.Link().Up {
		r.Fatalf("healed link: %+v", r.b.Link())
	}
	r.dirtyThenLive(l, f, prev)
}

// dirtyThenLive checks that a receiver is told when the link is back, and goes on.
func (r *rig) dirtyThenLive(l broker.Live, f broker.FeedID, prev uint64) {
	r.Helper()
	if d := r.receive(l, 1)[0]; d.Kind != broker.KindDirty {
		r.Fatalf("received %+v, want all dirty", d)
	}
	next := r.commit(f, prev, events(1, 1))
	for {
		d := r.receive(l, 1)[0]
		if d.Kind == broker.KindDirty {
			continue
		}
		if d.Message.Seq != next {
			r.Fatalf("received %+v, want %d", d, next)
		}
		return
	}
}

func testLiveEnd(r *rig) {
	f, g := feed("ticks"), feed("other")
	r.stream(broker.StreamSpec{})
	l := r.live(f, g)
	l.Remove(f)
	r.commit(f, 0, events(0, 3))
	r.commit(g, 0, events(0, 1))
	if d := r.receive(l, 1)[0]; d.Feed != g {
		r.Fatalf("received %+v of a removed feed", d)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := l.Next(ctx, make([]broker.Delivery, 1))
	r.want(err, context.Canceled)
	ended := make(chan error)
	go func() {
		_, err := l.Next(r.ctx, make([]broker.Delivery, 1))
		ended <- err
	}()
	l.Close()
	l.Close()
	if err := <-ended; err == nil {
		r.Fatal("Next of a closed receiver returned no error")
	}
}
