package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/internal/broker"
)

// Times of beats. All are measured on this node's monotonic clock.
const (
	beatEvery  = 500 * time.Millisecond
	scanEvery  = 100 * time.Millisecond
	deadAfter  = 3 * time.Second        // without a beat
	listenTime = 2 * time.Second        // before a new node takes part
	joinPause  = 500 * time.Millisecond // in which no further node joins, before those that did are planned with
	joinMost   = 2 * time.Second        // and then they are, come what may
	fenceAfter = 2 * time.Second        // since the newest own beat that came back was sent
	peerTime   = time.Minute            // for which a peer that was seen may still be there
)

// Bounds of what beats can make this node hold.
const (
	maxNodes = 1000
	maxBeat  = 4 << 10
	sentKept = 32 // own beats whose time of sending is known
)

// Node is an ingest node as its beats tell.
type Node struct {
	Name     string        `json:"name"`
	Boot     string        `json:"boot"`
	Capacity int           `json:"capacity"` // feeds it may run; 0 = none yet
	Load     int           `json:"load"`     // feeds it runs
	Draining bool          `json:"draining"`
	Silent   time.Duration `json:"-"` // since its last beat
}

// Standing is whether this node may act on what it holds.
type Standing struct {
	// Fenced: own beats do not come back and peers may have taken over. Nothing is read from upstreams.
	Fenced bool
	// Fences counts how often that came to be. Who holds something confirms it after each.
	Fences uint64
}

// MembersConfig is what a Members needs. All fields are needed but those that say otherwise.
type MembersConfig struct {
	Node     string
	Boot     string // names this start of the node
	Capacity int    // feeds this node may run
	Observe  bool   // only listen: a node that runs no feeds
	Bus      broker.Bus
	Log      *slog.Logger
}

// Members knows which ingest nodes live. It sends this node's beats and hears all. Create it with NewMembers; any goroutine
// may call its methods.
type Members struct {
	cfg     MembersConfig
	changed chan struct{}

	mu       sync.Mutex // guards what follows
	nodes    map[string]*member
	load     int
	draining bool
	n        uint64 // beats sent
	sent     [sentKept]time.Time
	began    time.Time // of listening; zero before Run
	looped   time.Time // when the newest own beat that came back was sent
	peer     time.Time // of the newest beat of another node
	standing Standing
	clashed  time.Time // when another node with our name was last complained of
}

// member is one node. It is planned with once it has joined.
type member struct {
	Node
	heard  time.Time
	able   time.Time // since when it could be planned with; zero = it cannot
	joined bool
}

// NewMembers returns a Members. It starts nothing.
func NewMembers(cfg MembersConfig) (*Members, error) {
	if cfg.Node == "" || cfg.Boot == "" || cfg.Bus == nil || cfg.Log == nil || cfg.Capacity <= 0 && !cfg.Observe {
		return nil, errors.New("lease: node, boot, capacity, bus and logger are needed")
	}
	return &Members{cfg: cfg, changed: make(chan struct{}, 1), nodes: map[string]*member{}}, nil
}

// Run beats and listens until ctx ends; then it says goodbye. Call it once. The error says that beats cannot be heard at
// the start; it is nil otherwise.
func (m *Members) Run(ctx context.Context) error {
	m.mu.Lock()
	m.began = time.Now()
	m.looped = m.began
	m.mu.Unlock()
	stop, err := m.cfg.Bus.Subscribe(broker.SubjectBeats, func(_ string, body []byte, _ func([]byte) error) { m.hear(body) })
	if err != nil {
		return err
	}
	defer stop()
	m.beat(false)
	beats, scans := time.NewTicker(beatEvery), time.NewTicker(scanEvery)
	defer beats.Stop()
	defer scans.Stop()
	for {
		select {
		case <-ctx.Done():
			m.beat(true)
			return nil
		case <-beats.C:
			m.beat(false)
		case <-scans.C:
			m.scan(time.Now())
		}
	}
}

// Changed yields after any change of what the other methods tell. One reader.
func (m *Members) Changed() <-chan struct{} { return m.changed }

// Tell says what the next beats say of this node; a drain is told at once.
func (m *Members) Tell(load int, draining bool) {
	m.mu.Lock()
	now := draining && !m.draining
	m.load, m.draining = load, draining
	m.mu.Unlock()
	if now {
		m.beat(false)
	}
}

// beat sends one. A lost one is made up for by the next.
func (m *Members) beat(last bool) {
	if m.cfg.Observe {
		return
	}
	m.mu.Lock()
	m.n++
	now := time.Now()
	m.sent[m.n%sentKept] = now
	b := broker.Beat{V: 1, Node: m.cfg.Node, Boot: m.cfg.Boot, N: m.n, Load: m.load, Draining: m.draining || last, Gone: last}
	if now.Sub(m.began) >= listenTime {
		b.Capacity = m.cfg.Capacity
	}
	m.mu.Unlock()
	body, err := json.Marshal(b)
	if err == nil {
		err = m.cfg.Bus.Publish(broker.BeatSubject(m.cfg.Node), body)
	}
	if err != nil {
		m.cfg.Log.Debug("beat not sent", "err", err)
	}
}

// hear takes one beat.
func (m *Members) hear(body []byte) {
	var b broker.Beat
	if len(body) > maxBeat || json.Unmarshal(body, &b) != nil || b.V != 1 || b.Node == "" || b.Boot == "" || b.Capacity < 0 {
		return
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Node == m.cfg.Node && !m.cfg.Observe {
		if !m.own(b, now) {
			return
		}
	} else {
		m.peer = now
	}
	n := m.nodes[b.Node]
	switch {
	case b.Gone:
		if n != nil && n.Boot == b.Boot {
			delete(m.nodes, b.Node)
			m.cfg.Log.Info("ingest node left", "node", b.Node)
			m.tell()
		}
		return
	case n == nil && len(m.nodes) >= maxNodes:
		return
	case n == nil || n.Boot != b.Boot: // a new start is another node: what the old one held is free
		n = &member{}
		m.nodes[b.Node] = n
		m.cfg.Log.Info("ingest node seen", "node", b.Node, "boot", b.Boot)
		m.tell()
	}
	n.take(b, now)
	if !n.joined && m.alone() {
		m.join(now, true) // nobody to wait for
	}
	if n.joined && n.able.IsZero() {
		n.joined = false
		m.tell()
	}
}

// own takes a beat of this node's name; false if it is not ours.
func (m *Members) own(b broker.Beat, now time.Time) bool {
	if b.Boot != m.cfg.Boot {
		// Our own last start may still be heard for a moment; what goes on is a mistake of the operator.
		if now.Sub(m.began) > deadAfter && now.Sub(m.clashed) > peerTime {
			m.clashed = now
			m.cfg.Log.Error("another node has this node's name: give each its own (node)", "node", b.Node, "boot", b.Boot)
		}
		return false
	}
	m.check(now)
	if b.N > 0 && b.N <= m.n && m.n-b.N < sentKept {
		if at := m.sent[b.N%sentKept]; at.After(m.looped) {
			m.looped = at
		}
	}
	if m.standing.Fenced && now.Sub(m.looped) < fenceAfter {
		m.standing.Fenced = false
		m.cfg.Log.Info("own beats come back")
		m.tell()
	}
	return true
}

// take notes what a beat says.
func (n *member) take(b broker.Beat, now time.Time) {
	n.Name, n.Boot, n.Capacity, n.Load, n.Draining = b.Node, b.Boot, b.Capacity, b.Load, b.Draining
	n.heard = now
	switch {
	case n.Capacity == 0 || n.Draining:
		n.able = time.Time{}
	case n.able.IsZero():
		n.able = now
	}
}

// alone says that no other node is known and this one is done with listening.
func (m *Members) alone() bool {
	if m.cfg.Observe || len(m.nodes) != 1 {
		return false
	}
	n := m.nodes[m.cfg.Node]
	return n != nil && !n.able.IsZero()
}

// scan lets the silent go and the new join.
func (m *Members) scan(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(now)
	for name, n := range m.nodes {
		if now.Sub(n.heard) < deadAfter || name == m.cfg.Node && !m.cfg.Observe { // we know of ourselves without beats
			continue
		}
		delete(m.nodes, name)
		m.cfg.Log.Warn("ingest node is silent: taken for dead", "node", name, "boot", n.Boot)
		m.tell()
	}
	m.join(now, false)
}

// join lets nodes that can run feeds take part: together, once no further one has come for a while.
func (m *Members) join(now time.Time, atOnce bool) {
	var first, last time.Time
	for _, n := range m.nodes {
		if n.joined || n.able.IsZero() {
			continue
		}
		if first.IsZero() || n.able.Before(first) {
			first = n.able
		}
		if n.able.After(last) {
			last = n.able
		}
	}
	if first.IsZero() || !atOnce && now.Sub(last) < joinPause && now.Sub(first) < joinMost {
		return
	}
	for _, n := range m.nodes {
		if !n.joined && !n.able.IsZero() {
			n.joined = true
			m.cfg.Log.Info("ingest node takes part", "node", n.Name, "capacity", n.Capacity)
		}
	}
	m.tell()
}

// check fences this node if its beats do not come back and somebody may have taken over.
func (m *Members) check(now time.Time) {
	if m.cfg.Observe || m.standing.Fenced || m.began.IsZero() || now.Sub(m.looped) < fenceAfter ||
		m.peer.IsZero() || now.Sub(m.peer) > peerTime {
		return
	}
	m.standing.Fenced = true
	m.standing.Fences++
	m.cfg.Log.Warn("own beats do not come back: upstreams are let go until they do", "since", now.Sub(m.looped).Round(time.Millisecond))
	m.tell()
}

// tell wakes who waits for changes.
func (m *Members) tell() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Standing says whether this node may act, as of this moment: a process that was stopped learns it here before its timers
// fire.
func (m *Members) Standing() Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(time.Now())
	return m.standing
}

// Settled says that this node has listened long enough to plan.
func (m *Members) Settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.Observe {
		return false
	}
	n := m.nodes[m.cfg.Node]
	return n != nil && (n.joined || n.Draining)
}

// Nodes lists the nodes to plan with, by name.
func (m *Members) Nodes() []Node { return m.list(func(n *member) bool { return n.joined }) }

// All lists every node that lives, by name.
func (m *Members) All() []Node { return m.list(func(*member) bool { return true }) }

func (m *Members) list(ok func(*member) bool) []Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		if ok(n) {
			node := n.Node
			node.Silent = time.Since(n.heard)
			out = append(out, node)
		}
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Alive says whether that start of a node lives, draining or not.
func (m *Members) Alive(node, boot string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if node == m.cfg.Node && !m.cfg.Observe {
		return boot == m.cfg.Boot
	}
	n := m.nodes[node]
	return n != nil && n.Boot == boot
}
