package ingest

import (
	"hash/maphash"
	"time"

	"sluice/ingest/upstream"
)

func hashOf(seed maphash.Seed, body []byte) uint64 { return maphash.Bytes(seed, body) }

func redact(url string) string { return upstream.Redact(url) }

// begin starts what a new connection has to prove.
func (r *reader) begin(a ask) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gap = a.gap
	if !r.pending {
		return
	}
	switch a.proof {
	case proofTrust:
		r.settle("trusted")
	case proofOverlap, proofNext:
		r.over = newOverlap(&r.win, a.proof)
	}
}

// settle ends a seam.
func (r *reader) settle(how string) {
	r.pending, r.reason, r.noID, r.refused = false, "", false, 0
	r.seam = how
	r.w.st.resumed(how)
}

// fresh forgets what was found on the connection before.
func (r *reader) fresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.seam = 0, ""
}

// settled says how the seam before the present connection's events was settled.
func (r *reader) settled() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seam
}

// prove ends a seam at which nothing can be proved, with the marker before the next event.
func (r *reader) prove() {
	if !r.pending {
		return
	}
	how := "none"
	if r.gap == gapIgnoredID {
		how = "unproven"
	}
	r.mark(r.gap, r.now)
	r.settle(how)
}

// mark queues a marker, unless the newest thing in the feed is one for the same reason already.
func (r *reader) mark(reason string, when stamp) {
	if r.win.gap == reason {
		return
	}
	r.q.addBody(gapBody(reason), []byte(r.sticky), when, true, true)
	r.win.known, r.win.gap = true, reason
}

// offer gives an event, or a marker, to the comparison and does what it says. r.mu is held.
func (r *reader) offer(h held) {
	o := r.over
	before := o.waiting()
	switch o.offer(h) {
	case verdictProven:
		r.w.n.met.skip("repeated", len(o.held)+1)
		r.over = nil
		r.settle("proven")
	case verdictNext:
		r.w.n.met.skip("repeated", len(o.held))
		r.over = nil
		r.settle("proven")
		r.queueHeld(h)
	case verdictBroken:
		r.unproven(o)
	case verdictHold:
		if !before && o.waiting() {
			time.AfterFunc(holdTime, func() { r.holdOver(o) })
		}
	}
}

// holdOver ends a comparison in which nothing matched in time. It runs on a timer's goroutine, which may outlive the
// reader by that time; then the comparison is not the reader's any more.
func (r *reader) holdOver(o *overlap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over == o && o.waiting() {
		r.unproven(o)
	}
}

// unproven treats all that a comparison held back as new, behind a marker.
func (r *reader) unproven(o *overlap) {
	r.over = nil
	r.mark(gapIgnoredID, o.held[0].when)
	r.settle("unproven")
	for _, h := range o.held {
		r.queueHeld(h)
	}
}

func (r *reader) queueHeld(h held) {
	if h.gap != "" {
		r.mark(h.gap, h.when)
		return
	}
	r.q.addBody(h.body, h.id, h.when, false, false)
	r.win.push(h.id, h.hash, h.bad)
}

// end is the end of a connection: what is held back and matched nothing is new, and the next connection is a seam. If we
// ended it, what is held back is left to the next one, which can ask for the same.
func (r *reader) end(conn *upstream.Conn, ours bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.over; o != nil {
		if o.waiting() && !ours {
			r.unproven(o)
		}
		r.over = nil
	}
	r.sticky = string(conn.LastID())
	r.pending = r.win.known
}
