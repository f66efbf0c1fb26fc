package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/problem"
)

// How many requests for tokens and tickets wait for control at once; more are refused.
const mostRelays = 64

// relay answers a request to the built-in issuer: an edge holds no key to sign with, so it asks a control node. Only the edge knows who
// asks, and it takes no more from the client than control needs.
func (s *Server) relay(w http.ResponseWriter, q *request, verb token.Verb, method string) error {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if verb == token.VerbTicket || verb == token.VerbCookie {
		s.relayCORS(w.Header(), q)
	}
	q.allow = method + ", " + http.MethodOptions
	asked := q.r.Method
	if method == http.MethodGet {
		q.allow = allowed
		if asked == http.MethodHead {
			asked = method // net/http leaves the body out
		}
	}
	q.errorsStatus = true // no EventSource asks for this
	switch {
	case q.r.Method == http.MethodOptions:
		return s.relayOptions(w, q, method)
	case asked != method:
		return refuse(problem.MethodNotAllowed, "")
	}
	seat, err := s.admit.enter(q.ip) // counts like a stream as long as it takes
	if err != nil {
		return err
	}
	q.seat, q.seated = seat, true
	if !s.admit.mayTry(q.ip) {
		return refuse(problem.TooManyConnections, "This address sent too many credentials that do not count.")
	}
	select {
	case s.relays <- struct{}{}:
		defer func() { <-s.relays }()
	default:
		return &problem.Error{Kind: problem.ControlUnavailable, RetryAfter: time.Second}
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), token.RelayTime)
	defer cancel()
	body, err := readAsk(ctx, w, q.r)
	if err != nil {
		return err
	}
	answer, err := s.askControl(ctx, verb, q.asks(body))
	if err != nil {
		if q.r.Context().Err() != nil {
			return errGone
		}
		return &problem.Error{Kind: problem.ControlUnavailable, RetryAfter: time.Second, Err: err}
	}
	if answer.Status == http.StatusUnauthorized || answer.Problem == problem.InvalidToken {
		s.admit.triedInVain(q.ip)
	}
	if answer.Problem != "" {
		return refuse(answer.Problem, answer.Detail)
	}
	return s.relayed(w, q, answer)
}

// asks is the request as control gets it.
func (q *request) asks(body []byte) token.Ask {
	scheme := "http"
	if q.tls {
		scheme = "https"
	}
	h := q.r.Header
	site := h["Sec-Fetch-Site"]
	return token.Ask{
		V: 1, Authorization: h["Authorization"], APIKey: append(slices.Clone(h["Apikey"]), h[http.CanonicalHeaderKey(keyAlias)]...),
		ContentType: h.Get("Content-Type"), Body: body,
		From: token.Sender{IP: q.ip, Origin: q.origin, Base: scheme + "://" + q.r.Host, TLS: q.tls, CrossSite: len(site) == 1 && site[0] == "cross-site"},
	}
}

// readAsk reads a body of at most 8 KiB, as long as ctx allows.
func readAsk(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > token.MaxBody {
		return nil, refuse(problem.BodyTooLarge, "")
	}
	c := http.NewResponseController(w)
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(at)                             //nolint:errcheck // a writer without one is a test's
		defer func() { _ = c.SetReadDeadline(time.Time{}) }() //nolint:errcheck // as above
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, token.MaxBody+1))
	switch {
	case len(body) > token.MaxBody:
		return nil, refuse(problem.BodyTooLarge, "")
	case err != nil:
		return nil, errGone
	}
	return body, nil
}

// askControl asks one of the control nodes.
func (s *Server) askControl(ctx context.Context, verb token.Verb, ask token.Ask) (a token.Answer, err error) {
	text, err := json.Marshal(ask)
	if err != nil {
		return a, err
	}
	if text, err = s.bus.Request(ctx, token.SubjectOAuth+string(verb), text); err != nil {
		return a, err
	}
	if err = json.Unmarshal(text, &a); err != nil {
		return a, err
	}
	if a.V != 1 || a.Problem == "" && (a.Status < 200 || a.Status > 599) || a.Problem != "" && !a.Problem.Known() {
		return a, errors.New("control answered something else")
	}
	return a, nil
}

// relayed sends an answer on.
func (s *Server) relayed(w http.ResponseWriter, q *request, a token.Answer) error {
	h := w.Header()
	h.Set("X-Request-Id", q.id)
	for name, v := range a.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Content-Type", "Cache-Control", "Www-Authenticate", "Set-Cookie":
			h.Set(name, v)
		}
	}
	s.metrics.requested("", a.Status)
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
	return nil
}

// relayCORS lets pages buy tickets from wherever an API may be read: which one it is stands in a body that no preflight has. The ticket is
// checked against its API's own list when it is used.
func (s *Server) relayCORS(h http.Header, q *request) {
	h.Add("Vary", "Origin")
	listed, credentials := false, false
	for _, api := range s.catalog.Snapshot().APIs() {
		if originAllowed(api, q.origin) {
			listed = true
			credentials = credentials || api.Spec.CORS.Credentials && slices.Contains(api.Spec.CORS.Origins, q.origin)
		}
	}
	if !listed {
		return
	}
	h.Set("Access-Control-Allow-Origin", q.origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

func (s *Server) relayOptions(w http.ResponseWriter, q *request, method string) error {
	h := w.Header()
	if !isPreflight(q.r) {
		h.Set("Allow", q.allow)
	} else if h.Get("Access-Control-Allow-Origin") == "" {
		return refuse(problem.CORSForbidden, "")
	} else {
		h.Del("Access-Control-Expose-Headers")
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", "Authorization, ApiKey, Content-Type")
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	s.metrics.requested("", http.StatusNoContent)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Buyer is who buys a ticket or stream cookie, and from where.
type Buyer struct {
	Principal *access.Principal
	IP        netip.Addr
	Origin    string
	// Kind is what is bought: access.Ticket or access.Cookie.
	Kind access.Kind
}

// MayBuy asks the ladder whether somebody may read what a ticket is bought for, so that nobody buys what will be refused. issuers have the
// iss by the names that definitions use.
func MayBuy(snap *access.Snapshot, apis *catalog.Snapshot, b Buyer, what access.Bound, issuers map[string]string, now time.Time) error {
	api := apis.API(what.API, what.Version)
	switch {
	case api == nil || api.Spec.State == catalog.StateCreated || api.Spec.State == catalog.StateRetired:
		return refuse(problem.NoSuchAPI, "")
	case api.Spec.State == catalog.StateBlocked:
		return refuse(problem.APIBlocked, "This API is blocked by its publisher.")
	}
	p := *b.Principal
	taken := takes(api, b.Kind)
	if taken {
		p.Kind = b.Kind // what is asked for is whether the API takes that
	}
	x := ask{snap: snap, now: now, p: &p, api: api, ip: b.IP, origin: b.Origin, issued: func(name string) string { return issuers[name] }}
	for _, step := range []func() no{x.known, x.denied, x.subscribed} {
		if n := step(); n.found() {
			return n.err()
		}
	}
	if !taken { // who may read learns what the API takes, nobody else
		return refuse(problem.InvalidValue, fmt.Sprintf("This API takes no %s; it takes %s.", wareOf[b.Kind], strings.Join(api.Spec.Auth.Schemes, ", ")))
	}
	return nil
}

// wareOf names what is sold.
var wareOf = map[access.Kind]string{access.Ticket: "tickets", access.Cookie: "stream cookies"}
