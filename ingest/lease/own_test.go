package lease

import (
	"errors"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func bucket(t *testing.T) broker.Bucket {
	t.Helper()
	b, err := brokertest.NewMemory(t).Admin().Bucket(t.Context(), "own", 1)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var feed = broker.NewFeedID("market", "1", "/ticks", "")

func TestTakeConfirmRelease(t *testing.T) {
	b := bucket(t)
	one, two := NewOwn(b, "n1", "b1", wall{}, nil), NewOwn(b, "n2", "b1", wall{}, nil)
	first, err := one.Take(t.Context(), feed, "http://a/x")
	if err != nil || first.Epoch == 0 || first.Node != "n1" || first.Before != "" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := one.Confirm(t.Context(), first)
	if err != nil || again.Epoch <= first.Epoch {
		t.Fatalf("%+v, %v: epochs must grow", again, err)
	}
	second, err := two.Take(t.Context(), feed, "http://b/x")
	if err != nil || second.Epoch <= again.Epoch || second.Before != "http://a/x" {
		t.Fatalf("%+v, %v", second, err)
	}
	if _, err := one.Confirm(t.Context(), again); !errors.Is(err, ErrLost) {
		t.Errorf("confirm of a lost lease: %v", err)
	}
	if err := one.Release(t.Context(), again, false); err != nil {
		t.Errorf("release of a lost lease: %v", err)
	}
	if _, err := two.Confirm(t.Context(), second); err != nil {
		t.Errorf("the loser's release took the winner's lease: %v", err)
	}
}

func TestReleaseKeepsOrDeletes(t *testing.T) {
	b := bucket(t)
	o := NewOwn(b, "n1", "b1", wall{}, nil)
	l, _ := o.Take(t.Context(), feed, "http://a/x")
	if err := o.Release(t.Context(), l, true); err != nil {
		t.Fatal(err)
	}
	l2, err := o.Take(t.Context(), feed, "http://a/y")
	if err != nil || l2.Before != "http://a/x" || l2.Epoch <= l.Epoch {
		t.Fatalf("%+v, %v", l2, err)
	}
	if err := o.Release(t.Context(), l2, false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), feed.String()); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("entry after release: %v", err)
	}
	l3, err := o.Take(t.Context(), feed, "http://a/z")
	if err != nil || l3.Before != "" || l3.Epoch <= l2.Epoch {
		t.Fatalf("%+v, %v", l3, err)
	}
}

// A write whose answer was lost leaves the entry ahead of the lease: it is still ours.
func TestConfirmAfterALostAnswer(t *testing.T) {
	b := bucket(t)
	o := NewOwn(b, "n1", "b1", wall{}, nil)
	l, _ := o.Take(t.Context(), feed, "s")
	ahead, err := o.Confirm(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.Confirm(t.Context(), l)
	if err != nil || got.Epoch <= ahead.Epoch {
		t.Errorf("%+v, %v", got, err)
	}
	// Another start of the same node is another owner.
	if _, err := NewOwn(b, "n1", "b2", wall{}, nil).Take(t.Context(), feed, "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Confirm(t.Context(), got); !errors.Is(err, ErrLost) {
		t.Errorf("confirm after another start took over: %v", err)
	}
}

func TestTakeOverGarbage(t *testing.T) {
	b := bucket(t)
	if _, err := b.Put(t.Context(), feed.String(), []byte("{no json"), 0); err != nil {
		t.Fatal(err)
	}
	if l, err := NewOwn(b, "n1", "b1", wall{}, nil).Take(t.Context(), feed, "s"); err != nil || l.Before != "" {
		t.Errorf("%+v, %v", l, err)
	}
}
