package fanout

import (
	"sort"

	"sluice/internal/broker"
	"sluice/internal/trace"
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
	// The block holds every event of the feed with a sequence in [from, to).
	from, to uint64
	life     uint64 // of the feed, when it was read
	more     bool   // when it was read the store held events from to on
	// traces are the first recorded commits among those that stored its events.
	traces []trace.Context
}

const blockTraces = 4

type blockEntry struct {
	pos  broker.Position // of the event, or of the one before for a gateway event
	link uint64          // sequence of the event before, as its writer knew it
	end  uint32
	ord  uint32 // events up to and including this entry
	told bool   // a gateway event
}

const blockEntryBytes = 40

// newBlock encodes what a read from sequence from answered. A hole between its
// messages is told where it stands.
func newBlock(from uint64, r *broker.Block, f Framing) *Block {
	size := 0
	for i := range r.Messages {
		size += len(r.Messages[i].Body) + 48
	}
	b := &Block{Bytes: make([]byte, 0, size), index: make([]blockEntry, 0, len(r.Messages)), from: from, to: from, more: r.More}
	var one []byte
	add := func(e blockEntry, frame []byte) {
		if f == Chunked {
			b.Bytes = AppendChunk(b.Bytes, frame)
		} else {
			b.Bytes = append(b.Bytes, frame...)
		}
		e.end = uint32(len(b.Bytes))
		b.index = append(b.index, e)
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		if i > 0 && m.Link != b.Last.Seq {
			one = AppendGap(one[:0], Gap{Reason: GapStoreLoss, From: b.Last, To: m.Position})
			add(blockEntry{pos: b.Last, ord: uint32(i), told: true}, one)
		}
		one = AppendFrame(one[:0], m.Body, m.Position)
		add(blockEntry{pos: m.Position, link: m.Link, ord: uint32(i) + 1}, one)
		if m.Trace.Valid() && len(b.traces) < blockTraces {
			b.traces = append(b.traces, m.Trace)
		}
		b.Last, b.to = m.Position, m.Seq+1
	}
	if r.More {
		b.to = max(b.to, r.Next)
	}
	return b
}

// first returns the index of the first event with a sequence ≥ seq; len(index) if
// there is none in the block.
func (b *Block) first(seq uint64) int {
	return sort.Search(len(b.index), func(i int) bool { return b.index[i].pos.Seq >= seq && !b.index[i].told })
}

// begin is the offset at which entry i begins.
func (b *Block) begin(i int) int {
	if i == 0 {
		return 0
	}
	return int(b.index[i-1].end)
}

// below returns the part of b with sequences < seq, sharing its bytes.
func (b *Block) below(seq uint64) *Block {
	if b.to <= seq {
		return b
	}
	n := b.first(seq)
	for n > 0 && b.index[n-1].told { // a gap before the first one left out
		n--
	}
	c := &Block{Bytes: b.Bytes[:b.begin(n):b.begin(n)], index: b.index[:n:n], from: b.from, to: seq, life: b.life, more: true, traces: b.traces}
	if n > 0 {
		c.Last = b.index[n-1].pos
	}
	return c
}

// meet returns the part of b that ends where c, which begins in or behind b, begins.
// same is false if the two disagree on the first event of c. They must overlap to
// know; where they would only touch, b is cut one event shorter, so that who reads
// on reads into c.
func (b *Block) meet(c *Block) (joined *Block, same bool) {
	if b.to < c.from {
		return b, true
	}
	i, k := b.first(c.from), c.first(c.from)
	switch {
	case i < len(b.index) && k < len(c.index):
		same = b.index[i].pos == c.index[k].pos
	case i < len(b.index):
		same = b.index[i].pos.Seq >= c.to
	case b.to > c.from && k < len(c.index):
		same = c.index[k].pos.Seq >= b.to
	case b.events() > 1:
		return b.below(b.Last.Seq), true
	default:
		same = true
	}
	return b.below(c.from), same
}

// MarkAt looks an offset up. Before the first event Pos is zero: the reader keeps
// the position it came with. Next is an offset in Bytes.
func (b *Block) MarkAt(off int) Mark {
	i := sort.Search(len(b.index), func(i int) bool { return int(b.index[i].end) > off })
	m := Mark{Next: Cursor(off), Held: true}
	if i > 0 {
		m.Pos, m.Ord = b.index[i-1].pos, b.index[i-1].ord
	}
	if i < len(b.index) {
		if b.begin(i) < off {
			m.Next = Cursor(b.index[i].end)
		}
		for ; i < len(b.index) && m.NextPos.IsZero(); i++ {
			if !b.index[i].told {
				m.NextPos = b.index[i].pos
			}
		}
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

// events is how many events the block holds.
func (b *Block) events() int {
	if len(b.index) == 0 {
		return 0
	}
	return int(b.index[len(b.index)-1].ord)
}

// size is what the block costs in memory.
func (b *Block) size() int64 { return int64(cap(b.Bytes) + cap(b.index)*blockEntryBytes + 160) }
