package lease

import (
	"context"
	"errors"

	"sluice/internal/broker"
)

// ErrLost says that another node holds the feed now: stop writing it. ErrHeld says that a node that lives holds it: it is not
// taken.
var (
	ErrLost = errors.New("lease lost")
	ErrHeld = errors.New("held by a node that lives")
)

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

// Leaser takes and gives back feeds. Any goroutine may call it; per feed one at a time. Errors other than ErrLost and ErrHeld
// are the broker's (ErrUnavailable, ErrDenied, …): nothing is decided then, try again.
type Leaser interface {
	// Take makes this node the owner of f, unless a node that lives is: ErrHeld. source names what it will read, for the
	// next owner to compare.
	Take(ctx context.Context, f broker.FeedID, source string) (Lease, error)
	// Confirm proves that l is still held and returns it with a new epoch; ErrLost if not. With a changed l.Source it
	// tells that too.
	Confirm(ctx context.Context, l Lease) (Lease, error)
	// Give makes another node the owner of what l holds and returns that node's lease.
	Give(ctx context.Context, l Lease, node, boot string) (Lease, error)
	// Release gives l back. keep leaves the entry, so that the next owner learns what this one read; else it is deleted.
	// A lease already lost is no error.
	Release(ctx context.Context, l Lease, keep bool) error
}
