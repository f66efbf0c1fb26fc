package badinput

import (
	"bytes"
	"crypto/tls"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2conn is a TLS connection on which frames are written by hand.
type h2conn struct {
	*http2.Framer
	conn   *tls.Conn
	closed atomic.Bool // GOAWAY, or the connection is gone
	done   chan struct{}
	head   bytes.Buffer
	enc    *hpack.Encoder
}

// count is how often a script repeats its frames.
const count = 10_000

// scripts are the attacks of HTTP/2; each sends until the gateway gives up or count frames are out.
var scripts = map[string]func(h *h2conn){
	"rapid-reset": func(h *h2conn) {
		h.repeat(func(i uint32) error {
			if err := h.get(2*i + 1); err != nil {
				return err
			}
			return h.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		})
	},
	"continuation": func(h *h2conn) {
		err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.block(), EndStream: true})
		if err != nil {
			return
		}
		h.repeat(func(uint32) error {
			h.head.Reset()
			_ = h.enc.WriteField(hpack.HeaderField{Name: "x-more", Value: strings.Repeat("a", 1000), Sensitive: true})
			return h.WriteContinuation(1, false, h.head.Bytes())
		})
	},
	"settings": func(h *h2conn) {
		h.repeat(func(uint32) error {
			return h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		})
	},
	"ping": func(h *h2conn) {
		h.repeat(func(uint32) error { return h.WritePing(false, [8]byte{1}) })
	},
	"made-resets": func(h *h2conn) { // the gateway resets the streams itself: their window overflows
		h.repeat(func(i uint32) error {
			if err := h.get(2*i + 1); err != nil {
				return err
			}
			if err := h.WriteWindowUpdate(2*i+1, 1<<31-1); err != nil {
				return err
			}
			return h.WriteWindowUpdate(2*i+1, 1<<31-1)
		})
	},
}

// repeat sends until the gateway has closed, which is an answer.
func (h *h2conn) repeat(f func(i uint32) error) {
	for i := range uint32(count) {
		if h.closed.Load() || f(i) != nil {
			return
		}
	}
}

func (h *h2conn) block() []byte {
	h.head.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/market/1.0.0/ticks"}} {
		_ = h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return h.head.Bytes()
}

func (h *h2conn) get(stream uint32) error {
	return h.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.block(), EndStream: true, EndHeaders: true})
}

// read takes what the gateway sends, so that it never waits for us, and notes when it gives up.
func (h *h2conn) read() {
	defer close(h.done)
	for {
		f, err := h.ReadFrame()
		if _, away := f.(*http2.GoAwayFrame); away || err != nil {
			h.closed.Store(true)
		}
		if err != nil {
			return
		}
	}
}

// frames plays the case's script twice: either the gateway gives the connection up, or it stands it; handlers and memory are
// bounded, and the second time, when the process has grown to what such a crowd needs, nothing is added.
func (r *rig) frames(t *testing.T, c Case) {
	start := r.resident(t)
	r.play(t, c)
	warm := r.resident(t)
	r.play(t, c)
	t.Logf("%s: resident %d KiB, then %d, then %d", c.Send.H2, start>>10, warm>>10, r.resident(t)>>10)
	if r.resident(t)-start > 48<<20 {
		t.Errorf("resident memory grew from %d to %d KiB", start>>10, r.resident(t)>>10)
	}
	until(t, "resident memory is within 10 MiB of what it was after the first time", func() bool { return r.resident(t)-warm < 10<<20 })
}

// crowd sends the same over many connections at once. All are closed, with the case's answer, or without one where the close overtook it:
// who sends more than is read is reset. Meanwhile an open stream flows, and memory is bounded.
func (r *rig) crowd(t *testing.T, c Case) {
	start := r.resident(t)
	list := make([]*exchange, c.Send.Crowd)
	for i := range list {
		list[i] = dial(t, r.gate.Addrs["edge-http"])
	}
	var all sync.WaitGroup
	var answered atomic.Int32
	text := r.expand(c.Send.Raw)
	for _, x := range list {
		all.Go(func() {
			x.send(text)
			switch resp := x.head("GET"); {
			case resp != nil && resp.StatusCode == c.Want.Status:
				answered.Add(1)
			case resp != nil:
				t.Errorf("answer %.300q", x.all.Bytes())
			}
			if !x.finish() {
				t.Error("a connection stays open")
			}
		})
	}
	r.flows(t)
	all.Wait()
	if c.Want.Status > 0 && answered.Load() == 0 {
		t.Error("nobody was answered")
	}
	if now := r.resident(t); now-start > 48<<20 {
		t.Errorf("resident memory grew from %d to %d KiB", start>>10, now>>10)
	}
}

func (r *rig) play(t *testing.T, c Case) {
	conn, err := tls.Dial("tcp", r.gate.Addrs["edge-https"], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	h := &h2conn{Framer: http2.NewFramer(conn, conn), conn: conn, done: make(chan struct{})}
	h.enc = hpack.NewEncoder(&h.head)
	if err := h.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go h.read()
	script, ok := scripts[c.Send.H2]
	if !ok {
		t.Fatalf("no script %s", c.Send.H2)
	}
	quit, most := make(chan struct{}), make(chan float64)
	go func() { most <- r.highest("go_goroutines", quit) }()
	script(h)
	if c.Want.Closed {
		until(t, "GOAWAY or a close", h.closed.Load)
	}
	close(quit)
	if n := <-most; n > 1500 {
		t.Errorf("%v goroutines", n)
	}
	conn.Close()
	<-h.done
}

// highest looks at a metric until quit is closed.
func (r *rig) highest(name string, quit <-chan struct{}) (most float64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		most = max(most, r.metrics()[name])
		select {
		case <-quit:
			return most
		case <-tick.C:
		}
	}
}

// resident is the memory the gateway has now.
func (r *rig) resident(t *testing.T) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	m := r.metrics()
	v, ok := m["process_resident_memory_bytes"]
	if !ok {
		t.Fatal("no process_resident_memory_bytes")
	}
	return int64(v)
}
