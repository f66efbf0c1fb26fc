package fanout

import (
	"sort"
	"time"
)

// Sizes of segments.
const (
	minSegment     = 4 << 10
	defaultSegment = 1 << 20
	quietRoll      = time.Minute // two rolls this far apart halve the next segment
)

// segment is one piece of a log. Its bytes below the log's head never change. Its
// end is the next segment's base or, for the last one, the head.
type segment struct {
	base uint64
	buf  []byte // len is the capacity
	// Appender state.
	entries int   // frames begun here that the index still holds
	last    int64 // Unix nanoseconds of the newest append
}

// View is one moment of a log: it keeps its bytes readable however long it is held.
type View struct {
	head uint64
	segs []*segment
}

// Head is the end of the newest published entry.
func (v View) Head() Cursor { return Cursor(v.head) }

// Floor is the oldest byte held.
func (v View) Floor() Cursor {
	if len(v.segs) == 0 {
		return Cursor(v.head)
	}
	return Cursor(v.segs[0].base)
}

// Edge is the end of the oldest segment, which the next trim takes away: a reader
// below it should save what it needs. It is the head if there is one segment.
func (v View) Edge() Cursor {
	if len(v.segs) < 2 {
		return Cursor(v.head)
	}
	return Cursor(min(v.segs[1].base, v.head))
}

// Bytes returns up to max bytes from c on, shared and never to be changed: a slice
// of one segment that ends at the head at most, empty at or above the head. False
// means that c is below the floor.
func (v View) Bytes(c Cursor, max int) ([]byte, bool) {
	if uint64(c) >= v.head {
		return nil, true
	}
	i := len(v.segs) - 1
	if i < 0 || uint64(c) < v.segs[0].base {
		return nil, false
	}
	if uint64(c) < v.segs[i].base {
		i = sort.Search(len(v.segs), func(i int) bool { return v.segs[i].base > uint64(c) }) - 1
	}
	s := v.segs[i]
	end := v.head
	if i+1 < len(v.segs) {
		end = min(end, v.segs[i+1].base)
	}
	from, to := uint64(c)-s.base, end-s.base
	if to-from > uint64(max) {
		to = from + uint64(max)
	}
	return s.buf[from:to:to], true
}
