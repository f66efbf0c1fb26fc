package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluice/internal/broker"
)

// Run follows the bucket until ctx ends. It opens it again whenever the watch ends, and once a minute, or when a beacon says that it
// lags, compares all it knows with what is there. Call once.
func (m *Manager) Run(ctx context.Context) error {
	saved := make(chan struct{})
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // owned by Run, which waits below
		defer close(saved)
		m.keepCopies(keep)
	}()
	defer func() { stop(); <-saved }()
	f := broker.Follower{Open: m.opt.Open, All: m.replace, Changes: m.apply, Lag: m.opt.Lag, Reconcile: m.opt.Reconcile,
		Failed: func(err error) {
			m.log.Debug("catalog: watch ended", "error", err)
			m.setWhy(err.Error())
		}}
	return f.Run(ctx)
}

// replace takes all that the bucket holds in the place of what was known, unless that would take APIs away that nobody deleted.
func (m *Manager) replace(bucket broker.Bucket, _ uint64, all []broker.Entry) error {
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
	if !next.behind(m.seen) {
		m.seen = next
	}
	m.loaded = true
	m.rebuild()
	return nil
}

// apply takes changes.
func (m *Manager) apply(entries []broker.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen.take(entries, m.refuse)
	m.rebuild()
}

// rebuild shows what was seen to all readers, and tells those who wait for their own change. m.mu is held.
func (m *Manager) rebuild() {
	for _, v := range m.views {
		v.rebuild(m.seen, m.opt.Options, m.refuse)
	}
	m.list = nil
	for _, e := range m.seen.apis {
		m.told(e.Request)
	}
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
