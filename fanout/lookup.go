package fanout

import (
	"sort"

	"sluice/internal/broker"
)

// Mark is what the index knows of a cursor.
type Mark struct {
	// Pos is the last event that lies whole before the cursor: what a reader there
	// can say it has. Zero = none.
	Pos broker.Position
	// Next is the first entry boundary at or above the cursor; a cursor that equals
	// it stands between entries.
	Next Cursor
	// Ord counts the events whole before the cursor; only differences mean something.
	Ord uint32
	// NextPos is the first event that is not whole before the cursor. Zero = none.
	NextPos broker.Position
	// Held is false for a cursor below the floor: then nothing else is set.
	Held bool
}

// newest is the position of the newest of the n oldest entries, or what is below.
func (l *Log) newest(n int) broker.Position {
	if n <= l.eraStart() {
		return l.eraFloor()
	}
	return l.idx.at(n - 1).pos()
}

// eraStart is the place in the index of the first entry of the present life.
func (l *Log) eraStart() int {
	if l.era <= l.idx.first {
		return 0
	}
	return int(l.era - l.idx.first)
}

// eraFloor is the position below the first entry held of the present life.
func (l *Log) eraFloor() broker.Position {
	if l.era < l.idx.first {
		return l.below
	}
	return l.eraBelow
}

// Last is the position of the newest published event of the present life or, if
// there is none, the one below the log. Zero = the feed has none.
func (l *Log) Last() broker.Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.newest(l.visible)
}

// FloorPos is the position of the last event below the log: a reader that has it
// misses nothing. Zero = the feed has none.
func (l *Log) FloorPos() broker.Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.eraFloor()
}

// After finds where a reader goes on that has everything up to and including p.
// The cursor is set for Exact only.
func (l *Log) After(p broker.Position) (Cursor, Relation) {
	m, r := l.after(p)
	return m.Next, r
}

// after is After with what lies before the cursor, which is its Next.
func (l *Log) after(p broker.Position) (Mark, Relation) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c, r := l.find(p)
	if r != Exact {
		return Mark{}, r
	}
	return l.mark(c), r
}

func (l *Log) find(p broker.Position) (Cursor, Relation) {
	start, n, floor := l.eraStart(), l.visible, l.eraFloor()
	switch {
	case p.Seq < floor.Seq || p.Seq == 0:
		return 0, Older
	case p == floor && l.belowTold && l.era < l.idx.first:
		return 0, Older
	case p == floor:
		return Cursor(l.begin(start)), Exact
	case p.Seq == floor.Seq:
		return 0, Reset
	case p.Seq > l.newest(n).Seq:
		return 0, Ahead
	}
	i := start + sort.Search(n-start, func(i int) bool { return l.idx.at(start+i).seq >= p.Seq })
	e := l.idx.at(i)
	switch {
	case e.seq == p.Seq && e.micros == p.Micros:
		return Cursor(e.end), Exact
	case e.seq == p.Seq:
		return 0, Reset
	case floor.IsZero() && l.ordBefore(i) == l.ordBefore(start):
		return 0, Older
	case i == 0 && l.belowTold && l.era < l.idx.first, i > start && l.idx.at(i-1).control():
		return 0, Hole
	}
	return 0, Foreign
}

// life names the present life: who read it before and after some look-ups knows that they
// were made in one.
func (l *Log) life() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.lives
}

// next is what lies before the first event held behind p, or what the log holds first if
// all of it is.
func (l *Log) next(p broker.Position) Mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start, n := l.eraStart(), max(l.visible, l.eraStart())
	i := start
	if p.Seq > l.eraFloor().Seq {
		i += sort.Search(n-start, func(i int) bool { return l.idx.at(start+i).seq > p.Seq })
	}
	return l.mark(Cursor(l.begin(i)))
}

// begin is the offset at which the i-th entry held begins.
func (l *Log) begin(i int) uint64 {
	if i == 0 {
		return l.floor
	}
	return l.idx.at(i - 1).end
}

// LastN finds where the newest n events of the present life begin, and how many
// there are: fewer than n if the log holds fewer.
func (l *Log) LastN(n int) (Cursor, int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start, end := l.eraStart(), l.visible
	if end <= start || n <= 0 {
		return Cursor(l.begin(end)), 0
	}
	last := l.idx.at(end - 1).ord
	held := int(last - l.ordBefore(start))
	n = min(n, held)
	i := start + sort.Search(end-start, func(i int) bool { return int(last-l.idx.at(start+i).ord) < n })
	return Cursor(l.begin(i)), n
}

func (l *Log) ordBefore(i int) uint32 {
	if i == 0 {
		return l.belowOrd
	}
	return l.idx.at(i - 1).ord
}

// Since finds the first event stored at micros or later, the head if there is
// none. False means that the log does not reach back so far.
func (l *Log) Since(micros int64) (Cursor, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start, n, floor := l.eraStart(), l.visible, l.eraFloor()
	if !floor.IsZero() && floor.Micros >= micros {
		return 0, false
	}
	i := start + sort.Search(max(0, n-start), func(i int) bool {
		e := l.idx.at(start + i)
		return e.micros >= micros && !e.control()
	})
	return Cursor(l.begin(min(i, n))), true
}

// Mark looks a cursor up.
func (l *Log) Mark(c Cursor) Mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mark(c)
}

// mark is Mark for who holds mu.
func (l *Log) mark(c Cursor) Mark {
	if uint64(c) < l.floor {
		return Mark{}
	}
	i := l.idx.endAfter(uint64(c), l.idx.n)
	m := Mark{Pos: l.below, Next: c, Ord: l.ordBefore(i), Held: true}
	if i > 0 {
		m.Pos = l.idx.at(i - 1).pos()
	}
	if l.begin(i) < uint64(c) && i < l.idx.n {
		m.Next = Cursor(l.idx.at(i).end)
	}
	for ; i < l.visible; i++ {
		if e := l.idx.at(i); !e.control() {
			m.NextPos = e.pos()
			break
		}
	}
	return m
}

// Newest is what lies before the newest event, so that who goes on there is sent it,
// or before what a life without an event begins with.
func (l *Log) Newest() Mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start := l.eraStart()
	for i := l.visible - 1; i >= start; i-- {
		if !l.idx.at(i).control() {
			return l.mark(Cursor(l.begin(i)))
		}
	}
	return l.mark(Cursor(l.begin(min(start, l.visible))))
}

// end is what lies before the head.
func (l *Log) end() Mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mark(Cursor(l.begin(l.visible)))
}

// oldest is what lies before the first byte held of the present life.
func (l *Log) oldest() Mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mark(Cursor(l.begin(min(l.eraStart(), l.visible))))
}

// Boundary returns the greatest entry boundary ≤ limit with at most events events
// between it and from, and how many those are. It is from itself if not even one
// entry fits.
func (l *Log) Boundary(from, limit Cursor, events int) (Cursor, int) {
	to, n, _, _ := l.upTo(from, limit, events)
	return to, n
}

// upTo is Boundary that also tells the last of those events; held is false if from
// is below the floor.
func (l *Log) upTo(from, limit Cursor, events int) (to Cursor, n int, last broker.Position, held bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if uint64(from) < l.floor {
		return from, 0, last, false
	}
	lo := l.idx.endAfter(uint64(from), l.visible)
	base := l.ordBefore(lo)
	hi := lo + sort.Search(l.visible-lo, func(i int) bool {
		e := l.idx.at(lo + i)
		return e.end > uint64(limit) || int(e.ord-base) > events
	})
	if hi == lo {
		return from, 0, last, true
	}
	e := l.idx.at(hi - 1)
	return Cursor(e.end), int(e.ord - base), e.pos(), true
}

// at finds what lies before the event p.
func (l *Log) at(p broker.Position) (Mark, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start, n := l.eraStart(), l.visible
	if n <= start {
		return Mark{}, false
	}
	i := start + sort.Search(n-start, func(i int) bool {
		e := l.idx.at(start + i)
		return e.seq >= p.Seq && !e.control()
	})
	if i >= n || l.idx.at(i).pos() != p {
		return Mark{}, false
	}
	return l.mark(Cursor(l.begin(i))), true
}

// extent is what a log holds of its present life.
type extent struct {
	floor, last broker.Position // below the first event, and the last one
	from, head  Cursor
	events      int
	density     uint64 // sequences per event, 0 = unknown
}

func (l *Log) extent() extent {
	l.mu.RLock()
	defer l.mu.RUnlock()
	start, n := l.eraStart(), max(l.visible, l.eraStart())
	x := extent{floor: l.eraFloor(), last: l.newest(n), from: Cursor(l.begin(start)), head: Cursor(l.begin(n))}
	if n > start {
		x.events = int(l.idx.at(n-1).ord - l.ordBefore(start))
	}
	if x.events >= 16 {
		first := l.idx.at(start).seq
		x.density = max(1, (x.last.Seq-min(first, x.last.Seq))/uint64(x.events))
	}
	return x
}

// Dates say when ingest read an event from its upstream and when the broker stored it,
// in µs since 1970.
type Dates struct{ Received, Stored int64 } // Received 0 = not known

// mostDates is how many events one call of Dates tells of.
const mostDates = 64

// Dates appends to dst those of the events whose frames end in (from, to], newest first:
// of every n-th event where there are more than mostDates. Gateway events, what is not
// published and what the log holds no longer are left out. Anybody may call it.
func (l *Log) Dates(dst []Dates, from, to Cursor) []Dates {
	l.mu.RLock()
	defer l.mu.RUnlock()
	first, last := l.idx.endAfter(uint64(from), l.visible), l.idx.endAfter(uint64(to), l.visible)
	step := max(1, (last-first+mostDates-1)/mostDates)
	for i := last - 1; i >= first; i -= step {
		if e := l.idx.at(i); !e.control() {
			dst = append(dst, e.dates())
		}
	}
	return dst
}
