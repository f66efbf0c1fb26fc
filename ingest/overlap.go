package ingest

import "time"

// Bounds of what an overlap holds back while nothing is decided.
const (
	holdEvents = windowSize
	holdBytes  = 64 << 10
	holdTime   = 500 * time.Millisecond
)

// held is an event, or a marker, not yet known to be new.
type held struct {
	body []byte
	id   []byte
	hash uint64
	when stamp
	gap  string // reason, if it is a marker
	bad  bool   // its own id was ignored
}

// verdict is what an overlap makes of an event.
type verdict uint8

const (
	verdictHold   verdict = iota // nothing is decided: the event is kept back
	verdictProven                // nothing was missed; this event is the last one that came again
	verdictNext                  // nothing was missed; this event is new
	verdictBroken                // not proven: all that was held back is new, this event with it
)

// overlap compares the first events after a reconnect with the window. Events that come before the first match are an old
// replay, those that match are repeats; both are dropped once the newest event has come again. Everything is held back
// until then, and is treated as new if the comparison fails. The window must not change meanwhile.
type overlap struct {
	win   *window
	proof proof
	ids   map[string]int // occurrences in the window
	next  int            // index of the window's event that must come next; -1 before the first match
	held  []held
	bytes int
}

func newOverlap(w *window, p proof) *overlap {
	o := &overlap{win: w, proof: p, next: -1, ids: make(map[string]int, w.len())}
	for i := range w.len() {
		o.ids[string(w.at(i).id)]++
	}
	if w.len() > 1 {
		o.ids[string(w.at(0).id)]++ // events before the window may have had the same
	}
	return o
}

// same says that an event is the window's i-th: by its id if that is the only one of its kind, else by id and content.
func (o *overlap) same(i int, h *held) bool {
	m := o.win.at(i)
	return string(m.id) == string(h.id) && (o.ids[string(h.id)] == 1 || m.hash == h.hash)
}

// offer takes the next event; h's slices become the overlap's.
func (o *overlap) offer(h held) verdict {
	newest := o.win.len() - 1
	if h.gap != "" {
		o.hold(h)
		return verdictHold
	}
	if o.proof == proofNext && isNext(o.win.at(newest).id, h.id) {
		return verdictNext
	}
	at := -1
	switch {
	case o.next < 0:
		at = o.find(&h)
	case o.same(o.next, &h):
		at = o.next
	}
	switch {
	case at == newest:
		return verdictProven
	case at >= 0:
		o.next = at + 1
		if len(o.held) >= holdEvents || o.bytes >= holdBytes {
			o.held, o.bytes = o.held[:0], 0 // a run that long is no accident
		}
		o.hold(h)
		return verdictHold
	}
	o.hold(h)
	if o.next >= 0 {
		return verdictBroken
	}
	if len(o.held) >= holdEvents || o.bytes >= holdBytes {
		return verdictBroken
	}
	return verdictHold
}

// find returns the index of the window's event that h repeats, -1 if none: at best the one at which an upstream starts
// that was asked for what follows the older id, else the oldest.
func (o *overlap) find(h *held) int {
	start := o.win.len() - 1
	for start > 0 && string(o.win.at(start-1).id) == string(o.win.at(start).id) {
		start--
	}
	if o.same(start, h) {
		return start
	}
	for i := range o.win.len() {
		if o.same(i, h) {
			return i
		}
	}
	return -1
}

func (o *overlap) hold(h held) {
	o.held = append(o.held, h)
	o.bytes += len(h.body) + len(h.id)
}

// waiting says that something is held and nothing has matched: after holdTime that means broken.
func (o *overlap) waiting() bool { return o.next < 0 && len(o.held) > 0 }
