package fanout

import (
	"math"
	"math/bits"
	"sort"

	"sluice/internal/broker"
)

// entry describes one frame of a log. It holds no pointer, so that the garbage
// collector never looks into an index.
type entry struct {
	seq    uint64 // of the event; of the event before for a gateway event
	micros int64
	end    uint64 // offset behind the frame
	ord    uint32 // events up to and including this entry, gateway events not counted; wraps
	way    int32  // µs from ingest's reading to the broker's storing, with flagTimed
	// Kept free so that derived logs need no larger entry: where the id line begins, the
	// event's key, its type.
	_     [6]byte
	flags uint16
}

const (
	flagControl = 1 << 0 // a gateway event: an entry without an id
	flagTimed   = 1 << 1 // way is known
)

// setReceived notes when ingest read the event, 0 = not known. The way is taken for half
// an hour at most.
func (e *entry) setReceived(micros int64) {
	if micros == 0 {
		return
	}
	e.way = int32(min(max(e.micros-micros, math.MinInt32), math.MaxInt32))
	e.flags |= flagTimed
}

func (e *entry) dates() Dates {
	if e.flags&flagTimed == 0 {
		return Dates{Stored: e.micros}
	}
	return Dates{Stored: e.micros, Received: e.micros - int64(e.way)}
}

const entryBytes = 40

func (e *entry) pos() broker.Position { return broker.Position{Seq: e.seq, Micros: e.micros} }
func (e *entry) control() bool        { return e.flags&flagControl != 0 }

// index is a deque of entries in a ring whose size is a power of two. Entries are
// numbered from 0 for ever; first is the number of the oldest one held. It is not
// safe for concurrent use: the log's lock guards it.
type index struct {
	ring  []entry
	first uint64
	n     int
}

const minRing = 8

func (x *index) at(i int) *entry { return &x.ring[(x.first+uint64(i))&uint64(len(x.ring)-1)] }

func (x *index) push(e entry) {
	if x.n == len(x.ring) {
		x.resize(max(minRing, 2*x.n))
	}
	x.n++
	*x.at(x.n - 1) = e
}

// drop forgets the n oldest entries.
func (x *index) drop(n int) {
	x.first += uint64(n)
	x.n -= n
	if size := len(x.ring); size > minRing && x.n < size/8 {
		x.resize(max(minRing, 1<<bits.Len(uint(2*x.n))))
	}
}

func (x *index) resize(size int) {
	ring := make([]entry, size)
	for i := range x.n {
		ring[(x.first+uint64(i))&uint64(size-1)] = *x.at(i)
	}
	x.ring = ring
}

// endAfter returns the first of the n oldest entries that ends behind off.
func (x *index) endAfter(off uint64, n int) int {
	return sort.Search(n, func(i int) bool { return x.at(i).end > off })
}
