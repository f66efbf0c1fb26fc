package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Node is one process's use of the broker: its connections and, if embedded, the
// broker itself. All methods may be called by any goroutine.
type Node struct {
	cfg    Config
	log    *slog.Logger
	met    *metrics
	server *Server // nil if not embedded here
	conns  *conns
	inbox  map[string]*inbox // by role; fixed by Open
	info   *infoCache
	writer *writer
	direct *direct
	admin  *admin

	files [sha256.Size]byte // sum of the login files as Reload last saw them; owned by its callers

	mu    sync.Mutex
	lives map[*live]struct{} // guarded by mu
	ready bool               // guarded by mu: the fields above are set
}

// Open starts the embedded broker, unless cfg names another, and connects to it. It
// waits for an embedded broker until ctx ends; an external one may come later (see
// Link). reg may be nil. Close must be called.
func Open(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	met, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("broker: metrics: %w", err)
	}
	n := &Node{cfg: cfg, log: log, met: met, lives: map[*live]struct{}{}, inbox: map[string]*inbox{}}
	local := cfg.Dial
	if !cfg.embedded() {
		n.files = cfg.filesSum()
	}
	if cfg.embedded() {
		if n.server, err = StartServer(ctx, cfg, log); err != nil {
			return nil, err
		}
		local = n.server.Conn
		if reg != nil {
			if err := reg.Register(newStoreCollector(n.server)); err != nil {
				n.shutdown()
				return nil, fmt.Errorf("broker: metrics: %w", err)
			}
		}
	}
	if err := n.connect(local); err != nil {
		n.shutdown()
		return nil, err
	}
	return n, nil
}

func (n *Node) connect(local func() (net.Conn, error)) error {
	if err := n.cfg.CheckFiles(); err != nil {
		return err
	}
	cs, err := dial(n.cfg, local, n, n.log, n.met)
	if err != nil {
		return err
	}
	n.conns = cs
	for _, role := range []string{roleRead, roleCommit, roleKeep} {
		box, err := newInbox(cs.byRole[role])
		if err != nil {
			return err
		}
		n.inbox[role] = box
	}
	js, err := jetstream.New(cs.byRole[roleKeep])
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	n.info = newInfoCache(n.inbox[roleKeep], n.met)
	n.direct = &direct{box: n.inbox[roleRead], info: n.info, met: n.met, timeout: n.cfg.ReadTimeout}
	n.writer = newWriter(n.cfg, n.inbox[roleCommit], n.info, n.direct, n.met)
	n.admin = &admin{cfg: n.cfg, js: js, box: n.inbox[roleKeep], info: n.info, node: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = true
	return nil
}

// Writer stores events. The one Writer of a node may be used for all feeds.
func (n *Node) Writer() Writer { return n.writer }

// Direct reads stored events.
func (n *Node) Direct() Direct { return n.direct }

// Bus is core NATS; its own messages come back to it.
func (n *Node) Bus() Bus { return bus{n.conns.byRole[roleBus]} }

// Admin creates and removes streams and opens buckets.
func (n *Node) Admin() Admin { return n.admin }

// NewLive returns a receiver of live events; name is for log lines. Close ends it.
func (n *Node) NewLive(name string) (Live, error) {
	l := newLive(name, n.conns.byRole[roleLive], n.cfg.LiveQueue, n.met, n.forget)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives[l] = struct{}{}
	return l, nil
}

func (n *Node) forget(l *live) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.lives, l)
}

// Link tells whether all connections are up, and since when.
func (n *Node) Link() Link {
	n.conns.mu.Lock()
	defer n.conns.mu.Unlock()
	return n.conns.link
}

// LinkChanged returns a channel that is closed at the next change of Link().Up. Take
// it before calling Link, else a change in between is missed.
func (n *Node) LinkChanged() <-chan struct{} {
	n.conns.mu.Lock()
	defer n.conns.mu.Unlock()
	return n.conns.changed
}

// Denied tells what the servers forbid this process though it needs it, "" = nothing.
func (n *Node) Denied() string { return n.conns.deniedWhy() }

// Reload reads the files of Login and TLS again. If one has changed, every connection is
// made anew, one after the other; if one is wrong, all stays as it is. One goroutine
// calls it.
func (n *Node) Reload() error {
	if n.cfg.embedded() || n.cfg.Dial != nil {
		return nil
	}
	if err := n.cfg.CheckFiles(); err != nil {
		return err
	}
	sum := n.cfg.filesSum()
	if sum == n.files {
		return nil
	}
	n.files = sum
	n.log.Info("broker: login files have changed, connecting anew")
	for _, role := range roles() {
		if err := n.conns.byRole[role].ForceReconnect(); err != nil {
			return fmt.Errorf("broker: connection %s: %w", role, mapError(err))
		}
	}
	return nil
}

// MaxEvent is the largest body of an event in bytes: Config.MaxEvent, or less if the
// broker takes only smaller messages.
func (n *Node) MaxEvent() int {
	most := int(n.conns.byRole[roleCommit].MaxPayload()) - headerReserve
	if most <= 0 { // not yet connected
		return n.cfg.MaxEvent
	}
	return min(n.cfg.MaxEvent, most)
}

// Embedded reports whether the broker runs in this process.
func (n *Node) Embedded() bool { return n.server != nil }

// Hosts are the servers that the node knows of, those of its cluster too, as host:port; none for an embedded broker.
func (n *Node) Hosts() []string {
	if n.cfg.embedded() || n.cfg.Dial != nil {
		return nil
	}
	var out []string
	for _, text := range n.conns.byRole[roleBus].Servers() {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			out = append(out, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), strconv.Itoa(nats.DefaultPort))))
		}
	}
	return out
}

// Close sends what is buffered, closes the connections and stops an embedded broker,
// waiting until its store is closed. Callers stop using the node before.
func (n *Node) Close(ctx context.Context) error {
	var err error
	for _, role := range []string{roleCommit, roleKeep, roleBus} {
		if nc := n.conns.byRole[role]; nc.IsConnected() {
			ctx, cancel := withTimeout(ctx, n.cfg.CommitTimeout)
			if e := nc.FlushWithContext(ctx); e != nil && err == nil {
				err = fmt.Errorf("broker: close connection %s: %w", role, mapError(e))
			}
			cancel()
		}
	}
	n.shutdown()
	return err
}

func (n *Node) shutdown() {
	if n.conns != nil {
		n.conns.close()
	}
	if n.server != nil {
		n.server.Shutdown()
	}
}

// linkChanged implements connEvents.
func (n *Node) linkChanged(role string, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready {
		return
	}
	if box := n.inbox[role]; box != nil && !up {
		box.cutOff()
	}
	if up {
		n.info.clear() // streams may have been made anew meanwhile
	}
	if role == roleKeep && !up {
		n.admin.cutWatches()
	}
	if role != roleLive {
		return
	}
	cause := "cut"
	if up {
		cause = "back"
	}
	for l := range n.lives {
		l.allDirty(cause)
	}
}

// overflowed implements connEvents.
func (n *Node) overflowed(sub *nats.Subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.lives {
		if l.feedDirty(sub) {
			return
		}
	}
	n.log.Warn("broker: answers thrown away, their queue was full", "subject", sub.Subject)
}
