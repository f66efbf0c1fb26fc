package quota

import (
	"sync"
	"sync/atomic"
	"time"
)

// A bucket's word holds the number of its window, the epoch, above the events.
const (
	eventBits = 44
	eventMask = 1<<eventBits - 1
)

// Taken is what a Bucket gave. Give needs it: events of a window that is over must not come back into the next.
type Taken struct {
	Events int
	Epoch  uint32 // of its window
	Plenty bool   // more than a quarter of the last allotment is left, and many times what was asked for
}

// plenty is how many times what was asked for.
const plenty = 64

// Bucket holds the events of one scope that this edge may deliver. Take and Give cost one compare-and-swap on a cache line of its own.
type Bucket struct {
	_     [64]byte
	word  atomic.Uint64 // epoch << eventBits | events
	until atomic.Int64  // when they die: time since limiter.began
	low   atomic.Int64  // with fewer the loop is told
	_     [64 - 24]byte

	kicked atomic.Bool // the loop was told and has not looked yet
	state  atomic.Pointer[State]
	l      *Limiter
	scope  string

	mu sync.Mutex // guards the rest
	ledger
}

// Phase is how a bucket stands.
type Phase uint8

// The phases.
const (
	Flowing     Phase = iota // there are events, or an answer is awaited
	Ended                    // the quota of this window has ended
	Unavailable              // the source has been away for so long that a client should be told
)

// State is how a bucket stands. Immutable.
type State struct {
	Phase Phase
	Limit Limit
	// Reset is when the next window begins, by this process's clock.
	Reset time.Time
}

// State tells how the bucket stands.
func (b *Bucket) State() State { return *b.state.Load() }

// Take asks for n events and gets as many as there are now. It never waits. Below a quarter of the last allotment the loop is told.
func (b *Bucket) Take(n int) Taken {
	if int64(time.Since(b.l.began)) >= b.until.Load() {
		b.kick()
		return Taken{}
	}
	for {
		w := b.word.Load()
		have := w & eventMask
		got := min(uint64(max(n, 0)), have)
		if got == 0 {
			b.kick()
			return Taken{}
		}
		if b.word.CompareAndSwap(w, w-got) {
			left, low := int64(have-got), b.low.Load()
			if left < low {
				b.kick()
			}
			return Taken{int(got), uint32(w >> eventBits), left >= low && left >= plenty*int64(n)}
		}
	}
}

// Give returns n events of what was taken. After the end of their window they are lost.
func (b *Bucket) Give(t Taken, n int) { b.add(t.Epoch, n) }

// add puts n events in if the window is still that of epoch; false if it is not.
func (b *Bucket) add(epoch uint32, n int) bool {
	for {
		w := b.word.Load()
		if n <= 0 || uint32(w>>eventBits) != epoch {
			return false
		}
		if b.word.CompareAndSwap(w, w+uint64(n)) {
			return true
		}
	}
}

// drain empties the bucket and returns what was in it.
func (b *Bucket) drain() int64 {
	for {
		w := b.word.Load()
		if b.word.CompareAndSwap(w, w&^eventMask) {
			return int64(w & eventMask)
		}
	}
}

// roll begins the next window, empty.
func (b *Bucket) roll() {
	w := b.word.Load()
	for !b.word.CompareAndSwap(w, (w>>eventBits+1)<<eventBits) {
		w = b.word.Load()
	}
}

func (b *Bucket) have() int64   { return int64(b.word.Load() & eventMask) }
func (b *Bucket) epoch() uint32 { return uint32(b.word.Load() >> eventBits) }

// kick tells the loop once that the bucket needs it.
func (b *Bucket) kick() {
	if b.kicked.Load() || b.kicked.Swap(true) {
		return
	}
	select {
	case b.l.kicks <- b:
	default: // it will see all buckets
		b.l.missed.Store(true)
	}
}
