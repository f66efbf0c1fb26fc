package edge

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// D24: 10,000 streams opened and reset on one connection end in a GOAWAY or are all
// taken down again; handlers stay bounded and other clients do not notice.
func TestRapidReset(t *testing.T) {
	r := newRig(t, devTLS)
	other := r.get("/market/1.0.0/ticks")
	other.takeRetry(t)
	conn, err := tls.Dial("tcp", r.tlsAddr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(conn, conn)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	most := 0
	for id := uint32(1); id < 20_001; id += 2 {
		head.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/market/1.0.0/ticks"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
		if err == nil {
			err = fr.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			break // the server gave up on this connection
		}
		if id%500 == 1 {
			most = max(most, runtime.NumGoroutine())
		}
	}
	if most > 2000 {
		t.Errorf("%d goroutines", most)
	}
	_ = conn.Close()
	wait(t, "only the other client is left", func() bool { return r.srv.Open() == 1 && r.srv.admit.open() == 1 })
	p := r.publish(feedOf("market", "1.0.0", "/ticks"), "x")[0]
	other.take(t, frame("x", p))
}

// D18: a client that dribbles its head is closed five seconds after it connected. A
// line begun gets net/http's own 400, nothing else does.
func TestSlowHead(t *testing.T) {
	r := newRig(t)
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nX-Slow"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) {
		t.Errorf("answer %q, error %v; want a close", b, err)
	}
}
