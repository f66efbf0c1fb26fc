package portal

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

const (
	tryPath = "try/"
	// mostTries is how many streams people may try at once by way of one control node: it is for looking, not for reading.
	mostTries = 64
)

// Target is how the streams of an API are reached.
type Target struct {
	// Base is the API's path on an edge, without a slash at its end.
	Base string
	// Headers are the names of those that may carry a credential.
	Headers []string
	// Edges that serve it, the best first; they are asked in this order until one answers.
	Edges []Edge
}

// Edge is an edge as this node reaches it.
type Edge struct {
	// URL is scheme and host, perhaps a path before the API's.
	URL *url.URL
	// Own tells that it is an address of this process: nobody is in between, whatever name its certificate has. Another is one that an
	// edge has told over the broker: a word, not a proof. See announced.
	Own bool
}

// try forwards a stream of an edge, so that the page needs no other origin than its own.
type try struct {
	target func(id string) (Target, bool)
	proxy  *httputil.ReverseProxy
	open   atomic.Int32
}

// takenToEdge are the header fields that go on, beside those with a credential; the session cookie is not among them.
var takenToEdge = []string{"Accept", "Last-Event-Id"}

func newTry(target func(id string) (Target, bool), log *slog.Logger) *try {
	if target == nil {
		target = func(string) (Target, bool) { return Target{}, false }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &try{target: target, proxy: &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite:       func(*httputil.ProxyRequest) {}, // stream has made the request as it goes
		Transport: &edges{log: log, own: transport(nil, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}), //nolint:gosec // see Edge.Own
			announced: transport(announced, nil)},
		ModifyResponse: func(res *http.Response) error {
			for _, name := range []string{"Set-Cookie", "Strict-Transport-Security", "Access-Control-Allow-Origin"} {
				res.Header.Del(name)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				refuse(w, &problem.Error{Kind: problem.BrokerUnavailable, Detail: "No edge that serves this API answers the control node.", Err: err})
			}
		},
	}}
}

// transport makes connections that control may refuse, checked by config or the system's authorities.
func transport(control func(network, address string, c syscall.RawConn) error, config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: nil, ForceAttemptHTTP2: false, ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true, MaxIdleConns: 4,
		DialContext:     (&net.Dialer{Timeout: 5 * time.Second, Control: control}).DialContext,
		TLSClientConfig: config,
	}
}

// announced refuses to connect to addresses where no edge can be, such as the one that tells machines of a cloud their secrets. Private and
// loopback addresses are where edges live.
func announced(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return errors.New("an edge has told an address that can be none")
	}
	return nil
}

// edges asks the edges of a target, one after the other.
type edges struct {
	own, announced http.RoundTripper
	log            *slog.Logger
}

// edgesKey is the context's key of the edges to ask, a []Edge.
type edgesKey struct{}

var errNoEdge = errors.New("answers as no edge does")

// RoundTrip implements http.RoundTripper. An edge refuses with problem details and sends event streams: whatever answers otherwise is
// none, and nothing of its answer is shown.
func (e *edges) RoundTrip(r *http.Request) (*http.Response, error) {
	var failed error
	at, _ := r.Context().Value(edgesKey{}).([]Edge)
	for _, edge := range at {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.Host = edge.URL.Scheme, edge.URL.Host, edge.URL.Host
		out.URL.Path, out.URL.RawPath = edge.URL.Path+r.URL.Path, edge.URL.EscapedPath()+r.URL.EscapedPath()
		by := e.announced
		if edge.Own {
			by = e.own
		}
		res, err := by.RoundTrip(out)
		if err == nil && !ofAnEdge(res) {
			_ = res.Body.Close() //nolint:errcheck // nothing of it is used
			err = errNoEdge
		}
		if err == nil {
			return res, nil
		}
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		e.log.Info("an edge cannot be tried", "edge", edge.URL.Redacted(), "error", err)
		failed = errors.Join(failed, err)
	}
	return nil, cmp.Or(failed, errNoEdge)
}

// ofAnEdge tells whether an answer is one that edges give.
func ofAnEdge(res *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch res.StatusCode {
	case http.StatusOK:
		return kind == "text/event-stream"
	case http.StatusNoContent:
		return true
	}
	return res.StatusCode >= 400 && kind == problem.ContentType
}

// refuse answers with problem details.
func refuse(w http.ResponseWriter, err error) {
	p := problem.From(err, "")
	w.Header().Set("Content-Type", problem.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // a client that left needs nothing
}

// stream answers GET of a stream for whoever is signed in: try/<id of the API>/<path of a feed>.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if err := s.mayTry(r); err != nil {
		refuse(w, err)
		return
	}
	id, path, found := splitTry(r)
	to, known := s.try.target(id)
	switch {
	case !found || !known:
		refuse(w, &problem.Error{Kind: problem.NotFound, Detail: "No such API is served."})
		return
	case len(to.Edges) == 0:
		refuse(w, &problem.Error{Kind: problem.NotFound, Detail: "This control node knows no address of an edge that serves the API: " +
			"edges with edge.publicURLs tell theirs."})
		return
	}
	if s.try.open.Add(1) > mostTries {
		s.try.open.Add(-1)
		refuse(w, &problem.Error{Kind: problem.TooManyConnections, Detail: "Too many streams are tried at once on this control node."})
		return
	}
	defer s.try.open.Add(-1)
	// A stream has no end that the listener's timeouts know.
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{}) //nolint:errcheck // else the listener's own limit ends it, as it would
	_ = c.SetReadDeadline(time.Time{})  //nolint:errcheck // same
	s.try.proxy.ServeHTTP(w, toEdge(r, to, path))
}

// mayTry refuses who is not signed in, and what is no plain GET of the page.
func (s *Server) mayTry(r *http.Request) error {
	if r.Method != http.MethodGet {
		return problem.MethodNotAllowed
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return problem.CrossOrigin
	}
	token := auth.CookieToken(r)
	if token == "" {
		return problem.Unauthenticated
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	_, err = s.accounts.Token(r.Context(), host, token)
	return err
}

// splitTry takes an address apart: the API's id, and the path below the API as it was escaped. A path that leads up is none.
func splitTry(r *http.Request) (id, path string, ok bool) {
	id, path, _ = strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), Path+tryPath), "/")
	id, err := url.PathUnescape(id)
	for part := range strings.SplitSeq(path, "/") {
		if text, bad := url.PathUnescape(part); bad != nil || text == "." || text == ".." {
			return "", "", false
		}
	}
	return id, path, err == nil
}

// toEdge is the request as it goes on: below the API's own path, and only with the header fields that a stream needs.
func toEdge(r *http.Request, to Target, path string) *http.Request {
	out := r.Clone(context.WithValue(r.Context(), edgesKey{}, to.Edges))
	raw := to.Base + "/" + path
	plain, _ := url.PathUnescape(raw) // splitTry has done so with the parts
	out.URL = &url.URL{Path: plain, RawPath: raw, RawQuery: r.URL.RawQuery}
	out.Header = http.Header{}
	for _, name := range append(slices.Clone(takenToEdge), to.Headers...) {
		name = http.CanonicalHeaderKey(name)
		if v, ok := r.Header[name]; ok && name != "Cookie" {
			out.Header[name] = v
		}
	}
	out.Header.Set("User-Agent", "sluice-portal")
	return out
}
