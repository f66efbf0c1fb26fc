package catalog

import (
	"cmp"
	"slices"
	"strings"

	"sluice/internal/broker"
	"sluice/internal/latest"
)

// mostGone is how many deleted APIs a node remembers, so that it can tell who saw them.
const mostGone = 4096

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
	if recent, ok := m.recent.Since(rev); ok && rev > 0 {
		changes = m.asNow(recent)
	} else {
		changes = m.sinceLongAgo(rev)
	}
	slices.SortFunc(changes, func(a, b Mutation) int { return cmp.Compare(a.Rev, b.Rev) })
	return changes, m.seen.rev
}

// asNow compares how APIs were with how they are; m.mu is held.
func (m *Manager) asNow(recent []latest.Change[*Face]) []Mutation {
	var out []Mutation
	for _, c := range recent {
		n := Mutation{Rev: c.Rev, Before: c.Before, Known: true}
		if e := m.seen.apis[c.Key]; e != nil {
			n.Record = e.rec
		}
		if n.Record != nil || n.Before != nil { // else it came and went
			out = append(out, n)
		}
	}
	return out
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
	c := latest.Change[*Face]{Rev: e.Revision, Key: token}
	if have := m.seen.apis[token]; have != nil {
		was := have.rec.Face()
		c.Before = &was
		if e.Deleted {
			m.noteGone(token, was)
		}
	}
	m.recent.Note(c)
}

// forgetRecent is for a catalog that was read anew: what changed meanwhile is found by comparing. m.mu is held.
func (m *Manager) forgetRecent(old *seen) {
	for token, e := range old.apis {
		if m.seen.apis[token] == nil {
			m.noteGone(token, e.rec.Face())
		}
	}
	m.recent.Forget(m.seen.rev)
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
