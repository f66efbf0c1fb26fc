package lease

import (
	"context"
	"errors"

	"sluice/internal/broker"
)

// ErrLost says that another node holds the feed now: stop writing it.
var ErrLost = errors.New("lease lost")

// Lease is the right to run one feed. The zero value is no lease.
type Lease struct {
	Feed  broker.FeedID
	Node  string
	Epoch uint64 // revision of the feed's entry; only grows, whoever takes it
	// Source is what the owner reads, as it told Take.
	Source string
	// Before is what the owner before this one read, if that is known; "" = unknown or never owned.
	Before string
}

// Leaser takes and gives back feeds. Any goroutine may call it; per feed one at a time. Errors other than ErrLost are the
// broker's (ErrUnavailable, ErrDenied, …): nothing is decided then, try again.
type Leaser interface {
	// Take makes this node the owner of f. source names what it will read, for the next owner to compare.
	Take(ctx context.Context, f broker.FeedID, source string) (Lease, error)
	// Confirm proves that l is still held and returns it with a new epoch; ErrLost if not. With a changed l.Source it
	// tells that too.
	Confirm(ctx context.Context, l Lease) (Lease, error)
	// Release gives l back. keep leaves the entry, so that the next owner learns what this one read; else it is deleted.
	// A lease already lost is no error.
	Release(ctx context.Context, l Lease, keep bool) error
}

// Planner says which feeds this node should run. Calls are cheap and never block.
type Planner interface {
	// Mine says whether the plan gives f to this node.
	Mine(f broker.FeedID) bool
	// Changed yields after each change of the plan; nil if it never changes.
	Changed() <-chan struct{}
}

// Alone is the plan of a node without peers: everything is its own.
type Alone struct{}

var _ Planner = Alone{}

// Mine is always true.
func (Alone) Mine(broker.FeedID) bool { return true }

// Changed never yields.
func (Alone) Changed() <-chan struct{} { return nil }
