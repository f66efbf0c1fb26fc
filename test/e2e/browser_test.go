package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sluice/test/gateway"
)

// browserPage has functions that the test calls: follow opens a native EventSource and keeps what it tells.
const browserPage = `<!doctype html><meta charset="utf-8"><title>e2e</title><script>
function follow(url) {
  const f = {got: [], opens: 0, state: 0, ends: [], es: new EventSource(url, {withCredentials: true})}
  f.es.onmessage = (e) => f.got.push(Number(e.data))
  f.es.addEventListener('gateway.end', (e) => f.ends.push(JSON.parse(e.data).reason))
  f.es.onopen = () => f.opens++
  f.es.onerror = () => { f.state = f.es.readyState }
  return f
}
const until = (ok) => new Promise((done) => { const t = setInterval(() => { if (ok()) { clearInterval(t); done() } }, 50) })
</script>`

// tab is one page of a Chromium with a profile of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// chromium finds the browser, or skips the test; in CI that fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("a Chromium browser is missing: install the package chromium")
	}
	t.Skip("a Chromium browser is missing: install the package chromium")
	return ""
}

func openTab(t *testing.T, program, url string) *tab {
	t.Helper()
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	})
	ctx, cancel := context.WithTimeout(context.Background(), gateway.Patience)
	ctx, cancelProcess := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancelTab(); cancelProcess(); cancel() })
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return &tab{t, ctx}
}

func evaluate[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", script, err)
	}
	return v
}

// TestBrowserCredentials: a native EventSource, which can send no header, opens a secured topic by a one-time ticket; the cookie that came
// with it carries it over the end of the stream's life, and every event comes once. Without that cookie the ticket is spent, and an
// EventSource closes for ever.
func TestBrowserCredentials(t *testing.T) {
	t.Parallel()
	program := chromium(t)
	upstream := counting(t, 50*time.Millisecond)
	// The page's host is the gateway's, by https as well: same site, another origin.
	pages := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, browserPage)
	}))
	t.Cleanup(pages.Close)
	g := gateway.New(t, gateway.Options{Manage: true, HTTPS: true, Env: []string{"SLUICE_FANOUT_LIFE_MAX=10s", "SLUICE_FANOUT_LIFE_JITTER=0%"}})
	g.Start()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	send := func(method, url, body string, header ...string) map[string]any {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		out := map[string]any{}
		if err != nil || res.StatusCode != http.StatusCreated || json.Unmarshal(text, &out) != nil {
			t.Fatalf("%s %s: %d %s %v", method, url, res.StatusCode, text, err)
		}
		return out
	}
	manage := func(path, body string) map[string]any {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("admin", gateway.AdminPassword)
		return send(http.MethodPost, "http://"+g.Addrs["control"]+"/api/v1"+path, body, "Authorization", r.Header.Get("Authorization"))
	}
	manage("/apis", fmt.Sprintf(`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"paid"},"spec":{"context":"/paid","version":"1","endpoint":%q,
		"state":"PUBLISHED","plans":["AsyncUnlimited"],"auth":{"schemes":["apiKey","ticket","cookie"]},"cors":{"origins":[%q],"credentials":true},
		"client":{"retry":"500ms"},"topics":[{"name":"/ticks","start":"earliest"}]}}`, upstream.URL, pages.URL))
	manage("/applications", `{"apiVersion":"sluice/v1","kind":"Application","metadata":{"name":"dashboard"}}`)
	manage("/subscriptions", `{"apiVersion":"sluice/v1","kind":"Subscription","spec":{"application":"dashboard","api":"paid","version":"1","plan":"AsyncUnlimited"}}`)
	key := manage("/applications/dashboard/keys", `{}`)["key"].(string)
	g.WaitFeed("/ticks", "up", func(s gateway.FeedStatus, there bool) bool { return there && s.State == "up" })
	edge := "https://" + g.Addrs["edge-https"]
	ticket := send(http.MethodPost, edge+"/oauth2/ticket", `{"api":"paid","version":"1","topic":"/ticks"}`, "ApiKey", key, "Origin", pages.URL)["ticket"].(string)
	url := edge + "/paid/1/ticks?ticket=" + ticket

	page := openTab(t, program, pages.URL)
	evaluate[int](page, `window.f = follow(`+fmt.Sprintf("%q", url)+`); 0`)
	// Open, ended by its lifetime, open again by the cookie, and a good way on.
	evaluate[int](page, `until(() => f.state === 2 || f.opens > 1 && f.got.length > 250).then(() => f.got.length)`)
	if state := evaluate[int](page, `f.state`); state == 2 {
		t.Fatalf("closed for ever after %d opens, ended by %v", evaluate[int](page, `f.opens`), evaluate[[]string](page, `f.ends`))
	}
	got := evaluate[[]int](page, `f.got`)
	for i := 1; i < len(got); i++ {
		if got[i] != got[i-1]+1 {
			t.Fatalf("event %d behind %d", got[i], got[i-1])
		}
	}
	if ends := evaluate[[]string](page, `f.ends`); !slices.Equal(ends, slices.Repeat([]string{"lifetime"}, len(ends))) || len(ends) == 0 {
		t.Errorf("ended by %v", ends)
	}
	// Another browser has no cookie.
	other := openTab(t, program, pages.URL)
	evaluate[int](other, `window.f = follow(`+fmt.Sprintf("%q", url)+`); until(() => f.state === 2 || f.got.length > 0).then(() => 0)`)
	if n := evaluate[int](other, `f.opens`); n != 0 {
		t.Errorf("the ticket opened a second stream")
	}
	g.Stop()
	for _, e := range g.Log() {
		if line := fmt.Sprint(e); strings.Contains(line, ticket) || strings.Contains(line, key) {
			t.Errorf("the log holds a credential: %s", line)
		}
	}
}
