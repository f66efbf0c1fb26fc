package fanout

import (
	"context"
	"time"

	"sluice/internal/broker"
)

// Cursor is the next byte wanted in one Log: absolute, never reused, meaningless
// in another Log. It is never a last event id.
type Cursor uint64

// Frame is one encoded entry with its blank line. A zero Pos is a gateway event
// without id.
type Frame struct {
	Pos   broker.Position
	Bytes []byte
	Rx    int64 // µs since 1970 at which ingest read the event from its upstream; 0 = not known
}

// Relation is how a position stands to a log.
type Relation uint8

// Relations that Log.After finds.
const (
	Exact   Relation = iota + 1 // the position is held, or is the last one below the window
	Older                       // below the window: ask the broker
	Ahead                       // above the newest event held
	Foreign                     // between two events held, but none of them
	Hole                        // between two events held, where some are missing and that was told: ask the broker
	Reset                       // same sequence, other time: the stream was recreated or restored
)

// Framing is how an HTTP/1.1 response body is delimited.
type Framing uint8

// Framings. Identity bodies end with the connection; Chunked wraps each entry in
// one HTTP chunk, for proxies that buffer otherwise.
const (
	Identity Framing = iota
	Chunked
)

// Policy says what happens to a reader that is too slow.
type Policy uint8

// Slow policies: see policy.go.
const (
	Drop    Policy = iota // close; the client resumes, nothing is lost
	Backlog               // read the missed events from the broker
	// Latest tells a gap and goes on at the newest event, which is sent even if the feed is
	// quiet: the gap names it, and Missed counts exactly those before it.
	Latest
)

// Slow holds the limits that judge a reader. Zero values are replaced by the
// engine's defaults.
type Slow struct {
	Policy   Policy
	Stall    time.Duration // no byte accepted for so long: closed whatever the policy
	Lag      int           // bytes unsent: at once
	SoftLag  int           // bytes unsent for SoftTime
	SoftTime time.Duration
	MaxAge   time.Duration // age of the oldest unsent event; 0 = off
}

// Start is where a subscriber begins: a cursor in its log or, if Block is set, a
// byte offset in a sealed block of backlog that is read before the log.
type Start struct {
	Cursor Cursor
	Block  *Block
	Offset int
	// At is what lies before Cursor, if Held: an engine may get there only after the log
	// gave the place up, and has to know what its reader has.
	At Mark
	// Gap holds encoded gateway events to send before anything else, nil = none.
	Gap []byte
}

// Next finds where a reader that has everything up to and including p goes on.
// Blocking form for the portable engine, callback form for shards (done is called
// once, from another goroutine, and must not block). Implemented by *Feed.
type Next interface {
	Resume(ctx context.Context, p broker.Position, f Framing) (Start, error)
	ResumeAsync(p broker.Position, f Framing, done func(Start, error))
}

// Subscriber is what an engine needs to serve one client.
type Subscriber struct {
	Log   *Log // of the right class: identity, or chunked for Framing Chunked
	Next  Next // for backlog; the feed
	Start Start
	Slow  Slow
	// Head is sent first, in one send with the first entries: status line and headers
	// (hijacked connections only), retry line, first gap.
	Head    []byte
	Framing Framing
	Ends    time.Time // lifetime over; zero = none
	// EndsFor is the reason of that: EndLifetime, which is the default, or EndMaxDuration.
	EndsFor Reason
	// Recheck is asked once, with Meta, as soon as a Cut finds the stream and before any event is sent: a reason ends it. So
	// nothing that forbids the stream falls between the check of whoever admitted it and the first Cut that knows it. Called
	// on the engine's goroutines: it must be cheap. nil = not asked.
	Recheck func(meta uint32) Reason
	// Heartbeat is the silence after which ":\n" is sent. 0 = the engine's default.
	Heartbeat time.Duration
	// Meta is the edge's number for this connection; it comes back in End and Cut.
	Meta  uint32
	Meter Meter // nil = unmetered
}

// Reason tells why a stream ended. Gateway end reasons are those of the edge
// contract; the engine's own are below.
type Reason string

// Reasons of the engines themselves: nothing is told to the client.
const (
	EndClient Reason = "client" // the client closed
	EndSlow   Reason = "slow"   // a lag limit, policy drop
	EndStall  Reason = "stall"  // no byte accepted for Slow.Stall
	EndAbuse  Reason = "abuse"  // the client sent more than 16 KiB after its request
	EndError  Reason = "error"  // socket error
	EndMemory Reason = "memory" // the process is out of memory and this stream lags most: see Cull
)

// Reasons that are told by gateway.end before the close.
const (
	EndDrain       Reason = "drain"
	EndLifetime    Reason = "lifetime"
	EndMaxDuration Reason = "max-duration" // as EndLifetime, but of the client's plan
	EndUnavailable Reason = "unavailable"
)

// EndRevokedHard ends a stream whose credential was revoked so that not even what the kernel holds for the client may
// arrive: nothing is told, the connection is reset.
const EndRevokedHard Reason = "revoked-hard"

// End is how one stream went. Whoever closes the socket reports it, once.
type End struct {
	Reason Reason
	Last   broker.Position // last whole event handed to the socket; zero = none
	Events uint64          // whole events sent, gateway events not counted
	Bytes  uint64
	Gaps   uint32 // gaps told by the engine after the start
}

// Sink is what the portable engine writes to; edge wraps http.ResponseController.
type Sink interface {
	Write([]byte) (int, error)
	Flush() error
	SetWriteDeadline(time.Time) error
}

// EndBytes appends the last bytes of a stream that ends for r: "retry:" line and
// gateway.end with its own jitter. It appends nothing for the engine's own reasons.
type EndBytes func(dst []byte, r Reason) []byte
