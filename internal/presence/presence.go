package presence

import (
	"encoding/json"
	"time"
)

// Times of beats, on this node's monotonic clock.
const (
	beatEvery  = time.Second
	beatLeast  = 100 * time.Millisecond // between two beats, when what they say changes
	deadAfter  = 5 * time.Second        // without a beat
	scanEvery  = 500 * time.Millisecond
	listenTime = 2500 * time.Millisecond // after that every edge that lives was heard
)

// Bounds of what beats can make this node hold.
const (
	maxEdges   = 1000
	maxBeat    = 8 << 10
	maxURLs    = 8
	maxRefused = 50
)

// Edge is an edge as its beats tell.
type Edge struct {
	Node    string `json:"node"`
	Boot    string `json:"boot"` // names this start of the node
	Version string `json:"version"`
	Group   string `json:"group"`
	// URLs under which clients reach it, at most 8.
	URLs []string `json:"urls,omitempty"`
	// Rev is the revision of the newest change of the catalog that it serves.
	Rev uint64 `json:"rev"`
	// Refused are ids of APIs whose newest definition it could not take, at most 50: the one before is served.
	Refused  []string `json:"refused,omitempty"`
	Clients  int      `json:"clients"` // open streams
	Draining bool     `json:"draining,omitempty"`

	Heard time.Time `json:"-"` // when its last beat came; set by the listener
}

// beat is one message on broker.EdgeBeatSubject.
type beat struct {
	V int `json:"v"` // 1
	Edge
	Gone bool `json:"gone,omitempty"` // its last one
}

// encode makes a beat that fits: what does not is left out, refused ids first.
func (b beat) encode() ([]byte, error) {
	b.V = 1
	b.URLs = b.URLs[:min(len(b.URLs), maxURLs)]
	b.Refused = b.Refused[:min(len(b.Refused), maxRefused)]
	for {
		text, err := json.Marshal(b)
		if err != nil || len(text) <= maxBeat || len(b.Refused)+len(b.URLs) == 0 {
			return text, err
		}
		if len(b.Refused) > 0 {
			b.Refused = b.Refused[:len(b.Refused)/2]
			continue
		}
		b.URLs = nil
	}
}

// decode reads a beat; what is not one is false.
func decode(text []byte) (beat, bool) {
	var b beat
	if len(text) > maxBeat || json.Unmarshal(text, &b) != nil || b.V != 1 || b.Node == "" || b.Boot == "" {
		return beat{}, false
	}
	b.URLs = b.URLs[:min(len(b.URLs), maxURLs)]
	b.Refused = b.Refused[:min(len(b.Refused), maxRefused)]
	return b, true
}
