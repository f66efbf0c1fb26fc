package broker

import (
	"context"
	"testing"
	"time"
)

// A receiver that is not read keeps a bounded queue and learns which feed lost events.
func TestLiveOverflow(t *testing.T) {
	n := openNode(t, Config{LiveQueue: 16})
	f := ensure(t, n, StreamSpec{})
	quiet := NewFeedID("test", "1", "/quiet", "")
	l, err := n.NewLive("lane")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, f := range []FeedID{f, quiet} {
		if err := l.Add(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	var prev uint64
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	buf := make([]Delivery, 64)
	for tx := uint64(0); ; tx++ {
		p, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Tx: tx, Prev: prev, Events: events(0, 50)})
		if err != nil {
			t.Fatal(err)
		}
		prev = p.Seq
		select {
		case <-l.(*live).wake:
		default:
			continue // not yet told by the library
		}
		l.(*live).signal()
		if err := l.(*live).nc.FlushWithContext(ctx); err != nil { // nothing comes while Next drains
			t.Fatal(err)
		}
		k, err := l.Next(ctx, buf)
		if err != nil {
			t.Fatal(err)
		}
		if buf[0].Kind != KindDirty || buf[0].Feed != f {
			t.Fatalf("first delivery %+v, want the feed dirty", buf[0])
		}
		if k > 17 {
			t.Fatalf("%d deliveries waited", k)
		}
		break
	}
}

// Adding twice is one subscription; removing ends it; another receiver is not touched.
func TestLiveAddTwice(t *testing.T) {
	n := openNode(t, Config{})
	f := ensure(t, n, StreamSpec{})
	var lives [2]Live
	for i := range lives {
		l, err := n.NewLive("lane")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 2 {
			if err := l.Add(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		lives[i] = l
	}
	lives[0].Remove(f)
	prev := uint64(0)
	p, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Tx: 1, Prev: prev, Events: events(0, 3)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Bus().Publish(f.BeaconSubject(), EncodeBeacon(Beacon{State: StateUp, Seq: p.Seq})); err != nil {
		t.Fatal(err)
	}
	messages, beacons := 0, 0
	for _, d := range receive(t, lives[1], 4) {
		switch d.Kind {
		case KindMessage:
			messages++
		case KindBeacon:
			beacons++
		}
	}
	if messages != 3 || beacons != 1 {
		t.Fatalf("%d messages, %d beacons, want 3 and 1", messages, beacons)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if k, err := lives[0].Next(ctx, make([]Delivery, 1)); err == nil {
		t.Fatalf("removed feed: %d deliveries", k)
	}
}
