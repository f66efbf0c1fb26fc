//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
	"sluice/test/topology"
)

// load is how much flows during a run.
type load struct {
	clients int
	rate    float64       // events per second and feed
	quiet   time.Duration // between two faults
}

// feeds are what clients read: an exact topic, and two on demand.
var feeds = []string{"/ticks", "/any/one", "/any/two"}

const definition = `apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /market
  version: 1.0.0
  endpoint: http://{market}
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 200000, maxBytes: 256MiB}
  topics:
    - {name: /ticks, backend: /stream/ticks, security: none}
    - {name: '/any/*', backend: '/stream/any/{*}', security: none, linger: 2s}
`

// settings of the gateways: a drain and back-off that fit into a run.
var settings = []string{
	"SLUICE_EDGE_DRAIN_DELAY=1s", "SLUICE_FANOUT_DRAIN_OVER=2s", "SLUICE_EDGE_PER_IP_STREAMS=0", "SLUICE_EDGE_PER_IP_CONNECTS=0",
	"SLUICE_UPSTREAM_BACKOFF_BASE=500ms", "SLUICE_UPSTREAM_BACKOFF_MAX=1s",
}

// run is one scenario on its own deployment.
type run struct {
	t      *testing.T
	rng    *rand.Rand
	topo   *topology.Topology
	market *feed.Market
	addr   string // host:port of the market
	book   *oracle.Book
	told   func(oracle.Fact) // takes what clients tell: the book's Add, until a test says otherwise
	load   load

	ctx     context.Context
	stop    context.CancelFunc
	clients []*reader.Client
	late    []*reader.Client // of clients, those that came with an id from before a fault
	running sync.WaitGroup
	taking  sync.WaitGroup
	edges   *anyEdge
}

// newRun starts a deployment with clients that read.
func newRun(t *testing.T, sc *scenario, seed uint64, l load, programs *topology.Options) *run {
	t.Helper()
	r := &run{t: t, rng: rand.New(rand.NewPCG(seed, 0)), load: l}
	o := sc.market
	o.Rate = l.rate
	r.market = feed.New(seed, o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	srv := &http.Server{Handler: r.market, ReadHeaderTimeout: 5 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // until Close
	overlap := sc.overlap
	if overlap == 0 {
		overlap = 3500 * time.Millisecond
	}
	judged := oracle.Run{Seed: seed, Unsure: sc.unsure, Reused: sc.reused, MinFaults: sc.times(), Overlap: overlap.Microseconds()}
	judged.MinProduced = uint64(float64(sc.times()) * l.quiet.Seconds() * l.rate / 2)
	r.book = oracle.NewBook(nil, judged)
	r.told = r.book.Add
	r.ctx, r.stop = context.WithCancel(context.Background())
	facts := r.market.Facts()
	r.taking.Go(func() { r.book.Take(facts) })
	t.Cleanup(func() {
		r.stop()
		r.running.Wait()
		_ = srv.Close()
		r.market.Cut("", true)
		serving.Wait()
		r.market.Close()
		r.taking.Wait()
	})
	opt := *programs
	opt.Dir, opt.Market = t.TempDir(), r.addr
	opt.APIs, opt.Env, opt.BrokerHost = map[string]string{"market.yaml": definition}, slices.Concat(settings, sc.env), sc.brokerHost
	opt.Catalog = sc.catalog
	r.topo, err = topology.New(r.ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.topo.Down(20 * time.Second)
		if t.Failed() {
			r.keepLogs(sc.name, seed)
		}
	})
	starting, cancel := context.WithTimeout(r.ctx, 2*time.Minute)
	defer cancel()
	if err := r.topo.Up(starting, nil); err != nil {
		t.Fatal(err)
	}
	if sc.catalog {
		r.apply(definition)
	}
	r.edges = newAnyEdge(r.topo, seed)
	for i := range l.clients {
		r.read(i, feeds[i%len(feeds)])
	}
	for _, c := range r.clients {
		r.await(c, "connected", func(s reader.State) bool { return s.Events > 0 })
	}
	return r
}

// apply makes the catalog hold a definition, whose endpoint is the market; the control node has it
// then, edges soon.
func (r *run) apply(text string) {
	r.t.Helper()
	if _, err := r.topo.Manage(r.ctx, strings.ReplaceAll(text, "{market}", r.addr), "apply", "-f", "-"); err != nil {
		r.t.Fatal(err)
	}
}

// keepLogs copies what the processes said to where CI finds it.
func (r *run) keepLogs(name string, seed uint64) {
	out := os.Getenv("OUT")
	if out == "" {
		return
	}
	for _, p := range r.topo.All() {
		text, err := os.ReadFile(p.Log)
		if err != nil {
			continue
		}
		dir := filepath.Join(out, "chaos", fmt.Sprintf("%s-%d", name, seed))
		if err := os.MkdirAll(dir, 0o755); err == nil {
			_ = os.WriteFile(filepath.Join(dir, filepath.Base(p.Log)), text, 0o600) // a help, no more
		}
	}
}

// read starts one client of a feed. Half of them go through the balancer, the others to an edge of their choice.
func (r *run) read(i int, name string) {
	url, hc := "http://any.edge/market/1.0.0"+name, r.edges.client()
	if throughBalancer(i) {
		url, hc = r.topo.URL("/market/1.0.0"+name), nil
	}
	r.readAt(fmt.Sprintf("c%d", i), url, name, hc)
}

// readAt starts one client of a feed at a URL.
func (r *run) readAt(client, url, name string, hc *http.Client) *reader.Client {
	return r.readWith(reader.Options{Name: client, URL: url, Feed: name, HTTP: hc})
}

// readWith starts one client.
func (r *run) readWith(o reader.Options) *reader.Client {
	o.Tape, o.Facts, o.Pause = r.market.Tape(), r.told, 100*time.Millisecond
	c := reader.New(o)
	r.clients = append(r.clients, c)
	r.running.Go(func() { c.Run(r.ctx) })
	return c
}

// throughBalancer says which clients ask the balancer for an edge; the others choose themselves.
func throughBalancer(i int) bool { return i%2 == 0 }

// anyEdge dials an edge at random, another one each time.
type anyEdge struct {
	mu    sync.Mutex
	rng   *rand.Rand
	addrs []string
}

func newAnyEdge(t *topology.Topology, seed uint64) *anyEdge {
	a := &anyEdge{rng: rand.New(rand.NewPCG(seed, 1))}
	for _, p := range t.Of(topology.Edge) {
		a.addrs = append(a.addrs, p.Addr)
	}
	return a
}

func (a *anyEdge) client() *http.Client {
	d := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ResponseHeaderTimeout: 15 * time.Second,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			a.mu.Lock()
			addr := a.addrs[a.rng.IntN(len(a.addrs))]
			a.mu.Unlock()
			return d.DialContext(ctx, network, addr)
		},
	}}
}

// patience is how long anything may take that must happen. Goals are shorter; the verdict tells how long it took.
const patience = 90 * time.Second

func (r *run) await(c *reader.Client, what string, ok func(reader.State) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if err := c.Await(ctx, ok); err != nil {
		s := c.State()
		r.t.Fatalf("a client of %s is not %s: %v; %d connects, %d refused, last status %d, at event %d, gaps %v, notices %v", c.Feed(), what,
			err, s.Connects, s.Refused, s.Status, s.N, s.Gaps, s.Notices)
	}
}

// flow waits until every client has what was said up to now, and some more: it is served again.
func (r *run) flow() {
	r.t.Helper()
	r.flowTo(r.clients)
}

// flowTo is flow for some of the clients.
func (r *run) flowTo(some []*reader.Client) {
	r.t.Helper()
	want := map[string]uint64{}
	for _, feed := range feeds {
		want[feed] = r.market.Stats(feed).Head + 5
	}
	for _, c := range some {
		n := want[c.Feed()]
		r.await(c, fmt.Sprintf("at event %d", n), func(s reader.State) bool { return s.N >= n })
	}
}

// pause lets events flow for about so long.
func (r *run) pause(d time.Duration) {
	r.wait(d/2 + time.Duration(r.rng.Int64N(int64(d))))
}

func (r *run) wait(d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
	case <-r.ctx.Done():
	}
}

// fault notes that one begins.
func (r *run) fault(what string) {
	r.t.Log(what)
	r.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: what, Edge: oracle.Begin})
}

// pick chooses one of a kind.
func (r *run) pick(k topology.Kind) *topology.Process {
	some := r.topo.Of(k)
	return some[r.rng.IntN(len(some))]
}

// start starts a process again and waits until it is ready.
func (r *run) start(p *topology.Process) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if err := r.topo.Start(p); err != nil {
		r.t.Fatal(err)
	}
	if err := p.WaitReady(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends a process as kill -9 does.
func (r *run) kill(p *topology.Process) {
	r.fault("kill -9 " + p.Name)
	p.Kill()
	r.gone(p)
}

// gone says that the connections of an ingest node ended with it, whenever the upstream notices.
func (r *run) gone(p *topology.Process) {
	if p.Kind == topology.Ingest {
		r.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: oracle.ProcessGone, Edge: oracle.End})
	}
}

// freeze stops a process for some time.
func (r *run) freeze(p *topology.Process, d time.Duration) {
	r.fault(fmt.Sprintf("freeze %s for %v", p.Name, d))
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	r.wait(d) // how long it is away is the fault
	if err := p.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
}

// judge lets everything arrive, ends the clients and judges.
func (r *run) judge() *oracle.Verdict {
	r.t.Helper()
	r.market.Clear()
	r.market.Pause()
	r.market.Settle()
	for _, c := range r.clients {
		head := r.market.Stats(c.Feed()).Head
		r.await(c, fmt.Sprintf("at the newest event, %d", head), func(s reader.State) bool { return s.N == head })
		c.Quiesce()
	}
	r.stop()
	r.running.Wait()
	r.market.Cut("", true)
	r.market.Close()
	r.taking.Wait()
	v, err := r.book.Verdict()
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// metric sums a metric over the processes of a kind.
func (r *run) metric(k topology.Kind, name string) (sum float64) {
	r.t.Helper()
	for _, p := range r.topo.Of(k) {
		text, err := get(r.ctx, "http://"+p.Ops+"/metrics")
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			rest, ok := strings.CutPrefix(line, name)
			if !ok || rest[0] != ' ' && rest[0] != '{' {
				continue
			}
			var v float64
			if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err != nil {
				r.t.Fatalf("%q: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

func getJSON(ctx context.Context, url string, answer any) error {
	text, err := get(ctx, url)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := once.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// once keeps no connection.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
