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
	"sluice/internal/trace"
)

// committer stores what the reader queues, one commit at a time, and sends the feed's beacons. It runs on the worker's
// goroutine.
type committer struct {
	w      *worker
	q      *queue
	lease  *lease.Lease
	tx     uint64          // commits built in this epoch
	prev   uint64          // last sequence of the feed; what the next commit expects
	gap    bool            // the last stored event is an oversize marker
	soft   context.Context // ends when reading does: nothing new will come
	fences uint64          // of the node, as of when the lease was confirmed last
	beacon beaconTimer

	spanned time.Time     // when a commit was recorded last
	span    trace.Context // of the present commit, if it is recorded
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
		if err := c.held(ctx); err != nil {
			return err
		}
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
	case <-c.w.wake:
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

// heldEvery is how often a node that is fenced looks whether it still is.
const heldEvery = 100 * time.Millisecond

// held returns once this node may store: at once, as a rule. While the node is fenced it waits, with what is queued kept;
// then, and if another node seems to own the feed, it confirms the lease first. A feed that is stopped meanwhile goes on: the
// broker's fence keeps it from harm.
func (c *committer) held(ctx context.Context) error {
	for {
		now := c.w.n.stands()
		doubted, shut := c.w.doubts()
		switch {
		case !now.Fenced && now.Fences == c.fences && !doubted && !shut:
			return nil
		case !now.Fenced:
			if err := c.confirm(ctx); err != nil {
				return err
			}
			c.w.log.Info("feed still owned", "epoch", c.lease.Epoch)
			c.fences = now.Fences
			c.w.st.troubled("")
			c.w.sure()
			continue
		case c.soft.Err() != nil:
			return nil
		}
		c.w.st.troubled("cut off from the other nodes")
		t := time.NewTimer(heldEvery)
		select {
		case <-c.w.wake:
		case <-t.C:
		case <-c.soft.Done():
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		t.Stop()
	}
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
	c.w.n.met.committed(c.w.def.Load().api, len(events), bytes, time.Since(begun).Seconds(), time.Since(b.first).Seconds())
	return nil
}

// storeEvents stores events in order. What is too large for one message of the broker becomes an oversize marker.
func (c *committer) storeEvents(ctx context.Context, events []broker.Event) error {
	events, err := c.commit(ctx, events)
	if !errors.Is(err, broker.ErrTooLarge) || len(events) == 0 {
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
	_, err = c.commit(ctx, []broker.Event{marker})
	return err
}

// commit stores events as one commit, built once, and tries until the broker's word on it is known. With ErrTooLarge it
// returns those not stored; other errors end the tenure.
func (c *committer) commit(ctx context.Context, events []broker.Event) ([]broker.Event, error) {
	span := c.commitSpan(events)
	c.span = span.Context()
	attempts := 0
	left, err := c.keepCommitting(ctx, events, &attempts)
	endCommit(span, attempts, err)
	return left, err
}

// keepCommitting is commit, counting its attempts.
func (c *committer) keepCommitting(ctx context.Context, events []broker.Event, attempts *int) ([]broker.Event, error) {
	p := c.build(events)
	var r retries
	for {
		*attempts++
		pos, err := c.w.n.writer.Commit(ctx, c.w.id, p)
		if err == nil {
			c.landed(pos.Seq, events)
			if r.n > 0 {
				c.w.st.troubled("")
				c.w.log.Info("commits work again", "attempts", r.n+1, "seq", pos.Seq)
			}
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, broker.ErrTooLarge) {
			left, e := c.leftOver(ctx, p)
			return left, errors.Join(err, e)
		}
		stored, err := c.failed(ctx, p, err, &r)
		if err == nil {
			err = c.held(ctx) // the attempt may have taken long
		}
		if err != nil {
			return nil, err
		}
		if stored.n == 0 {
			continue
		}
		c.landed(stored.last, events[:stored.n])
		if events = events[stored.n:]; len(events) == 0 {
			return nil, nil
		}
		p = c.build(events)
	}
}

// build makes the next commit.
func (c *committer) build(events []broker.Event) *broker.Commit {
	c.tx++
	p := &broker.Commit{Epoch: c.lease.Epoch, Tx: c.tx, Prev: c.prev, Events: events, Trace: c.span}
	if c.w.id.Hashed() {
		p.Path = c.w.def.Load().path
	}
	return p
}

// leftOver returns the events of p that are not stored after the broker has refused one as too large: those before it may
// be. The error is ctx's.
func (c *committer) leftOver(ctx context.Context, p *broker.Commit) ([]broker.Event, error) {
	for {
		last, err := c.w.n.writer.Last(ctx, c.w.id)
		if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrForeign) ||
			err == nil && (last.Epoch != p.Epoch || last.Tx != p.Tx) {
			return p.Events, nil
		}
		var stored part
		if err == nil {
			stored, err = c.landedPart(ctx, p, last)
		} else {
			err = sleep(ctx, spread(100*time.Millisecond))
		}
		if err != nil {
			return nil, err
		}
		if stored.n > 0 {
			c.landed(stored.last, p.Events[:stored.n])
			return p.Events[stored.n:], nil
		}
	}
}

// part is how much of a commit turned out to be stored: its first n events, the last of them at last.
type part struct {
	n    int
	last uint64
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

// failed reacts to an attempt that failed. Without an error the commit is to be tried again, less the part that turned out
// to be stored.
func (c *committer) failed(ctx context.Context, p *broker.Commit, err error, r *retries) (part, error) {
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
			return part{}, sleep(ctx, time.Millisecond+rand.N(4*time.Millisecond))
		}
		return part{}, sleep(ctx, rand.N(min(first<<min(r.busy-20, 16), most)+1))
	}
	if r.n == 0 {
		c.w.log.Log(ctx, reactionLevel(err), "commit failed, trying again", "cause", name, "epoch", p.Epoch, "err", err)
	}
	c.w.st.troubled(name)
	d := min(max(r.wait*2, first), most)
	r.n, r.wait = r.n+1, d
	return part{}, sleep(ctx, spread(d))
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
	switch {
	case errors.Is(err, lease.ErrLost), errors.Is(err, lease.ErrHeld):
		return "owned by another node"
	case errors.Is(err, errFenced):
		return "cut off from the other nodes"
	}
	name, _, _ := reaction(err)
	return name
}

// fenceTries bounds how often one commit is tried again because the broker's answers disagree; then the feed starts over.
const fenceTries = 5

// resolve finds out why the feed's last sequence is another than expected: an earlier attempt of ours did land, the feed
// lost its tail, or there is another writer.
func (c *committer) resolve(ctx context.Context, p *broker.Commit, f *broker.FencedError, r *retries) (part, error) {
	last, err := c.w.n.writer.Last(ctx, c.w.id)
	empty := errors.Is(err, broker.ErrNotFound)
	if err != nil && !empty && !errors.Is(err, broker.ErrForeign) {
		c.w.st.troubled(cause(err))
		r.fenced-- // not decided
		return part{}, sleep(ctx, spread(100*time.Millisecond))
	}
	again := r.fenced <= fenceTries
	switch {
	case empty && !p.Force && again:
		// The last event expired or was purged: only the owner may go on from nothing.
		if err := c.confirm(ctx); err != nil {
			return part{}, err
		}
		p.Force = true
		return part{}, nil
	case !empty && again && last.Epoch == p.Epoch && last.Tx == p.Tx:
		return c.landedPart(ctx, p, last)
	case !empty && again && last.Seq == p.Prev:
		return part{}, sleep(ctx, spread(5*time.Millisecond)) // the answers disagree
	}
	c.w.n.met.fence()
	c.w.log.Warn("commit fenced", "epoch", p.Epoch, "expected", f.Expected, "actual", f.Actual, "by", last.Epoch)
	if err := c.confirm(ctx); err != nil {
		return part{}, err
	}
	return part{}, fmt.Errorf("epoch %d: %w", p.Epoch, errResync)
}

// landedPart counts the events of p that are stored, last being the newest of them.
func (c *committer) landedPart(ctx context.Context, p *broker.Commit, last broker.Message) (part, error) {
	tail, err := c.w.n.writer.Tail(ctx, c.w.id, len(p.Events))
	if err != nil || len(tail) == 0 || tail[len(tail)-1].Seq != last.Seq {
		return part{}, sleep(ctx, spread(20*time.Millisecond)) // a replica that lags: the next attempt asks again
	}
	n := 0
	for i := range tail {
		if tail[i].Epoch == p.Epoch && tail[i].Tx == p.Tx {
			n++
		}
	}
	return part{n: n, last: last.Seq}, nil
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
