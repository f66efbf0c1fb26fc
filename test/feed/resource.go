package feed

import (
	"net/http"
	"time"

	"sluice/test/oracle"
)

const notedRequests = 256 // per feed

// resource is the state of one feed. All fields are guarded by Market.mu.
type resource struct {
	feed      string
	table     timetable
	extra     uint64 // events that Emit and Burst made due beyond the timetable
	announced uint64 // head of the last produced fact
	sent      uint64 // highest event written to anybody
	open      map[*conn]struct{}
	opens     int
	peak      int
	asked     int
	noted     []Request // the last notedRequests
	requests  []Fault   // waiting for a request
	streaming []Fault   // waiting for a connection
	fired     []bool    // script steps with AtN that happened here
}

// Request is one request for a feed as the market saw it.
type Request struct {
	At          time.Time
	LastEventID string
	Header      http.Header // the caller must not change it
	Fault       Kind        // what was wrong with the answer, empty for a stream
}

// Stats is the state of a feed at one moment.
type Stats struct {
	Requests int    // requests so far, whatever was answered
	Opens    int    // streams opened so far
	Open     int    // streams open now
	Peak     int    // most streams open at one moment
	Head     uint64 // newest event that is due
	Sent     uint64 // newest event written to any connection
}

// resource returns the state of a feed, nil when there are too many. Under mu.
func (m *Market) resource(feed string) *resource {
	if r := m.resources[feed]; r != nil {
		return r
	}
	if len(m.resources) >= m.o.MaxFeeds {
		return nil
	}
	r := &resource{feed: feed, table: m.tape.timetable(feed), open: map[*conn]struct{}{}, fired: make([]bool, len(m.script))}
	m.resources[feed] = r
	return r
}

// head returns the newest event of the feed that is due. Under mu.
func (m *Market) head(r *resource, now time.Time) uint64 {
	return r.table.count(m.elapsed(now)) + r.extra
}

// nextDue returns how long it is until event n, or a large time. Under mu.
func (m *Market) nextDue(r *resource, n uint64, now time.Time) time.Duration {
	const long = time.Hour
	if r.table.period == 0 || !m.paused.IsZero() {
		return long
	}
	return min(long, max(0, r.table.at(n-r.extra)-m.elapsed(now)))
}

// announce returns the produced fact for what became due since the last one. Under mu.
func (r *resource) announce(head uint64) oracle.Fact {
	if head <= r.announced {
		return oracle.Fact{}
	}
	from := r.announced + 1
	r.announced = head
	return oracle.Fact{Kind: oracle.KindProduced, Feed: r.feed, N0: from, N1: head}
}

// note keeps a request. Under mu.
func (r *resource) note(req *http.Request, fault *Fault) {
	r.asked++
	if len(r.noted) == notedRequests {
		r.noted = append(r.noted[:0], r.noted[1:]...)
	}
	n := Request{At: time.Now(), LastEventID: req.Header.Get("Last-Event-ID"), Header: req.Header.Clone()}
	if fault != nil {
		n.Fault = fault.Kind
	}
	r.noted = append(r.noted, n)
}

// stats reads the counters. Under mu.
func (m *Market) stats(r *resource) Stats {
	return Stats{
		Requests: r.asked, Opens: r.opens, Open: len(r.open), Peak: r.peak,
		Head: m.head(r, time.Now()), Sent: r.sent,
	}
}

// Stats returns the state of a feed.
func (m *Market) Stats(feed string) Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.resources[feed]; r != nil {
		return m.stats(r)
	}
	return Stats{}
}

// Requests returns the latest requests for a feed, at most 256, oldest first.
func (m *Market) Requests(feed string) []Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.resources[feed]; r != nil {
		return append([]Request(nil), r.noted...)
	}
	return nil
}

// start returns the first event for a connection that presents an id, and false if the answer is 410. Under mu.
func (m *Market) start(r *resource, id string, now time.Time) (n uint64, ok bool) {
	head := m.head(r, now)
	live := head + 1
	if id == "" || m.o.Resume == ResumeIgnore {
		return live, true
	}
	last, known := m.tape.eventOf(r.feed, id, head)
	if !known {
		return live, true
	}
	n = last + 1 - min(uint64(m.o.Overlap), last)
	keep := uint64(m.o.Keep)
	if m.o.Resume == ResumeRefuse && keep == 0 {
		keep = 256
	}
	if keep == 0 || n+keep > head {
		return n, true
	}
	return head - keep + 1, m.o.Resume != ResumeRefuse
}
