//go:build linux

package shard

import (
	"sync"
	"sync/atomic"

	"sluice/fanout"
)

// message is something others want from a shard. Exactly one field is set.
type message struct {
	join   *joining
	answer *answer
	cut    *cut
	cull   *fanout.Cull
	culled *ref // chosen by a Cull
	opened *fanout.Gate
	hard   bool // close everything now
}

// joining is a client on its way to its shard, which owns fd from here on.
type joining struct {
	fd  int32
	sub fanout.Subscriber
}

// answer is what Next.ResumeAsync said for a client.
type answer struct {
	slot, gen uint32
	start     fanout.Start
	err       error
}

// inbox is how anybody reaches a shard. Who puts something in wakes the shard only
// if it is parked, so a busy shard costs its callers a lock and nothing else.
type inbox struct {
	mu       sync.Mutex // guards the rest
	messages []message
	dirty    []*roster
	closed   bool

	parked atomic.Bool
	wake   func() // ends a park; set before the shard is shared
}

// put adds m; false means that the shard is gone.
func (b *inbox) put(m message) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.messages = append(b.messages, m)
	b.mu.Unlock()
	b.rouse()
	return true
}

func (b *inbox) putDirty(l *roster) {
	b.mu.Lock()
	if !b.closed {
		b.dirty = append(b.dirty, l)
	}
	b.mu.Unlock()
	b.rouse()
}

func (b *inbox) rouse() {
	if b.parked.Load() && b.parked.CompareAndSwap(true, false) {
		b.wake()
	}
}

// take swaps the two lists with emptied ones of the shard's.
func (b *inbox) take(messages []message, dirty []*roster) ([]message, []*roster) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, b.messages = b.messages, messages
	dirty, b.dirty = b.dirty, dirty
	return messages, dirty
}

func (b *inbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages) == 0 && len(b.dirty) == 0
}

// close refuses what comes later and returns what was still there.
func (b *inbox) close() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	left := b.messages
	b.messages, b.dirty = nil, nil
	return left
}
