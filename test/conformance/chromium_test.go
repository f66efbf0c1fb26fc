package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// page is what the browser shows: functions that the tests call. Feeds have another origin than the page.
const page = `<!doctype html><meta charset="utf-8"><title>conformance</title><script>
// vectors reads each url until its sentinel, five at a time, as a page has six connections to an origin.
async function vectors(urls, types) {
  const out = []
  const one = (url) => new Promise((done) => {
    const got = [], es = new EventSource(url)
    for (const type of types) es.addEventListener(type, (e) => {
      if (type === 'sentinel') { es.close(); done(got) } else got.push({type: e.type, data: e.data, id: e.lastEventId})
    })
    es.onerror = () => { if (es.readyState === 2) done([...got, {type: 'closed for ever'}]) }
  })
  let next = 0
  const worker = async () => { while (next < urls.length) { const i = next++; out[i] = await one(urls[i]) } }
  await Promise.all([worker(), worker(), worker(), worker(), worker()])
  return out
}
// follow reads a feed for ever: all events in order, and apart the types that onmessage saw.
function follow(url) {
  const f = {got: [], events: 0, plain: [], opens: 0, es: new EventSource(url)}
  for (const type of ['message', 'tick', 'gateway.gap', 'gateway.end']) {
    f.es.addEventListener(type, (e) => {
      f.got.push({type: e.type, data: e.data, id: e.lastEventId})
      if (!type.startsWith('gateway.')) f.events++
    })
  }
  f.es.onmessage = (e) => f.plain.push(e.type + ' ' + e.data.split('"')[1])
  f.es.onopen = () => f.opens++
  return f
}
</script>`

// browser is a tab of a headless Chromium that shows page.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// startBrowser starts Chromium with a profile of its own; both end with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		missing(t, "a Chromium browser", "install the package chromium")
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(pages.Close)
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	ctx, cancelProcess := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancelTab(); cancelProcess(); cancel() })
	if err := chromedp.Do(ctx, chromedp.Navigate(pages.URL)); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return &browser{t: t, ctx: ctx}
}

// eval is the value of a script, awaited.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", script, err)
	}
	return v
}

// js is v as a literal.
func js(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and slices of them only
	}
	return string(raw)
}

// TestChromiumVectors compares what EventSource dispatches behind the gateway with the vectors.
func TestChromiumVectors(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	f, api := startVectors(t)
	g := startGateway(t, []string{api})
	urls, types := []string{}, []string{"sentinel", "message", "gateway.gap", "gateway.end"}
	for i, v := range f.rows {
		urls = append(urls, g.url(fmt.Sprintf("/vec/1.0.0/v/%d", i)))
		for _, ev := range wantVector(v) {
			if !slices.Contains(types, ev.Type) {
				types = append(types, ev.Type)
			}
		}
	}
	all := eval[[][]event](b, "vectors("+js(urls)+","+js(types)+")")
	for i, v := range f.rows {
		got := []event{}
		for _, ev := range all[i] {
			if unfinished(v) && seam(ev) {
				continue
			}
			if !idGrammar.MatchString(ev.ID) {
				t.Errorf("%s: id %q", v.Name, ev.ID)
			}
			got = append(got, event{Type: ev.Type, Data: ev.Data})
		}
		if diff := cmp.Diff(wantVector(v), got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", v.Name, diff)
		}
	}
}

// TestChromiumResume kills the gateway twice under a page that reads, and once lets the feed grow meanwhile; a third time it
// asks it to drain.
func TestChromiumResume(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")}, quickDrain(t)...)
	c := startCutter(t, g.http, false) // cuts nothing: it keeps the requests
	has := func(n int) {
		t.Helper()
		until(t, fmt.Sprintf("the page has %d events", n), func() bool { return eval[int](b, "f.events") >= n })
	}
	p.allow("a", 40)
	eval[int](b, "var f = follow("+js(c.url("/tapes/1.0.0/t/a"))+"); 0")
	has(40)
	g.kill()
	g.start()
	p.allow("a", 70)
	has(70)
	g.kill()
	p.allow("a", 90)
	g.start()
	has(90)
	g.drain()
	g.start()
	p.allow("a", tapeLength)
	has(tapeLength)

	// A reconnect in the instant of a start may be refused for a moment, which the stream itself tells.
	shed := 0
	got := slices.DeleteFunc(eval[[]event](b, "f.got"), func(ev event) bool {
		refused := ev.Type == "gateway.end" && strings.Contains(ev.Data, `"reason":"broker-unavailable"`)
		if refused {
			shed++
		}
		return refused
	})
	end := slices.IndexFunc(got, func(ev event) bool { return ev.Type == "gateway.end" })
	if end != 90 || !strings.Contains(got[90].Data, `"reason":"drain"`) || got[90].ID != got[89].ID {
		t.Fatalf("gateway.end is event %d, want it behind event 90 with that one's id: %+v", end, got[max(0, end):])
	}
	judge(t, slices.Delete(got, end, end+1))
	for _, plain := range eval[[]string](b, "f.plain") {
		if plain != "message n" {
			t.Errorf("onmessage saw %q", plain)
		}
	}
	if opens := eval[int](b, "f.opens"); opens != 4+shed {
		t.Errorf("opened %d times, %d of them refused for a moment, want 4 others", opens, shed)
	}
	resumed := 0
	for i, request := range c.requests() {
		if request != "" && !strings.HasPrefix(request, "GET ") {
			t.Errorf("connection %d is no GET, a preflight?\n%s", i, request)
		}
		if strings.Contains(request, "\r\nLast-Event-ID: ") {
			resumed++
		}
	}
	if resumed < 3 {
		t.Errorf("%d requests with Last-Event-ID, want 3 or more", resumed)
	}
}

// TestChromiumHTTP2 reads one feed with 100 EventSources over one connection.
func TestChromiumHTTP2(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")}, "--dev-tls")
	c := startCutter(t, g.https, false)
	url := strings.Replace(c.url("/tapes/1.0.0/t/a"), "http:", "https:", 1)
	eval[int](b, "var all = [follow("+js(url)+")]; 0")
	until(t, "the first is open", func() bool { return eval[int](b, "all[0].opens") == 1 })
	eval[int](b, "for (let i = 1; i < 100; i++) all.push(follow("+js(url)+")); 0")
	until(t, "all are open", func() bool { return eval[bool](b, "all.every((f) => f.opens === 1)") })
	p.allow("a", tapeLength)
	until(t, "all have all events", func() bool {
		return eval[bool](b, fmt.Sprintf("all.every((f) => f.got.length >= %d)", tapeLength))
	})
	judge(t, eval[[]event](b, "all[0].got"))
	if n := eval[int](b, "new Set(all.map((f) => JSON.stringify(f.got))).size"); n != 1 {
		t.Errorf("%d different sequences of events, want 1", n)
	}
	if n, _ := c.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestChromiumRefused asks for a topic that needs a credential: EventSource gives up, as it should.
func TestChromiumRefused(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	p, endpoint := startTapes(t)
	p.allow("a", 1)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
	c := startCutter(t, g.http, false)
	eval[int](b, "var f = follow("+js(c.url("/tapes/1.0.0/locked/a"))+"); 0")
	until(t, "EventSource is closed", func() bool { return eval[int](b, "f.es.readyState") == 2 })
	if n := eval[int](b, "f.got.length + f.opens"); n != 0 {
		t.Errorf("%d events and opens, want none", n)
	}
	if sent := strings.Join(c.requests(), ""); strings.Count(sent, "GET ") != 1 {
		t.Errorf("asked more than once:\n%s", sent)
	}
}
