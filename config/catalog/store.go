package catalog

import "context"

// Store holds the APIs that exist and tells about changes. Serving reads only its snapshots. Safe for concurrent use.
type Store interface {
	// Snapshot returns the current snapshot: never nil, never blocks. One request must take it once and stay with it.
	Snapshot() *Snapshot
	// Watch returns a channel that yields the current snapshot at once and then the newest one after each change; snapshots
	// that a slow reader did not take are skipped, so compare with the last one taken (see Compare). Closed when ctx ends.
	Watch(ctx context.Context) <-chan *Snapshot
}
