package edge

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/config"
	"sluice/internal/access/token"
	"sluice/internal/problem"
)

// refuse makes the error of a step before the first byte. detail is for the client.
func refuse(k problem.Kind, detail string) error { return &problem.Error{Kind: k, Detail: detail} }

// badParam says which query parameter is wrong. reason never holds request bytes.
func badParam(name, reason string) error {
	return &problem.Error{Kind: problem.InvalidQuery, Detail: "A query parameter is malformed.",
		Errors: []problem.Part{{Parameter: name, Reason: reason}}}
}

// logRule is the log event and level of a kind of refusal; ok is false for kinds
// that are only counted.
func logRule(k problem.Kind) (event string, level slog.Level, ok bool) {
	switch k {
	case problem.InvalidPath, problem.URITooLong:
		return "path.reject", slog.LevelWarn, true
	case problem.InvalidQuery:
		return "request.reject", slog.LevelInfo, true
	case problem.DuplicateHeader, problem.InvalidLastEventID, problem.UnexpectedBody:
		return "request.reject", slog.LevelWarn, true
	case problem.HTTPSRequired:
		return "transport.reject", slog.LevelWarn, true
	case problem.TokenInQuery:
		return "token.query", slog.LevelWarn, true
	case problem.AmbiguousCredentials:
		return "request.reject", slog.LevelWarn, true
	case problem.TooManyConnections:
		return "conn.limit", slog.LevelWarn, true
	case problem.TooManyFeeds:
		return "feed.limit", slog.LevelWarn, true
	case problem.Overloaded:
		return "conn.overload", slog.LevelWarn, true
	case problem.BrokerUnavailable, problem.NotReady:
		return "broker.unavailable", slog.LevelError, true
	case problem.Internal:
		return "panic", slog.LevelError, true
	}
	return "", 0, false
}

// accessEvent is the log event of a refused credential, "" for those that are only
// counted.
func accessEvent(err error) string {
	if event, _ := token.CauseOf(err); event != "" {
		return event
	}
	return noOf(err).event
}

// answerRefusal answers a request that gets no stream: with a problem, or, for a
// temporary refusal of an SSE request, with a stream that ends at once.
func (s *Server) answerRefusal(w http.ResponseWriter, q *request, err error) {
	p := problem.From(err, q.id)
	shed := q.sheds(p.Kind, s.cfg.Edge.Shed)
	s.metrics.refused(p.Kind, shed)
	q.refusedSpan(p, shed)
	s.logRefusal(q, p, shed, err)
	if shed {
		s.shed(w, q, p.Kind)
		return
	}
	h := w.Header()
	s.setCommon(h, q)
	h.Set("Content-Type", problem.ContentType)
	h.Set("Cache-Control", "no-store")
	switch p.Kind {
	case problem.MethodNotAllowed:
		h.Set("Allow", cmp.Or(q.allow, allowed))
	case problem.MissingToken, problem.TokenInQuery:
		h.Set("WWW-Authenticate", `Bearer realm="sluice"`)
	case problem.InvalidToken, problem.ExpiredToken, problem.InvalidTicket:
		h.Set("WWW-Authenticate", `Bearer realm="sluice", error="invalid_token"`)
	case problem.InsufficientScope:
		h.Set("WWW-Authenticate", `Bearer realm="sluice", error="insufficient_scope", scope="`+strings.Join(noOf(err).want, " ")+`"`)
	}
	if p.Close {
		h.Set("Connection", "close")
	}
	if after := retryAfter(p); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	s.metrics.requested(q.apiLabel(), p.Status)
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON())
}

// retryAfter is the Retry-After of a status, in seconds; 0 = none.
func retryAfter(p problem.Problem) int {
	switch {
	case p.RetryAfter > 0:
		return int((p.RetryAfter + time.Second - 1) / time.Second)
	case p.Kind == problem.TooManyConnections:
		return 1 + rand.IntN(5)
	case p.Kind.Sheddable():
		return int((shedSpan().draw() + 999) / 1000)
	}
	return 0
}

// sheds tells whether a refusal is told as a stream that ends at once: plain
// EventSource gives up for ever after a status that is not 200.
func (q *request) sheds(k problem.Kind, how config.Shed) bool {
	if !k.Sheddable() || q.errorsStatus {
		return false
	}
	if q.api != nil && q.api.Spec.Client.Shed != "" {
		how = q.api.Spec.Client.Shed
	}
	switch how {
	case config.ShedStatus:
		return false
	case config.ShedSSE:
		return true
	}
	return q.sse
}

// shed answers 200 with a retry line and gateway.end, and closes.
func (s *Server) shed(w http.ResponseWriter, q *request, k problem.Kind) {
	ms := shedSpan().draw()
	h := w.Header()
	s.setStream(h, q)
	h.Set("Retry-After", strconv.FormatUint((ms+999)/1000, 10))
	if q.proto != protoHTTP2 {
		h.Set("Connection", "close")
		h.Set("Transfer-Encoding", "identity")
	}
	s.metrics.requested(q.apiLabel(), http.StatusOK)
	w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(appendEnd(nil, string(k), true, ms))
	_ = http.NewResponseController(w).Flush() // no Content-Length: this is a stream
}

// maxLogged bounds text of clients in the log.
const maxLogged = 256

func clip(s string) string { return s[:min(len(s), maxLogged)] }

// logRefusal writes the refusal's one line, at most ten per second of one event.
// Never the query, a credential or a presented id.
func (s *Server) logRefusal(q *request, p problem.Problem, shed bool, err error) {
	event, level, ok := logRule(p.Kind)
	if own := accessEvent(err); own != "" {
		event, level, ok = own, slog.LevelWarn, true
	}
	if !ok || !s.log.Enabled(q.r.Context(), level) {
		return
	}
	pass, suppressed := s.lines.pass(event)
	if !pass {
		s.metrics.suppressed(event)
		return
	}
	attrs := []slog.Attr{
		slog.String("type", string(p.Kind)), slog.Int("status", p.Status), slog.Bool("shed", shed),
		slog.String("request_id", q.id), slog.String("client_ip", q.ip.String()), slog.String("path", clip(q.path)),
	}
	if q.origin != "" {
		attrs = append(attrs, slog.String("origin", clip(q.origin)))
	}
	if cause := causeOf(err); cause != "" {
		attrs = append(attrs, slog.String("error", cause))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	s.log.LogAttrs(q.r.Context(), level, event, attrs...)
}
