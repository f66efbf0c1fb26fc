package fanout

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Cull ends the most lagging of several engines' streams, to free memory: make one,
// give it to each engine's Laggards, then call End, or Found to look only, once.
//
// A stream lags by the bytes of its feed that its client was not sent. Engines offer
// only streams that wait for their client, its socket being full, or that read backlog:
// who has everything, or is being sent it now, holds nothing that an end would free.
type Cull struct {
	most int

	mu    sync.Mutex // guards what follows
	left  int        // answers to come, End's own included
	found []Laggard  // the most lagging so far, at most most
	all   chan struct{}
}

// Laggard is a stream that lags.
type Laggard struct {
	Bytes uint64
	// End ends it at once with EndMemory, if it still lags. It is called by any
	// goroutine, perhaps after the stream has ended otherwise, and does not block.
	End func()
}

// NewCull makes a Cull of at most so many streams.
func NewCull(most int) *Cull { return &Cull{most: max(most, 0), left: 1, all: make(chan struct{})} }

// Most is how many streams may end; nobody needs to offer more.
func (c *Cull) Most() int { return c.most }

// Expect announces so many calls of Offer. Engines call it within Laggards.
func (c *Cull) Expect(answers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left += answers
}

// Offer is one answer: the most lagging streams of an engine or of a part of it.
func (c *Cull) Offer(l []Laggard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = mostLagging(append(c.found, l...), c.most)
	if c.left--; c.left == 0 {
		close(c.all)
	}
}

// End waits for the answers, or for the end of ctx, ends the most lagging streams and
// returns how many it chose.
func (c *Cull) End(ctx context.Context) int {
	chosen := c.Found(ctx)
	for _, l := range chosen {
		l.End()
	}
	return len(chosen)
}

// Found waits for the answers, or for the end of ctx, and returns the most lagging
// streams, the first most of all. They go on.
func (c *Cull) Found(ctx context.Context) []Laggard {
	c.Offer(nil)
	select {
	case <-c.all:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.found
	c.found = nil
	return found
}

// mostLagging reorders l and returns the n that lag most.
func mostLagging(l []Laggard, n int) []Laggard {
	slices.SortStableFunc(l, func(a, b Laggard) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return l[:min(n, len(l))]
}
