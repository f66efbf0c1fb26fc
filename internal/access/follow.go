package access

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"sluice/internal/broker"
)

// schemaNow is how values of the copy on disk are to be read.
const schemaNow = 1

// Times of the last good copy.
const (
	diskAfter = 2 * time.Second // without a broker at the start: the last good copy is shown
	diskEvery = 5 * time.Second
)

// Run follows the buckets until ctx ends, through everything that ends a watch. On control it makes the first plans. Call once.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range []*follow{&s.access, &s.revoke} {
		wg.Go(func() { _ = s.follower(f).Run(ctx) }) //nolint:errcheck // ends with ctx
	}
	if s.opt.Bus != nil {
		wg.Go(func() { _ = broker.HearRevisions(ctx, s.opt.Bus, s.lags) }) //nolint:errcheck // ends with ctx
	}
	if s.opt.Writes {
		wg.Go(func() { s.seed(ctx) })
	}
	s.keepCopies(ctx)
	wg.Wait()
	return ctx.Err()
}

func (s *Store) follower(f *follow) *broker.Follower {
	return &broker.Follower{
		Open: func(ctx context.Context) (broker.Bucket, error) {
			s.mu.Lock()
			f.before = f.table.rev
			s.mu.Unlock()
			return s.opt.Open(ctx, f.name)
		},
		All:     func(b broker.Bucket, newest uint64, all []broker.Entry) error { return s.all(f, b, newest, all) },
		Changes: func(entries []broker.Entry) { s.take(f, entries) },
		Failed: func(err error) {
			s.log.Debug("access: watch ended", "bucket", f.name, "error", err)
			s.mu.Lock()
			defer s.mu.Unlock()
			f.why = fmt.Sprintf("bucket %s: %v", f.name, err)
		},
		Late: func() {
			s.log.Warn("access: behind the beacon of control: reading all anew", "bucket", f.name)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.resyncs++
		},
		Lag: s.lags[f.name], Reconcile: s.opt.Reconcile,
	}
}

// mostMissing is how often in a row a record may be missing before the bucket is not believed: a replica may lag.
const mostMissing = 2

// all takes all that a bucket held when its newest revision was newest, unless that would take records away that nobody deleted.
func (s *Store) all(f *follow, b broker.Bucket, newest uint64, all []broker.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if newest < f.before {
		return s.doubt(f, "went back to an earlier state")
	}
	if key := f.table.lacks(all, newest, s.now()); key != "" {
		return s.doubt(f, "lacks "+key+", though nobody deleted it")
	}
	first := f.bucket == nil
	f.bucket, f.missing, f.suspect, f.why = b, 0, "", ""
	changed := f.table.take(all, s.refuse) | f.table.drop(all, newest)
	if changed != 0 || first {
		s.forgetRecent(f)
		s.rebuild(changed)
	}
	return nil
}

// doubt notes that a bucket is not what it was; mu is held.
func (s *Store) doubt(f *follow, what string) error {
	f.missing++
	why := fmt.Sprintf("bucket %s %s", f.name, what)
	if f.missing >= mostMissing && f.suspect == "" {
		f.suspect = why + ": working by the last good copy; restore the bucket, or to accept it remove folder access of the data folder " +
			"and restart"
		s.log.Error("access: " + f.suspect)
		s.show() // the copy, if nothing was shown yet
	}
	return errors.New(why)
}

// take adds changes.
func (s *Store) take(f *follow, entries []broker.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(f, entries)
	if changed := f.table.take(entries, s.refuse); changed != 0 {
		s.rebuild(changed)
	}
}

// rebuild shows what has changed once both buckets were read; mu is held.
func (s *Store) rebuild(changed kindSet) {
	s.changed |= changed
	if s.loaded() || s.Snapshot().Revision() > 0 {
		s.show()
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

// show shows what is known; mu is held.
func (s *Store) show() {
	s.board.show(snapshotOf(s.Snapshot(), s.access.table, s.revoke.table, s.changed, s.now()))
	s.changed = 0
	s.once.Do(func() { close(s.ready) })
}

// refuse tells of a record that cannot be read; mu is held.
func (s *Store) refuse(key string, err error) {
	s.log.Error("access: record not taken, the one before stays", "key", key, "error", err)
}

// keepCopies shows the last good copy if the broker takes long to answer, then writes it a while after each change, and once more when
// ctx ends.
func (s *Store) keepCopies(ctx context.Context) {
	late := time.NewTimer(diskAfter)
	defer late.Stop()
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-late.C:
			s.showCopy()
		case <-tick.C:
			s.saveCopies()
		case <-ctx.Done():
			s.saveCopies()
			return
		}
	}
}

func (s *Store) saveCopies() {
	for _, f := range []*follow{&s.access, &s.revoke} {
		s.mu.Lock()
		rev, entries := f.table.rev, []broker.Entry(nil)
		due := s.opt.Dir != "" && f.bucket != nil && f.suspect == "" && rev != f.copied
		if due {
			f.copied, entries = rev, f.table.all()
		}
		s.mu.Unlock()
		if !due {
			continue
		}
		if err := broker.WriteCopy(filepath.Join(s.opt.Dir, f.name), schemaNow, rev, entries); err != nil {
			s.log.Warn("access: last good copy not written", "bucket", f.name, "error", err)
		}
	}
}

// loadCopy takes what an earlier life of the node left as what is known, without showing it yet.
func (s *Store) loadCopy(f *follow) {
	if s.opt.Dir == "" {
		return
	}
	entries, err := broker.ReadCopy(filepath.Join(s.opt.Dir, f.name), schemaNow)
	if err != nil {
		s.log.Warn("access: last good copy not read", "bucket", f.name, "error", err)
		return
	}
	f.table.take(entries, s.refuse)
	f.copied = f.table.rev
}

// showCopy shows the last good copy if the broker has not answered yet.
func (s *Store) showCopy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded() || s.access.table.rev == 0 {
		return
	}
	s.log.Warn("access: no broker yet, working by the last good copy", "access", s.access.table.rev, "revoke", s.revoke.table.rev)
	s.show()
}
