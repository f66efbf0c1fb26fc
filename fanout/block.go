package fanout

import (
	"sort"

	"sluice/internal/broker"
)

// Block is a sealed run of backlog, encoded once for one framing and shared by all
// who read it. Nothing in it changes.
type Block struct {
	// Bytes are whole entries, back to back. Never to be changed.
	Bytes []byte
	// Last is the position of the last event in Bytes: who was sent all of them asks
	// Next to resume behind it.
	Last  broker.Position
	index []blockEntry
}

type blockEntry struct {
	pos  broker.Position // of the event, or of the one before for a gateway event
	end  uint32
	ord  uint32 // events up to and including this entry
	flag uint32
}

const blockEntryBytes = 32

// MarkAt looks an offset up. Before the first event Pos is zero: the reader keeps
// the position it came with. Next is an offset in Bytes.
func (b *Block) MarkAt(off int) Mark {
	i := sort.Search(len(b.index), func(i int) bool { return int(b.index[i].end) > off })
	m := Mark{Next: Cursor(off), Held: true}
	begin := 0
	if i > 0 {
		e := b.index[i-1]
		m.Pos, m.Ord, begin = e.pos, e.ord, int(e.end)
	}
	if i < len(b.index) {
		if begin < off {
			m.Next = Cursor(b.index[i].end)
		}
		m.NextMicros = b.index[i].pos.Micros
	}
	return m
}

// Boundary returns the greatest entry boundary ≤ limit with at most events events
// between it and from, and their count; from itself if not one entry fits.
func (b *Block) Boundary(from, limit, events int) (int, int) {
	lo := sort.Search(len(b.index), func(i int) bool { return int(b.index[i].end) > from })
	base := uint32(0)
	if lo > 0 {
		base = b.index[lo-1].ord
	}
	hi := lo + sort.Search(len(b.index)-lo, func(i int) bool {
		e := b.index[lo+i]
		return int(e.end) > limit || int(e.ord-base) > events
	})
	if hi == lo {
		return from, 0
	}
	return int(b.index[hi-1].end), int(b.index[hi-1].ord - base)
}

// size is what the block costs in memory.
func (b *Block) size() int { return cap(b.Bytes) + cap(b.index)*blockEntryBytes + 128 }
