package portal

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/auth"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

const password = "a password for the tests"

// users are accounts with one administrator, and the token of a session.
func users(t *testing.T) (*auth.Accounts, string) {
	t.Helper()
	node := brokertest.NewMemory(t)
	a, err := auth.New(auth.Config{
		Open:          func(ctx context.Context) (broker.Bucket, error) { return node.Admin().Bucket(ctx, auth.Bucket, 1) },
		FirstPassword: password, Cost: auth.Cost{KiB: 64, Rounds: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-a.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("no users")
	}
	s, err := a.Login(t.Context(), "test", "admin", password)
	if err != nil {
		t.Fatal(err)
	}
	return a, s.Token
}

func start(t *testing.T, d Deps) *httptest.Server {
	t.Helper()
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return ts
}

// get asks for a path and returns the answer and its body.
func get(t *testing.T, ts *httptest.Server, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}, Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

var built = fstest.MapFS{
	"app/index.html":      {Data: []byte(`<meta name="csp-nonce" content="CSP-NONCE"><script src="/portal/assets/x-1.js"></script>`)},
	"app/assets/x-1.js":   {Data: []byte(strings.Repeat("console.log(1);", 500))},
	"app/icon.svg":        {Data: []byte("<svg/>")},
	"placeholder.html":    {Data: []byte("built without")},
	"app/assets/x-1.wasm": {Data: []byte{0}},
}

func TestPagesThatWereNotBuilt(t *testing.T) {
	a, _ := users(t)
	ts := start(t, Deps{Accounts: a, Files: fstest.MapFS{"placeholder.html": {Data: []byte("run make ui")}}})
	for _, path := range []string{"/portal/", "/portal/apis/x@1.0.0"} {
		if res, body := get(t, ts, path); res.StatusCode != 200 || !strings.Contains(body, "make ui") {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
	// What is in this tree is served, whatever that is.
	if s, err := New(Deps{Accounts: a}); err != nil || len(s.page) == 0 {
		t.Errorf("%v, %d bytes", err, len(s.page))
	}
}

func TestPages(t *testing.T) {
	a, _ := users(t)
	ts := start(t, Deps{Accounts: a, Files: built})
	nonces := map[string]bool{}
	for _, path := range []string{"/portal/", "/portal/index.html", "/portal/apis/market@1.0.0/topics", "/portal/dev/a.b@1.0.0"} {
		res, body := get(t, ts, path)
		nonce, _, _ := strings.Cut(strings.TrimPrefix(body, `<meta name="csp-nonce" content="`), `"`)
		policy := res.Header.Get("Content-Security-Policy")
		if res.StatusCode != 200 || len(nonce) < 16 || nonces[nonce] || !strings.Contains(policy, "'nonce-"+nonce+"'") {
			t.Errorf("%s: %d, nonce %q, %s", path, res.StatusCode, nonce, policy)
		}
		if strings.Contains(policy, "unsafe") || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, res.Header)
		}
		nonces[nonce] = true
	}
	res, body := get(t, ts, "/portal/assets/x-1.js", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v: %v", err, res.Header)
	}
	text, err := io.ReadAll(z)
	if err != nil || string(text) != string(built["app/assets/x-1.js"].Data) || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%v: %d bytes, %v", err, len(text), res.Header)
	}
	for _, refuses := range []string{"", "gzip;q=0", "br"} {
		if res, body := get(t, ts, "/portal/assets/x-1.js", "Accept-Encoding", refuses); res.Header.Get("Content-Encoding") != "" || len(body) != 7500 {
			t.Errorf("%q: %v, %d bytes", refuses, res.Header, len(body))
		}
	}
	if res, _ := get(t, ts, "/portal/icon.svg", "If-None-Match", res.Header.Get("ETag")); res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	res, _ = get(t, ts, "/portal/icon.svg")
	if again, _ := get(t, ts, "/portal/icon.svg", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("%d", again.StatusCode)
	}
	for path, want := range map[string]int{"/portal/assets/none.js": 404, "/portal/../go.mod": 404, "/portal/%2e%2e/placeholder.html": 404, "/other": 404} {
		if res, _ := get(t, ts, path); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	post, err := http.Post(ts.URL+"/portal/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	post.Body.Close()
	if post.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", post.StatusCode)
	}
}

// edgeLike starts a server that answers as an edge does, and sends what it was asked.
func edgeLike(t *testing.T, answer http.HandlerFunc) (at *url.URL, seen <-chan *http.Request, end func()) {
	t.Helper()
	asked := make(chan *http.Request, 8)
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		answer(w, r)
	}))
	t.Cleanup(edge.Close)
	at, err := url.Parse(edge.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at, asked, edge.Close
}

func stream(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Set-Cookie", "__Host-sluice_stream=x")
	_, _ = io.WriteString(w, "retry: 1\n")
}

func TestTry(t *testing.T) {
	a, token := users(t)
	at, seen, end := edgeLike(t, stream)
	ts := start(t, Deps{Accounts: a, Files: built, Target: func(id string) (Target, bool) {
		to := Target{Base: "/market/1.0.0", Headers: []string{"Authorization", "X-Market-Key", "cookie"}}
		if id == "market@1.0.0" {
			to.Edges = []Edge{{URL: at, Own: true}}
		}
		return to, id != "none@1.0.0"
	}})
	cookie := auth.Cookie(token, false)
	in := []string{"Cookie", cookie.Name + "=" + cookie.Value, "X-Market-Key", "slk_x", "Last-Event-ID", "1-2", "Authorization", "Bearer y", "X-Secret", "z"}

	res, body := get(t, ts, "/portal/try/market@1.0.0/quotes/A%20B?from=live&transport=https", in...)
	if res.StatusCode != 200 || body != "retry: 1\n" || res.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%d %q %v", res.StatusCode, body, res.Header)
	}
	r := <-seen
	if r.URL.EscapedPath() != "/market/1.0.0/quotes/A%20B" || r.URL.RawQuery != "from=live&transport=https" || r.Host != at.Host {
		t.Errorf("asked %s for %s", r.Host, r.URL)
	}
	if h := r.Header; h.Get("Cookie") != "" || h.Get("X-Secret") != "" || h.Get("X-Market-Key") != "slk_x" || h.Get("Last-Event-ID") != "1-2" || h.Get("Authorization") != "Bearer y" {
		t.Errorf("%v", h)
	}
	for name, c := range map[string]struct {
		header []string
		path   string
		want   int
		tells  string
	}{
		"nobody":         {nil, "/portal/try/market@1.0.0/x", 401, `"/problems/unauthenticated"`},
		"bad cookie":     {[]string{"Cookie", cookie.Name + "=nonsense"}, "/portal/try/market@1.0.0/x", 401, `"/problems/unauthenticated"`},
		"another site":   {append([]string{"Sec-Fetch-Site", "same-site"}, in...), "/portal/try/market@1.0.0/x", 403, `"/problems/cross-origin"`},
		"no edge":        {in, "/portal/try/far@1.0.0/x", 404, "knows no address of an edge"},
		"no API":         {in, "/portal/try/none@1.0.0/x", 404, "No such API"},
		"a way up":       {in, "/portal/try/market@1.0.0/a/%2e%2e/x", 404, "No such API"},
		"another way up": {in, "/portal/try/market@1.0.0/%2E./x", 404, "No such API"},
	} {
		res, body := get(t, ts, c.path, c.header...)
		if res.StatusCode != c.want || !strings.Contains(body, c.tells) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	end()
	if res, body := get(t, ts, "/portal/try/market@1.0.0/x", in...); res.StatusCode != 503 || strings.Contains(body, at.Host) {
		t.Errorf("without an edge: %d %s", res.StatusCode, body)
	}
}

// Edges of other nodes are asked in their order; what answers as no edge does is passed over, and nothing of it shown.
func TestTryAtOtherEdges(t *testing.T) {
	a, token := users(t)
	cookie := auth.Cookie(token, false)
	good, seen, _ := edgeLike(t, stream)
	good.Path = "/in/front"
	refusing, _, _ := edgeLike(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"/problems/not-subscribed"}`)
	})
	other, _, _ := edgeLike(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "canary") })
	away, _, _ := edgeLike(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, good.String(), http.StatusFound) })
	gone, _, end := edgeLike(t, stream)
	end()
	cloud := &url.URL{Scheme: "http", Host: "169.254.169.254"}
	for name, c := range map[string]struct {
		edges []*url.URL
		want  int
		body  string
	}{
		"the first that answers": {[]*url.URL{gone, cloud, other, away, good, refusing}, 200, "retry: 1\n"},
		"a refusal is an answer": {[]*url.URL{refusing, good}, 403, `{"type":"/problems/not-subscribed"}`},
		"none":                   {[]*url.URL{gone, cloud, other, away}, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ts := start(t, Deps{Accounts: a, Files: built, Target: func(string) (Target, bool) {
				to := Target{Base: "/b"}
				for _, u := range c.edges {
					to.Edges = append(to.Edges, Edge{URL: u})
				}
				return to, true
			}})
			res, body := get(t, ts, "/portal/try/b@1/x%2By", "Cookie", cookie.Name+"="+cookie.Value)
			if res.StatusCode != c.want || c.body != "" && body != c.body || strings.Contains(body, "canary") || strings.Contains(body, "127.0.0.1") {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if c.want != http.StatusOK {
				return
			}
			if r := <-seen; r.URL.EscapedPath() != "/in/front/b/x%2By" {
				t.Errorf("asked for %s", r.URL)
			}
		})
	}
	for address, want := range map[string]bool{"127.0.0.1:80": true, "10.0.0.1:443": true, "[::1]:80": true, "169.254.169.254:80": false,
		"[::ffff:169.254.1.1]:80": false, "[fe80::1%25lo]:80": false, "0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "no address": false} {
		if err := announced("tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}
