package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Times of a Follower.
const (
	reconcileEvery = time.Minute            // a watch that went silent is noticed by then
	loadWithin     = 30 * time.Second       // all that the bucket holds has come
	settle         = 5 * time.Millisecond   // without another entry: then what came is handed on
	collectMost    = 50 * time.Millisecond  // ... and at the latest
	leastRewatch   = 200 * time.Millisecond // between tries
	mostRewatch    = 10 * time.Second
)

// Follower keeps somebody up to date with one bucket, through everything that ends a watch. Fields are not changed once Run was called.
type Follower struct {
	// Open opens the bucket, and makes it where this node may. Called until it succeeds, and again after each loss.
	Open func(ctx context.Context) (Bucket, error)
	// All is given all that the bucket holds, delete markers too, and Bucket.Newest as it was before that was read. An error says that
	// it is not believed; it is read again after a pause.
	All func(b Bucket, newest uint64, all []Entry) error
	// Changes is given what came since, in order.
	Changes func(entries []Entry)
	// Failed is told why a watch ended, before it is opened again.
	Failed func(err error)
	// Lag is told what has come, and its word brings everything anew at once; nil = none.
	Lag *Lag
	// Late is told when it did; nil = nobody is.
	Late func()
	// Reconcile is how often everything is read anew; 0 = once a minute.
	Reconcile time.Duration
}

// Run follows until ctx ends. It calls the functions one at a time.
func (f *Follower) Run(ctx context.Context) error {
	pause := leastRewatch
	for ctx.Err() == nil {
		began := time.Now()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil || time.Since(began) > mostRewatch {
			pause = leastRewatch
		}
		if err == nil {
			continue // time to compare
		}
		f.Failed(err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostRewatch)
	}
	return ctx.Err()
}

// follow loads the bucket and then takes its changes, until it is time to read all again (nil) or the watch ends.
func (f *Follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bucket, err := f.Open(ctx)
	if err != nil {
		return err
	}
	newest, err := bucket.Newest(ctx)
	if err != nil {
		return err
	}
	changes, err := bucket.Watch(ctx, ">")
	if err != nil {
		return err
	}
	all, err := loadAll(ctx, changes)
	if err != nil {
		return err
	}
	if err := f.All(bucket, newest, all); err != nil {
		return err
	}
	f.applied(newest, all)
	var behind <-chan struct{}
	if f.Lag != nil {
		behind = f.Lag.Behind()
	}
	every := f.Reconcile
	if every == 0 {
		every = reconcileEvery
	}
	compare := time.NewTimer(every)
	defer compare.Stop()
	for {
		select {
		case <-compare.C:
			return nil
		case <-behind:
			if f.Late != nil {
				f.Late()
			}
			return nil
		case e, open := <-changes:
			if !open {
				return errors.New("the watch ended")
			}
			some := collect(ctx, changes, e)
			f.Changes(some)
			f.applied(0, some)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// applied tells the Lag what the follower has: all up to newest, and entries.
func (f *Follower) applied(newest uint64, entries []Entry) {
	if f.Lag == nil {
		return
	}
	for _, e := range entries {
		newest = max(newest, e.Revision)
	}
	f.Lag.Applied(newest)
}

// loadAll reads all present entries of a new watch.
func loadAll(ctx context.Context, changes <-chan Entry) ([]Entry, error) {
	late := time.NewTimer(loadWithin)
	defer late.Stop()
	var all []Entry
	for {
		select {
		case e, open := <-changes:
			switch {
			case !open:
				return nil, errors.New("the watch ended while loading")
			case e.Key == "":
				return all, nil
			}
			all = append(all, e)
		case <-late.C:
			return nil, fmt.Errorf("not loaded within %s", loadWithin)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// collect takes what comes together with the first entry, so that whoever rebuilds something does it once for all of it.
func collect(ctx context.Context, changes <-chan Entry, first Entry) []Entry {
	out := []Entry{first}
	most := time.NewTimer(collectMost)
	defer most.Stop()
	for {
		idle := time.NewTimer(settle)
		select {
		case e, open := <-changes:
			idle.Stop()
			if !open {
				return out // the next receive says so
			}
			out = append(out, e)
			continue
		case <-idle.C:
		case <-most.C:
		case <-ctx.Done():
		}
		idle.Stop()
		return out
	}
}
