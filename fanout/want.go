package fanout

import (
	"errors"
	"sync/atomic"
	"time"

	"sluice/internal/broker"
	"sluice/internal/trace"
)

// Errors of Hub.Join. Any other is unexpected and means unavailable, too.
var (
	ErrUnavailable = errors.New("feed unavailable")  // broker unreachable, not ready in time, or shutting down
	ErrNoSuchFeed  = errors.New("no such feed")      // refused by its owner, or the upstream says 404 or 410
	ErrRefusedCap  = errors.New("too many feeds")    // the API has as many on-demand feeds as it may
	ErrOverloaded  = errors.New("no room for feeds") // this node's memory is taken
)

// AtKind says where a client wants to begin.
type AtKind uint8

// Kinds of start.
const (
	AtLive     AtKind = iota // the next event
	AtID                     // behind the event whose id it presents
	AtBadID                  // it presents something that is no id: told, then Else
	AtSince                  // the first event at or after a time
	AtEarliest               // the first event kept
	AtLast                   // the newest N events
)

// At is a start.
type At struct {
	Kind   AtKind
	Pos    broker.Position // AtID; a zero Seq is a bookmark: events later than Micros
	Micros int64           // AtSince
	N      int             // AtLast, 1–1,000
}

// Retention is what a topic keeps, which may be less than its API's stream does.
// Zero values keep what the stream keeps.
type Retention struct {
	MaxAge    time.Duration
	MaxEvents int64
}

// Want is one client's wish.
type Want struct {
	Feed     broker.FeedID
	Demand   broker.Demand // names the feed for its owner
	OnDemand bool          // the feed is open only while somebody wants it
	Framing  Framing
	At       At
	Else     At // where to begin if At's id is useless; never AtID or AtBadID
	// MaxEvents and MaxBytes bound what one resume carries; 0 = no bound.
	MaxEvents int64
	MaxBytes  int64
	Retention Retention
	// Linger keeps the feed's log after its last subscriber. 0 = the hub's default;
	// negative closes at once.
	Linger time.Duration
}

// Results of a join, for logs and metrics.
const (
	ResultExact   = "exact"
	ResultExpired = "expired"
	ResultReset   = "reset"
	ResultUnknown = "unknown"
	ResultLimit   = "limit"
	ResultNone    = "none" // no id was presented
)

// Joined is one client's place in a feed. Release it once the client is gone, or keep
// only its Hold.
type Joined struct {
	Feed *Feed
	// Log is the feed's log of the framing wanted.
	Log   *Log
	Start Start
	// Gap is the encoded gap that belongs into the head, behind the retry line; nil
	// = none. It is never wrapped in a chunk. Start.Gap is nil.
	Gap    []byte
	Reason GapReason // of Gap, "" = none
	Result string
	// Behind is how many events stand between the start and the newest one: exact
	// within the log, an upper bound for what is read from the broker.
	Behind int64
	// Traces are recorded commits that stored some of what the client is sent first, or
	// the newest one known of the feed; none if ingest records none.
	Traces []trace.Context

	released atomic.Bool
}

// Release gives the place up; further calls do nothing. It never blocks.
func (j *Joined) Release() { j.Hold().Release() }

// Hold hands the duty to give the place up over to its caller: Release of j then does
// nothing, and j may go. Only the first call returns a Hold that holds something.
func (j *Joined) Hold() Hold {
	if j.released.Swap(true) {
		return Hold{}
	}
	return Hold{j.Feed}
}

// Hold is what must be kept of a Joined while its client is there: one word that keeps
// the feed open. The zero value holds nothing.
type Hold struct{ feed *Feed }

// Release gives the place up. Whoever keeps the Hold calls it once; it never blocks.
func (h Hold) Release() {
	if h.feed != nil {
		h.feed.hub.release(h.feed)
	}
}
