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
	"sluice/internal/outbound"
	"sluice/internal/version"
)

// closeTimeout bounds how long requests may take to end when the server does.
const closeTimeout = 5 * time.Second

// Server is the management API. Make it with New, open it with Listen, start it with Run.
type Server struct {
	log      *slog.Logger
	accounts *auth.Accounts
	catalog  *catalog.Manager
	access   *access.Store
	tickets  *token.Tickets // nil = none are made
	options  catalog.Options
	reach    *outbound.Guard // nil = nothing is fetched
	noImport bool
	build    version.Build
	contract *contract
	origins  *http.CrossOriginProtection
	page     []byte // the document as HTML
	front    *echo.Echo
	ln       net.Listener // set by Listen
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
	// Guard says which addresses a document may be fetched from; nil = none.
	Guard *outbound.Guard
	// NoImport forbids imports from addresses, whatever Guard says.
	NoImport bool
	Build    version.Build
	Logger   *slog.Logger
}

// New reads the contract and makes the routes. It starts and opens nothing.
func New(d Deps) (*Server, error) {
	if d.Accounts == nil || d.Catalog == nil || d.Access == nil {
		return nil, errors.New("admin: accounts, catalog and access are needed")
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := readContract()
	if err != nil {
		return nil, err
	}
	s := &Server{log: d.Logger, accounts: d.Accounts, catalog: d.Catalog, access: d.Access, tickets: d.Tickets, options: d.Options,
		reach: d.Guard, noImport: d.NoImport, build: d.Build, contract: c, page: c.page(), origins: http.NewCrossOriginProtection()}
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

// common sets what every answer has, and turns a panic into a refusal.
func (s *Server) common(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(randomBytes(10))))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
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
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.front.ServeHTTP(w, r) }

// Listen opens addr. Nothing is answered before Run.
func (s *Server) Listen(ctx context.Context, addr string) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("control listener: %w", err)
	}
	s.ln = ln
	s.log.Info("listening", "listener", "control", "addr", ln.Addr().String())
	return nil
}

// Addr is the address that Listen opened.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run answers requests until ctx ends, then lets those that are under way finish.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.front, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.ln) }() // ends with srv, awaited below
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := srv.Shutdown(end)
	if err != nil {
		err = srv.Close()
	}
	<-failed
	return err
}
