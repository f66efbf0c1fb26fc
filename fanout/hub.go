package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/internal/broker"
	"sluice/internal/trace"
)

// HubConfig bounds a hub. Zero values are replaced by the defaults.
type HubConfig struct {
	// Node and Boot name this process and this run of it in demand messages. Needed.
	Node, Boot string
	// Log is how much of a feed its log holds. Default 8 MiB and 2m.
	Log LogConfig
	// Lanes is how many goroutines fill logs, each with its own live connection.
	// Default 2. 1–64.
	Lanes int
	// Linger keeps a feed without subscribers. Default 30s; negative closes at once.
	Linger time.Duration
	// OpenTimeout is how long a join waits for a feed to be complete. Default 5s.
	OpenTimeout time.Duration
	// BlockBytes bounds the encoded backlog held. Default 64 MiB.
	BlockBytes int64
	// Fetches is how many backlog reads run at once. Default 16.
	Fetches int
	// Memory bounds logs, indexes and blocks together, in bytes: over it blocks go
	// first, then windows shrink, then new feeds are refused. Default 0: no bound.
	Memory int64
	// MaxFeeds bounds the feeds held. Default 100,000.
	MaxFeeds int
}

func (c *HubConfig) defaults() error {
	if c.Node == "" || c.Boot == "" {
		return fmt.Errorf("hub: node and boot names are needed")
	}
	set := func(v *int, d, most int) {
		if *v <= 0 {
			*v = d
		}
		*v = min(*v, most)
	}
	set(&c.Lanes, 2, 64)
	set(&c.Fetches, 16, 256)
	set(&c.MaxFeeds, 100_000, 10_000_000)
	if c.Linger == 0 {
		c.Linger = 30 * time.Second
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = 5 * time.Second
	}
	if c.BlockBytes <= 0 {
		c.BlockBytes = 64 << 20
	}
	if c.Log.WindowBytes <= 0 {
		c.Log.WindowBytes = 8 << 20
	}
	return nil
}

// HubDeps are what a hub is made from. NewLive, Direct and Bus are needed.
type HubDeps struct {
	// NewLive opens one live connection; called once per lane, by Run.
	NewLive func(name string) (broker.Live, error)
	Direct  broker.Direct
	Bus     broker.Bus
	// Logger takes one line per feed opened, closed, repaired or told a gap; nil = none.
	Logger *slog.Logger
	// Registerer takes the metrics; nil = none.
	Registerer prometheus.Registerer
	// Tracer takes a span per repair; nil = off.
	Tracer *trace.Tracer
}

const (
	repairsAtOnce = 4
	opensAtOnce   = 64
	sweepEvery    = 30 * time.Second
	trimEvery     = 5 * time.Second
)

// Hub holds the feeds of this node. Make one with NewHub and start it with Run.
type Hub struct {
	cfg     HubConfig
	newLive func(string) (broker.Live, error)
	direct  broker.Direct
	bus     broker.Bus
	logger  *slog.Logger
	tracer  *trace.Tracer
	met     *metrics
	blocks  *blockCache
	repairs *turns
	opens   *turns
	times   times
	budget  budget

	// base is the life of Run; background work of feeds ends with it. It is stored
	// because that work is started by joins, whose own contexts end sooner.
	base context.Context
	stop context.CancelFunc
	work sync.WaitGroup // background work

	started     chan struct{} // closed by Run once Join works
	demandMoved chan struct{} // the list of demand is to be sent soon; capacity 1

	mu     sync.Mutex // guards all below; taken before Feed.mu
	lanes  []*lane    // set by Run
	feeds  map[broker.FeedID]*Feed
	closed bool
}

// NewHub checks its arguments; it starts nothing.
func NewHub(cfg HubConfig, deps HubDeps) (*Hub, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	if deps.NewLive == nil || deps.Direct == nil || deps.Bus == nil {
		return nil, fmt.Errorf("hub: a part of the broker is missing")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		cfg: cfg, newLive: deps.NewLive, direct: deps.Direct, bus: deps.Bus, logger: deps.Logger, tracer: deps.Tracer,
		repairs: newTurns(repairsAtOnce), opens: newTurns(opensAtOnce), feeds: map[broker.FeedID]*Feed{},
	}
	h.started, h.demandMoved = make(chan struct{}), make(chan struct{}, 1)
	h.base, h.stop = context.WithCancel(context.Background())
	h.met = newMetrics(deps.Registerer, h)
	h.times = times{direct: deps.Direct, turns: newTurns(cfg.Fetches)}
	h.blocks = newBlockCache(deps.Direct, cfg.Fetches, cfg.BlockBytes, h.met, h.spawn)
	return h, nil
}

// Run fills the logs of joined feeds until ctx ends, then closes them all. It may be
// called once.
func (h *Hub) Run(ctx context.Context) error {
	defer h.shutdown()
	lanes := make([]*lane, h.cfg.Lanes)
	for i := range lanes {
		live, err := h.newLive(fmt.Sprintf("lane-%d", i))
		if err != nil {
			return fmt.Errorf("hub: lane %d: %w", i, err)
		}
		defer live.Close()
		lanes[i] = &lane{hub: h, live: live, feeds: map[broker.FeedID]*Feed{}}
	}
	h.mu.Lock()
	h.lanes = lanes
	h.mu.Unlock()
	close(h.started)
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range lanes {
		g.Go(func() error { return l.run(ctx) })
	}
	g.Go(func() error { return h.tend(ctx) })
	g.Go(func() error { return h.announce(ctx) })
	return g.Wait()
}

// shutdown closes every feed and waits for background work.
func (h *Hub) shutdown() {
	h.mu.Lock()
	h.closed = true
	for _, f := range h.feeds {
		h.drop(f, EndUnavailable)
	}
	h.mu.Unlock()
	h.stop()
	h.work.Wait()
}

// spawn runs fn in the background; false after the hub was closed.
func (h *Hub) spawn(fn func(context.Context)) bool {
	if h.base.Err() != nil {
		return false
	}
	h.work.Go(func() { fn(h.base) })
	return true
}

// tend trims quiet logs, closes feeds that lingered long enough, keeps the memory
// bound and compares tails with the broker, until ctx ends.
func (h *Hub) tend(ctx context.Context) error {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	var trimmed, swept time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		h.closeIdle(now)
		h.keepBudget()
		if now.Sub(trimmed) >= trimEvery {
			trimmed = now
			h.trim()
		}
		if now.Sub(swept) >= sweepEvery {
			if !swept.IsZero() {
				h.spawn(func(ctx context.Context) { h.sweep(ctx, h.list()) })
			}
			swept = now
		}
	}
}

func (h *Hub) trim() {
	for _, f := range h.list() {
		f.mu.Lock()
		f.log.Trim()
		f.mu.Unlock()
	}
}

func (h *Hub) list() []*Feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	fs := make([]*Feed, 0, len(h.feeds))
	for _, f := range h.feeds {
		fs = append(fs, f)
	}
	return fs
}

// acquire counts a subscriber in and returns the feed once it is complete.
func (h *Hub) acquire(ctx context.Context, w *Want) (*Feed, error) {
	f, err := h.hold(w)
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(h.cfg.OpenTimeout)
	defer late.Stop()
	select {
	case <-f.ready:
		if f.err == nil {
			return f, nil
		}
		err = f.err
	case <-late.C:
		err = fmt.Errorf("feed %s: not ready after %s: %w", f.id, h.cfg.OpenTimeout, ErrUnavailable)
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.release(f)
	return nil, err
}

// hold finds or makes the feed and counts a subscriber in.
func (h *Hub) hold(w *Want) (*Feed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.lanes == nil {
		return nil, fmt.Errorf("feed %s: hub not running: %w", w.Feed, ErrUnavailable)
	}
	f := h.feeds[w.Feed]
	if f == nil {
		if len(h.feeds) >= h.cfg.MaxFeeds || h.budget.full.Load() {
			return nil, fmt.Errorf("feed %s: %w", w.Feed, ErrOverloaded)
		}
		cfg := h.cfg.Log
		cfg.WindowBytes = h.budget.window(cfg.WindowBytes)
		f = &Feed{id: w.Feed, api: label(w), born: time.Now(), wanting: time.Now(), hub: h, lane: h.laneOf(w.Feed), log: NewLog(cfg), ready: make(chan struct{}), phase: phaseJoining,
			demand: w.Demand, onDemand: w.OnDemand}
		h.feeds[w.Feed] = f
		if !h.spawn(func(ctx context.Context) { h.openFeed(ctx, f) }) {
			delete(h.feeds, w.Feed)
			return nil, fmt.Errorf("feed %s: hub closing: %w", w.Feed, ErrUnavailable)
		}
	} else if f.refs == 0 && f.opened && f.onDemand {
		// Its owner may have closed it while it lingered here.
		h.spawn(func(ctx context.Context) { f.request(ctx) })
	}
	if f.refs++; f.refs == 1 {
		h.moveDemand(f)
	}
	f.linger = max(f.linger, h.lingerOf(w))
	return f, nil
}

func (h *Hub) lingerOf(w *Want) time.Duration {
	if w.Linger != 0 {
		return max(0, w.Linger)
	}
	return max(0, h.cfg.Linger)
}

func (h *Hub) openFeed(ctx context.Context, f *Feed) {
	if err := h.opens.take(ctx, f.id.API); err != nil {
		h.openEnded(f, err)
		return
	}
	defer h.opens.give()
	f.open(ctx)
}

// openEnded lets those who wait for the feed go on, or removes it.
func (h *Hub) openEnded(f *Feed, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.err, f.opened = err, err == nil
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, ErrNoSuchFeed) {
			level = slog.LevelDebug // what a client asked for in vain: its worker says why
		}
		h.logger.Log(context.Background(), level, "feed not opened", "feed", f.id.String(), "err", err)
		h.drop(f, EndUnavailable)
	} else {
		h.logger.Debug("feed opened", "feed", f.id.String(), "seq", f.log.Last().Seq)
	}
	close(f.ready)
}

// release counts a subscriber out.
func (h *Hub) release(f *Feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.refs--
	if f.refs == 0 {
		f.idle = time.Now()
		h.moveDemand(f)
		if f.linger == 0 && f.opened {
			h.drop(f, EndUnavailable)
		}
	}
}

// closeIdle closes feeds without subscribers whose linger is over.
func (h *Hub) closeIdle(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		if f.refs == 0 && f.opened && now.Sub(f.idle) >= f.linger {
			h.logger.Debug("feed closed", "feed", f.id.String())
			h.drop(f, EndUnavailable)
		}
	}
}

// drop removes a feed; its readers end for reason. The caller holds mu.
func (h *Hub) drop(f *Feed, reason Reason) {
	if h.feeds[f.id] != f {
		return
	}
	delete(h.feeds, f.id)
	f.mu.Lock()
	f.phase = phaseGone
	f.dropKept()
	f.log.Close(reason)
	f.mu.Unlock()
	f.lane.remove(f)
}

// CloseFeed ends a feed whose definition went away: its readers are told reason.
func (h *Hub) CloseFeed(id broker.FeedID, reason Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.feeds[id]; f != nil {
		h.drop(f, reason)
		h.forgetBacklog(id)
	}
}

// forgetBacklog gives up what was read of a feed that began anew or went away.
func (h *Hub) forgetBacklog(id broker.FeedID) {
	h.blocks.drop(id)
	h.times.seqs.forget(func(k timeKey) bool { return k.feed == id })
}

// Feeds lists the feeds held. It is for status pages: the list is made anew.
func (h *Hub) Feeds() []*Feed { return h.list() }

// Started returns a channel that is closed once Run has opened its lanes: before, Join
// answers ErrUnavailable. It stays open if Run fails first.
func (h *Hub) Started() <-chan struct{} { return h.started }
