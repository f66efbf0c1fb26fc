package access

import (
	"cmp"
	"slices"

	"sluice/internal/broker"
	"sluice/internal/latest"
)

// Change is how one record is now, compared with how it was some revisions ago. Records are *Plan, *Application, *Grant or *Key.
type Change struct {
	Rev    uint64
	Record any // as it is now; nil = deleted
	Before any // as it was then; nil = it did not exist
	// Owner of the application that a Grant or Key belonged to before; "" = it did not exist.
	Owner string
}

// was is how a record was before a change.
type was struct {
	kind   kind
	record any
	owner  string
}

// watchedKinds are those that Changes tells of.
const watchedKinds kindSet = 1<<planRecord | 1<<appRecord | 1<<grantRecord | 1<<keyRecord

// Moved returns a channel that is closed at the next change of what this node knows.
func (s *Store) Moved() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

// ChangesSince returns the plans, applications, subscriptions and keys that were changed after revision rev of bucket access, in the order
// of their newest change, and the revision up to which that is all; since 0 everything that exists is new. Without ok it is too long ago to
// be told. until < rev says that this node has not seen as much as the reader.
func (s *Store) ChangesSince(rev uint64) (changes []Change, until uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.access.table
	if rev == 0 {
		for k := range t.records {
			if !watchedKinds.has(kind(k)) {
				continue
			}
			for key, record := range t.records[k] {
				changes = append(changes, Change{Rev: t.at(key), Record: record})
			}
		}
	} else {
		recent, ok := s.recent.Since(rev)
		if !ok {
			return nil, t.rev, false
		}
		for _, c := range recent {
			n := Change{Rev: c.Rev, Record: t.records[c.Before.kind][c.Key], Before: c.Before.record, Owner: c.Before.owner}
			if n.Record != nil || n.Before != nil { // else it came and went
				changes = append(changes, n)
			}
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Rev, b.Rev) })
	return changes, t.rev, true
}

// remember notes what entries of bucket access change, before they are taken; mu is held.
func (s *Store) remember(f *follow, entries []broker.Entry) {
	if f != &s.access {
		return
	}
	t := f.table
	for _, e := range entries {
		k := t.kind(e.Key)
		if !watchedKinds.has(k) || e.Revision <= t.at(e.Key) {
			continue
		}
		before := was{kind: k, record: t.records[k][e.Key]}
		app := ""
		switch r := before.record.(type) {
		case *Grant:
			app = r.Application
		case *Key:
			app = r.Application
		}
		if a, _ := t.records[appRecord][appKey(app)].(*Application); a != nil {
			before.owner = a.Owner
		}
		s.recent.Note(latest.Change[was]{Rev: e.Revision, Key: e.Key, Before: before})
	}
}

// forgetRecent is for a bucket that was read anew: what changed meanwhile is not known one by one. mu is held.
func (s *Store) forgetRecent(f *follow) {
	if f == &s.access {
		s.recent.Forget(f.table.rev)
	}
}
