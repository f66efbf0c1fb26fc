package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

const (
	tryPath = "try/"
	// mostTries is how many streams people may try at once by way of one control node: it is for looking, not for reading.
	mostTries = 64
)

// try forwards a stream of an edge, so that the page needs no other origin than its own.
type try struct {
	edge  func(https bool) *url.URL
	proxy *httputil.ReverseProxy
	open  atomic.Int32
}

// takenToEdge are the header fields that go on; the session cookie is not among them.
var takenToEdge = []string{"Accept", "Last-Event-Id", "Apikey", "Authorization"}

func newTry(edge func(bool) *url.URL, config *tls.Config, log *slog.Logger) *try {
	if edge == nil {
		edge = func(bool) *url.URL { return nil }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &try{edge: edge, proxy: &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite:       func(*httputil.ProxyRequest) {}, // stream has made the request as it goes
		Transport: &http.Transport{
			Proxy: nil, ForceAttemptHTTP2: false, ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true, MaxIdleConns: 4,
			DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig: config,
		},
		ModifyResponse: func(res *http.Response) error {
			for _, name := range []string{"Set-Cookie", "Strict-Transport-Security", "Access-Control-Allow-Origin"} {
				res.Header.Del(name)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				refuse(w, &problem.Error{Kind: problem.BrokerUnavailable, Detail: "No edge answers the control node.", Err: err})
			}
		},
	}}
}

// refuse answers with problem details.
func refuse(w http.ResponseWriter, err error) {
	p := problem.From(err, "")
	w.Header().Set("Content-Type", problem.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // a client that left needs nothing
}

// stream answers GET of a stream for whoever is signed in.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, rest string) {
	if err := s.mayTry(r); err != nil {
		refuse(w, err)
		return
	}
	to := s.try.edge(r.URL.Query().Get("transport") == "https")
	if to == nil {
		refuse(w, &problem.Error{Kind: problem.NotFound, Detail: "This control node knows no edge that answers so."})
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
	s.try.proxy.ServeHTTP(w, toEdge(r, to, rest))
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

// toEdge is the request as it goes on: the page's own path and options, and only the header fields that a stream needs.
func toEdge(r *http.Request, to *url.URL, rest string) *http.Request {
	out := r.Clone(r.Context())
	query := r.URL.Query()
	query.Del("transport")
	raw := r.URL.EscapedPath()[len(Path)+len(tryPath):]
	out.URL = &url.URL{Scheme: to.Scheme, Host: to.Host, Path: "/" + rest, RawPath: "/" + raw, RawQuery: query.Encode()}
	out.Host = to.Host
	out.Header = http.Header{}
	for _, name := range takenToEdge {
		if v, ok := r.Header[http.CanonicalHeaderKey(name)]; ok {
			out.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	out.Header.Set("User-Agent", "sluice-portal")
	return out
}
