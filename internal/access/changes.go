package access

import (
	"cmp"
	"slices"

	"sluice/internal/broker"
)

// mostRecent is how many changes a node remembers, so that it can tell what a reader of them missed.
const mostRecent = 1024

// Change is how one record is now, compared with how it was some revisions ago. Records are *Plan, *Application, *Grant or *Key.
type Change struct {
	Rev    uint64
	Record any // as it is now; nil = deleted
	Before any // as it was then; nil = it did not exist
	// Owner of the application that a Grant or Key belonged to before; "" = it did not exist.
	Owner string
}

// remembered is one change of a key.
type remembered struct {
	rev    uint64
	key    string
	kind   kind
	before any
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
	switch {
	case rev == 0:
		for k := range t.records {
			if !watchedKinds.has(kind(k)) {
				continue
			}
			for key, record := range t.records[k] {
				changes = append(changes, Change{Rev: t.at(key), Record: record})
			}
		}
	case rev < s.floor:
		return nil, t.rev, false
	default:
		changes = s.sinceRecently(rev)
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Rev, b.Rev) })
	return changes, t.rev, true
}

// sinceRecently reads what is remembered of each change; mu is held.
func (s *Store) sinceRecently(rev uint64) []Change {
	start, _ := slices.BinarySearchFunc(s.recent, rev+1, func(c remembered, rev uint64) int { return cmp.Compare(c.rev, rev) })
	var out []Change
	at := map[string]int{}
	for _, c := range s.recent[start:] {
		i, again := at[c.key]
		if !again { // the first one tells how it was
			i = len(out)
			at[c.key] = i
			out = append(out, Change{Before: c.before, Owner: c.owner})
		}
		out[i].Rev, out[i].Record = c.rev, s.access.table.records[c.kind][c.key]
	}
	return slices.DeleteFunc(out, func(c Change) bool { return c.Record == nil && c.Before == nil }) // came and went
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
		c := remembered{rev: e.Revision, key: e.Key, kind: k, before: t.records[k][e.Key]}
		app := ""
		switch r := c.before.(type) {
		case *Grant:
			app = r.Application
		case *Key:
			app = r.Application
		}
		if a, _ := t.records[appRecord][appKey(app)].(*Application); a != nil {
			c.owner = a.Owner
		}
		s.recent = append(s.recent, c)
	}
	if over := len(s.recent) - mostRecent; over > 0 {
		s.floor = s.recent[over-1].rev
		s.recent = slices.Clone(s.recent[over:])
	}
}

// forgetRecent is for a bucket that was read anew: what changed meanwhile is not known one by one. mu is held.
func (s *Store) forgetRecent(f *follow) {
	if f == &s.access {
		s.recent, s.floor = nil, f.table.rev
	}
}
