package deploy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"sluice/test/gateway"
)

// cluster is a broker, an ingest node and an upstream that sends an event when it is told to. Edges are added by tests.
type cluster struct {
	broker string // URL
	puppet *puppet
	apis   map[string]string
}

// startCluster starts what edges need. The broker runs in this process: it is the real server, and what is tested here stands in
// front of the edges.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	ns, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		JetStreamMaxStore: 20 << 30, JetStreamMaxMemory: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(gateway.Patience) {
		t.Fatal("the broker does not start")
	}
	c := &cluster{broker: ns.ClientURL(), puppet: newPuppet(t)}
	c.apis = map[string]string{"puppet.yaml": fmt.Sprintf(`apiVersion: sluice/v1
kind: API
metadata: {name: puppet}
spec:
  context: /puppet
  version: 1.0.0
  endpoint: %s
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 10000, maxBytes: 16MiB}
  upstream: {resume: probe, idle: 0s}
  topics:
    - {name: /t, backend: /t, security: none}
`, c.puppet.url)}
	ingest := gateway.New(t, gateway.Options{APIs: c.apis, Env: []string{
		"SLUICE_BROKER_URLS=" + c.broker, "SLUICE_ROLES=ingest,control", "SLUICE_UPSTREAM_ALLOW_CIDRS=127.0.0.0/8",
	}})
	delete(ingest.Addrs, "edge-http")
	ingest.Start()
	return c
}

// edge starts one more edge.
func (c *cluster) edge(t *testing.T, env ...string) *gateway.Gateway {
	t.Helper()
	g := gateway.New(t, gateway.Options{APIs: c.apis, Env: append([]string{
		"SLUICE_BROKER_URLS=" + c.broker, "SLUICE_ROLES=edge", "SLUICE_EDGE_READY_PATH=/_ready",
		"SLUICE_EDGE_TRUSTED_PROXIES=127.0.0.1/32", "SLUICE_FANOUT_HEARTBEAT=5s",
	}, env...)})
	g.Start()
	return g
}

// puppet is an upstream with one stream of numbered events. An event comes when a test emits it, never by itself.
type puppet struct {
	url string

	mu   sync.Mutex
	last int           // number of the newest event
	more chan struct{} // closed and renewed with each event
	open int           // how many read it now
}

func newPuppet(t *testing.T) *puppet {
	p := &puppet{more: make(chan struct{})}
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, done) }))
	t.Cleanup(func() { close(done); srv.Close() })
	p.url = srv.URL
	return p
}

// emit sends the next event and returns its number.
func (p *puppet) emit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	close(p.more)
	p.more = make(chan struct{})
	return p.last
}

// isRead says that somebody reads, who gets what is emitted from now on.
func (p *puppet) isRead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open > 0
}

func (p *puppet) newest() (int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.more
}

func (p *puppet) serve(w http.ResponseWriter, r *http.Request, done <-chan struct{}) {
	p.mu.Lock()
	p.open++
	next := p.last
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}()
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		fmt.Sscanf(id, "%d", &next) //nolint:errcheck // an id of ours
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ":\n\n")
	out := http.NewResponseController(w)
	_ = out.Flush()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		last, more := p.newest()
		for next < last {
			next++
			fmt.Fprintf(w, "id: %d\ndata: %d\n\n", next, next)
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-beat.C:
			fmt.Fprint(w, ":\n\n")
		case <-r.Context().Done():
			return
		case <-done:
			return
		}
	}
}

// line is what a reader of a stream met.
type line struct {
	id, data  string // of an event
	heartbeat bool
	end       bool // the stream ended
}

// reader is an SSE client that reads one stream at a time and remembers where it was.
type reader struct {
	t      *testing.T
	http   *http.Client
	url    string
	lastID string

	resp  *http.Response
	stop  func() // ends resp
	lines *bufio.Reader
	event string
	data  string
}

// connect opens the stream, from where the reader was, for as long as a test has patience. A status other than 200 is what no
// EventSource survives.
func (r *reader) connect() error {
	r.close()
	ctx, cancel := context.WithTimeout(r.t.Context(), gateway.Patience)
	r.stop = cancel
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if r.lastID != "" {
		req.Header.Set("Last-Event-ID", r.lastID)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(ct, "text/event-stream") {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
		return fmt.Errorf("status %d, %s: %s", resp.StatusCode, ct, body)
	}
	r.resp, r.lines, r.event, r.data = resp, bufio.NewReader(resp.Body), "", ""
	return nil
}

func (r *reader) close() {
	if r.resp != nil {
		r.resp.Body.Close()
	}
	if r.stop != nil {
		r.stop()
	}
	r.resp = nil
}

// next reads up to the next event, heartbeat, or end of the stream. What the gateway tells about itself is no event, but a gap
// is an error here: nothing may be lost.
func (r *reader) next() (line, error) {
	for {
		text, err := r.lines.ReadString('\n')
		if err != nil {
			return line{end: true}, nil //nolint:nilerr // cut or closed, it is the end
		}
		text = strings.TrimRight(text, "\r\n")
		name, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case text == "":
			r.event, r.data = "", ""
		case name == "":
			return line{heartbeat: true}, nil
		case name == "event":
			if r.event = value; value == "gateway.gap" {
				return line{}, fmt.Errorf("a gap is told")
			}
		case name == "data":
			r.data = value
		case name == "id" && r.event == "":
			r.lastID = value
			return line{id: value, data: r.data}, nil
		}
	}
}

// mustEvent reads up to the next event of a stream that must not end.
func (r *reader) mustEvent() line {
	r.t.Helper()
	for {
		l, err := r.next()
		if err != nil || l.end {
			r.t.Fatalf("the stream ended, or %v", err)
		}
		if !l.heartbeat {
			return l
		}
	}
}
