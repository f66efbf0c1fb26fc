package access

import (
	"context"
	"sync"
	"sync/atomic"
)

// board holds the current snapshot and shows it to watchers. The zero value is ready and shows an empty snapshot.
type board struct {
	current  atomic.Pointer[Snapshot]
	mu       sync.Mutex // guards watchers; sends and closes happen under it
	watchers map[chan *Snapshot]bool
}

// Snapshot is what is stored as this node last saw it: never nil, never blocks. Revision 0 = nothing was loaded yet. One request takes it
// once and stays with it.
func (b *board) Snapshot() *Snapshot {
	if s := b.current.Load(); s != nil {
		return s
	}
	return &Snapshot{}
}

// Watch returns a channel that yields the current snapshot at once and then the newest one after each change; those that a slow reader
// did not take are skipped, so compare with the last one taken. Closed when ctx ends.
func (b *board) Watch(ctx context.Context) <-chan *Snapshot {
	ch := make(chan *Snapshot, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = map[chan *Snapshot]bool{}
	}
	b.watchers[ch] = true
	ch <- b.Snapshot()
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, ch)
		close(ch)
	})
	return ch
}

// show makes s the current snapshot and tells the watchers.
func (b *board) show(s *Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current.Store(s)
	for ch := range b.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- s
	}
}
