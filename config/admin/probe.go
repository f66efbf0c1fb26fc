package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/outbound"
	"sluice/internal/problem"
	"sluice/internal/sse"
)

// Bounds of a probe.
const (
	probeTime      = 5 * time.Second
	probeRedirects = 5
	probesAtOnce   = 8
	probeMaxEvent  = 64 << 10
	probeShown     = 4 << 10 // of the data of an event
)

// ValidateEndpoint implements ServerInterface.
func (s *Server) ValidateEndpoint(c echo.Context) error {
	var in EndpointProbe
	if err := s.decode(c, &in); err != nil {
		return err
	}
	if s.reach == nil {
		return &problem.Error{Kind: problem.Forbidden, Detail: "Nothing is connected to from here."}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), s.probeTime)
	defer cancel()
	select {
	case s.probing <- struct{}{}:
		defer func() { <-s.probing }()
	case <-ctx.Done():
		return &problem.Error{Kind: problem.Overloaded, Detail: "As many endpoints are looked at as may be at once.", RetryAfter: probeTime}
	}
	out := EndpointVerdict{Errors: []Finding{}, Warnings: []Finding{}}
	address, err := s.probeAddress(in)
	var wrong doc.Errors
	switch {
	case errors.As(err, &wrong):
		out.Errors = findingsOf(wrong, "error")
	case err != nil:
		return err
	default:
		p := probe{guard: s.reach, header: http.Header{}, out: &out, began: time.Now()}
		for name, value := range in.Headers {
			p.header.Set(name, value)
		}
		p.look(ctx, address)
	}
	out.Valid = len(out.Errors) == 0
	return answer(c, http.StatusOK, out)
}

// probeAddress is where the gateway would connect to, by the rules of a definition; what is against them is told with the pointers of
// the question.
func (s *Server) probeAddress(in EndpointProbe) (*url.URL, error) {
	topic := map[string]any{"name": "/probe", "security": "none", "backend": "/"}
	if in.Path != "" {
		topic["backend"] = in.Path
	}
	text, err := json.Marshal(map[string]any{"apiVersion": catalog.APIVersion, "kind": catalog.KindAPI, "metadata": map[string]any{"name": "probe"},
		"spec": map[string]any{"context": "/probe", "version": "1", "state": "PUBLISHED", "endpoint": in.Endpoint,
			"upstream": map[string]any{"headers": in.Headers}, "topics": []any{topic}}})
	if err != nil {
		return nil, err
	}
	src := catalog.Source{Name: bodyJSON, Data: text}
	if in.Endpoint == "" {
		return nil, doc.Errors{{Type: "invalid-value", Pointer: "/endpoint", Message: "must be an absolute http or https URL"}}
	}
	store, err := catalog.NewStatic(s.options, src)
	if err != nil {
		return nil, asked(err)
	}
	if in.Path == "" {
		return url.Parse(in.Endpoint)
	}
	route, err := store.Snapshot().Match("/probe/1/probe", "")
	if err != nil {
		return nil, err
	}
	return url.Parse(route.Upstream)
}

// asked makes errors of the definition errors of the question it was made from.
func asked(err error) error {
	var errs doc.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			e.Line, e.Column = 0, 0
			for from, to := range map[string]string{"/spec/endpoint": "/endpoint", "/spec/topics/0/backend": "/path", "/spec/upstream": ""} {
				if rest, ok := strings.CutPrefix(e.Pointer, from); ok {
					e.Pointer = to + rest
					break
				}
			}
		}
	}
	return err
}

// probe is one look at a backend.
type probe struct {
	guard  *outbound.Guard
	header http.Header // of the address given, not of where it redirects to
	out    *EndpointVerdict
	began  time.Time
}

// look connects and fills in what is found.
func (p *probe) look(ctx context.Context, address *url.URL) {
	rt := outbound.Transport(p.guard.Dialer(probeTime), nil, outbound.Limits{})
	defer rt.CloseIdleConnections()
	defer func() { p.out.ElapsedMs = int(time.Since(p.began).Milliseconds()) }()
	res, err := p.follow(ctx, rt, address)
	if err != nil {
		p.fail(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	p.out.Reachable, p.out.Status, p.out.ContentType = true, res.StatusCode, clipped(res.Header.Get("Content-Type"), 100)
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	switch encoding := res.Header.Get("Content-Encoding"); {
	case res.StatusCode != http.StatusOK:
		p.fail(said(fmt.Sprintf("The backend answers %d %s.", res.StatusCode, http.StatusText(res.StatusCode))))
		return
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		p.fail(said("The backend answers with a content encoding, which event streams must not have."))
		return
	case !strings.EqualFold(strings.TrimSpace(kind), "text/event-stream"):
		p.fail(said("The backend answers, but with no event stream: its content type is not text/event-stream."))
		return
	}
	p.out.EventStream = true
	p.first(ctx, res)
}

// first reads the first event.
func (p *probe) first(ctx context.Context, res *http.Response) {
	large := false
	d := sse.NewDecoder(res.Body, sse.Options{MaxEvent: probeMaxEvent, OnOversize: func(int64) { large = true }})
	ev, err := d.Next()
	switch {
	case err == nil:
		p.out.FirstEvent = ProbedEvent{Type: clipped(string(ev.Type), 255), ID: clipped(string(ev.ID), 255), Data: clipped(string(ev.Data), probeShown), Size: len(ev.Data)}
		if p.out.FirstEvent.Type == "" {
			p.out.FirstEvent.Type = "message"
		}
	case ctx.Err() != nil && large:
		p.warn("The first events are larger than a probe reads.")
	case ctx.Err() != nil:
		p.warn("No event came in time.")
	default:
		p.warn("The stream ended before its first event.")
	}
}

func (p *probe) warn(text string) {
	p.out.Warnings = append(p.out.Warnings, Finding{Level: "warning", Pointer: "/endpoint", Detail: text})
}

// said is an error whose text is for the caller.
type said string

func (s said) Error() string { return string(s) }

// fail tells what went wrong. Text of the error itself is not told, as it may name addresses.
func (p *probe) fail(err error) {
	f := Finding{Level: "error", Pointer: "/endpoint"}
	var text said
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &text):
		f.Detail = string(text)
	case errors.Is(err, outbound.ErrForbidden):
		f.Type, f.Detail = "endpoint-forbidden", "Its address is not one that endpoints may have."
	case errors.As(err, &name):
		f.Detail = "The name of the host is not known."
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Detail = "Nobody listens there."
	case errors.As(err, &certificate):
		f.Detail = "The certificate is not valid for the host, or nobody vouches for it."
	case errors.As(err, &record):
		f.Detail = "What answers does not speak TLS."
	case isTimeout(err):
		f.Detail = "Nobody answered in time."
	default:
		f.Detail = "The connection failed."
	}
	p.out.Errors = append(p.out.Errors, f)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// follow sends the request, and those that redirects lead to, as ingest does: nothing but the standard fields goes to another origin.
func (p *probe) follow(ctx context.Context, rt http.RoundTripper, u *url.URL) (*http.Response, error) {
	origin := u
	for range probeRedirects + 1 {
		if err := p.guard.CheckURL(u); err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		if u.Scheme == origin.Scheme && u.Host == origin.Host {
			req.Header = p.header.Clone()
		}
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("Cache-Control", "no-cache")
		res, err := rt.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		at, err := res.Location()
		if res.StatusCode < 300 || res.StatusCode >= 400 || err != nil {
			return res, nil
		}
		_ = res.Body.Close()
		if u.Scheme == "https" && at.Scheme == "http" {
			return nil, said("The backend redirects from https to http.")
		}
		at.User, at.Fragment, at.RawFragment = nil, "", ""
		u = at
	}
	return nil, said(fmt.Sprintf("The backend redirects more than %d times.", probeRedirects))
}

// clipped is at most n bytes of text, cut at a character, and valid UTF-8.
func clipped(text string, n int) string {
	if len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
