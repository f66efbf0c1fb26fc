package catalog

import (
	"cmp"
	"slices"
	"strings"

	"sluice/internal/broker"
)

// What a node remembers of changes, so that it can tell what a reader of them missed.
const (
	mostRecent = 1024 // the newest changes
	mostGone   = 4096 // APIs that were deleted
)

// Face is what decides who sees an API.
type Face struct {
	ID         string
	Owner      string
	Visibility Visibility
}

// Face of a record.
func (r *Record) Face() Face {
	return Face{ID: r.ID(), Owner: r.API.Metadata.Owner, Visibility: r.API.Spec.Visibility}
}

// Mutation is how one API is now, compared with how it was some revisions ago.
type Mutation struct {
	// Rev is the revision of the change.
	Rev uint64
	// Record as it is now; nil = deleted.
	Record *Record
	// Before is what decided who saw the API then; nil = it did not exist. Without Known it is nil, but may have.
	Before *Face
	Known  bool
}

// remembered is one change in Manager.recent.
type remembered struct {
	rev    uint64
	token  string
	before *Face
}

// Moved returns a channel that is closed at the next change of what this node has seen of the catalog.
func (m *Manager) Moved() <-chan struct{} {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.moved
}

// ChangesSince returns the APIs that were changed after revision rev, in the order of their newest change, and the revision up to which
// that is all. It works for every rev: what was long ago is told by comparing all records; since 0 everything that exists is new.
// until < rev says that this node has not seen as much as the reader.
func (m *Manager) ChangesSince(rev uint64) (changes []Mutation, until uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if rev > 0 && rev >= m.floor {
		changes = m.sinceRecently(rev)
	} else {
		changes = m.sinceLongAgo(rev)
	}
	slices.SortFunc(changes, func(a, b Mutation) int { return cmp.Compare(a.Rev, b.Rev) })
	return changes, m.seen.rev
}

// sinceRecently reads what is remembered of each change; m.mu is held.
func (m *Manager) sinceRecently(rev uint64) []Mutation {
	start, _ := slices.BinarySearchFunc(m.recent, rev+1, func(c remembered, rev uint64) int { return cmp.Compare(c.rev, rev) })
	var out []Mutation
	at := map[string]int{}
	for _, c := range m.recent[start:] {
		i, again := at[c.token]
		if !again { // the first one tells how it was
			i = len(out)
			at[c.token] = i
			out = append(out, Mutation{Before: c.before, Known: true})
		}
		out[i].Rev, out[i].Record = c.rev, nil
		if e := m.seen.apis[c.token]; e != nil {
			out[i].Record = e.rec
		}
	}
	return slices.DeleteFunc(out, func(c Mutation) bool { return c.Record == nil && c.Before == nil }) // came and went
}

// sinceLongAgo compares revisions; m.mu is held.
func (m *Manager) sinceLongAgo(rev uint64) []Mutation {
	var out []Mutation
	for key, e := range m.seen.entries {
		token, isAPI := strings.CutPrefix(key, apiPrefix)
		if !isAPI || e.Revision <= rev {
			continue
		}
		c := Mutation{Rev: e.Revision, Known: rev == 0}
		if have := m.seen.apis[token]; have != nil {
			c.Record = have.rec
		} else if rev == 0 {
			continue // it never was, for this reader
		} else if was, known := m.gone[token]; known && e.Deleted {
			c.Before, c.Known = &was, true
		}
		out = append(out, c)
	}
	return out
}

// remember notes what an entry changes, before it is taken; m.mu is held.
func (m *Manager) remember(e broker.Entry) {
	token, isAPI := strings.CutPrefix(e.Key, apiPrefix)
	if !isAPI || e.Revision <= m.seen.at(e.Key) {
		return
	}
	c := remembered{rev: e.Revision, token: token}
	if have := m.seen.apis[token]; have != nil {
		was := have.rec.Face()
		c.before = &was
		if e.Deleted {
			m.noteGone(token, was)
		}
	}
	m.recent = append(m.recent, c)
	if over := len(m.recent) - mostRecent; over > 0 {
		m.floor = m.recent[over-1].rev
		m.recent = slices.Clone(m.recent[over:])
	}
}

// forgetRecent is for a catalog that was read anew: what changed meanwhile is found by comparing. m.mu is held.
func (m *Manager) forgetRecent(old *seen) {
	for token, e := range old.apis {
		if m.seen.apis[token] == nil {
			m.noteGone(token, e.rec.Face())
		}
	}
	m.recent, m.floor = nil, m.seen.rev
}

func (m *Manager) noteGone(token string, was Face) {
	if len(m.gone) >= mostGone {
		clear(m.gone)
	}
	m.gone[token] = was
}

// Behind lists the ids of APIs whose newest record this node cannot serve to a group: the one before is served, or none.
func (m *Manager) Behind(group string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []string
	v := m.views[group]
	for key, e := range m.seen.entries {
		token, isAPI := strings.CutPrefix(key, apiPrefix)
		if !isAPI || e.Deleted {
			continue
		}
		have := m.seen.apis[token]
		switch {
		case have == nil:
			out = append(out, token)
		case have.rec.Rev != e.Revision, v != nil && v.cache[token].rev != have.rec.Rev:
			out = append(out, have.rec.ID())
		}
	}
	slices.Sort(out)
	return out
}
