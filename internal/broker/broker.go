package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	"sluice/internal/trace"
)

// FeedID names one feed: the mapped API token and the mapped path-and-query
// tokens, both safe as NATS subject tokens and KV keys. Make one with NewFeedID;
// the zero value names nothing.
type FeedID struct{ API, Key string }

// String returns "<api>.<key>", which is also the feed's key in bucket own.
func (f FeedID) String() string { return f.API + "." + f.Key }

// Subject returns the subject under which the feed's events are stored.
func (f FeedID) Subject() string { return "ev." + f.API + "." + f.Key }

// LiveSubject returns the subject under which stored events are republished.
func (f FeedID) LiveSubject() string { return "live." + f.API + "." + f.Key }

// ParseFeedID reads what String wrote; false if it is no feed's name.
func ParseFeedID(s string) (FeedID, bool) {
	api, key, ok := strings.Cut(s, ".")
	return FeedID{API: api, Key: key}, ok && api != "" && key != ""
}

// BeaconSubject returns the subject of the owner's beacons.
func (f FeedID) BeaconSubject() string { return "bcn." + f.API + "." + f.Key }

// Position is a stored message's place: its stream sequence and the broker's
// time stamp floored to microseconds. Both survive restart, purge and mirroring;
// a restore or a recreated stream is seen by Micros. The zero value means none.
type Position struct {
	Seq    uint64
	Micros int64
}

// IsZero reports whether p names no message.
func (p Position) IsZero() bool { return p == Position{} }

// Message is one stored event. Slices are owned by the receiver.
type Message struct {
	Position
	// Link is the sequence of the feed's event before this one as its writer knew
	// it: header Sse-Prev if present, else Seq-1. 0 = none.
	Link uint64
	// Epoch and Tx identify the commit that stored it (header Sse-Tx).
	Epoch, Tx uint64
	// UpstreamID is the effective upstream last event id at this event, "" = none.
	UpstreamID string
	// Gap is true for a stored seam marker (header Sse-Ctl: gap).
	Gap bool
	// Rx is the time at which ingest had read the event, in µs since 1970; 0 = unknown.
	Rx int64
	// Path is the canonical path and query of a hashed feed key, else "".
	Path string
	// Trace is the span of the commit that stored it, on the commit's first event and
	// if that span is recorded; zero = none.
	Trace trace.Context
	// Body is the exact prefix of the client's frame: "event:" and "data:" lines.
	Body []byte
}

// Event is one event to be stored.
type Event struct {
	Body       []byte // made by sse.AppendBody; not changed or kept by Commit after it returned
	UpstreamID string // effective upstream id, ≤ 1,024 bytes, any bytes
	Rx         int64  // µs since 1970
	Gap        bool   // a seam marker
}

// Commit is what one writer stores at once. It is built once and never changed,
// so that a retry is recognised by (Epoch, Tx). Prev is the feed's last sequence
// as the writer knows it (0 = none): the broker refuses the commit if it is not.
type Commit struct {
	Epoch, Tx uint64
	Prev      uint64
	Path      string // canonical path and query, stored for hashed feeds only
	Events    []Event
	// Trace is the commit's span; stored with the first event. Zero stores nothing.
	Trace trace.Context
	// Force makes Prev only the link stored in the first event and expects an empty
	// subject: for a feed whose last event expired or was purged.
	Force bool
	// What earlier attempts came to; owned by Writer.Commit.
	done   int    // events known to be stored
	last   uint64 // sequence of the last of them
	unsure bool   // some attempt had no answer: what it sent may still land
	empty  bool   // Force, and what was stored of it is gone
}

// Errors of Writer, Direct, Bucket, Bus and Admin; test with errors.Is and errors.As.
var (
	ErrBusy           = errors.New("broker busy")            // try again after a short pause (10164, 10210, 10167)
	ErrUnknownOutcome = errors.New("commit outcome unknown") // time-out: the same commit may be tried again
	ErrUnavailable    = errors.New("broker unavailable")     // disconnected, no leader, JetStream not up
	ErrNoStream       = errors.New("no such stream")
	ErrTooLarge       = errors.New("message too large")
	ErrStoreFull      = errors.New("store full")
	ErrDenied         = errors.New("permission denied")
	ErrNotFound       = errors.New("not found")
	ErrConflict       = errors.New("revision conflict")       // Bucket: compare-and-set failed
	ErrUnfit          = errors.New("broker cannot honour it") // a durability profile; the text says why and what to do
	ErrRefused        = errors.New("commit refused")          // malformed or a wrong stream configuration: our bug
)

// FencedError says that the feed's last sequence is not the one the writer
// expected: another writer stored something, or the tail was lost.
type FencedError struct {
	Feed     FeedID
	Expected uint64
	Actual   uint64
}

// Writer stores events. One goroutine per feed calls it; several feeds may at once.
type Writer interface {
	// Last reads the feed's last message from the stream's leader. ErrNotFound if none.
	Last(ctx context.Context, f FeedID) (Message, error)
	// Tail returns the feed's last n messages (n ≤ 1,000), oldest first; it may be stale.
	Tail(ctx context.Context, f FeedID, n int) ([]Message, error)
	// Commit stores c in order with compare-and-set on the feed's last sequence and
	// returns the position of its last event (Micros unknown, 0). On ErrUnknownOutcome,
	// ErrBusy, ErrUnavailable and ErrNoStream pass the same c again: what of it is stored
	// already is found out by (Epoch, Tx) and not stored twice. *FencedError means that
	// somebody else's event is the feed's last (Actual), or that the feed has none (0).
	// Under profile process a commit may be stored in part when it is refused.
	Commit(ctx context.Context, f FeedID, c *Commit) (Position, error)
}

// Kind tells what a Delivery is.
type Kind uint8

// Kinds of Delivery.
const (
	KindMessage Kind = iota + 1 // a live event
	KindBeacon                  // the owner's word on a feed
	KindDirty                   // the link was cut or a queue overflowed: any feed may have missed something
)

// Delivery is one thing that Live hands over.
type Delivery struct {
	Kind Kind
	Feed FeedID // zero for KindDirty that concerns all feeds of this Live
	// Message and Last are set for KindMessage. Last is the header
	// Nats-Last-Sequence: the previous sequence of this subject, 0 = none.
	Message Message
	Last    uint64
	Beacon  Beacon // for KindBeacon
	// Err is set if the message is not one of ours (foreign): told as store-loss.
	Err error
}

// Live receives live events and beacons of the feeds added to it, in the order of
// the broker connection. One goroutine (a lane) calls Next; Add and Remove may be
// called by any. Its queue is bounded; an overflow is a KindDirty delivery.
type Live interface {
	// Add subscribes to the feed's live and beacon subjects and waits until the
	// broker has the subscription.
	Add(ctx context.Context, f FeedID) error
	// Remove ends the subscriptions; deliveries already queued may still come.
	Remove(f FeedID)
	// Next blocks until something is there or ctx ends, then fills buf with all that
	// waits and returns the count.
	Next(ctx context.Context, buf []Delivery) (int, error)
	Close()
}

// From says where a read begins, inclusively: at the first message of the feed
// with a sequence ≥ Seq or, if Seq is 0, with a time ≥ Micros.
type From struct {
	Seq    uint64
	Micros int64
}

// Block is the answer to one Direct read: facts, no judgement.
type Block struct {
	Messages []Message // complete and in order; empty = nothing at or after From
	// More is true if the store held more messages of the feed behind the last one
	// when the read was answered.
	More bool
	// Next is the sequence to read on from; 0 if the answer was empty.
	Next uint64
	// Foreign counts messages left out because they are not ours. The hole they leave
	// shows in the Link of what follows.
	Foreign int
}

// Limits of one Direct read: a block holds at most BlockMessages messages and
// about BlockBytes bytes (checked by the broker after each message).
const (
	BlockMessages = 256
	BlockBytes    = 256 << 10
)

// Direct reads stored events without consumers. Answers may come from a lagging
// replica. Any goroutine may call; callers bound their concurrency.
type Direct interface {
	// Read fills b with one complete block from the position. A cut or reordered
	// answer is an error, never a shorter block.
	Read(ctx context.Context, f FeedID, from From, b *Block) error
	// LastOf returns the last position of each feed of one API (zero = none kept).
	LastOf(ctx context.Context, api string, feeds []FeedID, out []Position) error
	// LastMessage returns the feed's last message, ErrNotFound if none is kept.
	LastMessage(ctx context.Context, f FeedID) (Message, error)
	// FirstSeq returns the sequence with which the API's stream was created: a smaller
	// one belongs to an earlier life of it. Cached; refreshed when the stream changes.
	FirstSeq(ctx context.Context, api string) (uint64, error)
	// LastSeq returns the last sequence that the API's stream gave out, as its leader said at
	// most a second ago: events behind it are not stored and will be others. Nothing given
	// out yet = one less than FirstSeq.
	LastSeq(ctx context.Context, api string) (uint64, error)
}

// Upstream states, as in beacons, GET /feeds and metrics.
const (
	StateOpening        = "opening"
	StateUp             = "up"
	StateBackoff        = "backoff"
	StateError          = "error"
	StateMissing        = "missing"
	StateAuth           = "auth"
	StateEnded          = "ended"
	StateRedirectLoop   = "redirect-loop"
	StateBlocked        = "blocked"
	StateBadContentType = "bad-content-type"
	StateEncoded        = "encoded"
	StateTLS            = "tls"
	StateStalled        = "stalled"
	StateBackpressure   = "backpressure"
	StateDegraded       = "degraded"
	StateClosed         = "closed"
)

// Beacon is the owner's word on one feed.
type Beacon struct {
	V     int    `json:"v"` // 1
	Node  string `json:"node"`
	Epoch uint64 `json:"e"`
	// Seq and Micros name the feed's last stored message; Micros 0 = not yet known.
	Seq    uint64 `json:"s"`
	Micros int64  `json:"t"`
	State  string `json:"u"`
	Since  int64  `json:"since"` // µs since 1970 of the last state change
	Why    string `json:"why,omitempty"`
}

// DemandOpen is the body of a request on SubjectDemandOpen: an edge wants a feed.
type DemandOpen struct {
	V    int    `json:"v"` // 1
	Edge string `json:"edge"`
	Boot string `json:"boot"`
	Want Demand `json:"want"`
}

// Demand names one feed in catalog terms, so that ingest builds the upstream URL
// from its own catalog and never from a client's path.
type Demand struct {
	API     string `json:"api"` // name
	Version string `json:"version"`
	Topic   string `json:"topic"`           // declared topic name
	Path    string `json:"path"`            // canonical concrete path below the base, "/quotes/ACME"
	Query   string `json:"query,omitempty"` // canonical allow-listed query
}

// DemandReply answers a DemandOpen: the feed's beacon, or why it is refused.
type DemandReply struct {
	V       int    `json:"v"`
	Beacon  Beacon `json:"beacon"`
	Refused string `json:"refused,omitempty"` // "", cap, topic, blocked
}

// DemandList is one part of the list of on-demand feeds that an edge sends every 5 s.
type DemandList struct {
	V     int      `json:"v"`
	Edge  string   `json:"edge"`
	Boot  string   `json:"boot"`
	Part  int      `json:"part"`
	Parts int      `json:"parts"`
	Feeds []Demand `json:"feeds"`
}

// Subjects of demand on core NATS.
const (
	SubjectDemandOpen = "dem.open"
	SubjectDemandList = "dem.list"
)

// SubjectStreamDeleted is where the broker says that a stream is no more.
const SubjectStreamDeleted = "$JS.EVENT.ADVISORY.STREAM.DELETED.*"

// Bus is core NATS: at most once, no storage.
type Bus interface {
	Publish(subject string, body []byte) error
	// Request waits for one answer until ctx ends. ErrUnavailable if nobody listens.
	Request(ctx context.Context, subject string, body []byte) ([]byte, error)
	// Subscribe calls h in order, on one goroutine of the library, until stop is called.
	// reply sends an answer; it is nil if none is wanted.
	Subscribe(subject string, h func(subject string, body []byte, reply func([]byte) error)) (stop func(), err error)
	// Serve is Subscribe as one of a group: of all nodes that serve under this name, one gets each message.
	Serve(subject, group string, h func(subject string, body []byte, reply func([]byte) error)) (stop func(), err error)
}

// Entry is one value of a Bucket. Revision 0 = absent.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Deleted  bool
}

// BucketWrite is one write of a Bucket.Batch.
type BucketWrite struct {
	Key   string
	Value []byte
	// Delete leaves a delete marker instead of Value.
	Delete bool
	// Revision is the key's last one, a delete marker's too; 0 = there never was any.
	Revision uint64
}

// MaxBucketBatch is how many writes one Batch may have.
const MaxBucketBatch = 100

// Bucket is one key-value bucket with compare-and-set.
type Bucket interface {
	// Get may be stale; ErrNotFound if absent or deleted.
	Get(ctx context.Context, key string) (Entry, error)
	// Last returns the key's last entry as the leader has it, a delete marker too; Revision 0 if there never was any.
	Last(ctx context.Context, key string) (Entry, error)
	// Batch makes all writes, each of another key, or none: ErrConflict if any key has another revision. Readers see them in
	// order, the last with the revision returned. On ErrUnknownOutcome they may have been made, or may still be.
	Batch(ctx context.Context, writes []BucketWrite) (uint64, error)
	// Put stores value if the key's revision is still rev (0 = must not exist) and
	// returns the new revision; ErrConflict if not.
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	// Newest returns the revision of the newest entry ever made, as the leader has it; it may have been deleted or be too old since.
	// An empty bucket has one, too: revisions do not begin at 1.
	Newest(ctx context.Context) (uint64, error)
	// Watch sends every present entry, then one zero Entry, then changes, until ctx
	// ends; the channel is closed when the watch ends for any reason.
	Watch(ctx context.Context, pattern string) (<-chan Entry, error)
}

// StreamSpec is what one API asks of its stream.
type StreamSpec struct {
	API       string // FeedID.API
	Name      string // API name and version for people, kept in metadata
	Durable   string // profile: memory, process, power, cluster
	MaxAge    time.Duration
	MaxEvents int64 // per feed
	MaxBytes  int64 // whole stream
}

// StreamState is a summary of one stream.
type StreamState struct {
	FirstSeq, LastSeq uint64
	Messages, Bytes   uint64
	Feeds             int
}

// Admin creates, updates and deletes what is stored. Only the control role calls it.
type Admin interface {
	// EnsureStream creates the API's stream or updates it to s; calling again is cheap.
	// ErrUnfit says that this broker cannot keep s.Durable, or not without losing what is
	// stored.
	EnsureStream(ctx context.Context, s StreamSpec) error
	DeleteStream(ctx context.Context, api string) error
	// PurgeFeed removes all events of a feed.
	PurgeFeed(ctx context.Context, f FeedID) error
	// PurgeStream removes all events of an API; its sequences go on. ErrNoStream.
	PurgeStream(ctx context.Context, api string) error
	// Feeds lists the feeds of an API that have stored events, in no order; ErrNoStream.
	Feeds(ctx context.Context, api string) ([]FeedID, error)
	StreamState(ctx context.Context, api string) (StreamState, error)
	// Bucket opens the named bucket, creating it if needed; short for EnsureBucket of a BucketSpec with nothing else set.
	Bucket(ctx context.Context, name string, history uint8) (Bucket, error)
	// EnsureBucket opens a bucket, creating it or giving it its age and size if needed.
	EnsureBucket(ctx context.Context, s BucketSpec) (Bucket, error)
}

// BucketSpec is what a bucket is made of.
type BucketSpec struct {
	Name     string
	History  uint8         // values kept of each key; 0 = 1
	MaxAge   time.Duration // after which an entry is gone, and no watch is told; 0 = never
	MaxBytes int64         // 0 = 256 MiB; smaller if the store has no room to reserve for it
}

// Link is the state of the connection to the broker.
type Link struct {
	Up    bool
	Since time.Time
	Why   string // of a link that is down: the last error, by connection
	Never bool   // it has not been up yet
}
