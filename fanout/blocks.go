package fanout

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"sluice/internal/broker"
)

// blockCache holds encoded blocks of backlog. Reads are aligned, so that clients
// with thousands of different ids share them, and each is made by one fetch however
// many wait for it.
type blockCache struct {
	direct broker.Direct
	turns  *turns
	met    *metrics
	// spawn runs a fetch apart from the callers that wait for it.
	spawn func(func(context.Context)) bool

	mu    sync.Mutex // guards all below
	limit int64
	held  int64
	sets  map[blockKey]*blockSet
	lru   *list.List // of *cached; front = newest use
}

// blockKey names what blocks of one row have in common.
type blockKey struct {
	feed    broker.FeedID
	framing Framing
}

// blockSet is one feed's row of blocks, without overlap.
type blockSet struct {
	key     blockKey
	blocks  []*cached // by from
	pending []*fetch
	life    *atomic.Uint64
	span    uint64 // sequences that about one block's worth of events takes; 0 = not known yet
}

type cached struct {
	*Block
	set  *blockSet
	elem *list.Element
}

type fetch struct {
	from  uint64
	done  chan struct{}
	block *Block // set before done is closed
	err   error
	gone  bool // its row was dropped meanwhile: not to be kept
}

func newBlockCache(d broker.Direct, fetches int, limit int64, met *metrics, spawn func(func(context.Context)) bool) *blockCache {
	return &blockCache{direct: d, turns: newTurns(fetches), met: met, spawn: spawn, limit: limit,
		sets: map[blockKey]*blockSet{}, lru: list.New()}
}

// at returns the block that covers seq. A block whose range ends at or below seq
// says that nothing was stored at seq or above it. hint is the feed's sequences per
// event as far as known, 0 = unknown. life counts the feed's lives: blocks of
// different ones have no seam. errOtherLife: a new life was found, begin again.
func (c *blockCache) at(ctx context.Context, f broker.FeedID, life *atomic.Uint64, fr Framing, seq, hint uint64) (*Block, error) {
	key := blockKey{f, fr}
	seq = max(seq, 1)
	for {
		c.mu.Lock()
		s := c.sets[key]
		if s == nil {
			s = &blockSet{key: key, life: life}
			c.sets[key] = s
		}
		if s.span == 0 && hint > 0 {
			s.span = spanOf(hint)
		}
		if b := s.covering(seq); b != nil {
			c.lru.MoveToFront(b.elem)
			c.mu.Unlock()
			c.met.blockHit()
			return b.Block, nil
		}
		p := s.pendingFor(seq)
		if p == nil {
			p = &fetch{from: s.align(seq), done: make(chan struct{})}
			s.pending = append(s.pending, p)
			if !c.spawn(func(ctx context.Context) { c.fetch(ctx, s, p) }) {
				s.finish(p)
				c.mu.Unlock()
				return nil, ErrUnavailable
			}
		}
		c.mu.Unlock()
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if p.err != nil {
			return nil, p.err
		}
		if p.gone { // what it read may be of the life before
			continue
		}
		if b := p.block; b.from <= seq && (seq < b.to || !b.more) {
			return b, nil
		}
	}
}

// fetch reads one block and files it. The store may have been restored since its
// neighbours were read, so a seam is made only where both sides hold one and the
// same event: else the older side is given up.
func (c *blockCache) fetch(ctx context.Context, s *blockSet, p *fetch) {
	c.mu.Lock()
	before, life := s.endingAt(p.from), s.life.Load()
	c.mu.Unlock()
	b, err := c.read(ctx, s.key, p.from, before)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(p.done)
	s.finish(p)
	if p.err = err; err != nil {
		if errors.Is(err, errOtherLife) {
			s.life.Add(1)
			c.clear(s)
		}
		c.forget(s)
		return
	}
	b.life = life
	s.learn(b)
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].from > p.from })
	if i < len(s.blocks) {
		joined, same := b.meet(s.blocks[i].Block)
		if same {
			b = joined
		} else {
			b.life = s.life.Add(1)
			c.clear(s)
			i = 0
		}
	}
	p.block = b
	if b.to == b.from || p.gone || i > 0 && s.blocks[i-1].to > b.from {
		c.forget(s)
		return
	}
	if c.sets[s.key] == nil { // cleared just now
		c.sets[s.key] = s
	}
	if c.sets[s.key] != s {
		return
	}
	e := &cached{Block: b, set: s}
	e.elem = c.lru.PushFront(e)
	s.blocks = slices.Insert(s.blocks, i, e)
	c.held += b.size()
	c.evict(c.limit)
}

var errOtherLife = errors.New("the store has another event at a known place")

// read reads the block that begins at from. before is the last event of the block
// that ends there, zero = none: it is read again, to see that it is still the same.
func (c *blockCache) read(ctx context.Context, k blockKey, from uint64, before broker.Position) (*Block, error) {
	if err := c.turns.take(ctx, k.feed.API); err != nil {
		return nil, err
	}
	defer c.turns.give()
	c.met.blockFetch()
	var r broker.Block
	start := max(from, 1)
	if !before.IsZero() {
		start = before.Seq
	}
	if err := c.direct.Read(ctx, k.feed, broker.From{Seq: start}, &r); err != nil {
		return nil, fmt.Errorf("feed %s: read backlog from %d: %w", k.feed, start, err)
	}
	if !before.IsZero() && len(r.Messages) > 0 {
		switch m := &r.Messages[0]; {
		case m.Position == before:
			r.Messages = r.Messages[1:]
		case m.Seq < from: // it was replaced
			return nil, errOtherLife
		}
		if len(r.Messages) == 0 && r.More { // it is so large that it filled the read alone
			if err := c.direct.Read(ctx, k.feed, broker.From{Seq: from}, &r); err != nil {
				return nil, fmt.Errorf("feed %s: read backlog from %d: %w", k.feed, from, err)
			}
		}
	}
	return newBlock(from, &r, k.framing), nil
}

// evict gives up blocks that were not used for longest until at most limit bytes
// are held.
func (c *blockCache) evict(limit int64) {
	for c.held > limit && c.lru.Len() > 0 {
		c.remove(c.lru.Back().Value.(*cached))
	}
}

func (c *blockCache) remove(e *cached) {
	c.lru.Remove(e.elem)
	c.held -= e.size()
	s := e.set
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].from >= e.from })
	s.blocks = slices.Delete(s.blocks, i, i+1)
	c.forget(s)
}

// forget gives up a row that holds nothing.
func (c *blockCache) forget(s *blockSet) {
	if len(s.blocks) == 0 && len(s.pending) == 0 && c.sets[s.key] == s {
		delete(c.sets, s.key)
	}
}

// drop gives up all blocks of a feed: it began a new life, or its definition went.
func (c *blockCache) drop(f broker.FeedID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fr := range []Framing{Identity, Chunked} {
		if s := c.sets[blockKey{f, fr}]; s != nil {
			c.clear(s)
		}
	}
}

// clear gives up all blocks of a row, and what is being read for it.
func (c *blockCache) clear(s *blockSet) {
	for _, p := range s.pending {
		p.gone = true
	}
	for len(s.blocks) > 0 {
		c.remove(s.blocks[len(s.blocks)-1])
	}
}

// shrink gives up blocks until at most limit bytes are held; bytes is what is held.
func (c *blockCache) shrink(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evict(max(0, limit))
}

func (c *blockCache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// covering returns the block in whose range seq lies.
func (s *blockSet) covering(seq uint64) *cached {
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].from > seq }) - 1
	if i < 0 || seq >= s.blocks[i].to {
		return nil
	}
	return s.blocks[i]
}

// pendingFor returns the fetch that will probably cover seq. While nothing is known
// of the feed's density one fetch at a time finds it out.
func (s *blockSet) pendingFor(seq uint64) *fetch {
	for _, p := range s.pending {
		if s.span == 0 || p.from <= seq && seq < p.from+s.span {
			return p
		}
	}
	return nil
}

func (s *blockSet) finish(p *fetch) {
	s.pending = slices.DeleteFunc(s.pending, func(o *fetch) bool { return o == p })
}

// align returns where the read for seq begins: at a multiple of the span, but not
// below what a block holds already.
func (s *blockSet) align(seq uint64) uint64 {
	from := max(seq, 1)
	if s.span > 0 {
		from = max(seq&^(s.span-1), 1)
	}
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].from > seq }) - 1
	if i >= 0 {
		from = max(from, s.blocks[i].to)
	}
	return from
}

// endingAt is the last event of the block that ends at seq, zero if there is none.
func (s *blockSet) endingAt(seq uint64) broker.Position {
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].from >= seq }) - 1
	if i < 0 || s.blocks[i].to != seq {
		return broker.Position{}
	}
	return s.blocks[i].Last
}

// learn takes the feed's density from a block that was read whole.
func (s *blockSet) learn(b *Block) {
	n := b.events()
	switch {
	case n >= 2 && b.more:
		s.span = 1 << (bits.Len64(max(1, b.to-b.index[0].pos.Seq)) - 1)
	case n >= 16 && s.span == 0:
		s.span = spanOf((b.Last.Seq - b.index[0].pos.Seq) / uint64(n-1))
	}
}

// spanOf is the span of a feed with one event per density sequences.
func spanOf(density uint64) uint64 {
	return 1 << (bits.Len64(max(1, density)*broker.BlockMessages) - 1)
}
