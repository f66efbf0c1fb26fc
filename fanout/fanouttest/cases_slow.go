package fanouttest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/fanout"
)

// stopped opens a reader that is live, has one event, and then takes nothing.
func (w *world) stopped(name string, slow fanout.Slow) *client {
	w.t.Helper()
	f := feedID(name)
	w.publish(f, 1, 10)
	c, err := w.dial(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtLast, N: 1}}, tune: func(s *fanout.Subscriber) { s.Slow = slow }}, 4096)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.conn.Close() })
	if _, err := c.upTo(1, 1); err != nil {
		w.t.Fatal(err)
	}
	return c
}

const flood = 2000 // events of 1 KB: far more than sockets hold

func slowDrop(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 4 << 20})
	c := w.stopped("drop", fanout.Slow{Lag: 64 << 10, SoftLag: 32 << 10, Stall: 500 * time.Millisecond})
	w.publish(feedID("drop"), flood, 1000)
	if e := w.end(c.meta); e.Reason != fanout.EndSlow && e.Reason != fanout.EndStall {
		t.Errorf("ended for %q", e.Reason)
	}
	last, err := c.upTo(2, flood+1)
	if err == nil {
		t.Fatal("the dropped reader got everything")
	}
	from := last.n()
	if from == 0 { // nothing whole came behind the first event
		from = 1
	}
	ms := w.stored(feedID("drop"))
	again := w.open(plan{want: fanout.Want{Feed: feedID("drop"), At: fanout.At{Kind: fanout.AtID, Pos: ms[from-1].Position}}})
	if _, err := again.upTo(from+1, flood+1); err != nil {
		t.Errorf("resumed: %v", err)
	}
}

func slowBacklog(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 64 << 10})
	c := w.stopped("backlog", fanout.Slow{Policy: fanout.Backlog, Lag: 64 << 10, SoftLag: 32 << 10, Stall: generously})
	w.publish(feedID("backlog"), flood, 1000)
	if _, err := c.upTo(2, flood+1); err != nil {
		t.Error(err)
	}
	want := retryLine + frames(w.stored(feedID("backlog")))
	if string(c.raw) != want {
		t.Error(part(string(c.raw), want))
	}
}

// oversize: one event above the whole window takes everything before it out of the log
// while readers are in the middle of that; policy backlog loses nothing.
func oversize(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 256 << 10})
	f := feedID("oversize")
	w.publish(f, 1, 10)
	backlog := func(s *fanout.Subscriber) { s.Slow = fanout.Slow{Policy: fanout.Backlog, Stall: generously} }
	var readers []*client
	for range 4 {
		readers = append(readers, w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, tune: backlog}))
	}
	for _, size := range []int{70 << 10, 1, 900 << 10, 10, 1<<20 - 100, 200 << 10, 1<<20 - 100, 500} {
		w.publish(f, 1, size)
	}
	readers = append(readers, w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, tune: backlog}))
	want := retryLine + frames(w.stored(f))
	for i, c := range readers {
		if _, err := c.upTo(1, 9); err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
		if string(c.raw) != want {
			t.Errorf("reader %d: %s", i, part(string(c.raw), want))
		}
	}
}

// burst: far more than the window and than a few blocks comes faster than any reader
// takes it. Who reads on is not slow: policy backlog cuts nobody.
func burst(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 256 << 10})
	f := feedID("burst")
	w.publish(f, 1, 10)
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}},
		tune: func(s *fanout.Subscriber) { s.Slow = fanout.Slow{Policy: fanout.Backlog, Stall: generously} }})
	if _, err := c.upTo(1, 1); err != nil {
		t.Fatal(err)
	}
	const events = 12_000
	w.publish(f, events, 1000)
	if _, err := c.upTo(2, events+1); err != nil {
		t.Error(err)
	}
}

// slowLatest: the feed is quiet after the flood, and still its newest event comes, behind
// a gap that says exactly what is missing.
func slowLatest(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 256 << 10})
	c := w.stopped("latest", fanout.Slow{Policy: fanout.Latest, Lag: 64 << 10, SoftLag: 32 << 10, Stall: generously})
	f := feedID("latest")
	w.publish(f, flood, 1000)
	ms := w.stored(f)
	w.until("the log has the flood", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.plans[c.meta].log.Last() == ms[flood].Position
	})
	have, lastID, gaps := 1, "", 0
	var gap struct {
		Reason   string  `json:"reason"`
		From     *string `json:"from"`
		To       *string `json:"to"`
		Possible bool    `json:"possible"`
		Missed   int     `json:"missed"`
	}
	lastID = string(fanout.AppendID(nil, ms[0].Position))
	for have < len(ms) {
		e, err := c.next()
		if err != nil {
			t.Fatalf("after %d: %v", have, err)
		}
		if e.name == "gateway.gap" {
			gaps++
			if err := json.Unmarshal([]byte(e.data), &gap); err != nil || gap.Reason != "slow" || gap.From == nil || *gap.From != lastID || gap.Possible || gap.Missed <= 0 || e.id != "" {
				t.Fatalf("gap behind %s: %+v %v", lastID, e, err)
			}
			have += gap.Missed
			if have >= len(ms) || gap.To == nil || *gap.To != string(fanout.AppendID(nil, ms[have].Position)) {
				t.Fatalf("%d events told or sent, gap %+v does not lead to the next", have, e)
			}
			continue
		}
		if e.n() != have+1 {
			t.Fatalf("event %d, want %d: missed was wrong", e.n(), have+1)
		}
		have, lastID = e.n(), e.id
	}
	if gaps == 0 {
		t.Error("no gap was told")
	}
	c.conn.Close()
	if e := w.end(c.meta); int(e.Gaps) != gaps {
		t.Errorf("end says %d gaps, %d were told", e.Gaps, gaps)
	}
}

// smallBuffers: readers with little room, all of them reading: nothing is lost where
// sends are short.
func smallBuffers(t *testing.T, launch Launch, chunked bool) {
	readers, events := 50, 500
	if testing.Short() {
		readers, events = 15, 200
	}
	w := newWorld(t, launch, chunked, worldConfig{Window: 8 << 20})
	f := feedID("small")
	w.publish(f, 1, 10)
	var wg sync.WaitGroup
	errs := make(chan error, readers)
	for i := range readers {
		c, err := w.dial(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}}, 4096)
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		wg.Go(func() {
			if _, err := c.upTo(1, events); err != nil {
				errs <- fmt.Errorf("reader %d: %w", i, err)
			}
		})
	}
	for n := 1; n < events; {
		k := min(7, events-n)
		w.publish(f, k, 300+n*3)
		n += k
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func stalls(t *testing.T, launch Launch, chunked bool) {
	for name, policy := range map[string]fanout.Policy{"drop": fanout.Drop, "backlog": fanout.Backlog, "latest": fanout.Latest} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, launch, chunked, worldConfig{Window: 8 << 20})
			c := w.stopped("stall", fanout.Slow{Policy: policy, Lag: 64 << 20, SoftLag: 64 << 20, Stall: 400 * time.Millisecond})
			w.publish(feedID("stall"), flood, 1000)
			if e := w.end(c.meta); e.Reason != fanout.EndStall {
				t.Errorf("ended for %q", e.Reason)
			}
		})
	}
}
