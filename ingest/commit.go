package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"sluice/ingest/lease"
	"sluice/internal/broker"
)

// committer stores what the reader queues, one commit at a time, and sends the feed's beacons. It runs on the worker's
// goroutine.
type committer struct {
	w      *worker
	q      *queue
	lease  *lease.Lease
	tx     uint64 // commits built in this epoch
	prev   uint64 // last sequence of the feed; what the next commit expects
	gap    bool   // the last stored event is an oversize marker
	beacon beaconTimer
}

// beaconTimer says when the next beacon is due: soon after the last commit, then ever rarer.
type beaconTimer struct {
	t    *time.Timer
	step int
}

// beaconEvery is how often a feed that stores all the time sends a beacon.
const beaconEvery = 10 * time.Second

// beaconStep is the wait from one beacon to the next while nothing is stored; the last one repeats.
func beaconStep(i int) time.Duration {
	steps := [...]time.Duration{250 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, beaconEvery}
	return steps[min(i, len(steps)-1)]
}

// run commits until the queue is done (nil), the feed is lost, or a re-sync is needed.
func (c *committer) run(ctx context.Context) error {
	c.beacon.t = time.NewTimer(beaconStep(0))
	defer c.beacon.t.Stop()
	busy := time.Now() // of the last beacon
	for {
		b := c.q.take()
		if b == nil {
			if c.q.done() {
				return nil
			}
			if err := c.idle(ctx, &busy); err != nil {
				return err
			}
			continue
		}
		if err := c.sourced(ctx); err != nil {
			return err
		}
		if err := c.store(ctx, b); err != nil {
			return err
		}
		c.q.give(b)
		c.beacon.step = 0
		c.beacon.t.Reset(beaconStep(0))
		if now := time.Now(); now.Sub(busy) >= beaconEvery {
			busy = now
			c.w.st.beacon()
		}
	}
}

// idle waits for events and sends the beacons that are due meanwhile.
func (c *committer) idle(ctx context.Context, busy *time.Time) error {
	select {
	case <-c.q.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.beacon.t.C:
	}
	c.complete(ctx)
	c.w.st.beacon()
	*busy = time.Now()
	c.beacon.step++
	c.beacon.t.Reset(beaconStep(c.beacon.step))
	return nil
}

// sourced tells in the owner's entry what the feed reads, if that is another source than before, so that the next owner
// does not present its ids to a third.
func (c *committer) sourced(ctx context.Context) error {
	src := c.w.src.Load()
	if src == nil || *src == c.lease.Source {
		return nil
	}
	c.lease.Source = *src
	return c.confirm(ctx)
}

// complete reads the time of the last stored message once per quiet period: the answer to a commit has none.
func (c *committer) complete(ctx context.Context) {
	pos := c.w.st.position()
	if pos.Seq == 0 || pos.Micros != 0 || c.beacon.step > 3 {
		return
	}
	m, err := c.w.n.writer.Last(ctx, c.w.id)
	if err != nil {
		c.w.log.Debug("time of the last event not read", "err", err)
		return
	}
	c.w.st.timed(m.Position)
}

// store stores one batch, in one commit unless the broker finds it too large.
func (c *committer) store(ctx context.Context, b *batch) error {
	events := b.seal()
	begun := time.Now()
	if err := c.storeEvents(ctx, events); err != nil {
		return err
	}
	bytes := 0
	for i := range events {
		bytes += len(events[i].Body)
	}
	c.w.n.met.committed(c.w.def.Load().api, len(events), bytes, time.Since(begun).Seconds())
	return nil
}

// storeEvents stores events in order. What is too large for one message of the broker becomes an oversize marker.
func (c *committer) storeEvents(ctx context.Context, events []broker.Event) error {
	err := c.commit(ctx, events)
	if !errors.Is(err, broker.ErrTooLarge) {
		return err
	}
	if len(events) > 1 {
		half := len(events) / 2
		if err := c.storeEvents(ctx, events[:half]); err != nil {
			return err
		}
		return c.storeEvents(ctx, events[half:])
	}
	c.w.log.Warn("event too large for the broker", "bytes", len(events[0].Body))
	c.w.n.met.skip(gapOversize, 1)
	if c.gap {
		return nil
	}
	marker := events[0]
	marker.Body, marker.Gap = gapBody(gapOversize), true
	return c.commit(ctx, []broker.Event{marker})
}

// commit stores events as one commit, built once, and tries until the broker's word on it is known.
func (c *committer) commit(ctx context.Context, events []broker.Event) error {
	c.tx++
	p := &broker.Commit{Epoch: c.lease.Epoch, Tx: c.tx, Prev: c.prev, Events: events}
	if c.w.id.Hashed() {
		p.Path = c.w.def.Load().path
	}
	var r retries
	for {
		pos, err := c.w.n.writer.Commit(ctx, c.w.id, p)
		if err == nil {
			c.landed(pos.Seq, events)
			if r.n > 0 {
				c.w.st.troubled("")
				c.w.log.Info("commits work again", "attempts", r.n+1, "seq", pos.Seq)
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, broker.ErrTooLarge) {
			c.tx-- // nothing of it is stored: the number is free
			return err
		}
		if err := c.failed(ctx, p, err, &r); err != nil {
			return err
		}
	}
}

func (c *committer) landed(seq uint64, events []broker.Event) {
	c.prev = seq
	markers := 0
	for i := range events {
		if events[i].Gap {
			markers++
			c.w.n.met.marked(c.w.def.Load().api, gapReason(events[i].Body))
		}
	}
	last := &events[len(events)-1]
	c.gap = last.Gap && bytes.Equal(last.Body, gapBody(gapOversize))
	c.w.st.stored(seq, len(events), markers)
}

// retries counts the failed attempts of one commit and how often it was fenced in a row.
type retries struct {
	n, busy, fenced int
	wait            time.Duration
}

// failed reacts to an attempt that failed: nil means try the same commit again.
func (c *committer) failed(ctx context.Context, p *broker.Commit, err error, r *retries) error {
	var f *broker.FencedError
	if errors.As(err, &f) {
		c.w.n.met.retried("fenced")
		r.fenced++
		return c.resolve(ctx, p, f, r)
	}
	name, first, most := reaction(err)
	c.w.n.met.retried(name)
	if name == "busy" {
		r.busy++
		if r.busy <= 20 {
			return sleep(ctx, time.Millisecond+rand.N(4*time.Millisecond))
		}
		return sleep(ctx, rand.N(min(first<<min(r.busy-20, 16), most)+1))
	}
	if r.n == 0 {
		c.w.log.Log(ctx, reactionLevel(err), "commit failed, trying again", "cause", name, "epoch", p.Epoch, "err", err)
	}
	c.w.st.troubled(name)
	d := min(max(r.wait*2, first), most)
	r.n, r.wait = r.n+1, d
	return sleep(ctx, spread(d))
}

// reaction names the cause of a failed commit and the shortest and longest wait before the next attempt.
func reaction(err error) (name string, first, most time.Duration) {
	switch {
	case errors.Is(err, broker.ErrBusy):
		return "busy", 5 * time.Millisecond, 500 * time.Millisecond
	case errors.Is(err, broker.ErrStoreFull):
		return "store.full", time.Second, 30 * time.Second
	case errors.Is(err, broker.ErrDenied):
		return "denied", 30 * time.Second, 30 * time.Second
	case errors.Is(err, broker.ErrNoStream):
		return "no stream", 100 * time.Millisecond, 2 * time.Second
	case errors.Is(err, broker.ErrUnavailable):
		return "broker unavailable", 100 * time.Millisecond, 2 * time.Second
	case errors.Is(err, broker.ErrUnknownOutcome):
		return "no answer", 50 * time.Millisecond, time.Second
	case errors.Is(err, broker.ErrRefused):
		return "refused", time.Second, 30 * time.Second
	}
	return "broker error", 100 * time.Millisecond, 2 * time.Second
}

func reactionLevel(err error) slog.Level {
	if errors.Is(err, broker.ErrStoreFull) || errors.Is(err, broker.ErrRefused) || errors.Is(err, broker.ErrDenied) {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// cause names err in a word or two, for states.
func cause(err error) string {
	if errors.Is(err, lease.ErrLost) {
		return "owned by another node"
	}
	name, _, _ := reaction(err)
	return name
}

// fenceTries bounds how often one commit is tried again because the broker's answers disagree; then the feed starts over.
const fenceTries = 5

// resolve finds out why the feed's last sequence is another than expected. The broker's client has already looked for our
// own attempts: what is left is a feed that lost its tail, or another writer.
func (c *committer) resolve(ctx context.Context, p *broker.Commit, f *broker.FencedError, r *retries) error {
	last, err := c.w.n.writer.Last(ctx, c.w.id)
	empty := errors.Is(err, broker.ErrNotFound)
	if err != nil && !empty {
		c.w.st.troubled(cause(err))
		r.fenced-- // not decided
		return sleep(ctx, spread(100*time.Millisecond))
	}
	again := r.fenced <= fenceTries
	switch {
	case empty && !p.Force && again:
		// The last event expired or was purged: only the owner may go on from nothing.
		if err := c.confirm(ctx); err != nil {
			return err
		}
		p.Force = true
		return nil
	case !empty && again && (last.Epoch == p.Epoch && last.Tx == p.Tx || last.Seq == p.Prev):
		return sleep(ctx, spread(5*time.Millisecond)) // ours after all: the next attempt finds it
	}
	c.w.n.met.fence()
	c.w.log.Warn("commit fenced", "epoch", p.Epoch, "expected", f.Expected, "actual", f.Actual, "by", last.Epoch)
	if err := c.confirm(ctx); err != nil {
		return err
	}
	return fmt.Errorf("epoch %d: %w", p.Epoch, errResync)
}

// confirm proves that the feed is still ours; lease.ErrLost if not. It tries until the broker answers.
func (c *committer) confirm(ctx context.Context) error {
	wait := retryWait{first: 50 * time.Millisecond, most: 2 * time.Second}
	for {
		l, err := c.w.n.leaser.Confirm(ctx, *c.lease)
		switch {
		case err == nil:
			*c.lease, c.tx = l, 0
			c.w.st.confirmed(l.Epoch)
			return nil
		case errors.Is(err, lease.ErrLost):
			return err
		}
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}
