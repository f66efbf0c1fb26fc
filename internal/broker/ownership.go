package broker

// SubjectBeats is where the beats of all ingest nodes are heard.
const SubjectBeats = "hb.ing.*"

// BeatSubject is where a node's beats go.
func BeatSubject(node string) string { return "hb.ing." + nodeToken(node) }

// HandSubject is where a node is offered feeds and told of those it was given.
func HandSubject(node string) string { return "hand." + nodeToken(node) }

// FeedsSubject is where an ingest node is asked for its page of feeds.
func FeedsSubject(node string) string { return "feeds." + nodeToken(node) }

// SubjectEdgeBeats is where the beats of all edges are heard.
const SubjectEdgeBeats = "hb.edge.*"

// EdgeBeatSubject is where an edge's beats go.
func EdgeBeatSubject(node string) string { return "hb.edge." + nodeToken(node) }

// ClientsSubject is where an edge is asked for the clients of an API.
func ClientsSubject(node string) string { return "clients." + nodeToken(node) }

// nodeToken maps a node's name to one token, as a path segment is mapped.
func nodeToken(node string) string { return string(appendMapped(nil, node, false)) }

// Beat says that an ingest node lives and what it can take.
type Beat struct {
	V    int    `json:"v"` // 1
	Node string `json:"node"`
	Boot string `json:"boot"` // names this start of it
	N    uint64 `json:"n"`    // counts the beats of this start
	// Capacity is how many feeds it may run; its share of all feeds is in proportion. 0 = it takes none yet.
	Capacity int  `json:"capacity"`
	Load     int  `json:"load"` // feeds it runs
	Draining bool `json:"draining,omitempty"`
	Gone     bool `json:"gone,omitempty"` // its last beat
}

// Hand is a message to an ingest node about a feed that another one hands over.
type Hand struct {
	V    int    `json:"v"` // 1
	Node string `json:"node"`
	Boot string `json:"boot"`
	Feed string `json:"feed"` // FeedID.String
	// Epoch 0 offers the feed and asks for a HandReply; else the feed is the receiver's from that epoch on.
	Epoch uint64 `json:"e,omitempty"`
	Want  Demand `json:"want"`
}

// HandReply answers an offer.
type HandReply struct {
	V     int    `json:"v"`
	Taken bool   `json:"taken"`
	Why   string `json:"why,omitempty"` // it is not
}

// FeedsAsk asks for a node's feeds from the given place on; the answer is JSON that only ingest knows.
type FeedsAsk struct {
	V    int `json:"v"` // 1
	From int `json:"from"`
	// API and Version ask for those of one API only; "" = all.
	API     string `json:"api,omitempty"`
	Version string `json:"version,omitempty"`
}
