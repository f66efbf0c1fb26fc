package ingest

import (
	"encoding/json"
	"hash/maphash"
	"strconv"

	"sluice/ingest/upstream"
	"sluice/internal/broker"
	"sluice/internal/sse"
)

// Reasons of stored seam markers.
const (
	gapNoID      = "upstream-no-id"      // the upstream has no ids to resume with
	gapIgnoredID = "upstream-ignored-id" // it was asked to resume and did not prove that it had
	gapIdle      = "idle-closed"         // nobody listened for a while, and nothing was read
	gapOversize  = "oversize"            // an event too large was skipped
	gapChanged   = "upstream-changed"    // the feed reads another upstream than before
)

// windowSize is how many of the newest events a reconnect can be compared with.
const windowSize = 256

// mark is what the window keeps of one event.
type mark struct {
	id     []byte // effective upstream id
	hash   uint64 // of the body
	unsafe bool   // its own id was ignored: id is an older one
}

// window is the newest events of a feed, stored or queued, without markers; oldest first. It is what a reconnect is
// compared with. Owned by the feed's reader.
type window struct {
	ring  []mark
	first int    // index of the oldest, once the ring is full
	known bool   // the feed has history: an event or a marker was stored or queued
	gap   string // reason of the newest stored or queued thing if that is a marker
}

func (w *window) len() int { return len(w.ring) }

func (w *window) at(i int) *mark { return &w.ring[(w.first+i)%len(w.ring)] }

// push adds the newest event; it copies id.
func (w *window) push(id []byte, hash uint64, unsafe bool) {
	w.known, w.gap = true, ""
	if len(w.ring) < windowSize {
		w.ring = append(w.ring, mark{append([]byte(nil), id...), hash, unsafe})
		return
	}
	m := &w.ring[w.first]
	m.id, m.hash, m.unsafe = append(m.id[:0], id...), hash, unsafe
	w.first = (w.first + 1) % len(w.ring)
}

// load makes the window of a feed from its newest stored messages, oldest first.
func (w *window) load(seed maphash.Seed, tail []broker.Message) {
	*w = window{}
	for i := range tail {
		m := &tail[i]
		if !m.Gap {
			w.push([]byte(m.UpstreamID), maphash.Bytes(seed, m.Body), false)
			continue
		}
		w.known, w.gap = true, gapReason(m.Body)
		if w.gap == gapChanged {
			w.forget()
		}
	}
}

// forget drops the events, whose ids mean nothing to another source.
func (w *window) forget() { w.ring, w.first = nil, 0 }

// proof is what shows that a reconnect missed nothing.
type proof uint8

const (
	proofNothing proof = iota // nothing can: a marker stands before the next event
	proofTrust                // the upstream's word: none is asked
	proofOverlap              // events that we have come again, up to the newest
	proofNext                 // the newest event comes again, or one whose number is the next
)

// ask is how to resume: the Last-Event-ID to present ("" = none), what then counts as proof, and the marker to store
// without one.
type ask struct {
	send  string
	proof proof
	gap   string
}

// askAgain plans the next connect from the window alone. refused counts the resumes that the upstream answered with an
// error since the last event: the second try presents the newest id, the third none.
func (w *window) askAgain(resume string, refused int) ask {
	none := ask{proof: proofNothing, gap: gapNoID}
	if resume == resumeOff || w.len() == 0 {
		return none
	}
	last := w.at(w.len() - 1)
	older, distinct := "", 1
	for i := w.len() - 2; i >= 0; i-- {
		m := w.at(i)
		if string(m.id) != string(last.id) {
			older, distinct = string(m.id), 2
			break
		}
	}
	for i := range w.len() {
		if w.at(i).unsafe {
			return none
		}
	}
	newest := string(last.id)
	if !upstream.SendableID(newest) || distinct == 1 && w.len() > 1 {
		return none
	}
	switch {
	case refused > 1 || resume == resumeTrust && refused > 0:
		return ask{proof: proofNothing, gap: gapIgnoredID}
	case resume == resumeTrust:
		return ask{send: newest, proof: proofTrust}
	case refused == 1 || !upstream.SendableID(older):
		return ask{send: newest, proof: proofNext, gap: gapIgnoredID}
	}
	return ask{send: older, proof: proofOverlap, gap: gapIgnoredID}
}

// Values of an API's upstream.resume.
const (
	resumeTrust = "trust"
	resumeOff   = "off"
)

// isNext says that both ids are decimal and b is a's successor.
func isNext(a, b []byte) bool {
	x, err := strconv.ParseUint(string(a), 10, 64)
	if err != nil {
		return false
	}
	y, err := strconv.ParseUint(string(b), 10, 64)
	return err == nil && x+1 == y && y != 0
}

// gapData is the body of a stored marker.
type gapData struct {
	Reason   string `json:"reason"`
	Possible bool   `json:"possible"`
}

// gapBody returns the body of the marker for reason. Only oversize is certain to have lost something.
func gapBody(reason string) []byte {
	data, err := json.Marshal(gapData{Reason: reason, Possible: reason != gapOversize})
	if err != nil {
		panic("ingest: a marker that is no JSON: " + err.Error()) // a struct of string and bool
	}
	return sse.AppendControlBody(nil, "gateway.gap", data)
}

// gapReason is the reason in a marker's body, "" if there is none to read.
func gapReason(body []byte) string {
	const lead = "event: gateway.gap\ndata: "
	if len(body) < len(lead) || string(body[:len(lead)]) != lead {
		return ""
	}
	var d gapData
	if json.Unmarshal(body[len(lead):], &d) != nil {
		return ""
	}
	return d.Reason
}
