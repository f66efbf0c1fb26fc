package edge

import (
	"net"
	"net/http"
	"sync"
)

// gate bounds connections between accept and a complete request head: when it is
// full, accept waits. One gate per listener; it is the listener and the server's
// ConnState hook.
type gate struct {
	net.Listener
	slots chan struct{}
	gone  chan struct{} // closed by Close

	mu      sync.Mutex // guards pending, closed
	pending map[net.Conn]struct{}
	closed  bool
}

func newGate(ln net.Listener, most int) *gate {
	return &gate{Listener: ln, slots: make(chan struct{}, max(most, 1)), gone: make(chan struct{}),
		pending: map[net.Conn]struct{}{}}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case g.slots <- struct{}{}:
	case <-g.gone:
		return nil, net.ErrClosed
	}
	c, err := g.Listener.Accept()
	if err != nil {
		<-g.slots
	}
	return c, err
}

// Close implements net.Listener. Later calls do nothing.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	close(g.gone)
	return g.Listener.Close()
}

// connState is the server's hook: a connection leaves the gate when its first
// request head is complete or it is gone.
func (g *gate) connState(c net.Conn, s http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s == http.StateNew {
		g.pending[c] = struct{}{}
		return
	}
	if _, waiting := g.pending[c]; waiting {
		delete(g.pending, c)
		<-g.slots
	}
}

// handshakes is how many connections are in the gate.
func (g *gate) handshakes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.pending)
}
