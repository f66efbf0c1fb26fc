package feed

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// out writes one response: below HTTP/1.1 framing on a connection taken over from net/http, else through
// net/http. Only the connection's handler uses it.
type out struct {
	gone    <-chan struct{} // the connection's
	conn    net.Conn        // nil when net/http keeps the connection
	w       http.ResponseWriter
	flush   func() error
	chunked bool
	closed  bool
	drip    time.Duration // pause between single bytes
	last    time.Time     // of the last write
}

// takeOver writes the response's head and starts to watch for the client going away.
func (c *conn) takeOver(w http.ResponseWriter, r *http.Request, fault *Fault) error {
	c.out = out{gone: c.gone, w: w, flush: http.NewResponseController(w).Flush, last: time.Now()}
	head := http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "Date": {time.Now().UTC().Format(http.TimeFormat)},
	}
	if fault != nil {
		fault.addHeaders(head)
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2, or a test's recorder
		for k, v := range head {
			w.Header()[k] = v
		}
		w.WriteHeader(http.StatusOK)
		return c.begin(fault)
	}
	c.out.conn, c.out.chunked = raw, !c.m.o.CloseDelimited && r.ProtoAtLeast(1, 1)
	if c.out.chunked {
		head.Set("Transfer-Encoding", "chunked")
	}
	head.Set("Connection", "close")
	c.m.mu.Lock()
	c.raw = raw
	c.m.mu.Unlock()
	c.m.streams.Add(1)
	go c.watch(buffered.Reader.Read)
	if c.over() { // since before there was something to close
		return errGone
	}
	if err := c.out.writeHead(head); err != nil {
		return err
	}
	return c.begin(fault)
}

// watch stops the connection when the client closes it. It ends with the socket, which the handler closes in any case.
func (c *conn) watch(read func([]byte) (int, error)) {
	defer c.m.streams.Done()
	var b [256]byte
	for {
		if _, err := read(b[:]); err != nil {
			c.stop()
			return
		}
	}
}

// begin writes what stands before the first event.
func (c *conn) begin(fault *Fault) error {
	if fault != nil && fault.Kind == BOM {
		if err := c.out.write([]byte("\xef\xbb\xbf")); err != nil {
			return err
		}
	}
	if fault != nil && fault.Kind == BOMSplit {
		for _, b := range []byte("\xef\xbb\xbf") {
			if err := c.out.write([]byte{b}); err != nil {
				return err
			}
		}
	}
	if retry := c.m.o.Retry; retry > 0 {
		return c.out.write([]byte("retry: " + strconv.FormatInt(retry.Milliseconds(), 10) + "\n\n"))
	}
	if c.out.conn == nil {
		return c.out.flush()
	}
	return nil
}

func (o *out) writeHead(head http.Header) error {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\n")
	if err := head.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := o.conn.Write([]byte(b.String()))
	return err
}

// write sends p and flushes.
func (o *out) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	o.last = time.Now()
	if o.drip == 0 {
		return o.writePiece(p)
	}
	for i := range p {
		if err := o.writePiece(p[i : i+1]); err != nil {
			return err
		}
		pause := time.NewTimer(o.drip)
		select {
		case <-o.gone:
			pause.Stop()
			return errGone
		case <-pause.C:
		}
	}
	return nil
}

func (o *out) writePiece(p []byte) error {
	if o.conn == nil {
		if _, err := o.w.Write(p); err != nil {
			return err
		}
		return o.flush()
	}
	if !o.chunked {
		_, err := o.conn.Write(p)
		return err
	}
	pieces := net.Buffers{fmt.Appendf(nil, "%x\r\n", len(p)), p, []byte("\r\n")}
	_, err := pieces.WriteTo(o.conn)
	return err
}

// end ends the body in order.
func (o *out) end() {
	if o.conn != nil && o.chunked {
		o.conn.Write([]byte("0\r\n\r\n")) //nolint:errcheck // the client sees the end either way
	}
	o.close()
}

// abort ends the connection by closing it, the body unfinished.
func (o *out) abort() {
	if o.conn == nil {
		panic(http.ErrAbortHandler)
	}
	o.close()
}

// reset ends the connection with a TCP reset.
func (o *out) reset() {
	raw := o.conn
	if wrapped, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // a close is the next best
		tcp.Close()      //nolint:errcheck // nothing to lose
	}
	o.abort()
}

// close closes a connection that was taken over.
func (o *out) close() {
	if o.conn != nil && !o.closed {
		o.closed = true
		o.conn.Close() //nolint:errcheck // nothing to lose
	}
}
