package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/internal/sse"
)

// maxRedirects is how many hops one Open follows.
const maxRedirects = 5

// Clock is the wall clock, for dates in answers.
type Clock interface{ Now() time.Time }

// Target is one upstream resource and how to read it.
type Target struct {
	// URL is absolute, http or https.
	URL string
	// Header are the API's static headers and credentials. They are sent to the URL's own origin only: a redirect to
	// another one drops them all.
	Header http.Header
	// Idle ends a connection that sent no byte for so long; 0 = never. Assembly ends one whose event is not finished
	// so long after its first byte; 0 = never. Both count only time spent waiting for the upstream.
	Idle, Assembly time.Duration
	// MaxEvent caps one event in bytes; 0 means sse.DefaultMaxEvent. Larger ones are skipped.
	MaxEvent int
}

// Hooks hear of what Next does not return. They run inside Next, on its goroutine, in stream order. Nil ones are skipped.
type Hooks struct {
	OnBytes    func(n int)     // n bytes arrived
	OnRetry    func(ms uint64) // the upstream set its reconnection time
	OnLongID   func(n int)     // an id of n bytes was ignored
	OnOversize func(n int64)   // an event of n bytes was skipped
}

// Client opens connections. Safe for concurrent use.
type Client struct {
	rt      http.RoundTripper
	check   func(*url.URL) error
	product string
	clock   Clock
}

// New returns a Client. rt must neither follow redirects nor decode bodies (outbound.Transport). check refuses URLs before
// anything is dialled, for the configured URL and for each redirect; nil allows all. product is the User-Agent.
func New(rt http.RoundTripper, check func(*url.URL) error, product string, clock Clock) *Client {
	if check == nil {
		check = func(*url.URL) error { return nil }
	}
	return &Client{rt: rt, check: check, product: product, clock: clock}
}

// Open connects to t and returns once the upstream has answered with an event stream. send is the Last-Event-ID to
// present, raw bytes, "" = none; sticky is the id in force until the upstream sends another. ctx governs the whole life of
// the Conn. The error is an *Error, or the cause of ctx's end.
func (c *Client) Open(ctx context.Context, t Target, send, sticky string, h Hooks) (*Conn, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, &Error{State: StateError, Why: "endpoint is not a URL", Pace: PaceMax, Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	res, err := c.follow(ctx, u, t, send)
	if err == nil {
		err = c.accept(res)
		if err != nil {
			_ = res.Body.Close() // the answer is refused whatever closing says
		}
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return newConn(ctx, cancel, res, t, sticky, h), nil
}

// follow sends the request and the redirects it leads to.
func (c *Client) follow(ctx context.Context, u *url.URL, t Target, send string) (*http.Response, error) {
	origin := u
	for hop := 0; ; hop++ {
		if err := c.check(u); err != nil {
			return nil, &Error{State: StateBlocked, Why: clip(err.Error()), Pace: PaceMax, Err: err}
		}
		res, err := c.rt.RoundTrip(c.request(ctx, u, t, send, sameOrigin(origin, u)))
		if err != nil {
			return nil, dialError(ctx, err)
		}
		if !isRedirect(res.StatusCode) {
			return res, nil
		}
		_ = res.Body.Close() // nothing in it is wanted
		if hop == maxRedirects {
			return nil, &Error{State: StateRedirectLoop, Status: res.StatusCode,
				Why: fmt.Sprintf("more than %d redirects", maxRedirects)}
		}
		next, err := redirectTo(u, res)
		if err != nil {
			return nil, err
		}
		u = next
	}
}

func (c *Client) request(ctx context.Context, u *url.URL, t Target, send string, own bool) *http.Request {
	h := make(http.Header, 8+len(t.Header))
	if own {
		for k, v := range t.Header {
			h[k] = v
		}
	}
	h.Set("Accept", "text/event-stream")
	h.Set("Accept-Encoding", "identity")
	h.Set("Cache-Control", "no-cache")
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", c.product)
	}
	if send != "" {
		h["Last-Event-Id"] = []string{send}
	}
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return req.WithContext(ctx)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectTo returns where res sends a request for u.
func redirectTo(u *url.URL, res *http.Response) (*url.URL, error) {
	bad := func(why string, err error) error {
		return &Error{State: StateError, Status: res.StatusCode, Why: why, Err: err}
	}
	loc := res.Header.Get("Location")
	if loc == "" {
		return nil, bad("redirect without a location", nil)
	}
	next, err := u.Parse(loc)
	if err != nil {
		return nil, bad("redirect to what is no URL", nil)
	}
	next.Fragment, next.RawFragment = "", ""
	switch {
	case next.Scheme != "http" && next.Scheme != "https" || next.Host == "":
		return nil, &Error{State: StateBlocked, Status: res.StatusCode, Pace: PaceMax,
			Why: clip("redirect to scheme " + next.Scheme)}
	case u.Scheme == "https" && next.Scheme == "http":
		return nil, &Error{State: StateBlocked, Status: res.StatusCode, Pace: PaceMax, Why: "redirect from https to http"}
	case next.User != nil:
		next.User = nil
	}
	return next, nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// accept says whether res is an event stream.
func (c *Client) accept(res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return statusError(res, c.clock.Now())
	}
	if enc := strings.TrimSpace(res.Header.Get("Content-Encoding")); enc != "" && !strings.EqualFold(enc, "identity") {
		return &Error{State: StateEncoded, Status: res.StatusCode, Pace: PaceMax, Why: clip("content-encoding " + enc)}
	}
	typ, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(typ), "text/event-stream") {
		why := "no content-type"
		if typ != "" {
			why = clip("content-type " + typ)
		}
		return &Error{State: StateBadContentType, Status: res.StatusCode, Pace: PaceMax, Why: why}
	}
	return nil
}

// charset returns the charset parameter of a content type that is not UTF-8, else "".
func charset(contentType string) string {
	_, params, _ := strings.Cut(contentType, ";")
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "charset") {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if strings.EqualFold(value, "utf-8") || strings.EqualFold(value, "utf8") {
			return ""
		}
		return clip(value)
	}
	return ""
}

// SendableID says whether id can be sent as a header value and arrive unchanged.
func SendableID(id string) bool {
	if id == "" || id[0] == ' ' || id[len(id)-1] == ' ' {
		return false
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] == 0x7f {
			return false
		}
	}
	return len(id) <= sse.DefaultMaxID
}

// Redact returns raw without user and with the values of its query hidden: what logs and pages may show.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.Fragment = nil, ""
	if u.RawQuery != "" {
		var names []string
		for p := range strings.SplitSeq(u.RawQuery, "&") {
			name, _, _ := strings.Cut(p, "=")
			names = append(names, name+"=…")
		}
		u.RawQuery = strings.Join(names, "&")
	}
	return u.String()
}

// AsError returns the *Error in err's chain, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
