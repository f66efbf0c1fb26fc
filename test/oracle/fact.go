package oracle

// Kinds of facts.
const (
	KindRun      = "run"      // first: what is judged and under which conditions
	KindProduced = "produced" // the upstream had events N0 … N1 to say
	KindConn     = "conn"     // a connection to the upstream from Peer, Edge = Open or Close, with the Last it presented
	KindStored   = "stored"   // the tap: the broker holds event N of the feed at sequence Seq0, µs Micros
	KindConnect  = "connect"  // a client opens its stream, presenting Last
	KindGot      = "got"      // a client received N0 … N1 without a break
	KindOdd      = "odd"      // a client received something that is no event of its feed; Name says what
	KindGap      = "gap"      // a client was told a gap
	KindEnd      = "end"      // a client's stream ended; Name says why
	KindFault    = "fault"    // a fault, Edge = Begin or End
)

// Edges of conn and fault facts.
const (
	Open  = "open"
	Close = "close"
	Begin = "begin"
	End   = "end"
)

// Quiesced is the cause of an end at which the client was to have every event: nothing more was produced, and it had time.
const Quiesced = "quiesced"

// ProcessGone is the name of a fault with Edge = End: by its time the gateway's process has ended and the next one has not
// begun. Connections that the upstream still counts then are of a dead peer.
const ProcessGone = "process-gone"

// Fact is one thing that happened in a run: a line of JSON in a fact file. Which fields count depends on Kind.
type Fact struct {
	Kind string `json:"k"`
	At   int64  `json:"at,omitempty"` // µs since 1970

	Feed   string `json:"f,omitempty"`
	Client string `json:"c,omitempty"`
	Name   string `json:"name,omitempty"` // fault kind, odd kind, end cause
	Edge   string `json:"edge,omitempty"` // Open, Close, Begin, End
	Last   string `json:"last,omitempty"` // Last-Event-ID presented
	Peer   string `json:"peer,omitempty"` // conn: the address it comes from

	// produced, got: an unbroken run of events; stored, connect: N0 alone.
	N0 uint64 `json:"n0,omitempty"`
	N1 uint64 `json:"n1,omitempty"`
	// got: sequences of the run's first and last event, the first one's time, the last one's id, and the Digest of all. gap,
	// odd: ID1 is its own id, if it has one.
	Seq0   uint64 `json:"seq0,omitempty"`
	Seq1   uint64 `json:"seq1,omitempty"`
	ID1    string `json:"id1,omitempty"`
	Micros int64  `json:"us,omitempty"`
	Digest uint64 `json:"h,omitempty"`

	Epoch uint64 `json:"epoch,omitempty"` // stored: who wrote it

	Gap *Gap `json:"gap,omitempty"` // gap: as told; stored: a marker
	Run *Run `json:"run,omitempty"`
}
