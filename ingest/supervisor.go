package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/ingest/lease"
	"sluice/ingest/upstream"
	"sluice/internal/broker"
	"sluice/internal/outbound"
	"sluice/internal/trace"
)

// Deps is what a Supervisor works with. All are needed but those that say otherwise.
type Deps struct {
	Node    string        // this node's name, in beacons and leases
	Boot    string        // names this start of it; empty = made from the time
	Catalog catalog.Store // which APIs exist
	Writer  broker.Writer
	Bus     broker.Bus
	Own     broker.Bucket // bucket "own"
	// Members knows the other nodes, under the same Node and Boot; whoever made it runs it, for longer than the Supervisor.
	// nil = no other node can be there.
	Members *lease.Members
	Guard   *outbound.Guard
	Dialer  outbound.Dialer // replaces the guard's at dialling, for tests; nil = the guard's
	Secret  SecretFunc      // nil = environment variables SLUICE_SECRET_<NAME>
	Product string          // User-Agent towards upstreams; empty = "sluice"
	Clock   Clock           // nil = the system's
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil = none
	Tracer  *trace.Tracer         // nil = no spans
}

// Supervisor keeps the feeds of this node running: those that are always on and those that an edge wants, as far as the plan
// gives them to this node.
type Supervisor struct {
	node
	boot     string
	maxFeeds int
	catalog  catalog.Store
	members  *lease.Members // nil = no other node can be there
	book     *lease.Book    // nil likewise
	out      outlets        // owned by Run's loop

	asks    chan demand   // from the bus to the loop
	hands   chan handed   // likewise
	offers  chan offered  // answers to offers, to the loop
	drains  chan struct{} // closed by Drain
	drain   sync.Once
	stopped chan struct{} // closed when Run has returned
	exits   chan *feed    // workers that have returned
	chores  sync.WaitGroup
	tidying atomic.Bool // a chore that gives entries back is under way
	warming atomic.Bool // one that keeps this node warm is

	mu    sync.Mutex // guards feeds and table; the loop alone changes them
	feeds map[broker.FeedID]*feed
	table map[broker.FeedID]*demanded // feeds on demand in the whole cluster, as far as edges have said

	// What follows is the loop's.
	snap     *catalog.Snapshot
	always   map[broker.FeedID]*def         // feeds that are always on, wherever they run
	owners   map[broker.FeedID]lease.Holder // as of the last plan
	plan     *lease.Plan                    // nil until this node may plan
	began    time.Time                      // of planning
	stale    bool                           // what the plan was made of has changed; soon yields
	soon     *time.Timer
	promised map[broker.FeedID]time.Time // feeds that this node has said it would take, and until when it waits for them
	unplaced int                         // feeds that no node had room for
	standing lease.Standing              // as acted on
	moving   int                         // hand-overs under way
	pace     *rate.Limiter               // of those that only balance
	tidied   time.Time                   // when entries were last looked through
	warmed   time.Time                   // when this node last readied itself for feeds of others
	draining bool
}

// feed is one feed that runs here, or still ends. Owned by the loop, but for the worker's own state.
type feed struct {
	w        *worker
	idle     time.Time // since when nobody wants it; zero while somebody does
	stopping bool
	offered  bool      // another node is being asked to take it
	given    bool      // it ends because another node takes it
	stays    time.Time // until when it is not offered again
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// New returns a Supervisor. It starts nothing.
func New(cfg config.Ingest, up config.Upstream, d Deps) (*Supervisor, error) {
	switch {
	case d.Node == "":
		return nil, errors.New("ingest: no node name")
	case d.Catalog == nil || d.Writer == nil || d.Bus == nil || d.Own == nil || d.Log == nil:
		return nil, errors.New("ingest: catalog, writer, bus, bucket and logger are needed")
	case d.Guard == nil && d.Dialer == nil:
		return nil, errors.New("ingest: a guard or a dialer is needed")
	case d.Members != nil && d.Boot == "":
		return nil, errors.New("ingest: beats and leases need the same boot")
	}
	if d.Clock == nil {
		d.Clock = realClock{}
	}
	if d.Secret == nil {
		d.Secret = envSecret
	}
	d.Boot = cmp.Or(d.Boot, fmt.Sprintf("%x", d.Clock.Now().UnixMicro()))
	s := &Supervisor{boot: d.Boot, maxFeeds: cfg.Demand.MaxFeeds, catalog: d.Catalog, members: d.Members,
		asks: make(chan demand, askQueue), hands: make(chan handed, askQueue), offers: make(chan offered),
		drains: make(chan struct{}), stopped: make(chan struct{}), exits: make(chan *feed),
		feeds: map[broker.FeedID]*feed{}, table: map[broker.FeedID]*demanded{}, owners: map[broker.FeedID]lease.Holder{}, promised: map[broker.FeedID]time.Time{},
		pace: rate.NewLimiter(balanceRate, balanceRate)}
	s.soon = time.NewTimer(0)
	s.soon.Stop()
	s.cfg, s.backoff, s.writer, s.bus, s.clock = cfg, up.Backoff, d.Writer, d.Bus, d.Clock
	s.name, s.log, s.seed = d.Node, d.Log, maphash.MakeSeed()
	var alive func(node, boot string) bool
	s.stands = func() lease.Standing { return lease.Standing{} }
	if d.Members != nil {
		alive, s.stands = d.Members.Alive, d.Members.Standing
		s.book = lease.NewBook(d.Own, d.Log)
	}
	s.leaser = lease.NewOwn(d.Own, d.Node, d.Boot, d.Clock, alive)
	s.budget.limit = int64(cfg.Queue.NodeBytes)
	s.limits = queueLimits{bytes: int64(cfg.Queue.Bytes), age: cfg.Queue.Age, events: cfg.Commit.Events,
		batch: int(cfg.Commit.Bytes)}
	s.met = newMetrics(d.Metrics, s)
	s.tracing = newTracing(d.Tracer)
	s.out = outlets{cfg: up, guard: d.Guard, dialer: d.Dialer, secret: d.Secret, clock: d.Clock,
		product: cmp.Or(d.Product, "sluice"), clients: map[string]*upstream.Client{}, limits: map[string]*rate.Limiter{}}
	return s, nil
}

// envSecret reads SLUICE_SECRET_<NAME>, upper case, `-` as `_`.
func envSecret(name string) (string, bool) {
	return os.LookupEnv("SLUICE_SECRET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
}

// flushTime is how long Run lets feeds store what they have read once its context has ended.
const flushTime = 2 * time.Second

// How often interest, lingering and the like are looked at, and how soon a plan follows what it is made of.
const (
	tick     = 500 * time.Millisecond
	planSoon = 50 * time.Millisecond
)

// Run keeps the feeds running until ctx ends or Drain has emptied the node; all goroutines are gone when it returns. Call
// it once. The error says that the bus cannot be heard at the start; it is nil otherwise.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.stopped)
	stop, err := s.hear()
	if err != nil {
		return err
	}
	defer stop()
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer s.chores.Wait()
	defer kill()
	if s.book != nil {
		s.chores.Go(func() { _ = s.book.Run(hard) }) //nolint:errcheck // it is nil
	}
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	s.loop(ctx, hard, kill, s.catalog.Watch(watch))
	return nil
}

// loop is the one goroutine that decides what runs here.
func (s *Supervisor) loop(ctx, hard context.Context, kill context.CancelFunc, snaps <-chan *catalog.Snapshot) {
	t := time.NewTicker(tick)
	defer t.Stop()
	defer s.soon.Stop()
	var members, book <-chan struct{}
	if s.members != nil {
		members, book = s.members.Changed(), s.book.Changed()
	}
	drains := s.drains
	for !s.draining || len(s.feeds) > 0 || len(s.promised) > 0 {
		select {
		case <-ctx.Done():
			s.finish(hard, kill)
			return
		case <-drains:
			drains = nil
			s.startDrain(hard)
		case snap, ok := <-snaps:
			if !ok {
				snaps = nil
				continue
			}
			s.apply(hard, snap)
		case <-members:
			s.fence()
			s.place(hard)
		case <-book:
			s.outdate()
		case <-s.soon.C:
			if s.stale {
				s.place(hard)
			}
		case d := <-s.asks:
			s.demand(hard, d)
		case h := <-s.hands:
			s.handed(hard, h)
		case o := <-s.offers:
			s.answered(hard, o)
		case f := <-s.exits:
			s.exited(hard, f)
		case <-t.C:
			s.sweep()
			s.balance(hard)
			s.breakPromises()
			s.tidy(hard)
			s.warm(hard)
		}
	}
}

// finish ends all feeds: what is read is stored if that takes less than flushTime.
func (s *Supervisor) finish(hard context.Context, kill context.CancelFunc) {
	s.draining = true
	s.stopAll()
	t := time.AfterFunc(flushTime, kill)
	defer t.Stop()
	for len(s.feeds) > 0 || s.moving > 0 {
		select {
		case f := <-s.exits:
			s.exited(hard, f)
		case o := <-s.offers:
			s.answered(hard, o)
		}
	}
}

// startDrain takes this node out of the plan. Without others feeds end where they are.
func (s *Supervisor) startDrain(hard context.Context) {
	s.draining = true
	if s.members == nil {
		s.stopAll()
		return
	}
	s.members.Tell(len(s.feeds), true)
	s.place(hard)
	s.balance(hard)
}

// Drain stops reading, stores what was read and gives every feed away: to the node that the plan names, else back. It returns
// when that is done, or with the cause of ctx's end: the feeds go on ending meanwhile. Run returns after it.
func (s *Supervisor) Drain(ctx context.Context) error {
	s.drain.Do(func() { close(s.drains) })
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ingest: drain: %w", context.Cause(ctx))
	}
}

func (s *Supervisor) stopAll() {
	for _, f := range s.feeds {
		s.end(f)
	}
}

// Feeds describes every feed of this node, by API, version and path. Any goroutine may call it.
func (s *Supervisor) Feeds() []FeedStatus {
	s.mu.Lock()
	out := make([]FeedStatus, 0, len(s.feeds))
	workers := make([]*worker, 0, len(s.feeds))
	for id, f := range s.feeds {
		st := FeedStatus{}
		if t := s.table[id]; t != nil {
			st.Demand = len(t.wanted)
		}
		out = append(out, st)
		workers = append(workers, f.w)
	}
	s.mu.Unlock()
	for i, w := range workers {
		w.fill(&out[i])
	}
	slices.SortFunc(out, func(a, b FeedStatus) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Path, b.Path))
	})
	return out
}
