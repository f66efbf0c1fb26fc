package brokertest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"sluice/internal/broker"
)

// faults is the state of the faults that work on what passes between a node and its
// user; the same code serves the real broker and Memory.
type faults struct {
	reads atomic.Int64

	mu    sync.Mutex
	every int                   // guarded by mu
	seen  int                   // guarded by mu
	last  map[broker.FeedID]int // guarded by mu: events still to be thrown away
	hold  int                   // guarded by mu
}

// DropLive implements Faults.
func (x *faults) DropLive(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.every, x.seen = n, 0
}

// DropLast implements Faults.
func (x *faults) DropLast(f broker.FeedID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last == nil {
		x.last = map[broker.FeedID]int{}
	}
	x.last[f]++
}

// HoldAck implements Faults.
func (x *faults) HoldAck(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold = n
}

// Reads implements Faults.
func (x *faults) Reads() int { return int(x.reads.Load()) }

func (x *faults) dropped(d *broker.Delivery) bool {
	if d.Kind != broker.KindMessage {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last[d.Feed] > 0 {
		x.last[d.Feed]--
		return true
	}
	if x.every == 0 {
		return false
	}
	x.seen++
	return x.seen%x.every == 0
}

func (x *faults) held() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold == 0 {
		return false
	}
	x.hold--
	return true
}

// faultyLive throws live events away.
type faultyLive struct {
	broker.Live
	x *faults
}

func (l faultyLive) Next(ctx context.Context, buf []broker.Delivery) (int, error) {
	for {
		n, err := l.Live.Next(ctx, buf)
		if err != nil {
			return n, err
		}
		kept := 0
		for i := range buf[:n] {
			if !l.x.dropped(&buf[i]) {
				buf[kept] = buf[i]
				kept++
			}
		}
		if kept > 0 {
			return kept, nil
		}
	}
}

// faultyWriter loses answers.
type faultyWriter struct {
	broker.Writer
	x *faults
}

func (w faultyWriter) Commit(ctx context.Context, f broker.FeedID, c *broker.Commit) (broker.Position, error) {
	if !w.x.held() {
		return w.Writer.Commit(ctx, f, c)
	}
	// A copy: c must not learn that it is stored.
	lost := &broker.Commit{Epoch: c.Epoch, Tx: c.Tx, Prev: c.Prev, Path: c.Path, Events: c.Events, Force: c.Force}
	if p, err := w.Writer.Commit(ctx, f, lost); err != nil {
		return p, err
	}
	return broker.Position{}, fmt.Errorf("feed %s: answer held back: %w", f, broker.ErrUnknownOutcome)
}

// countingDirect counts reads.
type countingDirect struct {
	broker.Direct
	x *faults
}

func (d countingDirect) Read(ctx context.Context, f broker.FeedID, from broker.From, b *broker.Block) error {
	d.x.reads.Add(1)
	return d.Direct.Read(ctx, f, from, b)
}

func (d countingDirect) LastOf(ctx context.Context, api string, feeds []broker.FeedID, out []broker.Position) error {
	d.x.reads.Add(1)
	return d.Direct.LastOf(ctx, api, feeds, out)
}

func (d countingDirect) LastMessage(ctx context.Context, f broker.FeedID) (broker.Message, error) {
	d.x.reads.Add(1)
	return d.Direct.LastMessage(ctx, f)
}
