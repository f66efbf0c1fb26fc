package conformance

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// cutter stands between clients and the gateway and closes the connections it carries after so many bytes of the answer:
// the first connection after cuts[0], and so on; connections behind the last cut live on. Clients see a clean end of the
// body wherever it falls, in the middle of an event too. It keeps what clients sent.
type cutter struct {
	ln     net.Listener
	to     string
	inData bool // go on to the next data line, and cut in it
	cuts   []int64

	wg    sync.WaitGroup
	mu    sync.Mutex
	n     int                   // connections so far
	conns map[net.Conn]struct{} // those open
	more  chan struct{}         // closed when n grows
	sent  [][]byte              // what each connection's client sent, at most sentMax bytes
}

// sentMax bounds what is kept of a client.
const sentMax = 64 << 10

// startCutter listens until the test ends. inData moves each cut into the next data line: behind the id line and before
// its blank line, a client that commits ids by line would lose the event, whatever a server does.
func startCutter(t *testing.T, to string, inData bool, cuts ...int64) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: to, inData: inData, cuts: cuts, conns: map[net.Conn]struct{}{}, more: make(chan struct{})}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		c.mu.Lock()
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) url(path string) string { return "http://" + c.ln.Addr().String() + path }

// connections is how many were accepted, and a channel that is closed with the next.
func (c *cutter) connections() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.more
}

func (c *cutter) accept() {
	for {
		conn, err := c.ln.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		cut := int64(-1)
		if c.n < len(c.cuts) {
			cut = c.cuts[c.n]
		}
		at := c.n
		c.n++
		c.sent = append(c.sent, nil)
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		c.wg.Go(func() { c.carry(conn, at, cut) })
	}
}

// carry copies both ways until the cut or either end.
func (c *cutter) carry(client net.Conn, at int, cut int64) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = client.Close()
		return
	}
	for _, conn := range []net.Conn{client, server} {
		c.mu.Lock()
		c.conns[conn] = struct{}{}
		c.mu.Unlock()
	}
	var up sync.WaitGroup
	up.Go(func() { _, _ = io.Copy(server, io.TeeReader(client, &record{c: c, at: at})) })
	if cut < 0 {
		_, _ = io.Copy(client, server)
	} else if _, err := io.CopyN(client, server, cut); err != nil && !errors.Is(err, io.EOF) {
		_ = client.Close()
	} else if c.inData {
		copyInto(client, server, "data: {")
	}
	_ = client.Close()
	_ = server.Close()
	up.Wait()
	c.mu.Lock()
	delete(c.conns, client)
	delete(c.conns, server)
	c.mu.Unlock()
}

// onReconnect calls f once the cutter has accepted n connections, or never.
func (c *cutter) onReconnect(t *testing.T, n int, f func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			have, more := c.connections()
			if have >= n {
				f()
				return
			}
			select {
			case <-more:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// copyInto copies byte by byte until mark has passed.
func copyInto(dst io.Writer, src io.Reader, mark string) {
	var tail []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(tail), mark) {
		if _, err := io.ReadFull(src, b); err != nil {
			return
		}
		if _, err := dst.Write(b); err != nil {
			return
		}
		tail = append(tail, b[0])
		tail = tail[max(0, len(tail)-len(mark)):]
	}
}

// record keeps what a client sends.
type record struct {
	c  *cutter
	at int
}

func (r *record) Write(p []byte) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	kept := &r.c.sent[r.at]
	*kept = append(*kept, p[:min(len(p), sentMax-len(*kept))]...)
	return len(p), nil
}

// requests is what each connection's client sent so far.
func (c *cutter) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, 0, len(c.sent))
	for _, raw := range c.sent {
		out = append(out, string(raw))
	}
	return out
}
