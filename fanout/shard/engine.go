//go:build linux

package shard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/fanout"
)

// Engine serves plaintext HTTP/1.1 connections. Its methods may be called by any
// goroutine, before Run too: what they ask for is done once Run works.
type Engine struct {
	cfg      Config
	shards   []*shard
	draining atomic.Bool
	running  atomic.Bool
}

// New makes an engine. It starts nothing and opens nothing.
func New(cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg.withDefaults()}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("shard engine: %w", err)
	}
	epoch := time.Now() // one for all: ticks that come together wake the process once
	for i := range e.cfg.Shards {
		e.shards = append(e.shards, newShard(&e.cfg, m.shard(i), epoch))
	}
	return e, nil
}

// Run works until ctx ends, closes every socket and returns when all shards are
// gone. A shard that cannot work ends them all with its error. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("shard engine: Run called twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(e.shards))
	var all sync.WaitGroup
	for i, s := range e.shards {
		all.Go(func() {
			if err := s.run(ctx); err != nil {
				errs[i] = fmt.Errorf("shard %d: %w", i, err)
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Adopt takes over the socket of c, a hijacked connection of which nothing is
// buffered, and serves s on it; it returns at once. After nil the engine owns the
// socket and c is closed: the caller forgets c and all that belongs to it. After an
// error c is untouched. s.Head is not copied and must not change.
func (e *Engine) Adopt(c net.Conn, s fanout.Subscriber) error {
	if e.draining.Load() {
		return ErrDraining
	}
	fd, err := takeSocket(c)
	if err != nil {
		return err
	}
	to := e.shards[0]
	for _, o := range e.shards[1:] {
		if o.count.Load() < to.count.Load() {
			to = o
		}
	}
	to.count.Add(1)
	if !to.in.put(message{join: &joining{fd: fd, sub: s}}) {
		to.count.Add(-1)
		closeSoft(fd)
		return ErrClosed
	}
	_ = c.Close() // lets Go's poller forget the socket; our descriptor keeps it open
	return nil
}

// Count is how many connections the engine owns, those on their way in included.
func (e *Engine) Count() int {
	var n int64
	for _, s := range e.shards {
		n += s.count.Load()
	}
	return int(n)
}

// Cut ends every connection for which why answers a reason; "" = stays. They are
// looked at evenly over the time given, 0 = at once, and ended at an entry boundary
// with the end bytes of the reason; a client whose socket is full gets none. Cut
// returns at once. why is called on shards' goroutines, by several at a time and
// after Cut returned: it must be cheap. Who joins later is not asked about.
func (e *Engine) Cut(over time.Duration, why func(meta uint32) fanout.Reason) {
	for _, s := range e.shards {
		s.in.put(message{cut: &cut{why: why, over: over}})
	}
}

// Tell sends gateway bytes, in whole events, to the connections for which what answers
// some: between two events and in the order of the calls. One whose socket stays full for ten
// seconds is told nothing, nor is one that stands in an event while 16 a client wait already.
// Tell returns at once; what is called as why of a Cut is, and what it returned must not
// change afterwards. Who joins later is not asked about.
func (e *Engine) Tell(what func(meta uint32) []byte) {
	for _, s := range e.shards {
		s.in.put(message{cut: &cut{what: what}})
	}
}

// Laggards offers c the connections that lag most: those whose socket is full and those
// that read backlog. It returns at once; shards answer in their turns.
func (e *Engine) Laggards(c *fanout.Cull) {
	c.Expect(len(e.shards))
	for _, s := range e.shards {
		if !s.in.put(message{cull: c}) {
			c.Offer(nil)
		}
	}
}

// graceAfterDrain is how long Drain waits for the last ones before it closes them.
const graceAfterDrain = 5 * time.Second

// Drain takes nobody new, ends all with EndDrain evenly over the time given and
// returns when none is left. Who is still there 5 s after that time is closed, as is
// everybody when ctx ends, of which the error is then returned.
func (e *Engine) Drain(ctx context.Context, over time.Duration) error {
	e.draining.Store(true)
	why := func(uint32) fanout.Reason { return fanout.EndDrain }
	for _, s := range e.shards {
		s.in.put(message{cut: &cut{why: why, over: over, drain: true}})
	}
	if e.emptied(ctx, over+graceAfterDrain) {
		return nil
	}
	left := e.Count()
	for _, s := range e.shards {
		s.in.put(message{hard: true})
	}
	e.emptied(context.WithoutCancel(ctx), time.Second)
	e.cfg.Logger.Warn("drain cut connections that were left", "connections", left)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("shard engine: drain cut short with %d connections: %w", left, err)
	}
	return nil
}

// emptied waits until nobody is left, at most for the time given.
func (e *Engine) emptied(ctx context.Context, patience time.Duration) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(tickLen / 4)
	defer look.Stop()
	for e.Count() > 0 {
		select {
		case <-look.C:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
