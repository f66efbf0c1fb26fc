package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/edge/quota"
	"sluice/fanout"
	"sluice/internal/broker"
	"sluice/internal/certs"
	"sluice/internal/trace"
)

// Config is the part of the process settings that a Server reads.
type Config struct {
	Edge   config.Edge
	Fanout config.Fanout
	// Data is the folder in which the development certificate is kept; "" = nowhere.
	Data string
	// QueryToken takes tokens and keys from the query too.
	QueryToken bool
	// MaxStale is how long new clients with a credential are let in without a word of control that who may read is up to date;
	// 0 = for ever.
	MaxStale time.Duration
	// Issuers have the iss of the issuers that definitions name.
	Issuers map[string]string
}

// Joiner opens feeds, and closes those whose definition went away; *fanout.Hub is one.
type Joiner interface {
	Join(ctx context.Context, w fanout.Want) (*fanout.Joined, error)
	CloseFeed(id broker.FeedID, reason fanout.Reason)
	Feeds() []*fanout.Feed
}

// Engine is what both engines can do to streams they hold.
type Engine interface {
	// Cut ends the streams for which why answers a reason, spread over the time.
	Cut(over time.Duration, why func(meta uint32) fanout.Reason)
	// Tell sends gateway events to the streams for which what answers some.
	Tell(what func(meta uint32) []byte)
	// Drain ends all of them, evenly over the time, then cuts.
	Drain(ctx context.Context, over time.Duration) error
	// Laggards offers c the streams that lag most.
	Laggards(c *fanout.Cull)
}

// Portable serves a client on its handler's goroutine; *fanout.Portable is one.
type Portable interface {
	Engine
	Serve(ctx context.Context, to fanout.Sink, s fanout.Subscriber) fanout.End
}

// Adopter takes sockets over; *shard.Engine is one. Its Config.Ended must be the
// Server's Ended.
type Adopter interface {
	Engine
	Adopt(c net.Conn, s fanout.Subscriber) error
}

// Deps are what a Server is made from. Catalog, Hub and Portable are needed.
type Deps struct {
	Catalog  catalog.Store
	Hub      Joiner
	Portable Portable
	Adopter  Adopter // nil: every client is served by Portable
	// Access and Verifier say who may read; without them only topics without security are served.
	Access   AccessStore
	Verifier Verifier
	// Limiter keeps what all edges share of plans: quotas and seats. nil = plans limit nothing.
	Limiter *quota.Limiter
	// Bus asks control for tokens and tickets; nil = none are given here.
	Bus broker.Bus
	// Link is the state of the broker's connection, for gateway.stale; nil = not known.
	Link   func() broker.Link
	Logger *slog.Logger
	// Registerer takes the metrics; nil = none.
	Registerer prometheus.Registerer
	// Tracer takes a span per request for a stream; nil = off.
	Tracer *trace.Tracer
	// Clock is the wall clock; nil = time.Now.
	Clock func() time.Time
}

// phase is how far a shutdown has come.
type phase = int32

const (
	phaseServing phase = iota
	phaseLeaving       // not ready, everything else goes on
	phaseClosed        // listeners closed, late requests shed
)

// Server is the data plane's front: it answers clients and hands their streams to an
// engine. Make one with New, start it with Run.
type Server struct {
	cfg      Config
	catalog  catalog.Store
	hub      Joiner
	portable Portable
	adopter  Adopter
	access   AccessStore // nil = nobody is known
	verifier Verifier
	metering *metering     // nil = plans limit nothing
	bus      broker.Bus    // nil = no tokens and tickets are given
	relays   chan struct{} // one place per request that waits for control
	link     func() broker.Link
	log      *slog.Logger
	now      func() time.Time
	admit    *admission
	metas    *metaTable
	tracer   *trace.Tracer // nil = off
	spans    spanTable     // of open streams
	lookedAt time.Time     // at rights; the warden's
	judged   atomic.Uint64 // times that all rights were judged
	lines    *lines
	metrics  *edgeMetrics
	reg      prometheus.Registerer // nil = none
	front    *echo.Echo
	memory   memoryWatch
	moveOver time.Duration // see moves; tests have less
	phase    atomic.Int32
	drained  sync.Once
	handlers inflight

	mu        sync.Mutex // guards what follows; set by Listen
	listeners []*listener
	certs     *certs.Pair
}

// listener is one open port and its server.
type listener struct {
	name string // edge-http, edge-https
	gate *gate
	srv  *http.Server
	tls  bool
}

// New checks deps and settings. It starts and opens nothing.
func New(cfg Config, d Deps) (*Server, error) {
	if d.Catalog == nil || d.Hub == nil || d.Portable == nil {
		return nil, errors.New("edge: catalog, hub and portable engine are needed")
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if cfg.Fanout.Engine == "portable" {
		d.Adopter = nil
	}
	if d.Verifier == nil {
		d.Access = nil
	}
	s := &Server{
		cfg: cfg, catalog: d.Catalog, hub: d.Hub, portable: d.Portable, adopter: d.Adopter, access: d.Access, verifier: d.Verifier, bus: d.Bus,
		relays: make(chan struct{}, mostRelays), link: d.Link, log: d.Logger, now: d.Clock, tracer: d.Tracer, metering: newMetering(d.Limiter),
		admit: newAdmission(cfg.Edge, d.Clock), metas: newMetaTable(), lines: newLines(d.Clock),
		reg: d.Registerer, metrics: newMetrics(d.Registerer), memory: memoryWatch{sample: sampleMemory, every: memoryLook},
		moveOver: moveOver,
	}
	s.front = s.newFront()
	s.registerGauges(d.Registerer)
	return s, nil
}

// Listen opens the listeners. Run calls it if nobody did; a caller that wants to
// know about a busy port first calls it itself. On error nothing stays open.
func (s *Server) Listen(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners != nil {
		return nil
	}
	defer func() {
		if err != nil {
			s.closeListeners()
			s.listeners = nil
		}
	}()
	if addr := s.cfg.Edge.HTTP.Addr; addr != "" {
		if err := s.open(ctx, "edge-http", addr, nil); err != nil {
			return err
		}
	}
	if !s.cfg.Edge.HTTPS.Enabled() {
		return nil
	}
	const name = "edge-https"
	h := s.cfg.Edge.HTTPS
	if s.certs == nil {
		s.certs, err = certs.Load(certs.Options{Listener: name, Cert: h.Cert, Key: h.Key, Data: s.cfg.Data, Logger: s.log, Registerer: s.reg, Clock: s.now})
		if err != nil {
			return err
		}
	}
	return s.open(ctx, name, h.Addr, s.certs.Config())
}

// open opens one listener. s.mu is held.
func (s *Server) open(ctx context.Context, name, addr string, conf *tls.Config) error {
	ln, err := Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l := &listener{name: name, gate: newGate(ln, s.cfg.Edge.MaxHandshakes), tls: conf != nil}
	l.srv = &http.Server{
		Handler:                      s.front,
		ReadHeaderTimeout:            5 * time.Second,
		IdleTimeout:                  120 * time.Second,
		MaxHeaderBytes:               32 << 10,
		DisableGeneralOptionsHandler: true,
		TLSConfig:                    conf,
		ConnState:                    l.gate.connState,
		ErrorLog:                     slog.NewLogLogger(&serverLog{next: s.log.Handler(), metrics: s.metrics}, slog.LevelDebug),
		Protocols:                    new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			SendPingTimeout:      15 * time.Second,
			PingTimeout:          15 * time.Second,
			MaxReadFrameSize:     16 << 10,
		},
	}
	s.setProtocols(l)
	s.listeners = append(s.listeners, l)
	s.log.Info("listening", "listener", name, "addr", ln.Addr().String())
	return nil
}

func (s *Server) setProtocols(l *listener) {
	p := l.srv.Protocols
	if !l.tls {
		p.SetHTTP1(true)
		p.SetUnencryptedHTTP2(s.cfg.Edge.HTTP.H2C)
		return
	}
	for _, name := range s.cfg.Edge.HTTPS.ALPN {
		switch name {
		case "h2":
			p.SetHTTP2(true)
		case "http/1.1":
			p.SetHTTP1(true)
		}
	}
	if !p.HTTP1() && !p.HTTP2() {
		p.SetHTTP1(true)
	}
}

// Addrs are the addresses listened on, by listener name: edge-http, edge-https.
// Empty before Listen.
func (s *Server) Addrs() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := map[string]net.Addr{}
	for _, l := range s.listeners {
		addrs[l.name] = l.gate.Addr()
	}
	return addrs
}

// Run serves until ctx ends, then cuts what is left and returns when all of the
// server's goroutines are gone. Call Drain first to let streams end well. The
// engines and the hub must outlive it.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.listeners {
		g.Go(func() error { return s.serve(ctx, l) })
	}
	g.Go(func() error { s.warden(ctx); return nil })
	g.Go(func() error { s.watchMemory(ctx); return nil })
	if s.certs != nil {
		g.Go(func() error { s.certs.Watch(ctx); return nil })
	}
	closing, stop := context.WithCancel(context.WithoutCancel(ctx))
	closed := make(chan struct{})
	go func() { defer close(closed); s.closer(closing) }()
	err := g.Wait()
	s.handlers.wait() // their connections are closed
	stop()
	<-closed
	return err
}

// serve runs one listener until ctx ends. A listener that Drain closed is no error.
func (s *Server) serve(ctx context.Context, l *listener) error {
	served := make(chan error, 1)
	go func() {
		if l.tls {
			served <- l.srv.ServeTLS(l.gate, "", "")
			return
		}
		served <- l.srv.Serve(l.gate)
	}()
	var err error
	select {
	case err = <-served:
		if s.phase.Load() == phaseClosed {
			<-ctx.Done()
			err = nil
		}
		_ = l.srv.Close()
	case <-ctx.Done():
		_ = l.srv.Close()
		<-served
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	return nil
}

// closeListeners stops accepting. s.mu is held.
func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.gate.Close()
	}
}

// Reload reads the certificate files again; so does a change of them.
func (s *Server) Reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certs != nil {
		s.certs.Reload()
	}
}

// Open is how many streams are open.
func (s *Server) Open() int { return s.metas.open() }

// Draining reports whether Drain was called: the node takes no new clients.
func (s *Server) Draining() bool { return s.phase.Load() != phaseServing }

// Full reports whether joins are refused for want of memory or room.
func (s *Server) Full() bool { return s.admit.memory.Load() || s.admit.open() >= s.admit.most }

func (s *Server) handshakes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.listeners {
		n += l.gate.handshakes()
	}
	return n
}

// serverLog takes net/http's own lines: counts failed handshakes and passes the rest
// on at debug, since any port scan makes them.
type serverLog struct {
	next    slog.Handler
	metrics *edgeMetrics
}

func (l *serverLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *serverLog) Handle(ctx context.Context, r slog.Record) error {
	if l.metrics != nil && strings.Contains(r.Message, "TLS handshake error") {
		l.metrics.tlsErrors.Inc()
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

func (l *serverLog) WithAttrs(a []slog.Attr) slog.Handler {
	return &serverLog{next: l.next.WithAttrs(a), metrics: l.metrics}
}

func (l *serverLog) WithGroup(n string) slog.Handler {
	return &serverLog{next: l.next.WithGroup(n), metrics: l.metrics}
}
