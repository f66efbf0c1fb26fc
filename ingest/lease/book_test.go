package lease

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

func TestBookFollowsTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		bucket, err := m.Admin().Bucket(t.Context(), "own", 1)
		if err != nil {
			t.Fatal(err)
		}
		other := broker.NewFeedID("market", "1", "/other", "")
		one, two := NewOwn(bucket, "n1", "b1", wall{}, nil), NewOwn(bucket, "n2", "b2", wall{}, nil)
		l, _ := one.Take(t.Context(), feed, "s")
		watcher := m.Peer()
		theirs, err := watcher.Admin().Bucket(t.Context(), "own", 1)
		if err != nil {
			t.Fatal(err)
		}
		b := NewBook(theirs, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		defer func() { cancel(); <-done }()
		synctest.Wait()
		is := func(f broker.FeedID, want Holder) {
			t.Helper()
			synctest.Wait()
			if got := b.Of(f); got != want || (b.All()[f] != want) {
				t.Fatalf("%s: %+v, want %+v", f, got, want)
			}
		}
		if !b.Loaded() {
			t.Fatal("not loaded")
		}
		is(feed, Holder{"n1", "b1", l.Epoch})
		l2, _ := two.Take(t.Context(), feed, "s")
		is(feed, Holder{"n2", "b2", l2.Epoch})
		_ = two.Release(t.Context(), l2, true)
		if h := b.Of(feed); h.Node != "" {
			synctest.Wait()
			if h = b.Of(feed); h.Node != "" || h.Epoch <= l2.Epoch {
				t.Fatalf("released: %+v", h)
			}
		}
		l3, _ := two.Take(t.Context(), other, "s")
		is(other, Holder{"n2", "b2", l3.Epoch})
		b.Note(other, Holder{"n1", "b1", l3.Epoch + 5})
		b.Note(other, Holder{"n9", "b9", l3.Epoch + 4})
		is(other, Holder{"n1", "b1", l3.Epoch + 5})

		// Cut off it keeps what it knows; then it learns what happened meanwhile, deletions too.
		watcher.Cut()
		l4, err := one.Take(t.Context(), feed, "s")
		if err != nil {
			t.Fatal(err)
		}
		_ = two.Release(t.Context(), l3, false)
		after(10 * time.Second)
		is(other, Holder{"n1", "b1", l3.Epoch + 5})
		watcher.Heal()
		after(watchAgainMost)
		is(feed, Holder{"n1", "b1", l4.Epoch})
		is(other, Holder{})

		// All is read anew once a minute: what a watch has swallowed comes to light.
		b.Note(other, Holder{"n7", "b7", l4.Epoch + 1})
		after(watchWhole + time.Second)
		is(other, Holder{})
	})
}

// What another node that lives holds is not taken; what a dead one or an earlier start of this one held is.
func TestTakeSparesTheLiving(t *testing.T) {
	b := bucket(t)
	alive := map[string]bool{"n1 b1": true, "n2 old": true}
	one := NewOwn(b, "n1", "b1", wall{}, nil)
	two := NewOwn(b, "n2", "b2", wall{}, func(node, boot string) bool { return alive[node+" "+boot] })
	l, err := one.Take(t.Context(), feed, "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Take(t.Context(), feed, "s"); !errors.Is(err, ErrHeld) {
		t.Fatalf("taken from a node that lives: %v", err)
	}
	if _, err := one.Confirm(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	delete(alive, "n1 b1")
	if l, err = two.Take(t.Context(), feed, "s"); err != nil {
		t.Fatal(err)
	}
	again, err := NewOwn(b, "n2", "b2", wall{}, func(string, string) bool { return true }).Take(t.Context(), feed, "s")
	if err != nil || again.Epoch <= l.Epoch {
		t.Fatalf("%+v, %v: its own entry", again, err)
	}
}

func TestGive(t *testing.T) {
	b := bucket(t)
	one, two := NewOwn(b, "n1", "b1", wall{}, nil), NewOwn(b, "n2", "b2", wall{}, func(string, string) bool { return true })
	l, _ := one.Take(t.Context(), feed, "src")
	given, err := one.Give(t.Context(), l, "n2", "b2")
	if err != nil || given.Node != "n2" || given.Epoch <= l.Epoch {
		t.Fatalf("%+v, %v", given, err)
	}
	if _, err := one.Confirm(t.Context(), l); !errors.Is(err, ErrLost) {
		t.Errorf("the giver still holds it: %v", err)
	}
	if _, err := one.Give(t.Context(), l, "n3", "b3"); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("given twice: %v", err)
	}
	taken, err := two.Take(t.Context(), feed, "src2")
	if err != nil || taken.Before != "src" {
		t.Errorf("%+v, %v: the receiver", taken, err)
	}
}
