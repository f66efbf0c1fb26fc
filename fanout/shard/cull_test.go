//go:build linux

package shard

import (
	"testing"
	"time"

	"sluice/fanout"
)

// cull has the rig's one shard end at most so many laggards and returns how many were
// chosen.
func (r *rig) cull(most int) int {
	r.t.Helper()
	c := fanout.NewCull(most)
	c.Expect(1)
	r.s.in.put(message{cull: c})
	r.step()
	n := c.End(r.t.Context())
	r.step()
	return n
}

// Only clients with a full socket end, the most lagging first, and whatever their
// policy; the others have everything and stay.
func TestLaggardsAreCutFirst(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, Lag: 1 << 30, SoftLag: 1 << 30}})
	f := r.feed(fanout.LogConfig{})
	readers := []*peer{r.join(f.live(1)), r.join(f.live(2))}
	behind := func(meta uint32, p fanout.Policy) {
		sub := f.live(meta)
		sub.Slow.Policy = p
		r.join(sub)
	}
	publish := func(n int) {
		for range n {
			f.event(1000)
			r.step()
			for _, p := range readers {
				r.all(p)
			}
		}
	}
	behind(3, fanout.Drop)
	publish(20)
	behind(4, fanout.Latest)
	publish(20)
	behind(5, fanout.Backlog)
	publish(20)
	if n := len(r.s.watched); n != 3 {
		t.Fatalf("%d blocked, want 3", n)
	}
	if n := r.cull(0); n != 0 {
		t.Fatalf("chose %d of none", n)
	}
	if n := r.cull(1); n != 1 {
		t.Fatalf("chose %d, want 1", n)
	}
	r.wantEnd(3, fanout.EndMemory)
	r.wantAlive(4)
	if n := r.cull(9); n != 2 {
		t.Fatalf("chose %d, want 2", n)
	}
	r.wantEnd(4, fanout.EndMemory)
	r.wantEnd(5, fanout.EndMemory)
	r.wantAlive(1)
	r.wantAlive(2)
	if n := r.cull(9); n != 0 {
		t.Errorf("chose %d although nobody lags", n)
	}
	for _, p := range readers {
		wantBytes(t, p.got.String(), f.all.String())
	}
}

// Who waits for a block of backlog lags at least by what the log holds.
func TestWhoReadsBacklogLags(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	f.event(100)
	sub := f.live(1)
	sub.Next = &asker{}
	sub.Start = fanout.Start{Block: &fanout.Block{Bytes: []byte("data: x\n\n"), Last: position(1, r.now)}}
	p := r.join(sub)
	if got := r.all(p); got != "data: x\n\n" {
		t.Fatalf("got %q", got)
	}
	if n := r.cull(1); n != 1 {
		t.Fatalf("chose %d, want 1", n)
	}
	r.wantEnd(1, fanout.EndMemory)
}

// A client that caught up, or whose slot has another, after it was chosen stays.
func TestChosenButCaughtUp(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	f.event(30 << 10)
	r.step()
	chosen := r.s.laggards(1)
	if len(chosen) != 1 || chosen[0].Bytes == 0 || chosen[0].Bytes > 30<<10+100 {
		t.Fatalf("offered %v", chosen)
	}
	wantBytes(t, r.all(p), f.all.String())
	chosen[0].End()
	r.step()
	r.wantAlive(1)

	p.close()
	r.step()
	r.wantEnd(1, fanout.EndClient)
	r.join(f.live(2))
	f.event(30 << 10)
	r.step()
	chosen[0].End()
	r.step()
	r.wantAlive(2)
}

// An engine whose shards are gone answers, too.
func TestLaggardsOfAClosedEngine(t *testing.T) {
	s := start(t, Config{Shards: 2})
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	c := fanout.NewCull(1)
	s.Laggards(c)
	if n := c.End(t.Context()); n != 0 {
		t.Errorf("chose %d", n)
	}
}
