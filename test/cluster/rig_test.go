package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// keys are the seeds of the users of deploy/nats/users.conf, in files, and what the servers are told of them.
type keys struct {
	file map[string]string // by user
	env  []string
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	k := &keys{file: map[string]string{}}
	dir := t.TempDir()
	for _, user := range []string{"edge", "ingest", "control", "core"} {
		seed, public, err := broker.NewUserKey()
		if err != nil {
			t.Fatal(err)
		}
		k.file[user] = filepath.Join(dir, user+".nk")
		if err := os.WriteFile(k.file[user], []byte(seed+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		k.env = append(k.env, fmt.Sprintf("SLUICE_NKEY_%s=%s", strings.ToUpper(user), public))
	}
	return k
}

const deployed = "../../deploy/nats"

// startServers starts n servers with a file of deploy/nats; the test itself talks to them as control.
func startServers(t *testing.T, n int, k *keys, conf string) *brokertest.Servers {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(deployed, conf))
	if err != nil {
		t.Fatal(err)
	}
	return brokertest.Cluster(t, n, brokertest.ClusterOptions{
		Conf: path, Env: k.env, Node: broker.Config{Inbox: "_INBOX_ctl", Login: broker.Login{File: k.file["control"]}},
	})
}

// nodes counts the gateways: their names differ, though they share a host.
var nodes atomic.Int64

// gate prepares a gateway of some roles that logs in as a user.
func gate(t *testing.T, urls []string, k *keys, user, roles string, o gateway.Options) *gateway.Gateway {
	t.Helper()
	o.Env = append([]string{
		fmt.Sprintf("SLUICE_NODE=%s-%d", user, nodes.Add(1)), "SLUICE_ROLES=" + roles, "SLUICE_BROKER_URLS=" + strings.Join(urls, ","), "SLUICE_BROKER_CREDENTIALS=" + k.file[user],
		"SLUICE_UPSTREAM_ALLOW_CIDRS=127.0.0.0/8", "SLUICE_BROKER_DURABILITY=cluster",
	}, o.Env...)
	g := gateway.New(t, o)
	if !strings.Contains(roles, "edge") {
		delete(g.Addrs, "edge-http")
	}
	return g
}

// waitMetric polls /metrics until a line begins with text.
func waitMetric(t *testing.T, g *gateway.Gateway, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, body := g.Ops("/metrics"); strings.Contains(string(body), "\n"+text) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("/metrics never says %q", text)
		}
	}
}

// waitReady polls /readyz until it answers with code and a text.
func waitReady(t *testing.T, g *gateway.Gateway, code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), gateway.Patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := g.Ops("/readyz?verbose")
		if got == code && strings.Contains(string(body), text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("/readyz answers %d, not %d with %q:\n%s", got, code, text, body)
		}
	}
}

// wantNothingDenied wants that no gateway was refused anything, as it and the servers say.
func wantNothingDenied(t *testing.T, s *brokertest.Servers, gates ...*gateway.Gateway) {
	t.Helper()
	for _, g := range gates {
		if n := g.Logged(func(e gateway.Entry) bool { return e.Is("msg", "broker: permission denied") }); n > 0 {
			t.Errorf("%s was denied something %d times", filepath.Base(g.Dir), n)
			g.DumpLog()
		}
	}
	for _, line := range s.Logged("Violation") {
		t.Error(line)
	}
}

// origin is the market at an address.
type origin struct {
	*feed.Market
	addr string
}

func newOrigin(t *testing.T, o feed.Options) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	or := &origin{Market: feed.New(1, o), addr: ln.Addr().String()}
	srv := &http.Server{Handler: or.Market, ReadHeaderTimeout: 5 * time.Second}
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() {
		_ = srv.Close()
		or.Cut("", true)
		done.Wait()
		or.Close()
	})
	return or
}

const definition = `apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /market
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 100000, maxBytes: 256MiB}
  topics:
    - {name: /ticks, backend: /stream/ticks, security: none}
    - {name: '/quotes/{symbol}', backend: '/stream/quotes?s={symbol}', security: none, linger: 1s}
`

// api is the token of that API in subjects and stream names.
var api = broker.APIToken("market", "1.0.0")

func (o *origin) apis() map[string]string {
	return map[string]string{"market.yaml": fmt.Sprintf(definition, o.addr)}
}

// crowd are clients and the book of what they saw.
type crowd struct {
	t       *testing.T
	origin  *origin
	book    *oracle.Book
	ctx     context.Context
	stop    context.CancelFunc
	clients []*reader.Client
	running sync.WaitGroup
	taking  sync.WaitGroup
}

func newCrowd(t *testing.T, o *origin, run oracle.Run) *crowd {
	t.Helper()
	if run.Overlap == 0 {
		run.Overlap = 3_500_000
	}
	c := &crowd{t: t, origin: o, book: oracle.NewBook(nil, run)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	facts := o.Facts()
	c.taking.Go(func() { c.book.Take(facts) })
	t.Cleanup(func() {
		c.stop()
		c.running.Wait()
		o.Close()
		c.taking.Wait()
	})
	return c
}

// read starts clients of a feed at a gateway and waits until they are connected.
func (c *crowd) read(g *gateway.Gateway, feedName string, n int) {
	c.t.Helper()
	for range n {
		r := reader.New(reader.Options{
			Name: fmt.Sprint("c", len(c.clients)), URL: g.URL("/market/1.0.0" + feedName), Feed: feedName, Tape: c.origin.Tape(), Facts: c.book.Add,
		})
		c.clients = append(c.clients, r)
		c.running.Go(func() { r.Run(c.ctx) })
		c.await(r, "connected", func(s reader.State) bool { return s.Connects > 0 })
	}
}

func (c *crowd) await(r *reader.Client, what string, ok func(reader.State) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, gateway.Patience)
	defer cancel()
	if err := r.Await(ctx, ok); err != nil {
		s := r.State()
		c.t.Fatalf("client is not %s: %v; connects %d, refused %d, status %d, event %d, gaps %v, notices %v",
			what, err, s.Connects, s.Refused, s.Status, s.N, s.Gaps, s.Notices)
	}
}

// awaitMore waits until every client has n more events than its feed has now.
func (c *crowd) awaitMore(n uint64) {
	c.t.Helper()
	for _, r := range c.clients {
		want := c.origin.Stats(r.Feed()).Head + n
		c.await(r, fmt.Sprintf("at event %d", want), func(s reader.State) bool { return s.N >= want })
	}
}

func (c *crowd) fault(name string) {
	c.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: name, Edge: oracle.Begin})
}

// judge lets everything arrive, ends the clients and the gateways and wants that no promise was broken.
func (c *crowd) judge(gates ...*gateway.Gateway) *oracle.Verdict {
	c.t.Helper()
	c.origin.Pause()
	c.origin.Settle()
	for _, r := range c.clients {
		head := c.origin.Stats(r.Feed()).Head
		c.await(r, fmt.Sprintf("at the newest event, %d", head), func(s reader.State) bool { return s.N == head })
		r.Quiesce()
	}
	c.stop()
	c.running.Wait()
	for _, g := range gates {
		g.Kill()
	}
	c.origin.Close()
	c.taking.Wait()
	v, err := c.book.Verdict()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Log(v)
	if !v.OK() {
		c.t.Error("promises were broken, see above")
	}
	return v
}
