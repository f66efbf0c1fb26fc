package fanouttest

import (
	"fmt"
	"testing"

	"sluice/fanout"
	"sluice/internal/broker"
)

// starts: every kind of start gets exactly the stored frames from its place on, cold
// and warm, and goes on live without a seam.
func starts(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("starts")
	w.publish(f, 700, 120)
	id := func(i func(n int) int) func([]broker.Message) fanout.At {
		return func(ms []broker.Message) fanout.At { return fanout.At{Kind: fanout.AtID, Pos: ms[i(len(ms))].Position} }
	}
	is := func(a fanout.At) func([]broker.Message) fanout.At {
		return func([]broker.Message) fanout.At { return a }
	}
	for _, temper := range []string{"cold", "warm"} {
		for _, c := range []struct {
			name string
			at   func([]broker.Message) fanout.At
			from func(n int) int // of n stored events the first one expected, from 0
			gap  *fanout.Gap
		}{
			{"live", is(fanout.At{}), func(n int) int { return n }, nil},
			{"earliest", is(fanout.At{Kind: fanout.AtEarliest}), func(int) int { return 0 }, nil},
			{"first id", id(func(int) int { return 0 }), func(int) int { return 1 }, nil},
			{"middle id", id(func(n int) int { return n / 2 }), func(n int) int { return n/2 + 1 }, nil},
			{"newest id", id(func(n int) int { return n - 1 }), func(n int) int { return n }, nil},
			{"last 1", is(fanout.At{Kind: fanout.AtLast, N: 1}), func(n int) int { return n - 1 }, nil},
			{"last 500", is(fanout.At{Kind: fanout.AtLast, N: 500}), func(n int) int { return n - 500 }, nil},
			{"no such id", is(fanout.At{Kind: fanout.AtBadID}), func(n int) int { return n }, &fanout.Gap{Reason: fanout.GapUnknown, Possible: true}},
		} {
			ms := w.stored(f)
			from := c.from(len(ms)) + 1
			r := w.open(plan{want: fanout.Want{Feed: f, At: c.at(ms)}})
			want := retryLine
			if c.gap != nil {
				want += string(fanout.AppendGap(nil, *c.gap))
				if e, err := r.next(); err != nil || e.name != "gateway.gap" {
					t.Fatalf("%s %s: %+v, %v", temper, c.name, e, err)
				}
			}
			w.publish(f, 3, 120)
			if _, err := r.upTo(from, len(ms)+3); err != nil {
				t.Fatalf("%s %s: %v", temper, c.name, err)
			}
			all := w.stored(f)
			if want += frames(all[from-1:]); string(r.raw) != want {
				t.Fatalf("%s %s: body is not the stored frames: %s", temper, c.name, part(string(r.raw), want))
			}
			r.conn.Close()
			if e := w.end(r.meta); e.Events != uint64(len(all)-from+1) || e.Last != all[len(all)-1].Position {
				t.Errorf("%s %s: end %+v, want %d events up to %v", temper, c.name, e, len(all)-from+1, all[len(all)-1].Position)
			}
		}
	}
}

// part shows where two texts part.
func part(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-80)
	return fmt.Sprintf("%d and %d bytes part at %d:\n%q\n%q", len(got), len(want), i, got[from:min(len(got), i+80)], want[from:min(len(want), i+80)])
}

// largeEvents: frames larger than segments, windows and writes come whole.
func largeEvents(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Settings: Settings{Slow: fanout.Slow{Lag: 64 << 20, SoftLag: 64 << 20}}, Window: 256 << 10})
	f := feedID("large")
	w.publish(f, 1, 10)
	live := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, tune: func(s *fanout.Subscriber) { s.Slow.Policy = fanout.Backlog }})
	for _, size := range []int{70 << 10, 1, 200 << 10, 64 << 10, 500} {
		w.publish(f, 1, size)
	}
	replay := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, tune: func(s *fanout.Subscriber) { s.Slow.Policy = fanout.Backlog }})
	want := retryLine + frames(w.stored(f))
	for name, c := range map[string]*client{"live": live, "replay": replay} {
		if _, err := c.upTo(1, 6); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if string(c.raw) != want {
			t.Errorf("%s: %s", name, part(string(c.raw), want))
		}
	}
}
