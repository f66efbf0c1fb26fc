package catalog

import (
	"context"

	"sluice/internal/latest"
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
type board struct{ newest latest.Value[Snapshot] }

// Snapshot implements Store; before anything was read it is empty.
func (b *board) Snapshot() *Snapshot { return b.newest.Get() }

// Watch implements Store.
func (b *board) Watch(ctx context.Context) <-chan *Snapshot { return b.newest.Watch(ctx) }

func (b *board) show(s *Snapshot) { b.newest.Set(s) }
