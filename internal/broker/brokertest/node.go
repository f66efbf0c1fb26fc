package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
)

// Node is a node on a real broker in this process. Its methods may be called from the
// test's goroutine.
type Node struct {
	*broker.Node
	faults
	t      testing.TB
	cfg    broker.Config
	server *switchable
	gate   *gate
	specs  *specs
	saved  string         // folder of the last Save
	voices []*broker.Node // one at each server elsewhere; nil = the server is here
}

var _ Broker = (*Node)(nil)

// Option changes the configuration of Start.
type Option func(*broker.Config)

// Profile sets the durability profile; the default is process.
func Profile(p string) Option { return func(c *broker.Config) { c.Durability = p } }

// With changes any setting but Dial and Dir.
func With(change func(*broker.Config)) Option { return change }

const startTimeout = 30 * time.Second

// Start runs a broker in a temporary folder and connects a node to it. Both end with
// the test.
func Start(t testing.TB, opts ...Option) *Node {
	t.Helper()
	cfg := broker.Config{Name: "test"}
	for _, o := range opts {
		o(&cfg)
	}
	cfg.Dir = filepath.Join(t.TempDir(), "store")
	n := &Node{t: t, cfg: cfg, server: &switchable{}, specs: &specs{m: map[string]broker.StreamSpec{}}}
	n.startServer()
	t.Cleanup(n.server.stop)
	n.Node = n.open("")
	return n
}

// Peer connects another node to the same broker, with faults of its own.
func (n *Node) Peer() *Node {
	n.t.Helper()
	p := &Node{t: n.t, cfg: n.cfg, server: n.server, specs: n.specs}
	p.Node = p.open(" peer")
	return p
}

func (n *Node) open(suffix string) *broker.Node {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cfg := n.cfg
	cfg.Name += suffix
	n.gate = &gate{server: n.server}
	cfg.Dial = n.gate.conn
	node, err := broker.Open(ctx, cfg, n.log(), nil)
	if err != nil {
		n.t.Fatalf("brokertest: %v", err)
	}
	n.t.Cleanup(func() {
		_ = node.Close(context.Background()) //nolint:errcheck // its broker may be stopped
	})
	return node
}

func (n *Node) startServer() {
	n.t.Helper()
	if n.server.away != nil {
		n.t.Fatal("brokertest: a node of servers elsewhere cannot start them")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := broker.StartServer(ctx, n.cfg, n.log())
	if err != nil {
		n.t.Fatalf("brokertest: %v", err)
	}
	n.server.set(s)
}

func (n *Node) log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Writer returns the node's writer, whose answers HoldAck loses.
func (n *Node) Writer() broker.Writer { return faultyWriter{n.Node.Writer(), &n.faults} }

// Direct returns the node's reader; Reads counts its calls.
func (n *Node) Direct() broker.Direct { return countingDirect{n.Node.Direct(), &n.faults} }

// NewLive returns a receiver whose events DropLive and DropLast throw away.
func (n *Node) NewLive(name string) (broker.Live, error) {
	l, err := n.Node.NewLive(name)
	return faultyLive{l, &n.faults}, err
}

// Admin returns the node's admin; its streams allow DeleteMsg, which real ones refuse.
func (n *Node) Admin() broker.Admin { return &deletable{n.Node.Admin(), n} }

// Stop stops the broker; Restart starts it again on the same store. The nodes stay.
func (n *Node) Stop() { n.server.stop() }

// Restart stops the broker, if it runs, starts it again and waits until the node is
// connected.
func (n *Node) Restart() {
	n.t.Helper()
	n.server.stop()
	n.startServer()
	n.waitUp()
}

// Cut implements Faults: the node's connections break and cannot be made again.
func (n *Node) Cut() {
	n.t.Helper()
	n.gate.set(true)
	n.waitLink(false)
}

// Heal implements Faults.
func (n *Node) Heal() {
	n.t.Helper()
	n.gate.set(false)
	n.waitUp()
}

func (n *Node) waitUp() {
	n.t.Helper()
	n.waitLink(true)
}

func (n *Node) waitLink(up bool) {
	n.t.Helper()
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for {
		changed := n.LinkChanged()
		if n.Link().Up == up {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			n.t.Fatalf("brokertest: link is not up=%t after %s: %+v", up, startTimeout, n.Link())
		}
	}
}

// Save implements Faults.
func (n *Node) Save() {
	n.t.Helper()
	n.server.stop()
	n.saved = filepath.Join(n.t.TempDir(), "saved")
	n.copyStore(n.cfg.Dir, n.saved)
	n.startServer()
	n.waitUp()
}

// RestoreOld implements Faults.
func (n *Node) RestoreOld() {
	n.t.Helper()
	if n.saved == "" {
		n.t.Fatal("brokertest: RestoreOld without Save")
	}
	n.server.stop()
	if err := os.RemoveAll(n.cfg.Dir); err != nil {
		n.t.Fatalf("brokertest: %v", err)
	}
	n.copyStore(n.saved, n.cfg.Dir)
	n.startServer()
	n.waitUp()
}

func (n *Node) copyStore(from, to string) {
	n.t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		n.t.Fatalf("brokertest: copy the store: %v", err)
	}
}

// DeleteMsg implements Faults.
func (n *Node) DeleteMsg(api string, seq uint64) {
	n.t.Helper()
	n.request("$JS.API.STREAM.MSG.DELETE.EV_"+api, map[string]any{"seq": seq, "no_erase": true}, nil)
}

// PurgeTo implements Faults.
func (n *Node) PurgeTo(api string, seq uint64) {
	n.t.Helper()
	n.request("$JS.API.STREAM.PURGE.EV_"+api, map[string]any{"seq": seq}, nil)
}

// Recreate implements Faults.
func (n *Node) Recreate(api string) {
	n.t.Helper()
	spec, ok := n.specs.get(api)
	if !ok {
		n.t.Fatalf("brokertest: no stream of %q was made here", api)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	a := n.Admin()
	if err := errors.Join(a.DeleteStream(ctx, api), a.EnsureStream(ctx, spec)); err != nil {
		n.t.Fatalf("brokertest: recreate the stream of %s: %v", api, err)
	}
}

// Inject stores a message as anybody with access to the broker could: raw headers and
// body on the feed's subject.
func (n *Node) Inject(f broker.FeedID, body []byte) {
	n.t.Helper()
	if err := n.raw(f.Subject(), body, nil); err != nil {
		n.t.Fatalf("brokertest: %v", err)
	}
}

func (n *Node) request(subject string, body, answer any) {
	n.t.Helper()
	text, err := json.Marshal(body)
	if err == nil {
		err = n.raw(subject, text, answer)
	}
	if err != nil {
		n.t.Fatalf("brokertest: %v", err)
	}
}

// raw sends a request of the broker's own API.
func (n *Node) raw(subject string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	got, err := n.Bus().Request(ctx, subject, body)
	if err != nil {
		return err
	}
	if bytes.Contains(got, []byte(`"error"`)) {
		return fmt.Errorf("%s: %s", subject, got)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// deletable makes streams whose messages can be deleted.
type deletable struct {
	broker.Admin
	n *Node
}

func (a *deletable) EnsureStream(ctx context.Context, s broker.StreamSpec) error {
	if err := placed(ctx, func() error { return a.Admin.EnsureStream(ctx, s) }); err != nil {
		return err
	}
	a.n.specs.put(s)
	if err := a.deletable(ctx, s); err != nil || a.n.server.away == nil {
		return err
	}
	return a.heard(ctx, s.API)
}

// Bucket waits, as EnsureStream does, until there are servers enough.
func (a *deletable) Bucket(ctx context.Context, name string, history uint8) (b broker.Bucket, err error) {
	err = placed(ctx, func() error {
		b, err = a.Admin.Bucket(ctx, name, history)
		return err
	})
	return b, err
}

// EnsureBucket waits likewise.
func (a *deletable) EnsureBucket(ctx context.Context, s broker.BucketSpec) (b broker.Bucket, err error) {
	err = placed(ctx, func() error {
		b, err = a.Admin.EnsureBucket(ctx, s)
		return err
	})
	return b, err
}

// placed repeats f while the servers of a cluster find too few of them: on a busy machine one is taken for offline for a moment.
func placed(ctx context.Context, f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || !strings.Contains(err.Error(), "(10005)") {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// heard waits until the server of the commit connection knows that the stream takes
// events: in a cluster that is a moment after it was made. A commit that must be fenced
// stores nothing.
func (a *deletable) heard(ctx context.Context, api string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c := &broker.Commit{Epoch: 1, Prev: 1 << 52, Events: []broker.Event{{Body: []byte("data: x\n")}}}
		_, err := a.n.Node.Writer().Commit(ctx, broker.FeedID{API: api, Key: "heard"}, c)
		var fenced *broker.FencedError
		if errors.As(err, &fenced) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// heardBy waits until every server elsewhere passes to l what is said of f. Nothing but
// beacons may be sent to l meanwhile, and it takes them all.
func (n *Node) heardBy(ctx context.Context, l broker.Live, f broker.FeedID) error {
	buf := make([]broker.Delivery, 16)
	for _, v := range n.voices {
		for sent, got := uint64(0), uint64(0); got == 0 || got < sent; {
			if got == 0 { // a server that passes one passes all that follow
				sent++
				b := broker.Beacon{Node: "voice", Seq: sent, State: broker.StateUp}
				if err := v.Bus().Publish(f.BeaconSubject(), broker.EncodeBeacon(b)); err != nil {
					return err
				}
			}
			wait, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			k, err := l.Next(wait, buf)
			cancel()
			if ctx.Err() != nil {
				return fmt.Errorf("what a server says of %s is not heard: %w", f, ctx.Err())
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			for _, d := range buf[:k] {
				if d.Kind == broker.KindBeacon {
					got = d.Beacon.Seq
				}
			}
		}
	}
	return nil
}

func (a *deletable) deletable(ctx context.Context, s broker.StreamSpec) error {
	var info struct {
		Config map[string]any `json:"config"`
		State  struct {
			Messages int `json:"messages"`
		} `json:"state"`
	}
	if err := a.n.raw("$JS.API.STREAM.INFO.EV_"+s.API, nil, &info); err != nil {
		return err
	}
	if info.Config["deny_delete"] != true || info.State.Messages > 0 {
		return nil
	}
	// The mark cannot be taken back, so the empty stream is made again without it.
	if err := a.n.raw("$JS.API.STREAM.DELETE.EV_"+s.API, nil, nil); err != nil {
		return err
	}
	delete(info.Config, "deny_delete")
	text, err := json.Marshal(info.Config)
	if err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := a.n.raw("$JS.API.STREAM.CREATE.EV_"+s.API, text, nil)
		if err == nil || !strings.Contains(err.Error(), "10049") && !strings.Contains(err.Error(), "10005") {
			return err
		}
		// The old one's files are still there, or a server is taken for offline.
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// specs remembers what streams were made of, for Recreate.
type specs struct {
	mu sync.Mutex
	m  map[string]broker.StreamSpec // guarded by mu; by API
}

func (s *specs) put(spec broker.StreamSpec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[spec.API] = spec
}

func (s *specs) get(api string) (broker.StreamSpec, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	spec, ok := s.m[api]
	return spec, ok
}

// switchable is a server that can be stopped and replaced; nodes share it.
type switchable struct {
	away func() (net.Conn, error) // to servers elsewhere, which Servers stops; nil = here

	mu     sync.Mutex
	server *broker.Server // guarded by mu; nil = stopped
}

func (s *switchable) conn() (net.Conn, error) {
	if s.away != nil {
		return s.away()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil, errors.New("broker is away")
	}
	return s.server.Conn()
}

func (s *switchable) set(server *broker.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
}

func (s *switchable) stop() {
	s.mu.Lock()
	server := s.server
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		server.Shutdown()
	}
}

// gate is one node's way to the server.
type gate struct {
	server *switchable

	mu    sync.Mutex
	shut  bool       // guarded by mu
	conns []net.Conn // guarded by mu

	answers, reads answerDrop
}

func (g *gate) conn() (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, errors.New("broker is unreachable")
	}
	c, err := g.server.conn()
	if err == nil {
		g.conns = append(g.conns, c)
		c = newFilterConn(c, func(subject []byte) bool { return g.answers.drop(subject) || g.reads.drop(subject) })
	}
	return c, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = shut; !shut {
		return
	}
	for _, c := range g.conns {
		_ = c.Close() //nolint:errcheck // a cut connection
	}
	g.conns = nil
}
