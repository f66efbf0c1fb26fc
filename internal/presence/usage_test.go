package presence

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/broker/brokertest"
)

func TestUsageIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		at := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
		limits := []Limit{{Kind: "sub", ID: "g", Events: 100, Every: 1, Unit: "day"}, {Kind: "app", ID: "a"}}
		want := Usage{At: at, Used: []Used{{Start: at, End: at.Add(time.Hour), Given: 7, Spent: 5, Streams: 2}, {Streams: 3}}}
		say, hang := want, make(chan struct{})
		teller, err := NewTeller(TellerConfig{Bus: m.Peer().Bus(), Node: "a", Say: func() Edge { return Edge{Node: "a", Boot: "b"} },
			Moved: func() <-chan struct{} { return nil }, Clients: func(string, string, bool) []Feed { return nil }, Figures: func() Figures { return Figures{} }, Log: slog.New(slog.DiscardHandler),
			Usage: func(ctx context.Context, got []Limit) Usage {
				if diff := cmp.Diff(limits, got); diff != "" {
					t.Error(diff)
				}
				select {
				case <-hang:
				case <-ctx.Done():
				}
				return say
			}})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, teller.Run)
		startEdge(t, m.Peer().Bus(), "old", 1) // counts nothing
		synctest.Wait()
		bus := m.Peer().Bus()
		ask := func(node string) (Usage, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return AskUsage(ctx, bus, node, limits)
		}
		if got, err := ask("a"); err != nil || !cmp.Equal(got, want) { // it answers when its time is over
			t.Errorf("%+v, %v", got, err)
		}
		close(hang)
		if _, err := ask("old"); err == nil {
			t.Error("an edge that counts nothing told something")
		}
		say = Usage{Why: "away"}
		if got, err := ask("a"); err != nil || got.Why != "away" {
			t.Errorf("%+v, %v", got, err)
		}
		say = Usage{Used: want.Used[:1]}
		if got, err := ask("a"); err == nil {
			t.Errorf("half an answer: %+v", got)
		}
		stop()
	})
}

// Edges that count apart are added, one that counts for all is enough, and who is not in the newest window counts nothing of it.
func TestUsageIsSummed(t *testing.T) {
	at := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
	now, before := Used{Start: at, End: at.Add(time.Minute), Given: 7, Spent: 5, Streams: 2}, Used{Start: at.Add(-time.Minute), End: at, Given: 50, Spent: 50, Streams: 4}
	of := func(u ...Used) Usage { return Usage{At: at, Used: u} }
	shared := Usage{Shared: true, At: at, Used: []Used{{Given: 1}}}
	for name, c := range map[string]struct {
		answers []Usage
		want    Usage
	}{
		"nobody":            {nil, Usage{Why: "no edge tells"}},
		"none that knows":   {[]Usage{{Why: "away"}}, Usage{Why: "away"}},
		"one":               {[]Usage{of(now)}, of(now)},
		"two":               {[]Usage{of(now), of(now)}, of(Used{now.Start, now.End, 14, 10, 4})},
		"one knows nothing": {[]Usage{{Why: "away"}, of(now)}, of(now)},
		"one is late":       {[]Usage{of(before), of(now)}, of(Used{now.Start, now.End, 7, 5, 6})},
		"one is early":      {[]Usage{of(now), of(before)}, of(Used{now.Start, now.End, 7, 5, 6})},
		"one for all":       {[]Usage{of(now), shared, shared}, shared},
		"only streams":      {[]Usage{of(Used{Streams: 1}), of(Used{Streams: 2})}, of(Used{Streams: 3})},
	} {
		got := Sum(c.answers)
		if c.want.Used != nil {
			got.Why = "" // of one that is not needed
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := Sum([]Usage{{Why: "away"}, of(now)}); got.Why != "" {
		t.Errorf("known, and why not: %q", got.Why)
	}
}
