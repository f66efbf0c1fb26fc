package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

// streamKeeper makes what is stored in the broker: the stream of each API and the buckets of feed owners and tickets. What fails is tried
// again, with more patience each time, when definitions change, when the broker is back, and when it says that a stream was
// deleted. A word of the broker can be lost, so all is looked at now and then.
type streamKeeper struct {
	p *process

	mu     sync.Mutex
	failed map[string]string // guarded by mu: by name, why the last try failed
}

// Between tries of what failed.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 10 * time.Second
)

// lookAgain is how long a stream may be away at most when nobody said so.
const lookAgain = time.Minute

// run keeps the streams as the catalog says until ctx ends.
func (k *streamKeeper) run(ctx context.Context) error {
	snaps := k.p.store.Watch(ctx)
	deleted := make(chan struct{}, 1)
	stop, err := k.p.broker.Bus().Subscribe(broker.SubjectStreamDeleted, func(string, []byte, func([]byte) error) {
		select {
		case deleted <- struct{}{}:
		default: // it is looked at already
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var specs []broker.StreamSpec
	var again <-chan time.Time
	wait, due := leastPause, false
	for {
		linked := k.p.broker.LinkChanged() // taken before the link is looked at
		if !due || !k.p.broker.Link().Up {
			select {
			case snap, open := <-snaps:
				if !open {
					return ctx.Err()
				}
				specs, wait = streamSpecs(snap), leastPause
			case <-linked:
				wait = leastPause
			case <-deleted:
				wait = leastPause
			case <-tick.C:
			case <-again:
			case <-ctx.Done():
				return ctx.Err()
			}
			due = true
			continue
		}
		due, again = false, nil
		if err := k.round(ctx, specs); err != nil && ctx.Err() == nil {
			k.p.log.Error("streams not as they should be", "error", err, "retry", wait)
			again = time.After(wait)
			wait = min(2*wait, mostPause)
		}
	}
}

// round tries all once and returns what failed, joined.
func (k *streamKeeper) round(ctx context.Context, specs []broker.StreamSpec) error {
	failed := map[string]string{}
	var errs []error
	for _, spec := range []broker.BucketSpec{{Name: ownBucket}, access.Spec(access.TicketBucket)} {
		if _, err := k.p.broker.Admin().EnsureBucket(ctx, spec); err != nil {
			failed["bucket "+spec.Name] = err.Error()
			if spec.Name == access.TicketBucket && errors.Is(err, broker.ErrStoreFull) {
				continue // memory is given to streams already: there are no tickets, the rest works
			}
			errs = append(errs, err)
		}
	}
	for _, spec := range specs {
		if err := k.p.broker.Admin().EnsureStream(ctx, spec); err != nil {
			failed[spec.Name] = err.Error()
			errs = append(errs, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = failed
	return errors.Join(errs...)
}

// health tells what could not be made. The rest works, so the node stays ready.
func (k *streamKeeper) health() (obs.Grade, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.failed) == 0 {
		return obs.OK, ""
	}
	var why []string
	for name, text := range k.failed {
		why = append(why, name+": "+text)
	}
	return obs.Degraded, strings.Join(why, "; ")
}
