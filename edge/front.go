package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/problem"
	"sluice/internal/trace"
)

// request is what the steps of one request learn about it. It lives as long as the
// handler: nothing of it may be kept by an open stream.
type request struct {
	caller
	w            http.ResponseWriter // net/http's own
	r            *http.Request
	began        time.Time
	proto        protocol
	path, query  string // of the request target, as sent
	origin       string
	accepts      bool // an event stream may be the answer
	sse          bool // text/event-stream was spelled out
	errorsStatus bool
	allow        string // methods, for 405; "" = those of streams

	snap     *catalog.Snapshot
	api      *catalog.API // nil until known
	route    catalog.Route
	matchErr error // what is wrong below the API
	choice   choice
	// Of a client with a credential; principal nil = none was needed.
	access    *access.Snapshot // by which it was let in
	principal *access.Principal
	grant     *access.Grant // nil = a credential alone lets in
	plan      *access.Plan
	cookie    string // that a ticket was changed for; "" = none
	deal      deal
	stake     *stake
	meter     fanout.Meter
	seat      seat
	seated    bool
	waited    time.Duration // for a turn
	span      *trace.Span   // nil = not recorded, or the stream's already
}

func (q *request) apiLabel() string {
	if q.api == nil {
		return ""
	}
	return q.api.ID()
}

// newFront makes the HTTP front: one catch-all route, since the catalog's matcher
// must see the path as sent, and no middleware that wraps the writer.
func (s *Server) newFront() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = func(r *http.Request) string { return callerOf(r, s.cfg.Edge.TrustedProxies).ip.String() }
	e.HTTPErrorHandler = func(_ error, c echo.Context) { s.handle(c) } // a target that is no path: "*"
	e.RouteNotFound("/*", func(c echo.Context) error { s.handle(c); return nil })
	return e
}

// handle answers one request, whatever it is.
func (s *Server) handle(c echo.Context) {
	w := c.Response().Writer
	c.Response().Committed = true // nothing of echo's may write
	s.handlers.enter()
	defer s.handlers.leave()
	q := s.newRequest(w, c.Request())
	defer q.endSpan()
	defer s.recovered(w, q)
	err := s.answer(w, q)
	s.giveBack(q)
	switch {
	case err == nil:
		return
	case errors.Is(err, errGone):
		q.span.Set(trace.Str("sluice.end", string(fanout.EndClient)))
		return
	}
	s.answerRefusal(w, q, err)
}

func (s *Server) newRequest(w http.ResponseWriter, r *http.Request) *request {
	q := &request{caller: callerOf(r, s.cfg.Edge.TrustedProxies), w: w, r: r, began: s.now(), origin: originOf(r.Header)}
	switch {
	case r.ProtoMajor >= 2:
		q.proto = protoHTTP2
	case r.ProtoMinor >= 1:
		q.proto = protoHTTP11
	}
	q.path, q.query = splitTarget(r.RequestURI)
	q.accepts, q.sse = accepts(r.Header)
	q.errorsStatus = wantsStatus(q.query)
	return q
}

// splitTarget cuts a request target into path and query, as sent. The scheme and
// authority of an absolute target are left out; "*" has no path.
func splitTarget(target string) (path, query string) {
	path, query, _ = strings.Cut(target, "?")
	if strings.HasPrefix(path, "/") {
		return path, query
	}
	if at := strings.Index(path, "://"); at > 0 {
		if slash := strings.IndexByte(path[at+3:], '/'); slash >= 0 {
			return path[at+3+slash:], query
		}
	}
	return "", query
}

// wantsStatus finds errors=status in a query that may be malformed otherwise: it
// decides how the refusal of just that is told.
func wantsStatus(query string) bool {
	for part := range strings.SplitSeq(query, "&") {
		if part == "errors=status" {
			return true
		}
	}
	return false
}

// answer goes through the checks that need no API, then to the method's answer. An
// error means that nothing was written.
func (s *Server) answer(w http.ResponseWriter, q *request) error {
	r := q.r
	if ready := s.cfg.Edge.ReadyPath; ready != "" && q.path == ready {
		return s.answerReady(w)
	}
	if !hostAllowed(r.Host, s.cfg.Edge.Hosts) {
		return refuse(problem.Misdirected, "This host name is not served here.")
	}
	if verb, method, ok := token.VerbOf(q.path); ok && s.bus != nil {
		return s.relay(w, q, verb, method)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		return refuse(problem.MethodNotAllowed, "")
	}
	snap := s.catalog.Snapshot()
	q.snap = snap
	route, err := snap.Match(q.path, q.query)
	switch problem.KindOf(orNotFound(err)) {
	case problem.InvalidPath, problem.URITooLong:
		return err
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return refuse(problem.UnexpectedBody, "A request for a stream has no body.")
	}
	q.route, q.matchErr = route, err
	q.route.Path = clip(route.Path)
	if r.Method == http.MethodOptions {
		return s.answerOptions(w, q)
	}
	return s.stream(w, q)
}

// orNotFound gives KindOf something to look at when nothing is wrong.
func orNotFound(err error) error {
	if err == nil {
		return problem.NotFound
	}
	return err
}

func (s *Server) answerReady(w http.ResponseWriter) error {
	w.Header().Set("Cache-Control", "no-store")
	if s.Draining() || s.catalog.Snapshot().Revision() == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answerOptions answers a preflight, before any authentication, or says what
// methods there are.
func (s *Server) answerOptions(w http.ResponseWriter, q *request) error {
	if err := s.findAPI(q); err != nil {
		return err
	}
	h := w.Header()
	if !isPreflight(q.r) {
		s.setCommon(h, q)
		h.Set("Allow", allowed)
	} else if originAllowed(q.api, q.origin) {
		h.Set("X-Request-Id", q.id)
		setPreflight(h, q.api, q.origin)
	} else {
		return refuse(problem.CORSForbidden, "This origin is not listed.")
	}
	s.metrics.requested(q.apiLabel(), http.StatusNoContent)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// recovered turns a panic of one request into a refusal or, when its answer has
// begun, into a closed connection. Other streams go on.
func (s *Server) recovered(w http.ResponseWriter, q *request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.giveBack(q)
	s.log.Error("panic", "request_id", q.id, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	defer func() { // the connection may be hijacked, or its head written
		if recover() != nil {
			s.log.LogAttrs(q.r.Context(), slog.LevelDebug, "panic after the head", slog.String("request_id", q.id))
		}
	}()
	p := problem.From(problem.Internal, q.id)
	q.refusedSpan(p, false)
	s.metrics.refused(problem.Internal, false)
	w.Header().Set("Content-Type", problem.ContentType)
	w.Header().Set("Connection", "close")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON())
}

// giveBack releases the seat of a request that did not become a stream.
func (s *Server) giveBack(q *request) {
	s.metering.leave(q.stake)
	if q.seated {
		q.seated = false
		s.admit.leave(q.seat)
	}
}
