package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/edge/quota"
	"sluice/fanout"
	"sluice/fanout/shard"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/sse"
	"sluice/internal/trace"
)

// go-redis dials a dead server once a second in a goroutine of its own, which ends within a second of its pool's Close and
// cannot be waited for.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// testAPIs are the definitions most tests use.
const testAPIs = `
apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /market
  version: 1.0.0
  default: true
  endpoint: http://127.0.0.1:1
  state: PUBLISHED
  cors: {origins: ['https://app.example.com'], credentials: true}
  topics:
    - {name: /ticks, security: none}
    - {name: /quiet, security: none}
    - {name: /early, security: none, start: earliest}
    - {name: '/quotes/{symbol}', params: {symbol: '^[A-Z]{1,8}$'}, security: none, query: [{name: depth, pattern: '^[0-9]$'}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: mixed}
spec:
  context: /mixed
  version: '1'
  endpoint: http://127.0.0.1:1
  state: PUBLISHED
  topics:
    - {name: /open, security: none}
    - {name: /secret}
---
apiVersion: sluice/v1
kind: API
metadata: {name: wild}
spec:
  context: /wild
  version: '1'
  endpoint: http://127.0.0.1:1
  state: PUBLISHED
  topics:
    - {name: '/q/{s}', params: {s: '^[A-Z]+$'}, security: none}
    - {name: '/*', security: none}
---
apiVersion: sluice/v1
kind: API
metadata: {name: tls}
spec: {context: /tls, version: '1', endpoint: 'http://127.0.0.1:1', state: DEPRECATED, transports: [https], topics: [{name: /t, security: none}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: plain}
spec: {context: /plain, version: '1', endpoint: 'http://127.0.0.1:1', state: PUBLISHED, transports: [http], topics: [{name: /t, security: none}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: blocked}
spec: {context: /blocked, version: '1', endpoint: 'http://127.0.0.1:1', state: BLOCKED, topics: [{name: /t, security: none}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: created}
spec: {context: /created, version: '1', endpoint: 'http://127.0.0.1:1', topics: [{name: /t, security: none}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: retired}
spec: {context: /retired, version: '1', endpoint: 'http://127.0.0.1:1', state: RETIRED, topics: [{name: /t, security: none}]}
`

// rig is a running Server over a hub and a broker.
type rig struct {
	t        testing.TB
	node     brokertest.Broker
	store    *catalog.StaticStore
	hub      *fanout.Hub
	portable *fanout.Portable
	srv      *Server
	reg      *prometheus.Registry
	logs     *logLines
	addr     string // edge-http
	tlsAddr  string // edge-https
	h2       *http.Client
	stop     func()
	// verdicts answers demand for feeds: by path, state or "refused:<why>".
	verdicts sync.Map
	written  map[broker.FeedID]broker.Position
	tx       uint64
	span     trace.Context // of the next commits
}

// setup changes a rig before it starts.
type setup struct {
	cfg     Config
	apis    string
	node    brokertest.Broker
	shards  bool // plaintext HTTP/1.1 goes to the shard engine
	unready bool // definitions are not loaded yet
	// access and verifier say who may read; nil = nobody does.
	access   AccessStore
	verifier Verifier
	// change changes what the server is made from.
	change func(*Deps)
	// memory replaces what the process holds, and is asked every 5 ms.
	memory func() memoryUse
	tracer *trace.Tracer
	// moveOver replaces the time over which clients of a former default version end.
	moveOver time.Duration
	// limiter is made of this source, under the name given; it runs as long as the rig.
	source quota.Source
	edgeID string
}

func newRig(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	def := config.Default()
	s := setup{cfg: Config{Edge: def.Edge, Fanout: def.Fanout}, apis: testAPIs}
	s.cfg.Edge.HTTP.Addr = "127.0.0.1:0"
	s.cfg.Edge.HTTPS.Addr = ""
	s.cfg.Edge.Drain.Delay = 0
	s.cfg.Fanout.Drain.Over = 0
	for _, f := range change {
		f(&s)
	}
	if s.node == nil {
		s.node = brokertest.NewMemory(t)
	}
	r := &rig{t: t, node: s.node, reg: prometheus.NewRegistry(), logs: &logLines{}, written: map[broker.FeedID]broker.Position{}}
	var err error
	if r.store, err = catalog.NewStatic(catalog.OptionsFrom(def)); err != nil {
		t.Fatal(err)
	}
	if s.apis != "" {
		r.replace(s.apis)
	}
	stopBus, err := r.node.Bus().Subscribe(broker.SubjectDemandOpen, r.answerDemand)
	if err != nil {
		t.Fatal(err)
	}
	r.hub, err = fanout.NewHub(fanout.HubConfig{Node: "edge-1", Boot: "b1", Linger: -1}, fanout.HubDeps{
		NewLive: r.node.NewLive, Direct: r.node.Direct(), Bus: r.node.Bus(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.portable = fanout.NewPortable(fanout.PortableConfig{EndBytes: EndBytes})
	var store catalog.Store = r.store
	if s.unready {
		store = emptyStore{r.store}
	}
	deps := Deps{Catalog: store, Hub: r.hub, Portable: r.portable, Logger: slog.New(slog.NewJSONHandler(r.logs, nil)), Registerer: r.reg, Tracer: s.tracer}
	runs := []func(context.Context) error{r.hub.Run}
	if s.shards {
		engine, err := shard.New(shard.Config{Shards: 2, EndBytes: EndBytes, Ended: func(meta uint32, e fanout.End) { r.srv.Ended(meta, e) }})
		if err != nil {
			t.Fatal(err)
		}
		deps.Adopter = engine
		runs = append(runs, engine.Run)
	}
	deps.Access, deps.Verifier = s.access, s.verifier
	if s.change != nil {
		s.change(&deps)
	}
	if s.source != nil {
		deps.Limiter = quota.New(quota.Options{Source: s.source, Edge: s.edgeID, Logger: deps.Logger, Patience: 5 * time.Second})
		runs = append([]func(context.Context) error{deps.Limiter.Run}, runs...)
	}
	if r.srv, err = New(s.cfg, deps); err != nil {
		t.Fatal(err)
	}
	if s.memory != nil {
		r.srv.memory.sample, r.srv.memory.every = s.memory, 5*time.Millisecond
	}
	if s.moveOver > 0 {
		r.srv.moveOver = s.moveOver
	}
	if err := r.srv.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	addrs := r.srv.Addrs()
	if a := addrs["edge-http"]; a != nil {
		r.addr = a.String()
	}
	if a := addrs["edge-https"]; a != nil {
		r.tlsAddr = a.String()
	}
	r.start(append(runs, r.srv.Run), stopBus)
	<-r.hub.Started() // before, streams are shed
	return r
}

// engines runs a test with each engine that this system has.
func engines(t *testing.T, test func(t *testing.T, engine func(*setup))) {
	t.Run("portable", func(t *testing.T) { test(t, func(*setup) {}) })
	t.Run("shard", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("shards are for Linux")
		}
		test(t, func(s *setup) { s.shards = true })
	})
}

// start runs the parts in order; stop ends them in reverse.
func (r *rig) start(runs []func(context.Context) error, stopBus func()) {
	var stops []func()
	for _, run := range runs {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		stops = append(stops, func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Errorf("run: %v", err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
		stopBus()
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) replace(text string) {
	r.t.Helper()
	if _, err := r.store.Replace(catalog.Source{Name: "test.yaml", Data: []byte(text)}); err != nil {
		r.t.Fatal(err)
	}
	for _, api := range r.store.Snapshot().APIs() {
		if err := r.node.Admin().EnsureStream(r.t.Context(), broker.StreamSpec{API: broker.APIToken(api.Name(), api.Version()),
			Name: api.ID(), Durable: "memory", MaxAge: time.Hour, MaxEvents: 10_000, MaxBytes: 64 << 20}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// answerDemand plays the owner of every feed.
func (r *rig) answerDemand(_ string, body []byte, reply func([]byte) error) {
	var open broker.DemandOpen
	if json.Unmarshal(body, &open) != nil || reply == nil {
		return
	}
	answer := broker.DemandReply{V: 1, Beacon: broker.Beacon{V: 1, Node: "in-1", Epoch: 1, State: broker.StateUp}}
	if v, ok := r.verdicts.Load(open.Want.Path); ok {
		if why, refused := strings.CutPrefix(v.(string), "refused:"); refused {
			answer.Refused = why
		} else {
			answer.Beacon.State = v.(string)
		}
	}
	text, err := json.Marshal(answer)
	if err == nil {
		_ = reply(text)
	}
}

func feedOf(api, version, path string) broker.FeedID { return broker.NewFeedID(api, version, path, "") }

// publish stores events and returns their positions.
func (r *rig) publish(f broker.FeedID, data ...string) []broker.Position {
	r.t.Helper()
	var at []broker.Position
	for _, d := range data {
		r.tx++
		_, err := r.node.Writer().Commit(r.t.Context(), f, &broker.Commit{Epoch: 1, Tx: r.tx, Prev: r.written[f].Seq, Trace: r.span,
			Events: []broker.Event{{Body: sse.AppendBody(nil, nil, []byte(d))}}})
		if err != nil {
			r.t.Fatal(err)
		}
		m, err := r.node.Writer().Last(r.t.Context(), f)
		if err != nil {
			r.t.Fatal(err)
		}
		r.written[f] = m.Position
		at = append(at, m.Position)
	}
	return at
}

func eventID(p broker.Position) string { return string(fanout.AppendID(nil, p)) }

func frame(data string, p broker.Position) string {
	return "data: " + data + "\nid: " + eventID(p) + "\n\n"
}

// answer is what came over a raw socket.
type answer struct {
	*http.Response
	body *bufio.Reader
	conn net.Conn
}

// raw sends bytes and reads the answer's head.
func (r *rig) raw(request string) *answer {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.rawOn(c, request)
}

// get sends a GET of target with header lines.
func (r *rig) get(target string, lines ...string) *answer {
	r.t.Helper()
	return r.raw("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headerLines(lines) + "\r\n")
}

func headerLines(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	return b.String()
}

func (a *answer) text(t testing.TB) string {
	t.Helper()
	b, err := io.ReadAll(a.body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// take reads exactly what is wanted.
func (a *answer) take(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(a.body, got)
	if string(got[:n]) != want {
		t.Fatalf("body %q (%v), want %q", got[:n], err, want)
	}
}

// takeRetry reads the first line, "retry: <ms>".
func (a *answer) takeRetry(t testing.TB) int {
	t.Helper()
	line, err := a.body.ReadString('\n')
	var ms int
	if _, scan := fmt.Sscanf(line, "retry: %d\n", &ms); scan != nil {
		t.Fatalf("first line %q (%v)", line, err)
	}
	return ms
}

// wait polls for a fact.
func wait(t testing.TB, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !fact(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		timer := time.NewTimer(2 * time.Millisecond)
		<-timer.C
	}
}

// logLines collects the JSON log.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// events returns the lines with a message, decoded.
func (l *logLines) events(msg string) []map[string]any {
	var out []map[string]any
	for line := range bytes.Lines([]byte(l.text())) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil && m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

// observed is how many observations a histogram without labels has, and their sum.
func (r *rig) observed(name string) (n uint64, sum float64) {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	return 0, 0
}

// count sums a metric over the label values given, name=value.
func (r *rig) count(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			match := true
			for _, l := range labels {
				k, v, _ := strings.Cut(l, "=")
				match = match && have[k] == v
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func itoa(n int) string { return strconv.Itoa(n) }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// emptyStore is a store whose definitions are not loaded yet.
type emptyStore struct{ catalog.Store }

func (emptyStore) Snapshot() *catalog.Snapshot { return &catalog.Snapshot{} }
