package quota

import (
	"context"
	"errors"
	"time"
)

// Source is what edges share. Its methods may be called by many goroutines; each returns soon after its ctx ended. An error means that
// nobody knows whether it was done.
type Source interface {
	// Allot gives events to an edge, and takes back and books what it reports.
	Allot(ctx context.Context, a Ask) (Allotment, error)
	// Seats gives up to n more seats of a scope and answers how many.
	Seats(ctx context.Context, a SeatAsk) (int, error)
	// Refresh tells how many seats this edge holds: absolute, so that whatever went wrong before heals.
	Refresh(ctx context.Context, held []SeatAsk) error
	// Spend takes one from a rate.
	Spend(ctx context.Context, scope string, r Rate) (Decision, error)
	// Shared tells whether other edges see the same counts.
	Shared() bool
	// Close lets connections go.
	Close() error
}

// Ask is one call for events. There is at most one of an edge and scope under way.
type Ask struct {
	Scope string
	Edge  string // node and boot: another process is another edge
	// Call rises with each call of an edge. A late packet is known by it; the same number again gets the same answer again.
	Call uint64
	// Life is the number of the call that began the asker's count: Mine and Spent count from there. When it changes, the edge has forgotten
	// what it had before; what of that was not delivered is lost.
	Life   uint64
	Window Window
	Limit  int64
	// Want is how many events the edge has use for now.
	Want int64
	// Mine is how many it was given in this window, less those it gave back. What the source thinks that it was given beyond that was
	// lost on the way and is part of the answer; what it has forgotten it learns anew.
	Mine int64
	// Back is how many of Mine it gives back with this call.
	Back int64
	// Spent is how many of Mine were delivered.
	Spent int64
	// Edges is how many edges are known to share; the source may know of more.
	Edges int
}

// Allotment is the answer to an Ask.
type Allotment struct {
	// Outside: the source's clock is not in the window asked for. Only Now is set then.
	Outside bool
	Given   int64
	Free    int64         // not given to anybody
	Held    int64         // given to somebody, and not known to be spent
	Left    time.Duration // of the window
	Now     time.Time     // the source's clock, the only one that counts
	Edges   int           // that asked in this window
}

// SeatAsk is about the seats of one scope.
type SeatAsk struct {
	Scope string
	Edge  string
	Have  int // held by this edge
	More  int // wanted
	Limit int
}

// Decision is the answer of a rate.
type Decision struct {
	OK         bool
	RetryAfter time.Duration
}

// Times of what is kept in a source.
const (
	keepWindow = time.Hour        // after its end
	seatLife   = 15 * time.Second // of an edge's seats that are not refreshed
)

// errLate: the call is older than one that was answered.
var errLate = errors.New("quota: late call")

// share is how many events an edge gets that wants some: less and less towards the end, so that no edge strands what others could use.
func share(want, free int64, edges int) int64 {
	return max(0, min(want, free, max(1, free/int64(2*max(edges, 1)))))
}
