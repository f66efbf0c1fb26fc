package feed

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"sluice/test/oracle"
)

const writeBytes = 64 << 10 // events encoded before they are written

// errGone says that the client left, or that the market closes.
var errGone = errors.New("the client is gone")

// conn is one open stream.
type conn struct {
	m    *Market
	r    *resource
	gone chan struct{} // closed by stop: the client left, or the market closes

	// Guarded by Market.mu:
	faults []Fault   // waiting to happen
	raw    net.Conn  // taken over from net/http, nil before and over HTTP/2
	left   time.Time // when gone was closed

	// Owned by the handler:
	out     out
	buf     []byte
	n       uint64    // next event to send
	cut     *Fault    // happens inside event n
	quiet   time.Time // nothing is sent before; zero = no
	mute    bool      // nothing is sent any more
	ends    ends
	unheard int // events since the last comment
}

// plan is what a connection does next: a fault, else the events n … to if there are any, else wait.
type plan struct {
	fault *Fault
	to    uint64
	wait  time.Duration
	again <-chan struct{}
	facts [2]oracle.Fact
}

// stream answers with an endless stream.
func (m *Market) stream(w http.ResponseWriter, r *http.Request, feed string, fault, byHand *Fault) {
	id := r.Header.Get("Last-Event-ID")
	c := &conn{m: m, gone: make(chan struct{})}
	if code := c.open(feed, id, byHand); code != 0 {
		http.Error(w, http.StatusText(code), code)
		return
	}
	defer m.streams.Done()
	m.emit(oracle.Fact{Kind: oracle.KindConn, Feed: feed, Edge: oracle.Open, Last: id, Peer: r.RemoteAddr})
	defer func() {
		m.emit(oracle.Fact{Kind: oracle.KindConn, Feed: feed, Edge: oracle.Close, At: c.close(), Peer: r.RemoteAddr})
	}()
	release := context.AfterFunc(r.Context(), c.stop)
	defer release()
	defer c.out.close()
	if err := c.takeOver(w, r, fault); err != nil {
		return // the client left
	}
	c.run()
}

// stop makes the handler end, wherever it is. Safe for concurrent use.
func (c *conn) stop() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.stopLocked()
}

// stopLocked is stop. Under mu.
func (c *conn) stopLocked() {
	if c.over() {
		return
	}
	c.left = time.Now()
	close(c.gone)
	if c.raw != nil {
		c.raw.Close() //nolint:errcheck // it unblocks a write
	}
}

// over says that the connection has been stopped.
func (c *conn) over() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// open registers the connection; a status other than 0 refuses it.
func (c *conn) open(feed, id string, byHand *Fault) int {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return http.StatusServiceUnavailable
	}
	c.r = m.resource(feed)
	n, ok := m.start(c.r, id, time.Now())
	if !ok {
		return http.StatusGone
	}
	c.n = n
	c.faults = append(c.faults, c.r.streaming...)
	c.faults = append(c.faults, m.streaming...)
	c.r.streaming, m.streaming = nil, nil
	if byHand != nil {
		c.faults = append(c.faults, *byHand)
	}
	c.r.open[c] = struct{}{}
	c.r.opens++
	c.r.peak = max(c.r.peak, len(c.r.open))
	m.streams.Add(1)
	m.tellWaiting()
	return 0
}

// close takes the connection off the list and returns when it ended, in µs: when the client left, even if the handler, held up
// by whoever reads the facts, hears of it late.
func (c *conn) close() int64 {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	delete(c.r.open, c)
	c.m.tellWaiting()
	if c.left.IsZero() {
		return time.Now().UnixMicro()
	}
	return c.left.UnixMicro()
}

// run sends events as they come due until the client leaves, a fault ends the stream or the market closes.
func (c *conn) run() {
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	for !c.over() {
		p := c.plan()
		c.m.emit(p.facts[:]...)
		switch {
		case p.fault != nil:
			if c.perform(*p.fault) != nil {
				return
			}
		case p.to >= c.n:
			if c.send(p.to) != nil {
				return
			}
		default:
			idle.Reset(p.wait)
			if c.await(idle.C, p.again) != nil {
				return
			}
		}
	}
}

// await waits until something may have changed; when only time passed and a heartbeat is due it sends one.
func (c *conn) await(idle <-chan time.Time, again <-chan struct{}) error {
	select {
	case <-c.gone:
		return errGone
	case <-again:
	case <-idle:
		silent := c.mute || time.Now().Before(c.quiet)
		if beat := c.m.o.Heartbeat; beat > 0 && !silent && time.Since(c.out.last) >= beat {
			return c.out.write([]byte(":\n\n"))
		}
	}
	return nil
}

// plan decides what to do next.
func (c *conn) plan() (p plan) {
	m, r, now := c.m, c.r, time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runScript(now)
	head := m.head(r, now)
	p = plan{again: m.changed, wait: m.nextStep(now)}
	p.facts[0] = r.announce(head)

	step, nextStep := m.scripted(r, c.n)
	if head >= c.n && step != nil {
		m.doStep(c, *step)
	}
	if len(c.faults) > 0 {
		f := c.faults[0]
		c.faults = c.faults[1:]
		p.fault = &f
		p.facts[1] = oracle.Fact{Kind: oracle.KindFault, Feed: r.feed, Name: string(f.Kind), Edge: oracle.Begin}
		return p
	}
	switch {
	case c.mute:
		return p
	case now.Before(c.quiet):
		p.wait = min(p.wait, c.quiet.Sub(now))
		return p
	case head >= c.n && c.cut != nil:
		p.fault, c.cut = c.cut, nil
		p.fault.inEvent = true
		return p
	case head >= c.n:
		p.to = min(head, nextStep-1)
		return p
	}
	p.wait = min(p.wait, m.nextDue(r, c.n, now))
	if beat := m.o.Heartbeat; beat > 0 {
		p.wait = min(p.wait, max(0, beat-now.Sub(c.out.last)))
	}
	return p
}

// doStep lets a script's fault happen to the connection that reached its event. Under mu.
func (m *Market) doStep(c *conn, f Fault) {
	switch {
	case f.Kind == Burst:
		f.Feed = c.r.feed
		m.burst(f)
	case f.meetsRequest():
		f.Feed = c.r.feed
		m.inject(f)
	default:
		c.faults = append(c.faults, f)
	}
}

// send writes the events from c.n to at most n, as many as fit one write.
func (c *conn) send(n uint64) error {
	c.buf = c.buf[:0]
	for c.n <= n && len(c.buf) < writeBytes {
		c.buf = c.appendEvent(c.buf, c.n)
		c.n++
	}
	if err := c.out.write(c.buf); err != nil {
		return err
	}
	m := c.m
	m.mu.Lock()
	c.r.sent = max(c.r.sent, c.n-1)
	m.tellWaiting()
	m.mu.Unlock()
	return nil
}
