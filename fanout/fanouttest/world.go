package fanouttest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/sse"
)

const (
	api        = "suite_v1"
	retryLine  = "retry: 1000\n"
	generously = 30 * time.Second // for facts that must come
)

// world is one broker, hub, engine and server.
type world struct {
	t       *testing.T
	mem     *brokertest.Memory
	hub     *fanout.Hub
	engine  Launched
	addr    string
	chunked bool

	mu    sync.Mutex // guards all below
	plans []plan
	ended map[uint32][]fanout.End
	feeds map[broker.FeedID]*feedState
	tx    uint64
}

// plan is how one client is to be served.
type plan struct {
	want  fanout.Want
	tune  func(*fanout.Subscriber)
	meter fanout.Meter
	log   *fanout.Log // set once joined
}

type feedState struct {
	n    int
	prev uint64
}

type worldConfig struct {
	Settings
	Window int // bytes; default 64 KiB
}

// newWorld starts one; its end, which the test waits for, checks for leaks.
func newWorld(t *testing.T, launch Launch, chunked bool, cfg worldConfig) *world {
	t.Helper()
	w := &world{t: t, mem: brokertest.NewMemory(t), chunked: chunked, ended: map[uint32][]fanout.End{}, feeds: map[broker.FeedID]*feedState{}}
	goroutines, files := runtime.NumGoroutine(), openFiles()
	ctx, stop := context.WithCancel(context.Background())
	w.check(w.mem.Admin().EnsureStream(ctx, broker.StreamSpec{API: api, Name: "suite 1", Durable: "process",
		MaxAge: time.Hour, MaxEvents: 200_000, MaxBytes: 1 << 30}))
	if cfg.Window == 0 {
		cfg.Window = 64 << 10
	}
	hub, err := fanout.NewHub(fanout.HubConfig{Node: "suite", Boot: "1", Log: fanout.LogConfig{WindowBytes: cfg.Window}},
		fanout.HubDeps{NewLive: w.mem.NewLive, Direct: w.mem.Direct(), Bus: w.mem.Bus()})
	w.check(err)
	w.hub = hub
	hubDone := make(chan error, 1)
	go func() { hubDone <- hub.Run(ctx) }()
	<-hub.Started()

	cfg.Ended = w.noteEnd
	if cfg.EndBytes == nil {
		cfg.EndBytes = endBytes
	}
	w.engine = launch(t, cfg.Settings)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	w.check(err)
	w.addr = listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(w.serve), ReadHeaderTimeout: generously}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(smallBuffered{listener}) //nolint:errcheck // it always ends with an error
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		w.engine.Engine.Cut(0, func(uint32) fanout.Reason { return fanout.EndDrain })
		w.until("all streams have ended", func() bool { return w.engine.Engine.Count() == 0 })
		w.engine.Stop()
		stop()
		if err := <-hubDone; err != nil {
			t.Errorf("hub: %v", err)
		}
		w.mem.Close()
		w.until("every stream's end was told once", func() bool { return w.endsComplete() })
		w.until(fmt.Sprintf("goroutines are back at %d", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
		w.until(fmt.Sprintf("descriptors are back at %d", files), func() bool { return openFiles() <= files })
	})
	return w
}

// smallBuffered makes the kernel hold little for a reader that stops.
type smallBuffered struct{ net.Listener }

func (l smallBuffered) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(32 << 10)
	}
	return c, err
}

// openFiles counts this process's descriptors; 0 where that cannot be told.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a fact.
func (w *world) until(what string, fact func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !fact(); <-tick.C {
		if time.Since(began) > generously {
			buf := make([]byte, 1<<16)
			w.t.Fatalf("timed out: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func endBytes(dst []byte, r fanout.Reason) []byte {
	switch r {
	case fanout.EndClient, fanout.EndSlow, fanout.EndStall, fanout.EndAbuse, fanout.EndError:
		return dst
	}
	return append(dst, endText(r)...)
}

// endText are the last bytes of a stream that ends for r.
func endText(r fanout.Reason) string {
	return "retry: 500\nevent: gateway.end\ndata: {\"reason\":\"" + string(r) + "\"}\n\n"
}

func (w *world) noteEnd(meta uint32, e fanout.End) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[meta] = append(w.ended[meta], e)
}

func (w *world) endsComplete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for meta := range w.plans {
		ends := len(w.ended[uint32(meta)])
		if ends > 1 {
			w.t.Errorf("stream %d ended %d times: %+v", meta, ends, w.ended[uint32(meta)])
		}
		if ends == 0 && w.plans[meta].log != nil {
			return false
		}
	}
	return true
}

// end waits for the end of a stream.
func (w *world) end(meta uint32) fanout.End {
	w.t.Helper()
	var e fanout.End
	w.until(fmt.Sprintf("stream %d has ended", meta), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.ended[meta]) == 0 {
			return false
		}
		e = w.ended[meta][0]
		return true
	})
	return e
}

// serve places the client as its plan says and hands it over.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	meta, err := strconv.Atoi(r.URL.Query().Get("plan"))
	if err != nil {
		http.Error(rw, "no plan", http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	p := w.plans[meta]
	w.mu.Unlock()
	if w.engine.OwnFraming && w.chunked {
		p.want.Framing = fanout.Chunked
	}
	j, err := w.hub.Join(r.Context(), p.want)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s := fanout.Subscriber{Log: j.Log, Next: j.Feed, Start: j.Start, Framing: p.want.Framing, Meta: uint32(meta), Meter: p.meter}
	if p.tune != nil {
		p.tune(&s)
	}
	w.mu.Lock()
	w.plans[meta].log = j.Log
	w.mu.Unlock()
	w.engine.Serve(rw, r, s, append([]byte(retryLine), j.Gap...), w.chunked)
}

// add makes a plan and returns its number.
func (w *world) add(p plan) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plans = append(w.plans, p)
	return uint32(len(w.plans) - 1)
}

func feedID(name string) broker.FeedID { return broker.FeedID{API: api, Key: name} }

// publish stores k events of the given size, numbered on.
func (w *world) publish(f broker.FeedID, k, size int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.feeds[f]
	if s == nil {
		s = &feedState{}
		w.feeds[f] = s
	}
	for k > 0 {
		n := min(k, 100)
		k -= n
		w.tx++
		c := &broker.Commit{Epoch: 1, Tx: w.tx, Prev: s.prev}
		for range n {
			s.n++
			c.Events = append(c.Events, broker.Event{Body: body(s.n, size)})
		}
		p, err := w.mem.Writer().Commit(context.Background(), f, c)
		if err != nil {
			w.t.Errorf("commit: %v", err)
			return
		}
		s.prev = p.Seq
	}
}

// body is event n: its number, then filling that depends on it.
func body(n, size int) []byte {
	b := strconv.AppendInt(nil, int64(n), 10)
	b = append(b, ' ')
	for len(b) < size {
		b = append(b, byte('a'+(n+len(b))%26))
	}
	return sse.AppendBody(nil, []byte("tick"), b)
}

// published is how many events the feed has.
func (w *world) published(f broker.FeedID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.feeds[f]; s != nil {
		return s.n
	}
	return 0
}

// stored returns what the broker keeps of the feed.
func (w *world) stored(f broker.FeedID) []broker.Message {
	w.t.Helper()
	var all []broker.Message
	for seq := uint64(1); ; {
		var b broker.Block
		w.check(w.mem.Direct().Read(context.Background(), f, broker.From{Seq: seq}, &b))
		all = append(all, b.Messages...)
		if !b.More {
			return all
		}
		seq = b.Next
	}
}

func frames(ms []broker.Message) string {
	var b []byte
	for i := range ms {
		b = fanout.AppendFrame(b, ms[i].Body, ms[i].Position)
	}
	return string(b)
}
