package fanouttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/fanout"
)

// told: gateway bytes of a Tell stand between two events, of those that were meant and in the order of the calls.
func told(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 4 << 20})
	f := feedID("told")
	w.publish(f, 3, 10)
	var cs []*client
	for range 6 {
		c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
		if _, err := c.upTo(1, 3); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	const calls = 5
	for n := range calls {
		w.engine.Engine.Tell(func(meta uint32) []byte {
			if meta%2 != 0 {
				return nil
			}
			return fmt.Appendf(nil, "event: gateway.test\ndata: %d\n\n", n)
		})
		w.publish(f, 50, 400)
	}
	for _, c := range cs {
		heard, next := 0, 4
		for next <= 3+calls*50 || c.meta%2 == 0 && heard < calls {
			e, err := c.next()
			switch {
			case err != nil:
				t.Fatalf("stream %d after event %d: %v", c.meta, next-1, err)
			case e.name == "gateway.test":
				if e.data != fmt.Sprint(heard) || c.meta%2 != 0 || e.id != "" {
					t.Fatalf("stream %d was told %+v as number %d", c.meta, e, heard)
				}
				heard++
			case e.n() != next:
				t.Fatalf("stream %d: event %d, want %d", c.meta, e.n(), next)
			default:
				next++
			}
		}
	}
}

// rechecked: a reason that is found once the stream has its place ends it before the first event.
func rechecked(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("rechecked")
	w.publish(f, 5, 10)
	check := func(reason fanout.Reason) *client {
		return w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}},
			tune: func(s *fanout.Subscriber) {
				s.Recheck = func(meta uint32) fanout.Reason {
					if meta != s.Meta {
						t.Errorf("asked about %d, want %d", meta, s.Meta)
					}
					return reason
				}
			}})
	}
	stays, ends := check(""), check("revoked")
	if err := ends.wantEnd("revoked"); err != nil {
		t.Error(err)
	}
	if e := w.end(ends.meta); e.Events != 0 {
		t.Errorf("%d events before the end", e.Events)
	}
	if _, err := stays.upTo(1, 5); err != nil {
		t.Error(err)
	}
}

// cutHard: nothing is told, and the others stay.
func cutHard(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("hard")
	w.publish(f, 3, 10)
	gone := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	stays := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	for _, c := range []*client{gone, stays} {
		if _, err := c.upTo(1, 3); err != nil {
			t.Fatal(err)
		}
	}
	w.engine.Engine.Cut(0, func(meta uint32) fanout.Reason {
		if meta == gone.meta {
			return fanout.EndRevokedHard
		}
		return ""
	})
	if rest, _ := gone.rest(); strings.Contains(rest, "gateway.end") { // how it ends is the transport's matter
		t.Errorf("told %q", rest)
	}
	if e := w.end(gone.meta); e.Reason != fanout.EndRevokedHard {
		t.Errorf("ended for %q", e.Reason)
	}
	w.publish(f, 1, 10)
	if _, err := stays.upTo(4, 4); err != nil {
		t.Error(err)
	}
}

// planned: the end of a plan's longest stream is told as such.
func planned(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	c := w.open(plan{want: fanout.Want{Feed: feedID("planned")}, tune: func(s *fanout.Subscriber) {
		s.Ends, s.EndsFor = time.Now().Add(100*time.Millisecond), fanout.EndMaxDuration
	}})
	if err := c.wantEnd(fanout.EndMaxDuration); err != nil {
		t.Error(err)
	}
}
