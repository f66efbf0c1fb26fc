//go:build linux

package shard

import (
	"unsafe"

	"sluice/fanout"
)

// state is where a client stands.
type state uint8

const (
	stFree    state = iota
	stLive          // at the head it saw last; passes send to it
	stCatchup       // behind the head, or in a block: on the catch-up list
	stWaiting       // a block or a position was asked for; the answer is a message
	stBlocked       // the socket is full: EPOLLOUT is armed
	stParked        // the meter is dry: on the dry list
	stClosing       // our side is shut down; waits for the client, at most a second
)

// Flags of an entry.
const (
	flagOut     uint16 = 1 << iota // EPOLLOUT is armed
	flagMetered                    // slab.meters has its meter
	flagChunked                    // entries of its log are HTTP chunks
	flagExtra                      // shard.side has an extra for it
	flagCaught                     // was at the head once: lag limits apply
	flagQueued                     // on the catch-up list
	flagWatched                    // on the blocked list
	flagDry                        // on the dry list
	flagSlow                       // this spell of slowness is counted
	flagPlanned                    // end is that of the client's plan
	flagPaused                     // waited for its meter and has not caught up since: it is not slow
	flagNoted                      // shard.notes has some for it
)

// entry is one client. It holds no pointer, so that the garbage collector never
// looks at a slab, and fills one cache line.
type entry struct {
	cursor fanout.Cursor // next byte of its log
	// extra is what bytes sent differ from cursor by: bytes = uint64(cursor) + extra, modulo 2^64.
	extra  uint64
	fd     int32
	gen    uint32
	log    uint32 // in shard.logs
	pos    uint32 // in the log's members; next free slot when free
	sent   uint32 // tick of the newest byte accepted
	block  uint32 // tick since which a blocked one took no byte
	soft   uint32 // tick since which it is SoftLag behind, 0 = it is not
	end    uint32 // tick at which its lifetime is over, 0 = never
	meta   uint32
	events uint32 // events whole sent = events + Ord(cursor), modulo 2^32
	state  state
	_      uint8
	flags  uint16
	thrown uint16 // bytes the client sent and we threw away
	class  uint16 // in shard.classes
}

// The compiler checks that an entry is 64 bytes.
var _ [64]byte = [unsafe.Sizeof(entry{})]byte{}

const (
	blockBits = 12
	blockSize = 1 << blockBits // entries per block
	noSlot    = ^uint32(0)
)

// slab holds entries in blocks that never move. Owned by one shard.
type slab struct {
	blocks []*[blockSize]entry
	// meters run parallel to blocks; nil for a block that never had a metered client.
	meters []*[blockSize]fanout.Meter
	free   uint32 // first of the free slots, linked through pos
	top    uint32 // slots ever used
	live   int
}

func newSlab() slab { return slab{free: noSlot} }

func (b *slab) at(slot uint32) *entry { return &b.blocks[slot>>blockBits][slot&(blockSize-1)] }

// alloc returns a zeroed entry with its generation kept.
func (b *slab) alloc() (uint32, *entry) {
	b.live++
	if slot := b.free; slot != noSlot {
		e := b.at(slot)
		b.free = e.pos
		e.pos = 0
		return slot, e
	}
	slot := b.top
	if slot>>blockBits == uint32(len(b.blocks)) {
		b.blocks = append(b.blocks, new([blockSize]entry))
		b.meters = append(b.meters, nil)
	}
	b.top++
	e := b.at(slot)
	e.gen = 1
	return slot, e
}

// release takes a slot back: its generation changes first.
func (b *slab) release(slot uint32) {
	e := b.at(slot)
	if e.flags&flagMetered != 0 {
		b.meters[slot>>blockBits][slot&(blockSize-1)] = nil
	}
	*e = entry{gen: e.gen + 1, fd: -1, pos: b.free}
	b.free = slot
	b.live--
}

func (b *slab) setMeter(slot uint32, m fanout.Meter) {
	p := &b.meters[slot>>blockBits]
	if *p == nil {
		*p = new([blockSize]fanout.Meter)
	}
	(*p)[slot&(blockSize-1)] = m
	b.at(slot).flags |= flagMetered
}

func (b *slab) meter(slot uint32) fanout.Meter {
	return b.meters[slot>>blockBits][slot&(blockSize-1)]
}
