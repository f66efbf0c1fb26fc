package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sluice/internal/sse"
	"sluice/test/feed"
	"sluice/test/oracle"
)

// Options name a client and what it reads.
type Options struct {
	Name string     // of the logical client in facts
	URL  string     // of the feed at the gateway
	Feed string     // as the market names it
	Tape *feed.Tape // what the feed says
	// Facts takes what happens; it is called from Run's goroutine. Nil = nobody wants to know.
	Facts func(oracle.Fact)
	// HTTP sends the requests. Default: a client of its own, without keep-alive.
	HTTP *http.Client
	// Header is sent with every request.
	Header http.Header
	// From is the first event the client must get, if that is known.
	From uint64
	// LastID is presented at the first connect.
	LastID string
	// Pause is how long to wait before a reconnect. Default 20 ms; what the server says with retry is noted, not obeyed.
	Pause time.Duration
	// CutAfter, asked before each connect, is after how many bytes of body the client hangs up; 0 = never.
	CutAfter func() int
}

const keptGaps = 1000

// State is what a client has seen so far.
type State struct {
	Connects int    // responses with status 200
	Refused  int    // connects that failed or had another status
	Status   int    // of the last response
	N        uint64 // newest event
	ID       string // last id
	Events   uint64
	Junk     int
	Odd      int           // what should not have come: foreign, corrupt
	Gaps     []oracle.Gap  // told, at most 1,000
	Notices  []string      // names and data of other gateway events, at most 1,000
	Retry    time.Duration // last one said by the server
}

// Client is one logical client.
type Client struct {
	o    Options
	dec  *sse.Decoder
	want []byte // scratch
	run  oracle.Fact

	mu       sync.Mutex // guards all below
	state    State
	changed  chan struct{} // closed and renewed when the state changes and somebody waits
	waiting  int
	hangUp   context.CancelFunc // of the open connection
	leave    context.CancelFunc // of Run
	gone     chan struct{}      // closed when Run has returned
	quiesced bool
}

// New returns a client that has not connected.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	}
	if o.Pause == 0 {
		o.Pause = 20 * time.Millisecond
	}
	if o.Facts == nil {
		o.Facts = func(oracle.Fact) {}
	}
	c := &Client{o: o, changed: make(chan struct{})}
	c.dec = sse.NewDecoder(nil, sse.Options{MaxEvent: 4 << 20, OnRetry: func(ms uint64) {
		c.update(func(s *State) { s.Retry = time.Duration(ms) * time.Millisecond })
	}})
	c.dec.SetLastID([]byte(o.LastID))
	return c
}

// Feed is the feed that the client reads, as the market names it.
func (c *Client) Feed() string { return c.o.Feed }

// State returns what the client has seen so far.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Gaps, s.Notices = slices.Clone(s.Gaps), slices.Clone(s.Notices)
	return s
}

func (c *Client) update(change func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
	if c.waiting > 0 {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// Await returns once ok says yes to the client's state, or with the context's error. ok must not call the client, nor
// keep or change the state's slices.
func (c *Client) Await(ctx context.Context, ok func(State) bool) error {
	c.mu.Lock()
	c.waiting++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.waiting--
		c.mu.Unlock()
	}()
	for {
		c.mu.Lock()
		yes, again := ok(c.state), c.changed
		c.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again:
		}
	}
}

// Cut hangs up the open connection, if there is one; the client comes back.
func (c *Client) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hangUp != nil {
		c.hangUp()
	}
}

// Quiesce says that the client should by now have every event: the end of Run will say so.
func (c *Client) Quiesce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiesced = true
}

// Leave ends a Run that has begun, as the end of its context would, and waits until it has returned.
func (c *Client) Leave() {
	c.mu.Lock()
	leave, gone := c.leave, c.gone
	c.mu.Unlock()
	if leave != nil {
		leave()
		<-gone
	}
}

// Run reads and reconnects until ctx ends. Call it once.
func (c *Client) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	c.mu.Lock()
	c.leave, c.gone = cancel, gone
	c.mu.Unlock()
	defer close(gone)
	defer cancel()
	defer c.o.HTTP.CloseIdleConnections()
	for {
		cause := c.connect(ctx)
		c.flush()
		over := ctx.Err() != nil
		if over {
			cause = c.lastCause()
		}
		if cause != "" {
			c.tell(oracle.Fact{Kind: oracle.KindEnd, Name: cause})
		}
		if over {
			return
		}
		pause := time.NewTimer(c.o.Pause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

func (c *Client) lastCause() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiesced {
		return oracle.Quiesced
	}
	return "left"
}

func (c *Client) tell(f oracle.Fact) {
	f.Client, f.Feed = c.o.Name, c.o.Feed
	if f.At == 0 {
		f.At = time.Now().UnixMicro()
	}
	c.o.Facts(f)
}

// connect opens the stream and reads it to its end, whose cause it returns; empty if there was no stream.
func (c *Client) connect(ctx context.Context) (cause string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.hangUp = cancel
	c.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.URL, nil)
	if err != nil {
		c.update(func(s *State) { s.Refused++ })
		return ""
	}
	maps.Copy(req.Header, c.o.Header)
	req.Header.Set("Accept", "text/event-stream")
	last := string(c.dec.LastID())
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		c.update(func(s *State) { s.Refused++ })
		return ""
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		io.Copy(io.Discard, io.LimitReader(resp.Body, 4096)) //nolint:errcheck // politeness
		c.update(func(s *State) { s.Refused++; s.Status = resp.StatusCode })
		return ""
	}
	c.tell(oracle.Fact{Kind: oracle.KindConnect, Last: last, N0: c.o.From})
	c.update(func(s *State) { s.Connects++; s.Status = resp.StatusCode })
	body := io.Reader(resp.Body)
	if c.o.CutAfter != nil {
		if n := c.o.CutAfter(); n > 0 {
			body = io.LimitReader(body, int64(n))
		}
	}
	return c.read(body)
}

// read reads events until the body ends.
func (c *Client) read(body io.Reader) (cause string) {
	c.dec.Reset(body)
	for {
		ev, err := c.dec.Next()
		switch {
		case errors.Is(err, io.EOF):
			return "closed"
		case err != nil:
			return "cut"
		}
		c.take(ev)
	}
}

// take notes one event.
func (c *Client) take(ev sse.Event) {
	name, id := string(ev.Type), ""
	if ev.HasID {
		id = string(ev.ID)
	}
	switch {
	case name == "gateway.gap":
		var g oracle.Gap
		if err := json.Unmarshal(ev.Data, &g); err != nil || g.Reason == "" {
			c.odd(fmt.Sprintf("gap with data %q", ev.Data), 0, id)
			return
		}
		c.flush()
		c.tell(oracle.Fact{Kind: oracle.KindGap, Gap: &g, ID1: id})
		c.update(func(s *State) {
			s.ID = string(c.dec.LastID())
			if len(s.Gaps) < keptGaps {
				s.Gaps = append(s.Gaps, g)
			}
		})
	case bytes.HasPrefix(ev.Type, []byte("gateway.")):
		c.update(func(s *State) {
			if len(s.Notices) < keptGaps {
				s.Notices = append(s.Notices, name+" "+string(ev.Data))
			}
		})
	case bytes.HasPrefix(ev.Data, []byte(`{"junk":`)):
		c.odd("junk", 0, id)
	default:
		c.event(ev.Data, id)
	}
}

// event notes an event of the market.
func (c *Client) event(data []byte, id string) {
	name, n, ok := feed.Identify(data)
	if !ok {
		c.odd(fmt.Sprintf("data that is no payload: %.100q", data), 0, id)
		return
	}
	if string(name) != c.o.Feed {
		c.odd("foreign", n, id)
		return
	}
	if c.want = c.o.Tape.Append(c.want[:0], c.o.Feed, n); !bytes.Equal(c.want, data) {
		c.odd("corrupt", n, id)
		return
	}
	seq, micros, ok := oracle.ParseID(id)
	if !ok {
		c.odd(fmt.Sprintf("event %d with id %q", n, id), 0, "")
		return
	}
	if c.run.N0 == 0 || n != c.run.N1+1 || seq <= c.run.Seq1 {
		c.flush()
		c.run = oracle.Fact{Kind: oracle.KindGot, At: time.Now().UnixMicro(), N0: n, Seq0: seq, Micros: micros}
	}
	c.run.N1, c.run.Seq1, c.run.ID1 = n, seq, id
	c.run.Digest ^= oracle.Digest(n, seq, micros)
	c.update(func(s *State) { s.Events++; s.N, s.ID = n, id })
}

func (c *Client) odd(what string, n uint64, id string) {
	c.flush()
	c.tell(oracle.Fact{Kind: oracle.KindOdd, Name: what, N0: n, ID1: id})
	c.update(func(s *State) {
		s.ID = string(c.dec.LastID())
		if what == "junk" {
			s.Junk++
		} else {
			s.Odd++
		}
	})
}

// flush tells the run of events that ends here.
func (c *Client) flush() {
	if c.run.N0 != 0 {
		c.tell(c.run)
		c.run = oracle.Fact{}
	}
}
