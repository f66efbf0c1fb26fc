package access

import (
	"context"

	"sluice/internal/latest"
)

// board holds the current snapshot and shows it to watchers. The zero value is ready and shows an empty snapshot.
type board struct{ newest latest.Value[Snapshot] }

// Snapshot is what is stored as this node last saw it: never nil, never blocks. Revision 0 = nothing was loaded yet. One request takes it
// once and stays with it.
func (b *board) Snapshot() *Snapshot { return b.newest.Get() }

// Watch returns a channel that yields the current snapshot at once and then the newest one after each change; those that a slow reader
// did not take are skipped, so compare with the last one taken. Closed when ctx ends.
func (b *board) Watch(ctx context.Context) <-chan *Snapshot { return b.newest.Watch(ctx) }

func (b *board) show(s *Snapshot) { b.newest.Set(s) }
