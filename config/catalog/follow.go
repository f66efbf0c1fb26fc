package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"sluice/internal/broker"
)

// Times of the watch.
const (
	reconcileEvery = time.Minute            // a watch that went silent is noticed by then
	loadWithin     = 30 * time.Second       // all that the bucket holds has come
	settle         = 5 * time.Millisecond   // without another entry: then what came is shown
	collectMost    = 50 * time.Millisecond  // ... and at the latest
	leastRewatch   = 200 * time.Millisecond // between tries
	mostRewatch    = 10 * time.Second
	diskAfter      = 2 * time.Second // without a broker at the start: the last good copy is shown
	diskEvery      = 5 * time.Second
)

// Run follows the bucket until ctx ends. It opens it again whenever the watch ends, and once a minute compares all it knows with what
// is there. Call once.
func (m *Manager) Run(ctx context.Context) error {
	if m.fixed != nil {
		return m.followStore(ctx)
	}
	saved := make(chan struct{})
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // owned by Run, which waits below
		defer close(saved)
		m.keepCopies(keep)
	}()
	defer func() { stop(); <-saved }()
	pause := leastRewatch
	for ctx.Err() == nil {
		began := m.now()
		err := m.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil || m.now().Sub(began) > mostRewatch {
			pause = leastRewatch
		}
		if err == nil {
			continue // time to compare
		}
		m.log.Debug("catalog: watch ended", "error", err, "retry", pause)
		m.setWhy(err.Error())
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostRewatch)
	}
	return ctx.Err()
}

// follow loads the bucket and then takes its changes, until it is time to compare again (nil) or the watch ends.
func (m *Manager) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bucket, err := m.opt.Open(ctx)
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
	if err := m.replace(bucket, all); err != nil {
		return err
	}
	compare := time.NewTimer(m.opt.Reconcile)
	defer compare.Stop()
	for {
		select {
		case <-compare.C:
			return nil
		case e, open := <-changes:
			if !open {
				return errors.New("the watch ended")
			}
			m.apply(collect(ctx, changes, e))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// loadAll reads all present entries of a new watch.
func loadAll(ctx context.Context, changes <-chan broker.Entry) ([]broker.Entry, error) {
	late := time.NewTimer(loadWithin)
	defer late.Stop()
	var all []broker.Entry
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

// collect takes what comes together with the first entry: one snapshot for all of it.
func collect(ctx context.Context, changes <-chan broker.Entry, first broker.Entry) []broker.Entry {
	out := []broker.Entry{first}
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

// replace takes all that the bucket holds in the place of what was known, unless that would take APIs away that nobody deleted.
func (m *Manager) replace(bucket broker.Bucket, all []broker.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := seenFrom(all, m.seen, m.refuse)
	if id := next.lost(m.seen); id != "" {
		m.suspect = fmt.Sprintf("the bucket lacks api %s, though nobody deleted it: serving the last good copy; "+
			"restore the bucket, or to accept it remove folder catalog of the data folder and restart", id)
		m.log.Error("catalog: " + m.suspect)
		m.rebuild() // the copy, if nothing was shown yet
		return errors.New(m.suspect)
	}
	m.bucket, m.suspect, m.why = bucket, "", ""
	if old := m.seen; !next.behind(old) {
		next.since(old)
		m.seen = next
		if next.rev > old.rev {
			m.forgetRecent(old)
		}
	}
	m.loaded = true
	m.rebuild()
	return nil
}

// apply takes changes.
func (m *Manager) apply(entries []broker.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		m.remember(e)
		m.seen.take([]broker.Entry{e}, m.refuse)
	}
	m.rebuild()
}

// rebuild shows what was seen to all readers, and tells those who wait for their own change. m.mu is held.
func (m *Manager) rebuild() {
	made := map[string]*record{}
	for _, v := range m.views {
		v.rebuild(m.seen, m.opt.Options, made, m.refuse)
	}
	m.list = nil
	for token := range m.seen.dirty {
		if e := m.seen.apis[token]; e != nil {
			m.told(e.Request)
		}
	}
	m.seen.dirty = map[string]bool{}
	m.told(m.seen.gate.Request)
	close(m.moved)
	m.moved = make(chan struct{})
}

// told ends the wait of the change that wrote something; m.mu is held.
func (m *Manager) told(request string) {
	if done, waiting := m.waiting[request]; waiting {
		close(done)
		delete(m.waiting, request)
	}
}

// refuse counts a record that cannot be read; m.mu is held.
func (m *Manager) refuse(key string, err error) {
	id := strings.TrimPrefix(key, apiPrefix)
	m.refused[id]++
	m.log.Error("catalog: record not taken, the one before stays", "key", key, "error", err)
}

func (m *Manager) setWhy(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = why
}
