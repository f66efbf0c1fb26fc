package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// successor makes the snapshot that follows another one: it copies what changes and shares the rest.
type successor struct {
	old     *Snapshot
	next    *Snapshot
	changed bool
	many    bool // so much changes that order and base paths are made anew
	moved   bool // a default version did: so are the base paths, in the order of their revisions
}

// newSuccessor begins the successor of a snapshot in which at most n APIs change.
func newSuccessor(old *Snapshot, n int) *successor {
	return &successor{old: old, many: n > 16 && n > len(old.apis)/64}
}

// begin copies the lists of the snapshot before, once.
func (n *successor) begin() *Snapshot {
	if n.next == nil {
		n.next = &Snapshot{revision: n.old.revision + 1, apis: slices.Clone(n.old.apis), records: cloned(n.old.records), bases: n.old.bases,
			absent: cloned(n.old.absent), keeps: cloned(n.old.keeps)}
	}
	return n.next
}

func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// snapshot is what came out.
func (n *successor) snapshot(s *seen) *Snapshot {
	next := n.begin()
	if n.many {
		next.apis = make([]*API, 0, len(next.records))
		for _, rec := range next.records {
			next.apis = append(next.apis, rec.api)
		}
		slices.SortFunc(next.apis, byID)
	}
	if n.many || n.moved {
		next.route(s)
	}
	return next
}

// remove takes an API out that does not exist any more.
func (n *successor) remove(was cached) {
	next := n.begin()
	n.changed = true
	n.serve(was.key, nil)
	delete(next.absent, was.key)
	delete(next.keeps, was.key)
}

// replace puts what a record came to in the place of what it was; was.key is "" for a new one.
func (n *successor) replace(was, is cached) {
	if _, absent := n.old.absent[is.key]; absent != (is.rec == nil) {
		next := n.begin()
		n.changed = true
		if delete(next.absent, is.key); is.rec == nil {
			next.absent[is.key] = EndUndeployed
		}
	}
	if n.old.keeps[is.key] != is.keeps {
		next := n.begin()
		n.changed = true
		if delete(next.keeps, is.key); is.keeps {
			next.keeps[is.key] = true
		}
	}
	if was.key != "" && was.key != is.key { // its name is written otherwise now
		n.remove(was)
	}
	before := n.old.records[is.key]
	if before == is.rec || before != nil && is.rec != nil && before.sum == is.rec.sum {
		return // the one before goes on, so that unchanged APIs are told by identity
	}
	n.begin()
	n.changed = true
	n.serve(is.key, is.rec)
}

// serve puts a record in the place of the one with that key, nil = in no place.
func (n *successor) serve(key string, rec *record) {
	next, before := n.next, n.next.records[key]
	if next.records[key] = rec; rec == nil {
		delete(next.records, key)
	}
	if n.many {
		return
	}
	if before != nil && rec == nil {
		i, _ := slices.BinarySearchFunc(next.apis, before.api, byID)
		next.apis = slices.Delete(next.apis, i, i+1)
	}
	if rec != nil {
		i, there := slices.BinarySearchFunc(next.apis, rec.api, byID)
		if there {
			next.apis[i] = rec.api
		} else {
			next.apis = slices.Insert(next.apis, i, rec.api)
		}
	}
	was, is := pathsOf(before), pathsOf(rec)
	if n.moved = n.moved || was[1] != is[1]; n.moved {
		return
	}
	if was[0] != is[0] && was[0] != "" {
		next.bases = *next.bases.without(was[0], before)
	}
	for i, path := range is {
		if path != "" {
			next.bases = *next.bases.with(path, &baseEntry{rec: rec, byDefault: i == 1})
		}
	}
}

// pathsOf are an API's base path and the one of a default version, "" = none.
func pathsOf(rec *record) [2]string {
	if rec == nil {
		return [2]string{}
	}
	return [2]string{rec.api.BasePath(), rec.api.DefaultPath()}
}

func byID(a, b *API) int {
	return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Version(), b.Version()))
}

// with is n with an entry at a path; n stays as it is.
func (n *baseNode) with(path string, e *baseEntry) *baseNode {
	return n.at(strings.Split(strings.TrimPrefix(path, "/"), "/"), func(*baseEntry) *baseEntry { return e })
}

// without is n without the entry at a path, if it is that record's; n stays as it is.
func (n *baseNode) without(path string, rec *record) *baseNode {
	return n.at(strings.Split(strings.TrimPrefix(path, "/"), "/"), func(e *baseEntry) *baseEntry {
		if e != nil && e.rec == rec {
			return nil
		}
		return e
	})
}

// at copies the nodes of a path, changes the entry at its end, and leaves out what has become empty.
func (n *baseNode) at(segments []string, change func(*baseEntry) *baseEntry) *baseNode {
	is := &baseNode{entry: n.entry, next: n.next}
	if len(segments) == 0 {
		is.entry = change(n.entry)
		return is
	}
	child := n.next[segments[0]]
	if child == nil {
		child = &baseNode{}
	}
	child = child.at(segments[1:], change)
	is.next = cloned(n.next)
	if is.next[segments[0]] = child; child.entry == nil && len(child.next) == 0 {
		delete(is.next, segments[0])
	}
	return is
}
