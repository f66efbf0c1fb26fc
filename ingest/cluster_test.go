package ingest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/ingest/lease"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// fleet is several ingest nodes in a synctest bubble: one broker in memory, one upstream that keeps events 1, 2, … per path
// and resumes behind Last-Event-ID.
type fleet struct {
	t     *testing.T
	m     *brokertest.Memory
	cfg   config.Config
	cat   *catalog.StaticStore
	up    *shelf
	nodes map[string]*ship
}

// ship is one node of it.
type ship struct {
	f       *fleet
	name    string
	boot    string
	m       *brokertest.Memory
	bus     *cutBus
	s       *Supervisor
	members *lease.Members
	reg     *prometheus.Registry
	log     *logLines
	last    *lastCounter
	kill    func() // as kill -9: cut from the broker and from upstreams, then ended
	cancel  func()
	done    chan struct{}
}

// cutBus loses what a node says to others, or what others say to it.
type cutBus struct {
	broker.Bus
	mu   sync.Mutex
	cut  string // prefix of subjects that are lost
	deaf string // prefix of subjects that are not heard
}

func (b *cutBus) Subscribe(subject string, h func(string, []byte, func([]byte) error)) (func(), error) {
	return b.Bus.Subscribe(subject, func(subject string, body []byte, reply func([]byte) error) {
		b.mu.Lock()
		deaf := b.deaf != "" && strings.HasPrefix(subject, b.deaf)
		b.mu.Unlock()
		if !deaf {
			h(subject, body, reply)
		}
	})
}

func (b *cutBus) ignore(prefix string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = prefix
}

func (b *cutBus) lost(subject string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut != "" && strings.HasPrefix(subject, b.cut)
}

func (b *cutBus) lose(prefix string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = prefix
}

func (b *cutBus) Publish(subject string, body []byte) error {
	if b.lost(subject) {
		return nil
	}
	return b.Bus.Publish(subject, body)
}

// shelf is the upstream.
type shelf struct {
	mu    sync.Mutex
	ids   bool
	paths map[string]*shelfPath
	conns map[*shelved]bool
	more  chan struct{}
}

// shelfPath is what happened under one path.
type shelfPath struct {
	next  int // events so far
	peak  int // most connections at one moment
	opens int // connections so far
}

// path returns what is kept of one; u.mu is held.
func (u *shelf) path(path string) *shelfPath {
	if u.paths[path] == nil {
		u.paths[path] = &shelfPath{}
	}
	return u.paths[path]
}

func (u *shelf) seen(path string) shelfPath {
	u.mu.Lock()
	defer u.mu.Unlock()
	return *u.path(path)
}

type shelved struct {
	path string
	node string
}

func (u *shelf) add(path string, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.path(path).next += n
	close(u.more)
	u.more = make(chan struct{})
}

func (u *shelf) open(path string) (n int, nodes []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		if c.path == path {
			n++
			nodes = append(nodes, c.node)
		}
	}
	return n, nodes
}

// serve answers one request on c, of a node.
func (u *shelf) serve(c net.Conn, r *http.Request, node string, gone <-chan struct{}) {
	me := &shelved{r.URL.Path, node}
	u.mu.Lock()
	at := u.path(me.path)
	sent := at.next
	if id := r.Header.Get("Last-Event-ID"); id != "" && u.ids {
		_, _ = fmt.Sscan(id, &sent)
	}
	u.conns[me] = true
	at.opens++
	n := 0
	for o := range u.conns {
		if o.path == me.path {
			n++
		}
	}
	at.peak = max(at.peak, n)
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.conns, me)
		u.mu.Unlock()
	}()
	fmt.Fprint(c, okHead)
	for {
		u.mu.Lock()
		var text strings.Builder
		for ; sent < at.next; sent++ {
			if u.ids {
				fmt.Fprintf(&text, "id: %d\n", sent+1)
			}
			fmt.Fprintf(&text, "data: %d\n\n", sent+1)
		}
		more := u.more
		u.mu.Unlock()
		if text.Len() > 0 {
			if _, err := fmt.Fprint(c, text.String()); err != nil {
				return
			}
		}
		select {
		case <-more:
		case <-gone:
			return
		}
	}
}

// dialer connects a node to the upstream.
type dialer struct {
	s    *ship
	mu   sync.Mutex
	dead bool
	open map[net.Conn]func()
}

func (d *dialer) DialContext(context.Context, string, string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, context.DeadlineExceeded
	}
	ours, theirs := net.Pipe()
	gone := make(chan struct{})
	conn := &dialed{Conn: ours, gone: sync.OnceFunc(func() { close(gone) })}
	d.open[conn] = conn.gone
	go serveOnce(d.s.f.up, theirs, d.s.name, gone)
	return conn, nil
}

type dialed struct {
	net.Conn
	gone func()
}

func (c *dialed) Close() error { c.gone(); return c.Conn.Close() }

func (d *dialer) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	for c := range d.open {
		_ = c.Close()
	}
}

const fleetTopics = "  topics:\n    - {name: /ticks, security: none}\n    - {name: '/q/{s}', security: none, linger: 5s}\n"

func inFleet(t *testing.T, spec string, ids bool, test func(*fleet)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, m: brokertest.NewMemory(t), cfg: config.Default(), nodes: map[string]*ship{}, up: &shelf{ids: ids,
			paths: map[string]*shelfPath{}, conns: map[*shelved]bool{}, more: make(chan struct{})}}
		cat, err := catalog.NewStatic(catalog.OptionsFrom(f.cfg), bubbleAPI(spec))
		f.check(err)
		f.cat = cat
		f.check(f.m.Admin().EnsureStream(t.Context(), broker.StreamSpec{API: broker.APIToken("market", "1.0.0"),
			Name: "market", Durable: broker.ProfileMemory, MaxAge: 10 * time.Hour, MaxEvents: 100_000, MaxBytes: 1 << 30}))
		defer func() { // a test that has failed ends here, too
			for _, s := range f.nodes {
				s.cancel()
				<-s.done
			}
		}()
		test(f)
	})
}

func (f *fleet) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// lastCounter counts the questions for last events by stream.
type lastCounter struct {
	broker.Writer
	mu    sync.Mutex
	asked map[string]int
}

func (l *lastCounter) Last(ctx context.Context, f broker.FeedID) (broker.Message, error) {
	l.mu.Lock()
	l.asked[f.API]++
	l.mu.Unlock()
	return l.Writer.Last(ctx, f)
}

func (l *lastCounter) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, asked := range l.asked {
		n += asked
	}
	return n
}

// start starts a node.
func (f *fleet) start(name, boot string) *ship {
	f.t.Helper()
	s := &ship{f: f, name: name, boot: boot, m: f.m.Peer(), reg: prometheus.NewRegistry(), log: &logLines{}, done: make(chan struct{})}
	s.bus = &cutBus{Bus: s.m.Bus()}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	s.members, err = lease.NewMembers(lease.MembersConfig{Node: name, Boot: boot, Capacity: f.cfg.Ingest.Demand.MaxFeeds, Bus: s.bus, Log: log})
	f.check(err)
	own, err := s.m.Admin().Bucket(f.t.Context(), "own", 1)
	f.check(err)
	d := &dialer{s: s, open: map[net.Conn]func(){}}
	s.last = &lastCounter{Writer: s.m.Writer(), asked: map[string]int{}}
	s.s, err = New(f.cfg.Ingest, f.cfg.Upstream, Deps{Node: name, Boot: boot, Catalog: f.cat, Writer: s.last, Bus: s.bus,
		Own: own, Members: s.members, Dialer: d, Log: log, Metrics: s.reg})
	f.check(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.check(s.members.Run(ctx)) })
	running.Go(func() { f.check(s.s.Run(ctx)) })
	go func() { running.Wait(); close(s.done) }()
	s.cancel = cancel
	s.kill = func() { s.m.Cut(); d.kill(); cancel(); <-s.done; delete(f.nodes, name) }
	f.nodes[name] = s
	synctest.Wait()
	return s
}

// deadTime is how long it takes until a dead node's feeds are read by another one.
const deadTime = 3500 * time.Millisecond

// settled is how long nodes take to find each other.
const settled = 4 * time.Second

func (f *fleet) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// owner is who reads a path, by the upstream's word and its own.
func (f *fleet) owner(path string) *ship {
	f.t.Helper()
	var found []string
	for name, s := range f.nodes {
		for _, st := range s.s.Feeds() {
			if st.Path == path && st.State == broker.StateUp {
				found = append(found, name)
			}
		}
	}
	if _, reading := f.up.open(path); len(found) != 1 || len(reading) != 1 || reading[0] != found[0] {
		f.t.Fatalf("%s: read by %v, owned by %v\n%s", path, reading, found, f.logs())
	}
	return f.nodes[found[0]]
}

func (f *fleet) logs() string {
	var all strings.Builder
	for name, s := range f.nodes {
		fmt.Fprintf(&all, "--- %s\n%s", name, s.log)
	}
	return all.String()
}

// stored is what a path's feed holds, markers as <reason>.
func (f *fleet) stored(path string) (texts []string, epochs []uint64) {
	f.t.Helper()
	from := uint64(1)
	for {
		var b broker.Block
		f.check(f.m.Direct().Read(f.t.Context(), feedOf(path), broker.From{Seq: from}, &b))
		for _, m := range b.Messages {
			text := "<" + gapReason(m.Body) + ">"
			if !m.Gap {
				_, text, _ = strings.Cut(strings.TrimSpace(string(m.Body)), "data: ")
			}
			texts, epochs = append(texts, text), append(epochs, m.Epoch)
		}
		if !b.More {
			return texts, epochs
		}
		from = b.Next
	}
}

// wantOnce checks that a feed holds events 1 to n, each once and in order, and that epochs only grow.
func (f *fleet) wantOnce(path string, n int) {
	f.t.Helper()
	texts, epochs := f.stored(path)
	for i := range max(n, len(texts)) {
		if i >= len(texts) || texts[i] != fmt.Sprint(i+1) {
			f.t.Fatalf("%s holds %v, want 1 to %d\n%s", path, texts, n, f.logs())
		}
	}
	if !slices.IsSorted(epochs) {
		f.t.Fatalf("%s: epochs %v: two owners between each other", path, epochs)
	}
}

// lists sends what an edge wants, as the edge does.
func (f *fleet) lists(edge string, paths ...string) {
	f.t.Helper()
	(&bubble{t: f.t, m: f.m}).want(edge, "b", paths...)
}

func (f *fleet) metric(s *ship, name string, labels ...string) float64 {
	return value(f.t, s.reg, name, labels...)
}

func TestTakeOverAfterDeath(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		first := f.owner("/ticks")
		f.up.add("/ticks", 5)
		f.after(time.Second)
		f.wantOnce("/ticks", 5)
		began := time.Now()
		first.kill()
		for f.up.seen("/ticks").opens < 2 {
			f.after(10 * time.Millisecond)
			f.up.add("/ticks", 1)
		}
		if d := time.Since(began); d > deadTime {
			t.Errorf("taken over after %s", d)
		}
		f.after(time.Second)
		f.owner("/ticks")
		f.wantOnce("/ticks", f.up.seen("/ticks").next)
		if f.up.seen("/ticks").peak != 1 {
			t.Errorf("%d connections at one time", f.up.seen("/ticks").peak)
		}
	})
}

func TestDrainHandsOver(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		paths := []string{"/ticks"}
		for i := range 8 {
			paths = append(paths, fmt.Sprintf("/q/%d", i))
		}
		f.lists("e1", paths[1:]...)
		f.after(time.Second)
		from := f.owner("/ticks")
		for _, p := range paths {
			f.up.add(p, 3)
		}
		f.after(time.Second)
		n := len(from.s.Feeds())
		began := time.Now()
		f.check(from.s.Drain(f.t.Context()))
		if d := time.Since(began); d > time.Second {
			t.Errorf("%d feeds were handed over in %s", n, d)
		}
		synctest.Wait()
		for _, p := range paths {
			f.up.add(p, 3)
		}
		f.after(time.Second)
		for _, p := range paths {
			if f.owner(p) == from {
				t.Errorf("%s is still with the node that drained", p)
			}
			f.wantOnce(p, 6)
			if f.up.seen(p).peak != 1 || f.up.seen(p).opens > 2 {
				t.Errorf("%s: %d connections at one time, %d in all", p, f.up.seen(p).peak, f.up.seen(p).opens)
			}
		}
		if got := f.metric(from, "sluice_ingest_handovers_total", "given"); got != float64(n) {
			t.Errorf("%v feeds given, had %d\n%s", got, n, f.logs())
		}
	})
}

// Everything the giver says may be lost: the book tells the other node.
func TestHandOverWithoutWords(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		from := f.owner("/ticks")
		f.up.add("/ticks", 3)
		f.after(time.Second)
		from.bus.lose("hand.") // what is published; offers are requests
		f.check(from.s.Drain(f.t.Context()))
		f.after(time.Second)
		if f.owner("/ticks") == from {
			t.Error("still with the node that drained")
		}
		f.up.add("/ticks", 3)
		f.after(time.Second)
		f.wantOnce("/ticks", 6)
	})
}

// A node that has come to drain between the offer and the gift gives the feed back: a third one has it at once.
func TestGiftToANodeThatDrains(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.start("c", "1")
		f.after(settled)
		from := f.owner("/ticks")
		f.up.add("/ticks", 3)
		f.after(time.Second)
		to := f.nodes[from.s.Feeds()[0].Standby]
		stop, err := to.bus.Subscribe(broker.HandSubject(to.name), func(_ string, body []byte, reply func([]byte) error) {
			if reply != nil { // the offer has been answered or will be: what follows finds the node draining
				go func() { _ = to.s.Drain(context.Background()) }()
			}
		})
		f.check(err)
		defer stop()
		f.check(from.s.Drain(f.t.Context()))
		f.after(500 * time.Millisecond)
		if now := f.owner("/ticks"); now == from || now == to {
			t.Errorf("%s has it", now.name)
		}
		f.up.add("/ticks", 3)
		f.after(time.Second)
		f.wantOnce("/ticks", 6)
	})
}

// Two believing owners: neither hears the other's beats any more, both reach the broker. They take the feed from each other,
// and each event is stored once, in order.
func TestTwoBelievingOwners(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		a, b := f.start("a", "1"), f.start("b", "1")
		f.after(settled)
		flow := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				f.up.add("/ticks", 1)
				f.after(100 * time.Millisecond)
			}
		}
		a.bus.ignore("hb.ing.b")
		b.bus.ignore("hb.ing.a")
		flow(time.Minute)
		lost := f.metric(a, "sluice_ingest_feeds_lost_total") + f.metric(b, "sluice_ingest_feeds_lost_total")
		if lost < 10 {
			t.Errorf("the feed was lost %v times in a minute: the test proves little\n%s", lost, f.logs())
		}
		a.bus.ignore("")
		b.bus.ignore("")
		flow(settled)
		f.after(settled)
		f.owner("/ticks")
		f.wantOnce("/ticks", f.up.seen("/ticks").next)
	})
}

// One that nobody hears any more, though it hears itself, keeps believing: the other one takes over at once and for good.
func TestUnheardOwner(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		old := f.owner("/ticks")
		for name, s := range f.nodes {
			if name != old.name {
				s.bus.ignore("hb.ing." + old.name)
			}
		}
		f.after(deadTime)
		if f.owner("/ticks") == old { // which also says that the old one reads no more, though nothing came that it could store
			t.Error("not taken over")
		}
		for range 100 {
			f.up.add("/ticks", 1)
			f.after(100 * time.Millisecond)
		}
		f.owner("/ticks")
		f.wantOnce("/ticks", f.up.seen("/ticks").next)
		if f.metric(old, "sluice_ingest_feeds_lost_total") != 1 {
			t.Errorf("lost more than once\n%s", f.logs())
		}
	})
}

// A node cut off lets its upstreams go before another one takes over; when it is back it finds its feeds taken and drops what
// it had not stored.
func TestFencedNodeLetsGo(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		old := f.owner("/ticks")
		f.up.add("/ticks", 5)
		f.after(time.Second)
		old.m.Cut()
		for range 80 {
			f.up.add("/ticks", 1)
			f.after(100 * time.Millisecond)
		}
		if f.up.seen("/ticks").peak != 1 {
			t.Errorf("%d connections at one time", f.up.seen("/ticks").peak)
		}
		if f.owner("/ticks") == old {
			f.t.Fatal("nobody took over")
		}
		old.m.Heal()
		for range 50 {
			f.up.add("/ticks", 1)
			f.after(100 * time.Millisecond)
		}
		if f.owner("/ticks") == old {
			t.Error("taken back from a node that lives")
		}
		f.wantOnce("/ticks", f.up.seen("/ticks").next)
		if f.metric(old, "sluice_ingest_self_fences_total") != 1 || f.metric(old, "sluice_ingest_feeds_lost_total") != 1 {
			t.Errorf("fences and losses are not counted\n%s", f.logs())
		}
		if f.up.seen("/ticks").peak != 1 {
			t.Errorf("%d connections at one time", f.up.seen("/ticks").peak)
		}
	})
}

// A node cut off for less than others need to take over keeps its queue and its feed, and goes on without a gap.
func TestFencedNodeGoesOn(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		old := f.owner("/ticks")
		f.up.add("/ticks", 5)
		f.after(time.Second)
		old.bus.lose("hb.ing.")
		f.up.add("/ticks", 2)
		f.after(2400 * time.Millisecond)
		if n, _ := f.up.open("/ticks"); n != 0 {
			t.Errorf("%d connections while it is fenced", n)
		}
		old.bus.lose("")
		f.up.add("/ticks", 2)
		f.after(time.Second)
		if f.owner("/ticks") != old {
			t.Error("moved")
		}
		f.wantOnce("/ticks", 9)
	})
}

// The whole cluster loses its broker: nodes fence themselves, and all go on with what they had when it is back.
func TestBrokerAwayAndBack(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		a, b := f.start("a", "1"), f.start("b", "1")
		f.after(settled)
		f.up.add("/ticks", 5)
		f.after(time.Second)
		a.m.Cut()
		b.m.Cut()
		f.up.add("/ticks", 5)
		f.after(30 * time.Second)
		a.m.Heal()
		b.m.Heal()
		f.after(10 * time.Second)
		f.up.add("/ticks", 5)
		f.after(time.Second)
		f.owner("/ticks")
		f.wantOnce("/ticks", 15)
		if f.up.seen("/ticks").peak != 1 {
			t.Errorf("%d connections at one time", f.up.seen("/ticks").peak)
		}
	})
}

// A node killed and started again at once gets no second chance to hold what its last start held: the other takes over.
func TestRestartUnderTheSameName(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		old := f.owner("/ticks")
		f.up.add("/ticks", 5)
		f.after(time.Second)
		old.kill()
		f.start(old.name, "2")
		f.up.add("/ticks", 5)
		f.after(time.Second)
		if now := f.owner("/ticks"); now.name == old.name {
			t.Error("owned by a node that is still listening")
		}
		f.after(settled)
		f.owner("/ticks")
		f.wantOnce("/ticks", 10)
	})
}

// A node that joins gets its share of feeds that can be moved without a gap, few at a time, and nothing else.
func TestBalance(t *testing.T) {
	for _, ids := range []bool{true, false} {
		t.Run(fmt.Sprintf("ids %t", ids), func(t *testing.T) {
			inFleet(t, fleetTopics, ids, func(f *fleet) {
				a := f.start("a", "1")
				f.after(settled)
				var paths []string
				for i := range 40 {
					paths = append(paths, fmt.Sprintf("/q/%d", i))
				}
				round := func() {
					f.lists("e1", paths...)
					for _, p := range paths {
						f.up.add(p, 1)
					}
					f.after(time.Second)
				}
				for range 3 {
					round()
				}
				a.kill() // so that every feed has had a seam
				f.start("b", "1")
				for range 6 {
					round()
				}
				f.start("c", "1")
				before := 0
				for range 20 {
					round()
					now := len(f.nodes["c"].s.Feeds())
					if now > before+2*balanceRate { // saved up while there was nothing to move, and one second's
						t.Errorf("%d feeds within a second", now-before)
					}
					before = now
				}
				// 41 feeds on two nodes: a node keeps at most 26.
				if want := map[bool]int{true: 15, false: 0}[ids]; before != want {
					t.Errorf("the new node has %d feeds, want %d\n%s", before, want, f.logs())
				}
				for _, p := range paths {
					f.owner(p)
					if f.up.seen(p).peak != 1 {
						t.Errorf("%s: %d connections at one time", p, f.up.seen(p).peak)
					}
					if ids {
						f.wantOnce(p, f.up.seen(p).next)
					}
				}
			})
		})
	}
}

// Demand is the whole cluster's: one node answers, linger begins when the last of all edges has left, and the cap counts
// feeds wherever they run.
func TestDemandOfSeveralEdges(t *testing.T) {
	inFleet(t, "  limits: {maxFeeds: 10}\n"+fleetTopics, true, func(f *fleet) {
		for _, n := range []string{"a", "b", "c"} {
			f.start(n, "1")
		}
		f.after(settled)
		answers := map[string]int{}
		var mu sync.Mutex
		ask := func(edge, path string) broker.DemandReply {
			t.Helper()
			reply, n := f.ask(edge, path)
			mu.Lock()
			answers[path] += n
			mu.Unlock()
			return reply
		}
		for i := range 10 {
			if r := ask("e1", fmt.Sprintf("/q/%d", i)); r.Refused != "" || r.Beacon.Epoch == 0 {
				f.t.Fatalf("feed %d: %+v", i, r)
			}
		}
		for path, n := range answers {
			if n != 1 {
				t.Errorf("%s: %d answers", path, n)
			}
		}
		if r := ask("e2", "/q/more"); r.Refused != refusedCap {
			t.Errorf("feed 11: %+v", r)
		}
		if r := ask("e2", "/nothing"); r.Refused != refusedTopic || answers["/nothing"] != 1 {
			t.Errorf("no such topic: %+v, %d answers", r, answers["/nothing"])
		}
		if r := ask("e2", "/q/3"); r.Refused != "" {
			t.Errorf("feed 4 again: %+v", r)
		}
		running := func() (n int) {
			for _, s := range f.nodes {
				for _, st := range s.s.Feeds() {
					if !st.Always {
						n++
					}
				}
			}
			return n
		}
		f.lists("e1")
		f.lists("e2", "/q/3")
		f.after(4 * time.Second)
		if n := running(); n != 10 {
			t.Errorf("%d feeds run, they linger for 5 s", n)
		}
		f.lists("e2", "/q/3")
		f.after(2 * time.Second)
		if n := running(); n != 1 {
			t.Errorf("%d feeds run, one is wanted", n)
		}
		f.owner("/q/3")
		if r := ask("e2", "/q/more"); r.Refused != "" {
			t.Errorf("with room again: %+v", r)
		}
		own, err := f.m.Admin().Bucket(f.t.Context(), "own", 1)
		f.check(err)
		if _, err := own.Get(f.t.Context(), feedOf("/q/0").String()); err == nil {
			t.Error("the entry of a feed that closed is still there")
		}
	})
}

// ask opens a feed as an edge does, and counts who answers.
func (f *fleet) ask(edge, path string) (reply broker.DemandReply, answers int) {
	f.t.Helper()
	var all [][]byte
	var mu sync.Mutex
	// A request's first answer is all that the bus gives: so the nodes get the question from here, each with a way back.
	for _, s := range f.nodes {
		s.s.ask(demand{edge: edge, boot: "b", open: &broker.Demand{API: "market", Version: "1.0.0", Path: path},
			reply: func(b []byte) error {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, slices.Clone(b))
				return nil
			}})
	}
	f.after(300 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for _, a := range all {
		unmarshal(f.t, a, &reply)
	}
	return reply, len(all)
}

// A feed whose last subscriber left just before its owner died is not taken over; its entry goes.
func TestLingeringFeedOfADeadNodeIsForgotten(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.after(settled)
		f.lists("e1", "/q/A")
		f.after(time.Second)
		owner := f.owner("/q/A")
		f.lists("e1")
		f.after(time.Second)
		owner.kill()
		f.after(40 * time.Second)
		if n, _ := f.up.open("/q/A"); n != 0 {
			t.Errorf("%d connections for a feed that nobody wants", n)
		}
		own, err := f.m.Admin().Bucket(f.t.Context(), "own", 1)
		f.check(err)
		if _, err := own.Get(f.t.Context(), feedOf("/q/A").String()); err == nil {
			t.Error("its entry is still there")
		}
		f.owner("/ticks")
	})
}

// The standby keeps warm: it asks once a minute what a take-over asks first, and nobody else does.
func TestStandbyKeepsWarm(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		f.start("a", "1")
		f.start("b", "1")
		f.start("c", "1")
		f.after(settled)
		standby := f.owner("/ticks").s.Feeds()[0].Standby
		before := map[string]int{}
		for name, s := range f.nodes {
			before[name] = s.last.count()
		}
		f.after(5 * warmEvery)
		for name, s := range f.nodes {
			if n := s.last.count() - before[name]; (n >= 4 && n <= 6) != (name == standby) || name != standby && n > 0 {
				t.Errorf("%s asked %d times in five minutes, the standby is %s", name, n, standby)
			}
		}
	})
}

func TestPagesOfFeeds(t *testing.T) {
	inFleet(t, fleetTopics, true, func(f *fleet) {
		s := f.start("a", "1")
		f.after(settled)
		var paths []string
		for i := range 450 {
			paths = append(paths, fmt.Sprintf("/q/%d", i))
		}
		f.lists("e1", paths...)
		f.after(2 * time.Second)
		all, err := AskFeeds(f.t.Context(), f.m.Bus(), "a", broker.FeedsAsk{})
		f.check(err)
		if len(all) != 451 || len(all) != len(s.s.Feeds()) {
			t.Errorf("%d feeds told, %d run", len(all), len(s.s.Feeds()))
		}
		one := all[0]
		for of, want := range map[broker.FeedsAsk]int{{API: one.API, Version: one.Version}: 451, {API: one.API, Version: "9"}: 0, {API: "x", Version: one.Version}: 0} {
			some, err := AskFeeds(f.t.Context(), f.m.Bus(), "a", of)
			f.check(err)
			if len(some) != want {
				t.Errorf("%d feeds of %s@%s, want %d", len(some), of.API, of.Version, want)
			}
		}
		if p := pageOf(s.s.Feeds(), 0); p.Next == 0 || len(p.Feeds) == 451 {
			t.Error("all fit into one page: the test proves nothing")
		}
		if _, err := AskFeeds(f.t.Context(), f.m.Bus(), "nobody", broker.FeedsAsk{}); err == nil {
			t.Error("nobody answers")
		}
	})
}

// serveOnce answers the one request of a connection; it ends when the other side closes.
func serveOnce(u *shelf, c net.Conn, node string, gone <-chan struct{}) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	u.serve(c, req, node, gone)
}

func unmarshal(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}
