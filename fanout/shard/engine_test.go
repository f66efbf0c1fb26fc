//go:build linux

package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/fanout"
)

// started is a running engine, its ends and the listener its clients dial.
type started struct {
	*Engine
	t    testing.TB
	l    net.Listener
	stop func() error

	mu    sync.Mutex
	ended map[uint32]fanout.End
	twice []uint32
}

func start(t testing.TB, cfg Config) *started {
	t.Helper()
	s := &started{t: t, l: listen(t), ended: map[uint32]fanout.End{}}
	cfg.Ended = func(meta uint32, e fanout.End) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.ended[meta]; ok {
			s.twice = append(s.twice, meta)
		}
		s.ended[meta] = e
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(s.twice) > 0 {
			t.Errorf("reported twice: %v", s.twice)
		}
		if n := e.Count(); n != 0 {
			t.Errorf("%d connections after Run", n)
		}
	})
	return s
}

func (s *started) join(sub fanout.Subscriber) *net.TCPConn {
	s.t.Helper()
	server, client := tcpPair(s.t, s.l)
	if err := s.Adopt(server, sub); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

func (s *started) ends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ended)
}

// wait waits for a fact that other goroutines bring about.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func realFeed() *feed {
	return &feed{log: fanout.NewLog(fanout.LogConfig{}), now: time.Now}
}

func TestEngineServesManyReadersInOrder(t *testing.T) {
	const readers, events = 200, 300
	e := start(t, Config{Shards: 3, Registerer: prometheus.NewRegistry()})
	f := realFeed()
	var clients []*net.TCPConn
	for i := range readers {
		sub := f.live(uint32(i))
		sub.Head = []byte("head\n\n")
		clients = append(clients, e.join(sub))
	}
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range events {
			f.append(100 + i)
			if i%3 == 0 {
				f.log.Publish()
			}
			if i%50 == 0 {
				runtime.Gosched()
			}
		}
		f.log.Publish()
		f.log.Close("topic-deleted")
	})
	bodies := make([]string, readers)
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			b, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			bodies[i] = string(b)
			c.Close()
		})
	}
	all.Wait()
	publisher.Wait()
	for _, b := range bodies {
		wantBytes(t, b, "head\n\n"+f.all.String())
	}
	wait(t, "all ends", func() bool { return e.ends() == readers })
	_ = e.stop() // what follows belongs to the shards till then; the cleanup reports the error
	for meta, end := range e.ended {
		if end.Reason != "topic-deleted" || end.Events != events || end.Last.Seq != events || end.Bytes != uint64(len(bodies[0])) {
			t.Errorf("client %d: %+v", meta, end)
		}
	}
	for _, s := range e.shards {
		if s.slab.top == 0 {
			t.Error("a shard had no clients")
		}
	}
}

func TestEngineEndsAllWhenItsContextEnds(t *testing.T) {
	e := start(t, Config{Shards: 2})
	f := realFeed()
	var clients []*net.TCPConn
	for i := range 20 {
		clients = append(clients, e.join(f.live(uint32(i))))
	}
	if n := e.Count(); n != 20 {
		t.Errorf("count %d, want 20", n)
	}
	if err := e.stop(); err != nil {
		t.Error(err)
	}
	if n := e.ends(); n != 20 {
		t.Errorf("%d ends, want 20", n)
	}
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is still open")
		}
	}
	server, client := tcpPair(t, e.l)
	defer client.Close()
	if err := e.Adopt(server, f.live(99)); !errors.Is(err, ErrClosed) {
		t.Errorf("adopt after the end: %v, want ErrClosed", err)
	}
	if _, err := server.Write([]byte("still the caller's")); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := e.Run(t.Context()); err == nil {
		t.Error("Run may be called once only")
	}
}

func TestAdoptBeforeRunIsServedByRun(t *testing.T) {
	e, err := New(Config{Shards: 2, EndBytes: func(dst []byte, r fanout.Reason) []byte { return append(dst, r...) }})
	if err != nil {
		t.Fatal(err)
	}
	f := realFeed()
	server, client := tcpPair(t, listen(t))
	defer client.Close()
	if err := e.Adopt(server, f.live(1)); err != nil {
		t.Fatal(err)
	}
	f.event(10)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- e.Run(ctx) }()
	readFull(t, client, f.all.String())
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAdoptRefusesWhatIsNoSocket(t *testing.T) {
	e := start(t, Config{Shards: 1})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := e.Adopt(a, realFeed().live(1)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v, want ErrUnsupported", err)
	}
	if n := e.Count(); n != 0 {
		t.Errorf("count %d", n)
	}
}

func TestEngineDrain(t *testing.T) {
	e := start(t, Config{Shards: 2, EndBytes: func(dst []byte, r fanout.Reason) []byte { return fmt.Appendf(dst, "end: %s\n\n", r) }})
	f := realFeed()
	var all sync.WaitGroup
	var told atomic.Int32
	for i := range 50 {
		c := e.join(f.live(uint32(i)))
		all.Go(func() {
			b, err := io.ReadAll(c)
			if err == nil && strings.HasSuffix(string(b), "end: drain\n\n") {
				told.Add(1)
			}
			c.Close()
		})
	}
	if err := e.Drain(t.Context(), 500*time.Millisecond); err != nil {
		t.Error(err)
	}
	all.Wait()
	if told.Load() != 50 || e.Count() != 0 || e.ends() != 50 {
		t.Errorf("%d told, %d left, %d reported, want 50, 0, 50", told.Load(), e.Count(), e.ends())
	}
	server, client := tcpPair(t, e.l)
	defer client.Close()
	defer server.Close()
	if err := e.Adopt(server, f.live(99)); !errors.Is(err, ErrDraining) {
		t.Errorf("adopt while draining: %v", err)
	}
}

func TestADrainCutShortClosesAll(t *testing.T) {
	e := start(t, Config{Shards: 2})
	f := realFeed()
	for i := range 10 {
		e.join(f.live(uint32(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Drain(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if n := e.Count(); n != 0 {
		t.Errorf("%d left", n)
	}
}

func TestEngineCut(t *testing.T) {
	e := start(t, Config{Shards: 2})
	f := realFeed()
	for i := range 40 {
		e.join(f.live(uint32(i)))
	}
	e.Cut(0, func(meta uint32) fanout.Reason {
		if meta < 10 {
			return "denied"
		}
		return ""
	})
	wait(t, "ten ends", func() bool { return e.ends() == 10 })
	e.mu.Lock()
	defer e.mu.Unlock()
	for meta, end := range e.ended {
		if meta >= 10 || end.Reason != "denied" {
			t.Errorf("client %d ended: %+v", meta, end)
		}
	}
}

// Connections opened and closed in turn, half of them by a reset, during passes, leave
// nothing behind.
func TestChurnLeavesNothing(t *testing.T) {
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	e := start(t, Config{Shards: 2})
	f := realFeed()
	wait(t, "both shards are up", func() bool { return e.shards[0].in.parked.Load() && e.shards[1].in.parked.Load() })
	before := descriptors(t)
	goroutines := runtime.NumGoroutine()
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				f.event(50)
				f.all.Reset()
				runtime.Gosched()
			}
		}
	})
	for i := range rounds {
		server, client := tcpPair(t, e.l)
		if err := e.Adopt(server, f.live(uint32(i))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = client.SetLinger(0)
		}
		client.Close()
	}
	wait(t, "all ends", func() bool { return e.ends() == rounds && e.Count() == 0 })
	close(stop)
	publisher.Wait()
	if n := descriptors(t); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	wait(t, "goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func TestMetricsCountWhatWasSent(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRig(t, Config{Registerer: reg})
	f := r.feed(fanout.LogConfig{})
	for i := range 5 {
		r.join(f.live(uint32(i)))
	}
	f.append(10)
	f.event(10)
	r.pass(200 * time.Millisecond)
	want := fmt.Sprintf(`# HELP sluice_fanout_deliveries_total Events handed to sockets.
# TYPE sluice_fanout_deliveries_total counter
sluice_fanout_deliveries_total{engine="shard"} 10
# HELP sluice_fanout_sends_total Writes to sockets.
# TYPE sluice_fanout_sends_total counter
sluice_fanout_sends_total{engine="shard"} 5
# HELP sluice_fanout_sent_bytes_total Bytes handed to sockets.
# TYPE sluice_fanout_sent_bytes_total counter
sluice_fanout_sent_bytes_total{engine="shard"} %d
# HELP sluice_fanout_subscribers Clients being served.
# TYPE sluice_fanout_subscribers gauge
sluice_fanout_subscribers{engine="shard"} 5
`, 5*f.all.Len())
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sluice_fanout_deliveries_total",
		"sluice_fanout_sends_total", "sluice_fanout_sent_bytes_total", "sluice_fanout_subscribers"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"sluice_fanout_event_age_seconds", "sluice_fanout_delivery_age_seconds"} {
		if n := histogramCount(t, reg, name); n != 2 {
			t.Errorf("%s: %d observations, want one per event", name, n)
		}
	}
	if _, err := newMetrics(reg); err != nil {
		t.Errorf("a second engine cannot share the metrics: %v", err)
	}
}

// histogramCount is how many observations a histogram has, over all its labels.
func histogramCount(t *testing.T, reg *prometheus.Registry, name string) (n uint64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// The share of busy time is taken over a second at least: between two ticks that come close
// together after an event there is nearly no time in which a shard could have been parked.
func TestBusyIsTakenOverASecond(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRig(t, Config{Registerer: reg})
	busy := func() float64 { return testutil.ToFloat64(r.s.metrics.busy) }
	for range 9 {
		r.s.idle += 75 * time.Millisecond
		r.pass(tickLen)
	}
	if got := busy(); got != 0 {
		t.Errorf("%v before a second has passed, want 0", got)
	}
	r.s.idle += 75 * time.Millisecond
	r.pass(tickLen)
	if got := busy(); math.Abs(got-0.25) > 0.01 {
		t.Errorf("%v, want 0.25", got)
	}
}
