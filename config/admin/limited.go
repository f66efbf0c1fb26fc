package admin

import (
	"net"
	"sync"
)

// mostConnections is how many clients the listener holds at a time; a client of the management API has a handful.
const mostConnections = 2048

// limited accepts so many connections at a time; while there are that many, the system's queue holds the next ones.
type limited struct {
	net.Listener
	slots chan struct{}
	gone  chan struct{} // closed by Close
	once  sync.Once
}

func newLimited(ln net.Listener, most int) *limited {
	return &limited{Listener: ln, slots: make(chan struct{}, most), gone: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.gone:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.gone) })
	return l.Listener.Close()
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
