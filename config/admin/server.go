package admin

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/auth"
	"sluice/internal/certs"
	"sluice/internal/outbound"
	"sluice/internal/version"
)

// closeTimeout bounds how long requests may take to end when the server does.
const closeTimeout = 5 * time.Second

// Server is the management API. Make it with New, open it with Listen, start it with Run.
type Server struct {
	log        *slog.Logger
	accounts   *auth.Accounts
	catalog    *catalog.Manager
	access     *access.Store
	tickets    *token.Tickets // nil = none are made
	options    catalog.Options
	reach      *outbound.Guard // nil = nothing is fetched
	nodes      Nodes
	noImport   bool
	build      version.Build
	contract   *contract
	origins    *http.CrossOriginProtection
	page       []byte // the document as HTML
	watching   readers
	monitoring readers
	looks      looks
	probing    chan struct{} // a place for each endpoint that is looked at
	// probeTime is how long that may take; tests have less.
	probeTime time.Duration
	ending    chan struct{} // closed when Run ends, for answers that would go on
	front     *echo.Echo
	portal    http.Handler // nil = none
	certs     *certs.Pair  // nil = plain HTTP
	hsts      string       // the header's value; "" = none
	ln        net.Listener // set by Listen
}

var _ ServerInterface = (*Server)(nil)

// Deps are what a Server is made from. Accounts, Catalog and Access are needed.
type Deps struct {
	Accounts *auth.Accounts
	Catalog  *catalog.Manager
	// Access holds plans, applications, subscriptions and what else says who may read.
	Access *access.Store
	// Tickets sells what opens one stream; nil = none are made.
	Tickets *token.Tickets
	// Options are what definitions made from other documents are checked against.
	Options catalog.Options
	// Nodes are the other nodes; nil = none are heard.
	Nodes Nodes
	// Guard says which addresses a document may be fetched from; nil = none.
	Guard *outbound.Guard
	// NoImport forbids imports from addresses, whatever Guard says.
	NoImport bool
	Build    version.Build
	// Portal answers what lies below /portal/; nil = there is none.
	Portal http.Handler
	Logger *slog.Logger
	// Certs make the listener speak TLS; nil = plain HTTP. Server.Run watches their files.
	Certs *certs.Pair
	// HSTS is for how long browsers are told to use nothing but https; 0 = not told. Only with Certs.
	HSTS time.Duration
}

// New reads the contract and makes the routes. It starts and opens nothing.
func New(d Deps) (*Server, error) {
	if d.Accounts == nil || d.Catalog == nil || d.Access == nil {
		return nil, errors.New("admin: accounts, catalog and access are needed")
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Nodes == nil {
		d.Nodes = unheard{}
	}
	c, err := readContract()
	if err != nil {
		return nil, err
	}
	s := &Server{log: d.Logger, accounts: d.Accounts, catalog: d.Catalog, access: d.Access, tickets: d.Tickets, options: d.Options, reach: d.Guard,
		noImport: d.NoImport, nodes: d.Nodes, build: d.Build, portal: d.Portal, contract: c, page: c.page(), origins: http.NewCrossOriginProtection(),
		watching:   readers{what: "streams of changes", most: mostWatchers, of: mostWatchersBy},
		monitoring: readers{what: "monitors", most: mostMonitors, of: mostMonitorsBy}, looks: looks{nodes: d.Nodes},
		ending: make(chan struct{}), probing: make(chan struct{}, probesAtOnce), probeTime: probeTime}
	if s.certs = d.Certs; s.certs != nil && d.HSTS > 0 {
		s.hsts = fmt.Sprintf("max-age=%d", int64(d.HSTS.Seconds()))
	}
	s.front = s.newFront()
	return s, nil
}

func (s *Server) newFront() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.fail
	e.Use(s.common, s.guard)
	RegisterHandlers(e, s)
	return e
}

// PortalPath is where the portal lies; what asks for / is sent there.
const PortalPath = "/portal/"

// withPortal hands the portal its part of the paths, and the API all others.
func (s *Server) withPortal(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.portal == nil:
	case strings.HasPrefix(r.URL.Path, PortalPath):
		s.portal.ServeHTTP(w, r)
		return
	case r.URL.Path == "/" || r.URL.Path+"/" == PortalPath:
		http.Redirect(w, r, PortalPath, http.StatusFound)
		return
	}
	s.front.ServeHTTP(w, r)
}

// common sets what every answer has, and turns a panic into a refusal.
func (s *Server) common(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(randomBytes(10))))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if s.hsts != "" {
			h.Set("Strict-Transport-Security", s.hsts)
		}
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("management request panicked", "route", c.Path(), "panic", v, "stack", string(debug.Stack()))
				err = fmt.Errorf("panic: %v", v)
			}
		}()
		return next(c)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// ServeHTTP answers one request; Run's listener does so, and tests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.withPortal(w, r) }

// Listen opens addr. Nothing is answered before Run.
func (s *Server) Listen(ctx context.Context, addr string) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("control listener: %w", err)
	}
	s.ln = newLimited(ln, mostConnections)
	s.log.Info("listening", "listener", "control", "addr", ln.Addr().String(), "tls", s.certs != nil)
	return nil
}

// Reload reads the certificate files again; so does a change of them.
func (s *Server) Reload() {
	if s.certs != nil {
		s.certs.Reload()
	}
}

// Addr is the address that Listen opened.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// newServer makes net/http's server: every wait and length is bounded.
func (s *Server) newServer() *http.Server {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100, MaxReadFrameSize: 16 << 10},
	}
	srv.Protocols.SetHTTP1(true)
	if s.certs != nil {
		srv.TLSConfig = s.certs.Config()
		srv.Protocols.SetHTTP2(true)
	}
	return srv
}

// Run answers requests until ctx ends, then lets those that are under way finish.
func (s *Server) Run(ctx context.Context) error {
	srv := s.newServer()
	failed, watched := make(chan error, 1), make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() { // ends with srv, awaited below
		if s.certs != nil {
			failed <- srv.ServeTLS(s.ln, "", "")
			return
		}
		failed <- srv.Serve(s.ln)
	}()
	go func() { // ends with watching, awaited below
		defer close(watched)
		if s.certs != nil {
			s.certs.Watch(watching)
		}
	}()
	defer func() { stop(); <-watched }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	close(s.ending)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := srv.Shutdown(end)
	if err != nil {
		err = srv.Close()
	}
	<-failed
	return err
}
