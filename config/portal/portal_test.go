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

func TestTry(t *testing.T) {
	a, token := users(t)
	seen := make(chan *http.Request, 1)
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Set-Cookie", "__Host-sluice_stream=x")
		_, _ = io.WriteString(w, "retry: 1\n")
	}))
	t.Cleanup(edge.Close)
	at, err := url.Parse(edge.URL)
	if err != nil {
		t.Fatal(err)
	}
	ts := start(t, Deps{Accounts: a, Files: built, Edge: func(https bool) *url.URL {
		if https {
			return nil
		}
		return at
	}})
	cookie := auth.Cookie(token, false)
	in := []string{"Cookie", cookie.Name + "=" + cookie.Value, "ApiKey", "slk_x", "Last-Event-ID", "1-2", "Authorization", "Bearer y", "X-Secret", "z"}

	res, body := get(t, ts, "/portal/try/market/1.0.0/quotes/A%20B?from=live", in...)
	if res.StatusCode != 200 || body != "retry: 1\n" || res.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%d %q %v", res.StatusCode, body, res.Header)
	}
	r := <-seen
	if r.URL.EscapedPath() != "/market/1.0.0/quotes/A%20B" || r.URL.RawQuery != "from=live" {
		t.Errorf("asked for %s", r.URL)
	}
	if h := r.Header; h.Get("Cookie") != "" || h.Get("X-Secret") != "" || h.Get("ApiKey") != "slk_x" || h.Get("Last-Event-ID") != "1-2" || h.Get("Authorization") != "Bearer y" {
		t.Errorf("%v", h)
	}
	for name, c := range map[string]struct {
		header []string
		path   string
		want   int
		tells  string
	}{
		"nobody":       {nil, "/portal/try/market/1.0.0/x", 401, `"/problems/unauthenticated"`},
		"bad cookie":   {[]string{"Cookie", cookie.Name + "=nonsense"}, "/portal/try/market/1.0.0/x", 401, `"/problems/unauthenticated"`},
		"another site": {append([]string{"Sec-Fetch-Site", "same-site"}, in...), "/portal/try/market/1.0.0/x", 403, `"/problems/cross-origin"`},
		"no https":     {in, "/portal/try/market/1.0.0/x?transport=https", 404, "knows no edge"},
	} {
		res, body := get(t, ts, c.path, c.header...)
		if res.StatusCode != c.want || !strings.Contains(body, c.tells) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	edge.Close()
	if res, body := get(t, ts, "/portal/try/market/1.0.0/x", in...); res.StatusCode != 503 || strings.Contains(body, at.Host) {
		t.Errorf("without an edge: %d %s", res.StatusCode, body)
	}
}
