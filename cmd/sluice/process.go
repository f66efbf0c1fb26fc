package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/config/admin"
	"sluice/config/catalog"
	"sluice/edge"
	"sluice/fanout"
	"sluice/ingest"
	"sluice/ingest/lease"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker"
	"sluice/internal/obs"
	"sluice/internal/outbound"
	"sluice/internal/version"
)

// process is one running sluice: its parts and how to stop them, last started first.
type process struct {
	cfg      config.Config
	log      *slog.Logger
	reg      *prometheus.Registry
	health   *obs.Health
	store    reloader         // what exists
	shown    catalog.Store    // what this node's edge serves of it
	manager  *catalog.Manager // of the catalog that the broker keeps; nil with definitions of its own
	lag      *broker.Lag      // of manager
	access   *access.Store    // nil without roles control and edge
	verifier *token.Verifier  // nil as access is
	guard    *outbound.Guard  // of all upstreams
	group    *group
	broker   *broker.Node
	boot     string             // names this start of the node
	members  *lease.Members     // nil with an embedded broker: no other node can be there
	ingest   *ingest.Supervisor // nil without role ingest
	edge     *edge.Server       // nil without role edge
	viewer   *viewer            // nil where nothing is counted
	hub      *fanout.Hub        // nil without role edge
	opsAt    net.Addr           // nil without an ops listener
	control  net.Addr           // nil without a control listener
	manage   *admin.Server      // nil likewise
	lock     *dataLock          // of the data folder; nil if nothing is stored there
	traces   *obs.Traces        // nil = off

	catalog *catalogMetrics
	began   time.Time
	started atomic.Bool // everything listens

	stops      []func()
	stopOps    func()
	stopTraces func()
}

// build makes and starts every part; a nil store stands for the catalog that the broker keeps. On error what was started is stopped again.
func build(ctx context.Context, e env, cfg config.Config, guard *outbound.Guard, store reloader) (*process, error) {
	p := &process{boot: strconv.FormatUint(rand.Uint64(), 36), cfg: cfg, guard: guard, store: store, began: time.Now(), group: newGroup(), health: &obs.Health{},
		stopOps: func() {}, stopTraces: func() {}}
	v := version.Read()
	p.reg = obs.NewRegistry(v.Version, v.Commit)
	out, _ := e.stderr.(*os.File)
	log, err := obs.NewLogger(obs.LogConfig{
		Level: cfg.Log.Level, Format: cfg.Log.Format, Out: out, Limiter: obs.NewLimiter(time.Now, p.reg),
	})
	if err != nil {
		return nil, withCode(exitInvalid, err)
	}
	p.log = log
	if err := p.buildTraces(e); err != nil {
		return nil, err
	}
	if p.shown = store; store == nil {
		p.openShared()
	}
	p.catalog = newCatalogMetrics(p.reg, p.store, p.manager)
	limitResources(cfg, log)
	p.health.Ready("start", func() (obs.Grade, string) {
		if !p.started.Load() {
			return obs.Failed, "still starting"
		}
		return obs.OK, ""
	})
	steps := []func(context.Context) error{p.buildData, p.buildOps, p.buildBroker, p.buildAccess, p.buildVerifier, p.buildCatalog, p.buildControl,
		p.buildIssuer, p.startVerifier, p.buildBeacons, p.buildMembers}
	if cfg.Has(config.RoleIngest) {
		steps = append(steps, p.buildIngest)
	}
	if cfg.Has(config.RoleEdge) {
		steps = append(steps, p.buildEdge)
	}
	steps = append(steps, p.tellPresence, func(ctx context.Context) error { return p.buildAdmin(ctx, e) })
	for _, step := range steps {
		if err := step(ctx); err != nil {
			_ = p.shutdown()
			return nil, err
		}
	}
	p.started.Store(true)
	return p, nil
}

// limitResources sets what Go's runtime may use: one P more than shards, so that the network poller is never starved by
// busy shards, and three quarters of the container's memory.
func limitResources(cfg config.Config, log *slog.Logger) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(shardCount(cfg) + 1)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		limit, err := memlimit.Set(memlimit.WithRatio(0.75),
			memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
		if err != nil {
			log.Debug("no memory limit set", "error", err)
		} else {
			log.Debug("memory limit set", "bytes", limit)
		}
	}
}

// shardCount is how many shards own client sockets: as set, else one per CPU that this process may use.
func shardCount(cfg config.Config) int {
	if cfg.Fanout.Shards > 0 {
		return cfg.Fanout.Shards
	}
	return min(runtime.NumCPU(), 64)
}

// start runs f as a component and remembers how to stop it.
func (p *process) start(name string, f func(context.Context) error) {
	p.stops = append(p.stops, p.group.start(name, f))
}

// onceStarted answers 503 until every part that h looks at is there.
func (p *process) onceStarted(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.started.Load() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "still starting", http.StatusServiceUnavailable)
			return
		}
		h(w, r)
	}
}

// buildOps opens the ops listener first, so that a start that takes long can be watched.
func (p *process) buildOps(ctx context.Context) error {
	if p.cfg.Ops.Addr == "" {
		return nil
	}
	mux := obs.NewMux(p.health, p.reg, version.Read())
	mux.HandleFunc("GET /feeds", p.onceStarted(p.serveFeeds))
	mux.HandleFunc("GET /status", p.onceStarted(p.serveStatus))
	ops, err := obs.ListenOps(ctx, p.cfg.Ops.Addr, mux, p.log)
	if err != nil {
		return bindError(err, p.log)
	}
	p.opsAt = ops.Addr()
	p.guardListeners()
	p.stopOps = p.group.start("ops listener", ops.Run)
	return nil
}
