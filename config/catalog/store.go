package catalog

import (
	"context"
	"sync"
	"sync/atomic"
)

// Store holds the APIs that exist and tells about changes. Serving reads only its snapshots. Safe for concurrent use.
type Store interface {
	// Snapshot returns the current snapshot: never nil, never blocks. One request must take it once and stay with it.
	Snapshot() *Snapshot
	// Watch returns a channel that yields the current snapshot at once and then the newest one after each change; snapshots
	// that a slow reader did not take are skipped, so compare with the last one taken (see Compare). Closed when ctx ends.
	Watch(ctx context.Context) <-chan *Snapshot
}

var (
	_ Store = (*DirStore)(nil)
	_ Store = (*StaticStore)(nil)
)

// board holds the current snapshot and shows it to watchers. The zero value is ready and shows an empty snapshot.
type board struct {
	current  atomic.Pointer[Snapshot]
	mu       sync.Mutex // guards watchers; sends and closes happen under it
	watchers map[chan *Snapshot]bool
}

// Snapshot implements Store; before anything was read it is empty.
func (b *board) Snapshot() *Snapshot {
	if s := b.current.Load(); s != nil {
		return s
	}
	return &Snapshot{}
}

// Watch implements Store. Each watcher is a channel of one place, in which a newer snapshot replaces one not taken yet.
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
