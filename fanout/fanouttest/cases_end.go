package fanouttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/fanout"
)

func heartbeats(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Settings: Settings{Heartbeat: 50 * time.Millisecond}})
	f := feedID("beats")
	w.publish(f, 1, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	other := w.open(plan{want: fanout.Want{Feed: f}, tune: func(s *fanout.Subscriber) { s.Heartbeat = time.Hour }})
	if _, err := c.upTo(1, 1); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if line, err := c.line(); err != nil || line != ":" {
			t.Fatalf("in silence: %q, %v", line, err)
		}
	}
	w.publish(f, 2, 10)
	if _, err := c.upTo(2, 3); err != nil {
		t.Error(err)
	}
	if _, err := other.upTo(2, 3); err != nil || strings.Contains(string(other.raw), "\n:\n") {
		t.Errorf("with a heartbeat of an hour: %q, %v", other.raw, err)
	}
}

// wantEnd reads the rest of a stream and compares it.
func (c *client) wantEnd(reason fanout.Reason) error {
	rest, err := c.rest()
	if want := endText(reason); err != nil || rest != want {
		return fmt.Errorf("last bytes %q, %w, want %q", rest, err, want)
	}
	if e := c.w.end(c.meta); e.Reason != reason {
		return fmt.Errorf("ended for %q, want %q", e.Reason, reason)
	}
	return nil
}

func life(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("life")
	w.publish(f, 5, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}},
		tune: func(s *fanout.Subscriber) { s.Ends = time.Now().Add(300 * time.Millisecond) }})
	if _, err := c.upTo(1, 5); err != nil {
		t.Fatal(err)
	}
	if err := c.wantEnd(fanout.EndLifetime); err != nil {
		t.Error(err)
	}
}

func cut(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("cut")
	w.publish(f, 5, 10)
	var cs []*client
	for range 20 {
		c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
		if _, err := c.upTo(1, 5); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	w.engine.Engine.Cut(100*time.Millisecond, func(meta uint32) fanout.Reason {
		if meta%2 == 0 {
			return "revoked"
		}
		return ""
	})
	for _, c := range cs {
		if c.meta%2 != 0 {
			continue
		}
		if err := c.wantEnd("revoked"); err != nil {
			t.Errorf("stream %d: %v", c.meta, err)
		}
	}
	w.publish(f, 2, 10)
	for _, c := range cs {
		if c.meta%2 == 0 {
			continue
		}
		if _, err := c.upTo(6, 7); err != nil {
			t.Errorf("stream %d was not meant: %v", c.meta, err)
		}
	}
	if n := w.engine.Engine.Count(); n != 10 {
		t.Errorf("%d streams left", n)
	}
}

// drain: everybody ends between two events, is told, and has lost nothing until then.
func drain(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 4 << 20})
	f := feedID("drain")
	w.publish(f, 5, 10)
	var wg sync.WaitGroup
	for range 40 {
		c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
		wg.Go(func() {
			for n := 1; ; n++ {
				e, err := c.next()
				if err != nil {
					t.Errorf("stream %d ended without a word after %d: %v", c.meta, n-1, err)
					return
				}
				if e.name == "gateway.end" {
					if !e.retry || e.data != `{"reason":"drain"}` || n < 6 {
						t.Errorf("stream %d: last event %+v after %d", c.meta, e, n-1)
					}
					break
				}
				if e.n() != n {
					t.Errorf("stream %d: event %d, want %d", c.meta, e.n(), n)
					return
				}
			}
			if rest, err := c.rest(); rest != "" || err != nil {
				t.Errorf("stream %d: %q behind the end, %v", c.meta, rest, err)
			}
		})
	}
	w.until("all are served", func() bool { return w.engine.Engine.Count() == 40 })
	for range 20 {
		w.publish(f, 5, 50)
	}
	if err := w.engine.Engine.Drain(context.Background(), 400*time.Millisecond); err != nil {
		t.Errorf("drain: %v", err)
	}
	wg.Wait()
	if n := w.engine.Engine.Count(); n != 0 {
		t.Errorf("%d streams after the drain", n)
	}
}

func feedEnds(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("ends")
	w.publish(f, 3, 10)
	a := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	b := w.open(plan{want: fanout.Want{Feed: f}})
	if _, err := a.upTo(1, 3); err != nil {
		t.Fatal(err)
	}
	w.hub.CloseFeed(f, "topic-deleted")
	for _, c := range []*client{a, b} {
		if err := c.wantEnd("topic-deleted"); err != nil {
			t.Error(err)
		}
	}
}

func halfClose(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("half")
	w.publish(f, 3, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	if _, err := c.upTo(1, 3); err != nil {
		t.Fatal(err)
	}
	w.check(c.conn.CloseWrite())
	if e := w.end(c.meta); e.Reason != fanout.EndClient || e.Events != 3 {
		t.Errorf("end %+v", e)
	}
}

func resets(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("resets")
	w.publish(f, 3, 10)
	for range 20 {
		c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
		if _, err := c.upTo(1, 3); err != nil {
			t.Fatal(err)
		}
		w.check(c.conn.SetLinger(0))
		c.conn.Close()
		if e := w.end(c.meta); e.Reason != fanout.EndClient && e.Reason != fanout.EndError {
			t.Errorf("end %+v", e)
		}
	}
}

// pipelined: what a client sends behind its request is never answered and does not
// hurt the stream; much of it may end it.
func pipelined(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("pipelined")
	w.publish(f, 3, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	if _, err := c.upTo(1, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write([]byte("GET /?plan=0 HTTP/1.1\r\nHost: suite\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	w.publish(f, 3, 10)
	if _, err := c.upTo(4, 6); err != nil {
		t.Fatalf("after a second request: %v", err)
	}
	want := retryLine + frames(w.stored(f))
	if string(c.raw) != want {
		t.Error(part(string(c.raw), want))
	}
}

// coalesce: batches, but nothing lost, and the first event after a pause at once.
func coalesce(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Settings: Settings{Coalesce: 50 * time.Millisecond}})
	f := feedID("coalesce")
	w.publish(f, 1, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}})
	if _, err := c.upTo(1, 1); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.publish(f, 7, 40)
	}
	if _, err := c.upTo(2, 71); err != nil {
		t.Error(err)
	}
}
