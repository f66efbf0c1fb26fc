package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// Roles of a node's connections. They are never shared: a stalled reader of one must
// not hold up another, and all but bus are deaf to their own messages.
const (
	roleLive   = "live"   // live events and beacons
	roleRead   = "read"   // direct reads
	roleCommit = "commit" // stores events
	roleKeep   = "keep"   // buckets and streams
	roleBus    = "bus"    // demand, beacons, beats
)

func roles() []string { return []string{roleLive, roleRead, roleCommit, roleKeep, roleBus} }

// conns holds the connections of one node and knows whether all are up.
type conns struct {
	byRole map[string]*nats.Conn // fixed after dial
	log    *slog.Logger
	now    func() time.Time
	met    *metrics
	on     connEvents

	mu      sync.Mutex
	down    map[string]string // guarded by mu: role → why
	told    time.Time         // guarded by mu: when the log last heard that we wait
	denied  map[string]denial // guarded by mu: role → what the servers forbid it
	link    Link              // guarded by mu
	changed chan struct{}     // guarded by mu: closed and replaced at each change
	closing bool              // guarded by mu
}

// connEvents hears of the connections, on the library's goroutine: it must not wait.
type connEvents interface {
	// linkChanged: the connection of role was cut, or is back with its subscriptions.
	linkChanged(role string, up bool)
	// overflowed: a message for sub was thrown away because its queue was full.
	overflowed(sub *nats.Subscription)
}

// denial is a subject that the servers do not permit.
type denial struct {
	why   string
	until time.Time // zero = until the connection is made anew
}

// Intervals of waiting for a broker and of telling it.
const (
	waitTold   = 30 * time.Second // between log lines of a wait
	deniedTime = time.Minute      // how long a refused publish counts: it is tried again before
)

// dial connects every role; a broker that is not there yet is connected later.
func dial(c Config, local func() (net.Conn, error), on connEvents, log *slog.Logger, met *metrics) (*conns, error) {
	cs := &conns{
		byRole: map[string]*nats.Conn{}, down: map[string]string{}, denied: map[string]denial{}, changed: make(chan struct{}),
		log: log, now: c.Now, met: met, on: on,
	}
	for _, role := range roles() {
		cs.down[role] = "not yet connected"
	}
	cs.link = Link{Since: c.Now(), Why: "not yet connected", Never: true}
	var g errgroup.Group // at once: a host that swallows packets costs seconds each
	for _, role := range roles() {
		g.Go(func() error { return cs.connect(c, role, local) })
	}
	if err := g.Wait(); err != nil {
		cs.close()
		return nil, err
	}
	return cs, nil
}

// connect makes the connection of one role, or begins to.
func (cs *conns) connect(c Config, role string, local func() (net.Conn, error)) error {
	cred := &credential{Login: c.Login}
	opts, err := cs.options(c, role, cred)
	if err != nil {
		return err
	}
	if local != nil {
		opts = append(opts, nats.InProcessServer(dialer(local)))
	}
	nc, err := nats.Connect(strings.Join(c.URLs, ","), opts...)
	if err != nil {
		return fmt.Errorf("broker: connection %s: %w", role, err)
	}
	cred.conn.Store(nc)
	cs.mu.Lock()
	cs.byRole[role] = nc
	cs.mu.Unlock()
	if nc.IsConnected() {
		cs.set(role, "", 0)
	}
	return nil
}

// A link that carries nothing at all is taken for lost when the next ping is due after so many without an answer.
const (
	pingEvery = 4 * time.Second
	pingsOut  = 2
)

func (cs *conns) options(c Config, role string, cred *credential) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(c.Name + " " + role),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(func(int) time.Duration {
			return 250*time.Millisecond + rand.N(250*time.Millisecond)
		}),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsOut),
		nats.ReconnectBufSize(-1), // nothing stale is sent after a cut
		nats.IgnoreAuthErrorAbort(),
		nats.CustomInboxPrefix(c.Inbox + "." + role),
		nats.SkipSubjectValidation(), // ours are safe by construction
		nats.ConnectHandler(func(*nats.Conn) { cs.back(role) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			// A barrier: the broker has our subscriptions again before anyone is told.
			if err := nc.FlushTimeout(5 * time.Second); err != nil {
				cs.log.Warn("broker: connection did not answer after it came back", "conn", role, "err", err)
			}
			cs.back(role)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { cs.failed(role, err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { cs.cut(role, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { cs.asyncError(role, sub, err) }),
	}
	if role != roleBus {
		opts = append(opts, nats.NoEcho())
	}
	login, err := cred.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, login...)
	opts = append(opts, c.TLS.options()...)
	return opts, nil
}

func (cs *conns) back(role string) {
	cs.mu.Lock()
	delete(cs.denied, role)
	cs.mu.Unlock()
	cs.set(role, "", 0)
	cs.on.linkChanged(role, true)
}

func (cs *conns) cut(role string, err error) {
	why, silent := "disconnected", time.Duration(0)
	if err != nil {
		why = err.Error()
	}
	if errors.Is(err, nats.ErrStaleConnection) {
		silent = pingsOut * pingEvery
	}
	cs.met.linkCut(role)
	cs.set(role, why, silent)
	cs.on.linkChanged(role, false)
}

// set notes why a role's connection is down, "" = up, and how long it has been at least.
func (cs *conns) set(role, why string, silent time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.down[role] = why; why == "" {
		delete(cs.down, role)
	}
	up, was := len(cs.down) == 0, cs.link.Up
	why = cs.why()
	cs.link.Why = why
	if up == was {
		return
	}
	cs.link = Link{Up: up, Since: cs.now().Add(-silent), Why: why}
	close(cs.changed)
	cs.changed = make(chan struct{})
	cs.met.linkUp(up)
	switch {
	case cs.closing:
	case up:
		cs.log.Info("broker connected")
	default:
		cs.log.Warn("broker link lost", "why", why)
	}
}

// why tells of one connection that is down, cs.mu held; "" if none is.
func (cs *conns) why() string {
	for _, role := range roles() {
		if w, down := cs.down[role]; down {
			return role + ": " + w
		}
	}
	return ""
}

// failed notes why a connection could not be made.
func (cs *conns) failed(role string, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, down := cs.down[role]; !down || cs.closing {
		return
	}
	cs.down[role] = err.Error()
	cs.link.Why = cs.why()
	if now := cs.now(); cs.told.IsZero() || now.Sub(cs.told) >= waitTold {
		cs.told = now
		cs.log.Warn("waiting for the broker", "conn", role, "why", err.Error(), "since", cs.link.Since)
	}
}

// forbidden notes what the servers do not permit.
func (cs *conns) forbidden(role string, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	d := denial{why: err.Error()}
	if !strings.Contains(strings.ToLower(d.why), "subscription") {
		d.until = cs.now().Add(deniedTime)
	} else if old, there := cs.denied[role]; there && old.until.IsZero() {
		return // the first is the one to mend first
	}
	cs.denied[role] = d
}

// deniedWhy tells what a connection is forbidden, "" = nothing.
func (cs *conns) deniedWhy() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, role := range roles() {
		d, there := cs.denied[role]
		if there && !d.until.IsZero() && cs.now().After(d.until) {
			delete(cs.denied, role)
			continue
		}
		if there {
			return role + ": " + d.why
		}
	}
	return ""
}

// asyncError is the library's word on an error that belongs to no call of ours.
func (cs *conns) asyncError(role string, sub *nats.Subscription, err error) {
	cs.met.asyncError(role)
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		cs.on.overflowed(sub)
		return
	}
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		cs.failed(role, err)
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		cs.forbidden(role, err)
		cs.log.Error("broker: permission denied", "conn", role, "err", err)
		return
	}
	cs.log.Warn("broker: connection error", "conn", role, "err", err)
}

func (cs *conns) close() {
	cs.mu.Lock()
	cs.closing = true
	open := maps.Clone(cs.byRole)
	cs.mu.Unlock()
	for _, nc := range open {
		nc.Close()
	}
}
