package latest

import (
	"cmp"
	"slices"
)

// Kept is how many changes a Changes remembers.
const Kept = 1024

// Change is what happened to one record: B says how it was before.
type Change[B any] struct {
	Rev    uint64
	Key    string
	Before B
}

// Changes remembers the newest Kept changes of a set of records, so that a reader who knows a revision can be told what happened since. The
// zero value remembers nothing and has missed nothing. It belongs to whoever holds its owner's lock.
type Changes[B any] struct {
	list  []Change[B] // by revision
	floor uint64      // every change after it is in list
}

// Note adds a change; revisions rise.
func (c *Changes[B]) Note(n Change[B]) {
	c.list = append(c.list, n)
	if over := len(c.list) - Kept; over > 0 {
		c.floor = c.list[over-1].Rev
		c.list = slices.Clone(c.list[over:])
	}
}

// Forget is for records that were read anew: what happened up to rev is not known one by one.
func (c *Changes[B]) Forget(rev uint64) { c.list, c.floor = nil, rev }

// Since returns one change for each record that was changed after rev: its newest revision, and how it was at rev. Without ok some of them
// are not remembered any more.
func (c *Changes[B]) Since(rev uint64) (list []Change[B], ok bool) {
	if rev < c.floor {
		return nil, false
	}
	start, _ := slices.BinarySearchFunc(c.list, rev+1, func(n Change[B], rev uint64) int { return cmp.Compare(n.Rev, rev) })
	at := map[string]int{}
	for _, n := range c.list[start:] {
		if i, again := at[n.Key]; again {
			list[i].Rev = n.Rev
			continue
		}
		at[n.Key] = len(list)
		list = append(list, n) // the first one tells how it was
	}
	return list, true
}

// Floor is the revision since which all is remembered.
func (c *Changes[B]) Floor() uint64 { return c.floor }

// Len is how many changes are remembered.
func (c *Changes[B]) Len() int { return len(c.list) }
