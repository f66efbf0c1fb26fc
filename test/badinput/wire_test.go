package badinput

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// deadline bounds one exchange; only a broken answer uses it up.
const deadline = 15 * time.Second

// exchange is one connection on which a case is sent, and what came back.
type exchange struct {
	t    testing.TB
	conn net.Conn
	all  bytes.Buffer // every byte received
	eof  bool         // the other side closed or reset
}

func dial(t testing.TB, addr string) *exchange {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{t: t, conn: conn}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	return x
}

// dial connects to one of the gateway's listeners.
func (r *rig) dial(t *testing.T, secure bool) *exchange {
	t.Helper()
	if !secure {
		return dial(t, r.gate.Addrs["edge-http"])
	}
	x := dial(t, r.gate.Addrs["edge-https"])
	x.conn = tls.Client(x.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	return x
}

// send writes bytes. The other side may close in the middle: what it answered is judged, not the write.
func (x *exchange) send(text string) { _, _ = io.WriteString(x.conn, text) }

// more reads what there is; false at the end.
func (x *exchange) more() bool {
	buf := make([]byte, 64<<10)
	n, err := x.conn.Read(buf)
	x.all.Write(buf[:n])
	if err != nil {
		x.eof = !errors.Is(err, os.ErrDeadlineExceeded)
	}
	return err == nil
}

// head reads until the first answer's head is complete, and returns it; nil if there is none.
func (x *exchange) head(method string) *http.Response {
	x.t.Helper()
	for !bytes.Contains(x.all.Bytes(), []byte("\r\n\r\n")) {
		if !x.more() {
			return nil
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(x.all.Bytes())), &http.Request{Method: method})
	if err != nil {
		x.t.Errorf("answer %.300q: %v", x.all.Bytes(), err)
		return nil
	}
	return resp
}

// body is what was received behind the head.
func (x *exchange) body() string {
	_, body, _ := strings.Cut(x.all.String(), "\r\n\r\n")
	return body
}

// match reads until the body begins with the pattern, or nothing more comes.
func (x *exchange) match(pattern string) {
	x.t.Helper()
	re := regexp.MustCompile(`(?s)\A(?:` + pattern + `)`)
	for !re.MatchString(x.body()) {
		if !x.more() {
			x.t.Errorf("body %.800q\nwant %q", x.body(), pattern)
			return
		}
	}
}

// passes reads until text has come, looking at each byte once: a reader that is slow over it would be cut.
func (x *exchange) passes(text string) {
	x.t.Helper()
	for seen := 0; !bytes.Contains(x.all.Bytes()[seen:], []byte(text)); {
		seen = max(0, x.all.Len()-len(text))
		if !x.more() {
			x.t.Errorf("body %.800q\nnever has %q", x.body(), text)
			return
		}
	}
}

// finish reads until the other side closes, or says that it did not.
func (x *exchange) finish() (closed bool) {
	for x.more() {
	}
	return x.eof
}

// length reads a body of a known length.
func (x *exchange) length(n int64) {
	for int64(len(x.body())) < n && x.more() {
	}
}
