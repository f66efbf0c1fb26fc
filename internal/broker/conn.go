package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
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

// dial connects every role; a broker that is not there yet is connected later.
func dial(c Config, local func() (net.Conn, error), on connEvents, log *slog.Logger, met *metrics) (*conns, error) {
	cs := &conns{
		byRole: map[string]*nats.Conn{}, down: map[string]string{}, changed: make(chan struct{}),
		log: log, now: c.Now, met: met, on: on,
	}
	for _, role := range roles() {
		cs.down[role] = "not yet connected"
	}
	cs.link = Link{Since: c.Now(), Why: "not yet connected"}
	for _, role := range roles() {
		opts, err := cs.options(c, role)
		if err != nil {
			cs.close()
			return nil, err
		}
		if local != nil {
			opts = append(opts, nats.InProcessServer(dialer(local)))
		}
		nc, err := nats.Connect(strings.Join(c.URLs, ","), opts...)
		if err != nil {
			cs.close()
			return nil, fmt.Errorf("broker: connection %s: %w", role, err)
		}
		cs.byRole[role] = nc
		if nc.IsConnected() {
			cs.set(role, "")
		}
	}
	return cs, nil
}

func (cs *conns) options(c Config, role string) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(c.Name + " " + role),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(func(int) time.Duration {
			return 250*time.Millisecond + rand.N(250*time.Millisecond)
		}),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // nothing stale is sent after a cut
		nats.IgnoreAuthErrorAbort(),
		nats.CustomInboxPrefix("_INBOX_" + role),
		nats.SkipSubjectValidation(), // ours are safe by construction
		nats.ConnectHandler(func(*nats.Conn) { cs.back(role) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			// A barrier: the broker has our subscriptions again before anyone is told.
			if err := nc.FlushTimeout(5 * time.Second); err != nil {
				cs.log.Warn("broker: connection did not answer after it came back", "conn", role, "err", err)
			}
			cs.back(role)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { cs.cut(role, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { cs.asyncError(role, sub, err) }),
	}
	if role != roleBus {
		opts = append(opts, nats.NoEcho())
	}
	if c.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		opt, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("broker: nkey file: %w", err)
		}
		opts = append(opts, opt)
	}
	if c.TLS != nil {
		opts = append(opts, nats.Secure(c.TLS))
	}
	return opts, nil
}

func (cs *conns) back(role string) {
	cs.set(role, "")
	cs.on.linkChanged(role, true)
}

func (cs *conns) cut(role string, err error) {
	why := "disconnected"
	if err != nil {
		why = err.Error()
	}
	cs.met.linkCut(role)
	cs.set(role, why)
	cs.on.linkChanged(role, false)
}

// set notes why a role's connection is down, "" = up.
func (cs *conns) set(role, why string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.down[role] = why; why == "" {
		delete(cs.down, role)
	}
	up, was := len(cs.down) == 0, cs.link.Up
	for r, w := range cs.down {
		why = r + ": " + w
	}
	cs.link.Why = why
	if up == was {
		return
	}
	cs.link = Link{Up: up, Since: cs.now(), Why: why}
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

// asyncError is the library's word on an error that belongs to no call of ours.
func (cs *conns) asyncError(role string, sub *nats.Subscription, err error) {
	cs.met.asyncError(role)
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		cs.on.overflowed(sub)
		return
	}
	cs.log.Warn("broker: connection error", "conn", role, "err", err)
}

func (cs *conns) close() {
	cs.mu.Lock()
	cs.closing = true
	cs.mu.Unlock()
	for _, nc := range cs.byRole {
		nc.Close()
	}
}
