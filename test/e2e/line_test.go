package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// definition is the API of these tests, without its topics.
const definition = `apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /market
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 100000}
  topics:
`

const (
	ticksTopic  = "    - {name: /ticks, backend: /stream/ticks, security: none}\n"
	quotesTopic = "    - {name: '/quotes/{symbol}', backend: '/stream/quotes?s={symbol}', security: none, linger: 1s}\n"
	anyTopic    = "    - {name: '/any/*', backend: '/stream/any/{*}', security: none, linger: 1s}\n"
)

const ticksPath = "/market/1.0.0/ticks"

// line is the whole line: a market, a gateway, clients that read it, and the book of what they saw.
type line struct {
	*origin
	t     *testing.T
	gate  *gateway.Gateway
	book  *oracle.Book
	run   oracle.Run
	ctx   context.Context
	stopC context.CancelFunc

	clients []*reader.Client
	running sync.WaitGroup // clients
	taking  sync.WaitGroup // the market's facts
}

// newLine starts a market and a gateway with the definitions of topics.
func newLine(t *testing.T, fo feed.Options, o gateway.Options, run oracle.Run, topics ...string) *line {
	t.Helper()
	gateway.Binary(t, o.Plain) // which takes its time
	l := &line{t: t, run: run, origin: newOrigin(t, fo)}
	if run.Overlap == 0 {
		l.run.Overlap = 3_500_000
	}
	l.ctx, l.stopC = context.WithCancel(context.Background())
	o.APIs = map[string]string{"market.yaml": fmt.Sprintf(definition, l.addr) + strings.Join(topics, "")}
	l.gate = gateway.New(t, o)
	file := factFile(t)
	if file != nil {
		l.book = oracle.NewBook(file, l.run)
	} else {
		l.book = oracle.NewBook(nil, l.run)
	}
	facts := l.Facts()
	l.taking.Go(func() { l.book.Take(facts) })
	t.Cleanup(func() {
		l.stopC()
		l.running.Wait()
		l.gate.Kill()
		l.Close()
		l.taking.Wait()
	})
	l.gate.Start()
	return l
}

// factFile is where the facts of a test are kept if SLUICE_E2E_FACTS names a folder.
func factFile(t *testing.T) *os.File {
	t.Helper()
	dir := os.Getenv("SLUICE_E2E_FACTS")
	if dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(dir, strings.NewReplacer("/", "-", " ", "_").Replace(t.Name())+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// options are those of a client of a feed.
func (l *line) options(feedName string) reader.Options {
	return reader.Options{
		Name: fmt.Sprint("c", len(l.clients)), URL: l.gate.URL("/market/1.0.0" + feedName), Feed: feedName,
		Tape: l.Tape(), Facts: l.book.Add,
	}
}

// read starts a client and returns when it is connected.
func (l *line) read(o reader.Options) *reader.Client {
	l.t.Helper()
	c := reader.New(o)
	l.clients = append(l.clients, c)
	l.running.Go(func() { c.Run(l.ctx) })
	l.await(c, "connected", func(s reader.State) bool { return s.Connects > 0 })
	return c
}

// readMany starts n clients of a feed.
func (l *line) readMany(feedName string, n int, change func(*reader.Options)) {
	l.t.Helper()
	for range n {
		o := l.options(feedName)
		if change != nil {
			change(&o)
		}
		l.read(o)
	}
}

// await waits for a state of a client.
func (l *line) await(c *reader.Client, what string, ok func(reader.State) bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, gateway.Patience)
	defer cancel()
	if err := c.Await(ctx, ok); err != nil {
		s := c.State()
		l.t.Fatalf("client is not %s: %v; connects %d, refused %d, status %d, event %d, gaps %v, notices %v",
			what, err, s.Connects, s.Refused, s.Status, s.N, s.Gaps[max(0, len(s.Gaps)-3):], s.Notices[max(0, len(s.Notices)-3):])
	}
}

// awaitAll waits until every client has event n.
func (l *line) awaitAll(n uint64) {
	l.t.Helper()
	for _, c := range l.clients {
		l.await(c, fmt.Sprintf("at event %d", n), func(s reader.State) bool { return s.N >= n })
	}
}

// judge lets everything arrive, ends the clients and returns the verdict.
func (l *line) judge() *oracle.Verdict {
	l.t.Helper()
	l.Pause()
	l.Settle()
	for _, c := range l.clients {
		head := l.Stats(c.Feed()).Head
		l.await(c, fmt.Sprintf("at the newest event, %d", head), func(s reader.State) bool { return s.N == head })
		c.Quiesce()
	}
	l.stopC()
	l.running.Wait()
	l.gate.Kill()
	l.Close()
	l.taking.Wait()
	v, err := l.book.Verdict()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Log(v)
	if !v.OK() {
		l.t.Error("promises were broken, see above")
	}
	return v
}

// number reads a number from the environment: how large a run shall be.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// bothEngines runs a test with each engine.
func bothEngines(t *testing.T, f func(t *testing.T, engine string)) {
	for _, engine := range []string{"auto", "portable"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f(t, engine)
		})
	}
}

// open opens a stream by hand; the caller closes the body.
func open(t *testing.T, client *http.Client, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
