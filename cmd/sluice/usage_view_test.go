package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/edge/quota"
	"sluice/internal/presence"
)

// awayViewer is a source that does not answer.
type awayViewer struct{ quota.Viewer }

func (awayViewer) Usage(context.Context, string, quota.Limit) (quota.Usage, error) {
	return quota.Usage{}, errors.New("dial tcp 10.0.0.7:6379: refused")
}

// What is counted here is told by kind and id; what is not is not known, and why says nothing of servers.
func TestUsageHere(t *testing.T) {
	src, err := quota.NewMemory(quota.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	limit := quota.Limit{Events: 100, Every: 1, Unit: quota.Year}
	ask := quota.Ask{Scope: quota.PerSubscription.Scope("g"), Edge: "e", Call: 1, Window: limit.Window(time.Now()), Limit: 100, Want: 3}
	if _, err := src.Allot(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Seats(t.Context(), quota.SeatAsk{Scope: quota.PerApplication.Scope("a"), Edge: "e", More: 2, Limit: 9}); err != nil {
		t.Fatal(err)
	}
	limits := []presence.Limit{{Kind: "sub", ID: "g", Events: 100, Every: 1, Unit: "year"}, {Kind: "app", ID: "a"}}
	u := (&viewer{src, false}).usage(t.Context(), limits)
	if u.Shared || u.Why != "" || len(u.Used) != 2 || u.Used[0].Given != 3 || !u.Used[0].End.Equal(ask.Window.End) || u.Used[1].Streams != 2 || u.At.IsZero() {
		t.Errorf("%+v", u)
	}
	for _, u := range []presence.Usage{(&viewer{awayViewer{}, true}).usage(t.Context(), limits), (&viewer{src, true}).usage(t.Context(), []presence.Limit{{Kind: "jwks", ID: "x"}})} {
		if !u.Shared || u.Why == "" || len(u.Used) > 0 || strings.Contains(u.Why, "10.0.0.7") {
			t.Errorf("%+v", u)
		}
	}
}
