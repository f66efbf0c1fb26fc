package admin

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/asyncapi"
	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/outbound"
	"sluice/internal/problem"
)

// answer writes v as JSON. Durations, sizes and shares are text, as definitions write them.
func answer(c echo.Context, status int, v any) error {
	body, err := doc.Marshal(v)
	if err != nil {
		return err
	}
	return c.Blob(status, mediaJSON, append(body, '\n'))
}

// problemOf makes the answer to an error. Nothing but kind, detail and parts gets into it; the rest is for the log.
func problemOf(err error, requestID string) (p Problem, kind problem.Kind, retryAfter time.Duration) {
	kind, findings := problem.KindOf(err), []Finding(nil)
	var told *problem.Error
	var docs doc.Errors
	var refused *asyncapi.RefusedError
	var router *echo.HTTPError
	detail := ""
	switch {
	case errors.As(err, &told):
		kind, detail, retryAfter = told.Kind, told.Detail, told.RetryAfter
		for _, part := range told.Errors {
			findings = append(findings, findingOf(part))
		}
	case errors.As(err, &docs):
		kind = kindOf(docs)
	case errors.As(err, &refused):
		kind = problem.Kind(refused.Code)
		for _, part := range refused.Parts {
			findings = append(findings, findingOf(part))
		}
	case errors.As(err, &router):
		kind = routerKind(router.Code)
	}
	if errors.As(err, &docs) { // with hints
		findings = findingsOf(docs, "")
	}
	if !kind.Known() {
		kind = problem.Internal
	}
	p = Problem{Type: "/problems/" + string(kind), Title: kind.Title(), Status: statusOf(kind, docs), Detail: detail, Instance: requestID,
		Errors: findings}
	var elsewhere *catalog.ChangedError
	if errors.As(err, &elsewhere) {
		p.Diff = elsewhere.Diff
	}
	var transition *catalog.TransitionError
	if errors.As(err, &transition) {
		for _, t := range transition.Allowed {
			p.Allowed = append(p.Allowed, Action(t))
		}
	}
	return p, kind, retryAfter
}

func findingOf(p problem.Part) Finding {
	return Finding{Parameter: p.Parameter, Pointer: p.Pointer, Line: p.Line, Column: p.Column, Type: p.Type, Detail: p.Reason}
}

func routerKind(status int) problem.Kind {
	switch status {
	case http.StatusNotFound:
		return problem.NotFound
	case http.StatusMethodNotAllowed:
		return problem.MethodNotAllowed
	case http.StatusBadRequest:
		return problem.InvalidQuery
	}
	return problem.Internal
}

// stages are the statuses of wrong documents in the order in which they are found: what cannot be read has no meaning yet, and what
// means nothing clashes with nothing.
var stages = []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusConflict}

// kindOf is the one kind of all errors of a document, or invalid-resource.
func kindOf(errs doc.Errors) problem.Kind {
	first := problem.Kind(errs[0].Type)
	for _, e := range errs {
		if e.Type != "" && problem.Kind(e.Type) != first {
			return problem.InvalidResource
		}
	}
	return first
}

// statusOf is the status of a kind; for a document with several kinds of errors, that of the earliest stage.
func statusOf(kind problem.Kind, errs doc.Errors) int {
	if kind != problem.InvalidResource || len(errs) == 0 {
		return kind.Status()
	}
	at := len(stages)
	for _, e := range errs {
		if i := slices.Index(stages, problem.Kind(e.Type).Status()); i >= 0 {
			at = min(at, i)
		}
	}
	if at == len(stages) {
		return kind.Status()
	}
	return stages[at]
}

// findingsOf shows errors of documents; level "" leaves it out.
func findingsOf(errs doc.Errors, level FindingLevel) []Finding {
	var out []Finding
	for _, e := range errs {
		file := e.File
		if file == bodyJSON || file == bodyYAML {
			file = ""
		}
		out = append(out, Finding{Type: e.Type, Level: level, File: file, Pointer: e.Pointer, Line: e.Line, Column: e.Column, Detail: e.Message, Hint: e.Hint})
	}
	return out
}

// fail answers a request with what went wrong; echo calls it once per failed request.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	id := c.Response().Header().Get(echo.HeaderXRequestID)
	p, kind, retryAfter := problemOf(err, id)
	s.logFailure(c, err, p.Status, kind, id)
	h := c.Response().Header()
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Seconds()))))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="sluice"`)
	}
	if kind.Closes() {
		h.Set("Connection", "close")
	}
	body, err := doc.Marshal(p)
	if err != nil {
		s.log.Error("problem not written", "error", err)
		c.Response().WriteHeader(http.StatusInternalServerError)
		return
	}
	if err := c.Blob(p.Status, problem.ContentType, append(body, '\n')); err != nil {
		s.log.Debug("answer not written", "error", err)
	}
}

// logFailure writes one line per refused request, with what the client is not told. Its event says what kind of refusal it is.
func (s *Server) logFailure(c echo.Context, err error, status int, kind problem.Kind, id string) {
	event, level := eventOf(err, kind, status)
	if level == slog.LevelInfo && c.Request().Method == http.MethodGet {
		level = slog.LevelDebug
	}
	text := err.Error()
	if at := strings.IndexByte(text, '\n'); at > 0 {
		text = text[:at] + " …"
	}
	if len(text) > mostLogged {
		text = text[:mostLogged] + "…"
	}
	s.log.Log(c.Request().Context(), level, event, "slug", string(kind), "status", status, "method", c.Request().Method,
		"route", c.Path(), "client_ip", c.RealIP(), "user", callerOf(c).Name, "request_id", id, "error", text)
}

// mostLogged is how many bytes of an error a line of the log has.
const mostLogged = 1024

// Events of the log.
const (
	eventReject   = "mgmt.reject"
	eventSSRF     = "ssrf.block"          // an address that must not be connected to
	eventGuessing = "auth.bruteforce"     // more wrong credentials than anybody has by mistake
	eventRef      = "import.external_ref" // a document that wants another one fetched
)

// hostile are the refusals that hardly happen by mistake.
var hostile = []problem.Kind{problem.CrossOrigin, problem.Forbidden, problem.BodyTooLarge, "document-too-large", "duplicate-key", "too-deep",
	"endpoint-scheme", "endpoint-userinfo", "invalid-backend-path", "invalid-archive"}

// eventOf names the event of a refusal, and how much it deserves a look.
func eventOf(err error, kind problem.Kind, status int) (event string, level slog.Level) {
	parts := append(partsOf(err), problem.Part{Type: string(kind)})
	has := func(k problem.Kind) bool {
		return slices.ContainsFunc(parts, func(p problem.Part) bool { return p.Type == string(k) })
	}
	switch {
	case status >= http.StatusInternalServerError && !errors.Is(err, outbound.ErrForbidden):
		return eventReject, slog.LevelError
	case has("endpoint-forbidden") || errors.Is(err, outbound.ErrForbidden):
		return eventSSRF, slog.LevelWarn
	case has(problem.TooManyAttempts):
		return eventGuessing, slog.LevelWarn
	case has("external-ref"):
		return eventRef, slog.LevelWarn
	case errors.Is(err, errHidden) || slices.ContainsFunc(hostile, has) || slices.ContainsFunc(parts, trick):
		return eventReject, slog.LevelWarn
	}
	return eventReject, slog.LevelInfo
}

// trick tells YAML that is well-formed and that nobody writes by mistake: custom tags, merge keys.
func trick(p problem.Part) bool {
	return p.Type == doc.TypeInvalidYAML && strings.HasSuffix(p.Reason, doc.NotAllowed)
}

// partsOf are the wrong parts that a refusal names.
func partsOf(err error) (out []problem.Part) {
	var told *problem.Error
	var docs doc.Errors
	var refused *asyncapi.RefusedError
	if errors.As(err, &told) {
		out = append(out, told.Errors...)
	}
	if errors.As(err, &docs) {
		for _, e := range docs {
			out = append(out, problem.Part{Type: e.Type, Reason: e.Message})
		}
	}
	if errors.As(err, &refused) {
		out = append(out, refused.Parts...)
	}
	return out
}
