package upstream

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"net/netip"
	"sluice/internal/broker"
	"sluice/internal/outbound"
)

func client(check func(*url.URL) error) *Client {
	g := outbound.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	return New(outbound.Transport(g.Dialer(time.Second), nil, outbound.Limits{}), check, "sluice/test", wall{})
}

// open answers one request with h.
func open(t *testing.T, h http.HandlerFunc) (*Conn, *Error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client(nil).Open(t.Context(), Target{URL: srv.URL + "/x"}, "", "", Hooks{})
	if err == nil {
		c.Close()
		return c, nil
	}
	e := AsError(err)
	if e == nil {
		t.Fatalf("error of type %T: %v", err, err)
	}
	return nil, e
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name       string
		status     int
		header     map[string]string
		state      string
		pace       Pace
		retryAfter time.Duration
	}{
		{"204", 204, nil, StateEnded, PacePark, 0},
		{"205", 205, nil, StateError, PaceBackoff, 0},
		{"304", 304, nil, StateError, PaceBackoff, 0},
		{"401", 401, nil, StateAuth, PaceMax, 0},
		{"403", 403, nil, StateAuth, PaceMax, 0},
		{"404", 404, nil, StateMissing, PaceBackoff, 0},
		{"410", 410, nil, StateMissing, PaceBackoff, 0},
		{"429 seconds", 429, map[string]string{"Retry-After": "7"}, StateError, PaceBackoff, 7 * time.Second},
		{"429 zero", 429, map[string]string{"Retry-After": "0"}, StateError, PaceBackoff, 500 * time.Millisecond},
		{"503 a year", 503, map[string]string{"Retry-After": "31536000"}, StateError, PaceBackoff, 10 * time.Minute},
		{"503 huge", 503, map[string]string{"Retry-After": strings.Repeat("9", 40)}, StateError, PaceBackoff, 10 * time.Minute},
		{"503 past date", 503, map[string]string{"Retry-After": "Mon, 02 Jan 2006 15:04:05 GMT"}, StateError, PaceBackoff,
			500 * time.Millisecond},
		{"503 nonsense", 503, map[string]string{"Retry-After": "-5"}, StateError, PaceBackoff, 0},
		{"500 with Retry-After", 500, map[string]string{"Retry-After": "7"}, StateError, PaceBackoff, 0},
		{"302 without location", 302, nil, StateError, PaceBackoff, 0},
		{"200 without type", 200, map[string]string{"Content-Type": ""}, StateBadContentType, PaceMax, 0},
		{"200 html", 200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, StateBadContentType, PaceMax, 0},
		{"200 similar type", 200, map[string]string{"Content-Type": "text/event-streams"}, StateBadContentType, PaceMax, 0},
		{"200 brotli", 200, map[string]string{"Content-Type": "text/event-stream", "Content-Encoding": "br"}, StateEncoded,
			PaceMax, 0},
		{"200 identity", 200, map[string]string{"Content-Type": "Text/Event-Stream ; x=y", "Content-Encoding": "identity"}, "",
			0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := open(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = []string{v}
				}
				w.WriteHeader(c.status)
			})
			if e == nil {
				e = &Error{}
			}
			if e.State != c.state || e.Pace != c.pace || e.RetryAfter != c.retryAfter || len(e.Why) > maxWhy {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var srv *httptest.Server
	var hops []string
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops = append(hops, r.URL.RequestURI()+" "+r.Header.Get("X-Key")+" "+r.Header.Get("Last-Event-ID"))
		switch {
		case r.URL.Path == "/5":
			w.Header().Set("Content-Type", "text/event-stream")
		case r.URL.Path < "/5":
			http.Redirect(w, r, "/"+string(r.URL.Path[1]+1)+"?q=1#frag", []int{301, 302, 303, 307, 308}[r.URL.Path[1]-'0'])
		default:
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}
	}))
	defer srv.Close()
	tg := Target{URL: srv.URL + "/0", Header: http.Header{"X-Key": {"k"}}}
	c, err := client(nil).Open(t.Context(), tg, "id7", "", Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := []string{"/0 k id7", "/1?q=1 k id7", "/2?q=1 k id7", "/3?q=1 k id7", "/4?q=1 k id7", "/5?q=1 k id7"}
	if d := cmp.Diff(want, hops); d != "" {
		t.Error(d)
	}
	hops = nil
	tg.URL = srv.URL + "/x"
	_, err = client(nil).Open(t.Context(), tg, "", "", Hooks{})
	if e := AsError(err); e == nil || e.State != StateRedirectLoop || len(hops) != 6 {
		t.Errorf("loop: %v after %d requests", err, len(hops))
	}
}

func TestEachHopIsChecked(t *testing.T) {
	bad := errors.New("not this one")
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path)
		http.Redirect(w, r, "/two", http.StatusFound)
	}))
	defer srv.Close()
	check := func(u *url.URL) error {
		if u.Path == "/two" {
			return bad
		}
		return nil
	}
	_, err := client(check).Open(t.Context(), Target{URL: srv.URL + "/one"}, "", "", Hooks{})
	if e := AsError(err); e == nil || e.State != StateBlocked || !errors.Is(err, bad) || len(seen) != 1 {
		t.Errorf("%v after %v", err, seen)
	}
}

func TestDowngradeIsRefused(t *testing.T) {
	u, _ := url.Parse("https://a.test/x")
	_, err := redirectTo(u, &http.Response{StatusCode: 302, Header: http.Header{"Location": {"http://a.test/x"}}})
	if e := AsError(err); e == nil || e.State != StateBlocked {
		t.Errorf("got %v", err)
	}
	next, err := redirectTo(u, &http.Response{StatusCode: 302, Header: http.Header{"Location": {"//u:p@b.test/y"}}})
	if err != nil || next.String() != "https://b.test/y" {
		t.Errorf("got %v, %v", next, err)
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"http://a.test/x", "http://A.test:80/y", true}, {"https://a.test", "https://a.test:443", true},
		{"http://a.test", "https://a.test", false}, {"http://a.test", "http://a.test:81", false},
		{"http://a.test", "http://b.test", false}, {"http://a.test", "http://sub.a.test", false},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if sameOrigin(a, b) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
}

func TestRefusedConnection(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	_, err := client(nil).Open(t.Context(), Target{URL: srv.URL}, "", "", Hooks{})
	e := AsError(err)
	if e == nil || e.State != StateBackoff || !strings.Contains(e.Why, "refused") || strings.Contains(e.Why, "127.0.0.1") {
		t.Errorf("got %+v", e)
	}
}

func TestSendableID(t *testing.T) {
	for id, want := range map[string]bool{"": false, "7": true, "a b": true, " a": false, "a ": false, "a\tb": false,
		"é\xff": true, "a\x7f": false, "a\x01": false, strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false} {
		if SendableID(id) != want {
			t.Errorf("%.20q: want %v", id, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://u:p@h/x?token=s3cret&b=2#f": "http://h/x?token=…&b=…", "http://h/x": "http://h/x", "://": "(not a URL)",
	} {
		if got := Redact(raw); got != want && strings.ReplaceAll(got, "%E2%80%A6", "…") != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
}

// The states are the broker's words: edges and dashboards read them.
func TestStatesAreTheBrokers(t *testing.T) {
	known := map[string]bool{}
	for _, s := range broker.States() {
		known[s] = true
	}
	for _, s := range []string{StateBackoff, StateError, StateMissing, StateAuth, StateEnded, StateRedirectLoop, StateBlocked,
		StateBadContentType, StateEncoded, StateTLS, StateStalled} {
		if !known[s] {
			t.Errorf("%q is no state of a beacon", s)
		}
	}
}

// Whatever the URL, no user, password or query value of it is shown.
func TestRedactHidesEveryValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`SECRET[A-Za-z0-9%20&;=+]{0,12}`)
		u := url.URL{Scheme: "http", Host: "h", Path: "/p", User: url.UserPassword(word.Draw(t, "user"), word.Draw(t, "pass")),
			Fragment: word.Draw(t, "fragment")}
		q := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			q.Add(rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "name"), word.Draw(t, "value"))
		}
		u.RawQuery = q.Encode()
		if got := Redact(u.String()); strings.Contains(got, "SECRET") || !strings.HasPrefix(got, "http://h/p") {
			t.Fatalf("%s is shown as %s", u.String(), got)
		}
	})
}
