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
	Guard   *outbound.Guard
	Dialer  outbound.Dialer // replaces the guard's at dialling, for tests; nil = the guard's
	Secret  SecretFunc      // nil = environment variables SLUICE_SECRET_<NAME>
	Product string          // User-Agent towards upstreams; empty = "sluice"
	Clock   Clock           // nil = the system's
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil = none
	Tracer  *trace.Tracer         // nil = no spans
}

// Supervisor keeps the feeds of this node running: those that are always on, and those that an edge wants.
type Supervisor struct {
	node
	maxFeeds int
	catalog  catalog.Store
	plan     lease.Planner
	out      outlets // owned by Run's loop

	asks    chan demand   // from the bus to the loop
	drains  chan struct{} // closed by Drain
	drain   sync.Once
	stopped chan struct{} // closed when Run has returned
	exits   chan *feed    // workers that have returned

	mu    sync.Mutex // guards feeds; the loop alone changes it
	feeds map[broker.FeedID]*feed
	snap  *catalog.Snapshot // the loop's
}

// feed is one feed that runs here, or still ends. Owned by the loop, but for the worker's own state.
type feed struct {
	w        *worker
	wanted   map[string]want // by edge: who wants it
	idle     time.Time       // since when nobody does; zero while somebody does
	stopping bool
	again    bool // wanted again while stopping
}

// want is one edge's interest.
type want struct {
	boot  string
	until time.Time
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
	}
	if d.Clock == nil {
		d.Clock = realClock{}
	}
	if d.Secret == nil {
		d.Secret = envSecret
	}
	d.Boot = cmp.Or(d.Boot, fmt.Sprintf("%x", d.Clock.Now().UnixMicro()))
	s := &Supervisor{maxFeeds: cfg.Demand.MaxFeeds, catalog: d.Catalog, plan: lease.Alone{},
		asks: make(chan demand, askQueue), drains: make(chan struct{}), stopped: make(chan struct{}),
		exits: make(chan *feed), feeds: make(map[broker.FeedID]*feed)}
	s.cfg, s.backoff, s.writer, s.bus, s.clock = cfg, up.Backoff, d.Writer, d.Bus, d.Clock
	s.leaser = lease.NewOwn(d.Own, d.Node, d.Boot, d.Clock)
	s.name, s.log, s.seed = d.Node, d.Log, maphash.MakeSeed()
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

// tick is how often interest, lingering and the like are looked at.
const tick = 500 * time.Millisecond

// Run keeps the feeds running until ctx ends or Drain has emptied the node; all goroutines are gone when it returns. Call
// it once. The error says that demand cannot be heard at the start; it is nil otherwise.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.stopped)
	stop, err := s.hear()
	if err != nil {
		return err
	}
	defer stop()
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	snaps, t := s.catalog.Watch(watch), time.NewTicker(tick)
	defer t.Stop()
	drains, draining := s.drains, false
	for !draining || len(s.feeds) > 0 {
		select {
		case <-ctx.Done():
			s.finish(hard, kill)
			return nil
		case <-drains:
			drains, draining = nil, true
			s.stopAll()
		case snap, ok := <-snaps:
			if !ok {
				snaps = nil
				continue
			}
			if !draining {
				s.apply(hard, snap)
			}
		case <-s.plan.Changed():
			if !draining && s.snap != nil {
				s.apply(hard, s.snap)
			}
		case d := <-s.asks:
			if !draining {
				s.demand(hard, d)
			}
		case f := <-s.exits:
			s.exited(hard, f, draining)
		case <-t.C:
			s.sweep()
		}
	}
	return nil
}

// finish ends all feeds: what is read is stored if that takes less than flushTime.
func (s *Supervisor) finish(hard context.Context, kill context.CancelFunc) {
	s.stopAll()
	t := time.AfterFunc(flushTime, kill)
	defer t.Stop()
	for len(s.feeds) > 0 {
		s.exited(hard, <-s.exits, true)
	}
}

// Drain stops reading, stores what was read and gives every feed back. It returns when that is done, or with the cause of
// ctx's end: the feeds go on ending meanwhile. Run returns after it.
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
	for _, f := range s.feeds {
		out = append(out, FeedStatus{Demand: len(f.wanted)})
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

// apply brings the feeds in line with a snapshot. Feeds whose definition is the same run on untouched.
func (s *Supervisor) apply(hard context.Context, snap *catalog.Snapshot) {
	s.snap = snap
	s.out.sweep()
	always := make(map[broker.FeedID]*def)
	for _, r := range snap.AlwaysOn() {
		d := s.out.define(r)
		if s.plan.Mine(d.id) {
			always[d.id] = d
		}
	}
	for id, f := range s.feeds {
		d := always[id]
		if d == nil {
			d = s.demanded(f)
		}
		if d == nil {
			s.end(f)
			continue
		}
		f.w.redefine(d)
		if f.stopping {
			f.again = true
		}
		if d.always {
			f.idle = time.Time{}
		}
	}
	for id, d := range always {
		if s.feeds[id] != nil {
			continue
		}
		if len(s.feeds) >= s.maxFeeds {
			s.log.Error("feed not started: the node runs as many as it may", "feed", id.String(), "max", s.maxFeeds)
			continue
		}
		s.start(hard, d)
	}
}

// demanded returns the new definition of a feed that runs on demand, nil if the snapshot has it no more: its API is gone,
// or its topic, even if another one would match the path now.
func (s *Supervisor) demanded(f *feed) *def {
	old := f.w.def.Load()
	r, err := s.snap.Feed(old.ref)
	if err != nil || r.API.Topic(old.topic) == nil || !s.plan.Mine(old.id) {
		return nil
	}
	return s.out.define(r)
}

func (s *Supervisor) start(hard context.Context, d *def) *feed {
	f := &feed{w: newWorker(&s.node, d), wanted: make(map[string]want)}
	s.mu.Lock()
	s.feeds[d.id] = f
	s.mu.Unlock()
	go func() { // awaited by the loop, which takes it from exits
		f.w.run(hard)
		s.exits <- f
	}()
	return f
}

// end stops a feed's worker; exited follows.
func (s *Supervisor) end(f *feed) {
	f.stopping, f.again = true, false
	f.w.stop()
}

// exited takes a feed whose worker has returned off the list, and starts it again if it is wanted.
func (s *Supervisor) exited(hard context.Context, f *feed, ending bool) {
	s.mu.Lock()
	delete(s.feeds, f.w.id)
	s.mu.Unlock()
	if ending || !f.again && f.stopping {
		return
	}
	d := f.w.def.Load()
	if !d.always && len(f.wanted) == 0 {
		return
	}
	next := s.start(hard, d)
	s.mu.Lock()
	next.wanted = f.wanted
	s.mu.Unlock()
}
