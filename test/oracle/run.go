package oracle

import "strings"

// Gap is the data of a gateway.gap event.
type Gap struct {
	Reason   string  `json:"reason"`
	From     *string `json:"from,omitempty"`
	To       *string `json:"to,omitempty"`
	Possible bool    `json:"possible,omitempty"`
	Doubles  bool    `json:"doubles,omitempty"`
	Missed   uint64  `json:"missed,omitempty"`
}

// seam says that ingest stored the gap where the upstream's stream was cut.
func (g *Gap) seam() bool {
	return strings.HasPrefix(g.Reason, "upstream-") || g.Reason == "idle-closed"
}

// Run says by what a run of facts is judged.
type Run struct {
	Seed uint64 `json:"seed"`
	// Unsure says that the upstream cannot resume exactly (no ids, Last-Event-ID ignored, replays too much): then events
	// may be lost or come again across a stored seam.
	Unsure bool `json:"unsure,omitempty"`
	// Tap says that there are stored facts, of every feed and complete.
	Tap bool `json:"tap,omitempty"`
	// Reused says that the store may lose its newest events, as a power cut can, and use their sequences again for others at
	// other times.
	Reused bool `json:"reused,omitempty"`
	// MinProduced and MinFaults make the run void if fewer events were produced or fewer faults happened.
	MinProduced uint64 `json:"min_produced,omitempty"`
	MinFaults   int    `json:"min_faults,omitempty"`
	// Overlap is how long two upstream connections of one feed may be open at once, in µs.
	Overlap int64 `json:"overlap,omitempty"`
}

// Digest is one event's share in Fact.Digest: the digest of a run is the exclusive or over its events, so that a run of
// any length is compared with the store's sequences and times at once.
func Digest(n, seq uint64, micros int64) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := n + odd
	for _, v := range []uint64{seq, uint64(micros)} {
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h^h>>27)*0x94d049bb133111eb ^ v
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	return h ^ h>>31
}
