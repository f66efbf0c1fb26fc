package feed

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"sluice/test/oracle"
)

// Market is the seeded upstream, an http.Handler. All methods are safe for concurrent use.
type Market struct {
	tape    *Tape
	o       Options
	created time.Time
	script  []Step
	done    chan struct{} // closed by Close
	facts   chan oracle.Fact
	streams sync.WaitGroup // one per open connection

	mu        sync.Mutex // guards all below, and the resources
	resources map[string]*resource
	requests  []Fault       // faults waiting for a request of any feed
	streaming []Fault       // faults waiting for a connection of any feed
	fired     []bool        // script steps without AtN that happened
	changed   chan struct{} // closed and renewed when open connections must look again
	progress  chan struct{} // the same for Wait; only renewed while somebody waits
	waiting   int
	paused    time.Time     // zero while running
	skipped   time.Duration // time spent paused before
	watched   bool          // Facts was called
	closed    bool
}

// New returns the market of a seed. It starts nothing and listens nowhere: serve it with net/http, whose
// connections it takes over to misbehave byte by byte; over HTTP/2 the faults below HTTP end the stream only.
// Close it in the end.
func New(seed uint64, o Options, script ...Step) *Market {
	o = o.withDefaults()
	now := time.Now()
	if o.Start.IsZero() {
		o.Start = now
	}
	return &Market{
		tape: NewTape(seed, o), o: o, created: now, script: script, fired: make([]bool, len(script)),
		done: make(chan struct{}), facts: make(chan oracle.Fact, 1024), resources: map[string]*resource{},
		changed: make(chan struct{}), progress: make(chan struct{}),
	}
}

// Tape returns what the market says and when.
func (m *Market) Tape() *Tape { return m.tape }

// Start returns the moment event numbers count from.
func (m *Market) Start() time.Time { return m.o.Start }

// Facts returns the channel of what happens from now on: produced, conn and fault facts. The market waits for
// a reader that is slow, so whoever calls Facts must receive until Close closes the channel.
func (m *Market) Facts() <-chan oracle.Fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = true
	return m.facts
}

// Close ends every connection and waits until their handlers are done.
func (m *Market) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		m.streams.Wait()
		return
	}
	m.closed = true
	for _, r := range m.resources {
		for c := range r.open {
			c.stopLocked()
		}
	}
	m.mu.Unlock()
	close(m.done)
	m.streams.Wait()
	close(m.facts)
}

var symbolRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// feedOf names the feed a request asks for, empty if there is none.
func (m *Market) feedOf(r *http.Request) string {
	path := r.URL.EscapedPath()
	switch {
	case path == "/stream/ticks":
		return "/ticks"
	case path == "/stream/quotes":
		symbol := r.URL.Query().Get("s")
		if _, known := m.tape.ranks[symbol]; known || m.o.AnySymbol && symbolRE.MatchString(symbol) {
			return "/quotes/" + symbol
		}
	case strings.HasPrefix(path, "/stream/any/") && len(path) <= 256 && !strings.ContainsAny(path, `"\`):
		return strings.TrimPrefix(path, "/stream")
	}
	return ""
}

// ServeHTTP answers /stream/… with an endless stream, or as a fault wants it.
func (m *Market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	feed := m.feedOf(r)
	if feed == "" {
		http.Error(w, "no such stream: try /stream/ticks or /stream/quotes?s="+m.tape.symbols[0], http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	fault, byHand, err := m.requestFault(r, feed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if fault != nil {
		m.tell(oracle.Fact{Kind: oracle.KindFault, Feed: feed, Name: string(fault.Kind), Edge: oracle.Begin})
	}
	if fault != nil && fault.answer(w, r, m.done) {
		return
	}
	m.stream(w, r, feed, fault, byHand)
}

// requestFault notes the request and finds what is wrong with its answer, and what the connection that may
// follow was asked by hand to do.
func (m *Market) requestFault(r *http.Request, feed string) (fault, byHand *Fault, err error) {
	if text := r.URL.Query().Get("fault"); text != "" {
		f, err := ParseFault(text)
		if err != nil {
			return nil, nil, err
		}
		if f.meetsRequest() {
			fault = &f
		} else {
			byHand = &f
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	res := m.resource(feed)
	if res == nil {
		return &Fault{Kind: Status, Code: http.StatusServiceUnavailable}, nil, nil
	}
	m.runScript(time.Now())
	if fault == nil {
		fault = takeRequestFault(&res.requests)
	}
	if fault == nil {
		fault = takeRequestFault(&m.requests)
	}
	res.note(r, fault)
	m.tellWaiting()
	return fault, byHand, nil
}

// takeRequestFault returns the first fault of the queue, and removes it once it was met often enough.
func takeRequestFault(queue *[]Fault) *Fault {
	if len(*queue) == 0 {
		return nil
	}
	f := (*queue)[0]
	switch {
	case f.Times < 0:
	case f.Times <= 1:
		*queue = (*queue)[1:]
	default:
		(*queue)[0].Times--
	}
	return &f
}

// emit hands facts to the reader of Facts, if there is one; those without time happened now. Only for callers counted in streams; not under mu.
func (m *Market) emit(facts ...oracle.Fact) {
	m.mu.Lock()
	watched := m.watched
	m.mu.Unlock()
	if !watched {
		return
	}
	for _, f := range facts {
		if f.Kind != "" {
			if f.At == 0 {
				f.At = time.Now().UnixMicro()
			}
			m.facts <- f
		}
	}
}

// tell is emit for callers that are not counted in streams.
func (m *Market) tell(facts ...oracle.Fact) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.streams.Add(1)
	m.mu.Unlock()
	defer m.streams.Done()
	m.emit(facts...)
}

// elapsed returns the market's time since its start; it stands still during Pause. Under mu.
func (m *Market) elapsed(now time.Time) time.Duration {
	if !m.paused.IsZero() {
		now = m.paused
	}
	return now.Sub(m.o.Start) - m.skipped
}

// wake makes every open connection look again. Under mu.
func (m *Market) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// tellWaiting makes every Wait look again. Under mu.
func (m *Market) tellWaiting() {
	if m.waiting > 0 {
		close(m.progress)
		m.progress = make(chan struct{})
	}
}

// Wait returns once ok says yes to the state of a feed, or with the context's error. ok is called under a lock
// and must not call the market.
func (m *Market) Wait(ctx context.Context, feed string, ok func(Stats) bool) error {
	m.mu.Lock()
	m.waiting++
	defer func() {
		m.mu.Lock()
		m.waiting--
		m.mu.Unlock()
	}()
	for {
		r := m.resource(feed)
		if r != nil && ok(m.stats(r)) {
			m.mu.Unlock()
			return nil
		}
		again := m.progress
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again:
		}
		m.mu.Lock()
	}
}
