package edge

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// rawWriter collects an answer for a connection that net/http has forgotten.
type rawWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *rawWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *rawWriter) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *rawWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// bytes is the whole answer. It ends with the connection, and so says.
func (w *rawWriter) bytes(now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", w.status, http.StatusText(w.status))
	w.header.Set("Connection", "close")
	w.header.Set("Date", now.UTC().Format(http.TimeFormat))
	w.header.Del("Transfer-Encoding")
	if w.header.Get("Content-Type") != streamType {
		w.header.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	_ = w.header.Write(&b) // a Buffer does not fail
	b.WriteString("\r\n")
	b.Write(w.body.Bytes())
	return b.Bytes()
}

// maxThrownAway bounds what is read of a client that goes on sending after its
// refusal.
const maxThrownAway = 64 << 10

// lingerClose closes c so that what was written arrives: closing with unread input
// would send a reset that destroys it. It takes at most a second.
func lingerClose(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c, maxThrownAway)
	}
	_ = c.Close()
}
