package fanout

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"sluice/internal/broker"
)

// A Cull takes the most lagging of all engines together, and no more than it may.
func TestCullTakesTheMostLagging(t *testing.T) {
	var ended []uint64
	lag := func(sizes ...uint64) (l []Laggard) {
		for _, n := range sizes {
			l = append(l, Laggard{Bytes: n, End: func() { ended = append(ended, n) }})
		}
		return l
	}
	c := NewCull(3)
	c.Expect(2)
	c.Offer(lag(5, 70, 1))
	c.Expect(1)
	c.Offer(lag(60, 2))
	c.Offer(lag(8, 3, 65, 4))
	if n := c.End(t.Context()); n != 3 || !slices.Equal(ended, []uint64{70, 65, 60}) {
		t.Errorf("chose %d, ended %v", n, ended)
	}
}

// An engine that does not answer costs its part, not the others'.
func TestCullWithoutAnAnswer(t *testing.T) {
	ended := 0
	c := NewCull(5)
	c.Expect(2)
	c.Offer([]Laggard{{Bytes: 1, End: func() { ended++ }}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n := c.End(ctx); n != 1 || ended != 1 {
		t.Errorf("chose %d, ended %d, want 1", n, ended)
	}
	c.Offer([]Laggard{{Bytes: 2, End: func() { ended++ }}})
	if ended != 1 {
		t.Error("a late answer ended somebody")
	}
}

// jam is a sink that takes so many bytes, then blocks until its deadline.
type jam struct {
	room int

	mu      sync.Mutex // guards what follows
	until   time.Time
	changed chan struct{} // closed and renewed with until
}

func newJam(room int) *jam { return &jam{room: room, changed: make(chan struct{})} }

func (j *jam) Write(p []byte) (int, error) {
	if j.room -= len(p); j.room >= 0 {
		return len(p), nil
	}
	for {
		j.mu.Lock()
		until, changed := j.until, j.changed
		j.mu.Unlock()
		late := time.NewTimer(time.Until(until))
		select {
		case <-changed:
			late.Stop()
		case <-late.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (j *jam) SetWriteDeadline(t time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.until = t
	close(j.changed)
	j.changed = make(chan struct{})
	return nil
}

func (j *jam) Flush() error      { return nil }
func (j *jam) Multiplexed() bool { return false }

// appendEvents publishes n events of about size bytes.
func appendEvents(l *Log, n, size int) {
	for range n {
		p := broker.Position{Seq: l.Last().Seq + 1, Micros: time.Now().UnixMicro()}
		l.Append(Frame{Pos: p, Bytes: AppendFrame(nil, fmt.Appendf(nil, "data: %0*d\n", size, p.Seq), p)})
		l.Publish()
	}
}

// Of many clients only those end whose sockets are full, the most lagging first, and
// they are told nothing.
func TestPortableLaggards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPortable(PortableConfig{Slow: Slow{Stall: time.Hour}, Heartbeat: time.Hour})
		log := NewLog(LogConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		ends := map[int]End{}
		var all sync.WaitGroup
		serve := func(id, room int) {
			all.Go(func() {
				end := p.Serve(ctx, newJam(room), Subscriber{Log: log, Meta: uint32(id), Start: Start{Cursor: log.View().Head()}})
				mu.Lock()
				defer mu.Unlock()
				ends[id] = end
			})
			synctest.Wait()
		}
		serve(1, 1<<30)
		serve(2, 100) // stuck in the first event
		appendEvents(log, 4, 1000)
		synctest.Wait()
		serve(3, 100) // joined later: less behind
		serve(4, 1<<30)
		appendEvents(log, 2, 1000)
		synctest.Wait()
		cull := func(most int) int {
			c := NewCull(most)
			p.Laggards(c)
			n := c.End(ctx)
			synctest.Wait()
			return n
		}
		if n := cull(9); n != 0 {
			t.Fatalf("%d chosen whose write had only begun", n)
		}
		time.Sleep(fullAfter)
		if n := cull(1); n != 1 || ends[2].Reason != EndMemory || ends[2].Events != 0 || len(ends) != 1 {
			t.Fatalf("chose %d, ended %v, want number 2 for %s", n, ends, EndMemory)
		}
		if n := cull(9); n != 1 || ends[3].Reason != EndMemory || len(ends) != 2 {
			t.Fatalf("chose %d, ended %v, want number 3 too", n, ends)
		}
		if n := cull(9); n != 0 {
			t.Fatalf("%d chosen of those that have everything", n)
		}
		cancel()
		all.Wait()
		if ends[1].Reason != EndClient || ends[1].Events != 6 || ends[4].Events != 2 {
			t.Errorf("the others: %v", ends)
		}
	})
}

// Who is in a write when it is to end is cut a second after its time, whatever its stall limit, and for that reason.
func TestPortableCutInAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPortable(PortableConfig{Slow: Slow{Stall: time.Hour}, Heartbeat: time.Hour})
		log := NewLog(LogConfig{})
		ended := make(chan End, 1)
		go func() {
			ended <- p.Serve(t.Context(), newJam(100), Subscriber{Log: log, Start: Start{Cursor: log.View().Head()}})
		}()
		synctest.Wait()
		appendEvents(log, 1, 1000)
		synctest.Wait() // it is in the write
		began := time.Now()
		p.Cut(0, func(uint32) Reason { return "revoked" })
		if end := <-ended; end.Reason != "revoked" || end.Events != 0 || time.Since(began) > endWrite {
			t.Errorf("%+v after %v", end, time.Since(began))
		}
	})
}

// So is who begins its write only after the cut was told.
func TestPortableCutBeforeAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPortable(PortableConfig{Slow: Slow{Stall: time.Hour}, Heartbeat: time.Hour})
		log := NewLog(LogConfig{})
		ended := make(chan End, 1)
		go func() {
			ended <- p.Serve(t.Context(), newJam(100), Subscriber{Log: log, Start: Start{Cursor: log.View().Head()}})
		}()
		synctest.Wait()
		began := time.Now()
		p.mu.Lock()
		for r := range p.readers {
			r.endFor("revoked", began.Add(time.Minute))
		}
		p.mu.Unlock()
		appendEvents(log, 1, 1000)
		if end := <-ended; end.Reason != "revoked" || time.Since(began) > time.Minute+endWrite {
			t.Errorf("%+v after %v", end, time.Since(began))
		}
	})
}

// testBlock has one event.
func testBlock() *Block {
	return newBlock(1, &broker.Block{Messages: []broker.Message{{Position: broker.Position{Seq: 1, Micros: 1}, Body: []byte("data: x\n")}}}, Identity)
}

// Who reads backlog lags, also while its socket takes everything: its block goes too.
func TestPortableLaggardInABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPortable(PortableConfig{Heartbeat: time.Hour})
		log := NewLog(LogConfig{})
		ended := make(chan End, 1)
		go func() {
			ended <- p.Serve(t.Context(), newJam(1<<30), Subscriber{Log: log, Meter: dryMeter{}, Start: Start{Block: testBlock()}})
		}()
		synctest.Wait()
		c := NewCull(1)
		p.Laggards(c)
		if n := c.End(t.Context()); n != 1 {
			t.Fatalf("%d chosen, want the one that reads backlog", n)
		}
		if e := <-ended; e.Reason != EndMemory {
			t.Errorf("ended for %q", e.Reason)
		}
	})
}

// dryMeter never grants anything.
type dryMeter struct{}

func (dryMeter) Take(int) int { return 0 }
func (dryMeter) Give(int)     {}

// nextInLog answers every question with a place in the log.
type nextInLog struct{ at Cursor }

func (n nextInLog) Resume(context.Context, broker.Position, Framing) (Start, error) {
	return Start{Cursor: n.at}, nil
}

func (n nextInLog) ResumeAsync(_ broker.Position, _ Framing, done func(Start, error)) {
	done(Start{Cursor: n.at}, nil)
}

// A stream that began in a block of backlog does not keep it once it is read: blocks
// are budgeted for all, and streams live long.
func TestPortableForgetsItsBlock(t *testing.T) {
	p := NewPortable(PortableConfig{})
	s := Subscriber{Log: NewLog(LogConfig{}), Next: nextInLog{}, Start: Start{Block: testBlock()}}
	block := weak.Make(s.Start.Block)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan End, 1)
	go func(s Subscriber) { ended <- p.Serve(ctx, newJam(1<<30), s) }(s)
	for late := time.Now().Add(20 * time.Second); block.Value() != nil; runtime.GC() {
		if time.Now().After(late) {
			t.Error("the block is still held")
			break
		}
	}
	cancel()
	if e := <-ended; e.Events != 1 {
		t.Errorf("%d events, want 1", e.Events)
	}
}
