package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// define writes the definition with other topics and sends SIGHUP.
func (l *line) define(text string) {
	l.t.Helper()
	l.gate.Write(filepath.Join("apis", "market.yaml"), text)
	l.gate.Signal(syscall.SIGHUP)
}

func reloads(e gateway.Entry) bool {
	return e.Is("msg", "definitions reloaded") || e.Is("msg", "definitions not reloaded: the last good ones stay")
}

// TestReload changes definitions under load: untouched feeds keep their clients, removed topics end, a broken file changes
// nothing: A36 for files.
func TestReload(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Rate: 100, QuoteRate: 50}, gateway.Options{Engine: engine}, oracle.Run{}, ticksTopic, quotesTopic)
		l.readMany("/ticks", 10, nil)
		staying := l.clients
		leaving := l.read(l.options("/quotes/ACME"))
		l.clients = staying
		l.awaitAll(l.Stats("/ticks").Head + 10)
		base := fmt.Sprintf(definition, l.addr)

		// A broken file: the last good state stays.
		l.define(base + ticksTopic + "    - {name: nonsense, securrity: none}\n")
		e := l.gate.WaitLog("the outcome of the reload", reloads)
		if text := fmt.Sprint(e["error"]); !e.Is("level", "ERROR") || !strings.Contains(text, "market.yaml:") || !strings.Contains(text, "securrity") {
			t.Errorf("a broken file was answered with %v", e)
		}
		n := leaving.State().Events
		l.await(leaving, "reading on", func(s reader.State) bool { return s.Events > n })

		// One topic goes, one comes.
		l.define(base + ticksTopic + anyTopic)
		l.gate.WaitLog("the outcome of the second reload", func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") })
		l.await(leaving, "told the end", func(s reader.State) bool {
			return len(s.Notices) > 0 && strings.Contains(s.Notices[0], `"topic-deleted"`) && strings.Contains(s.Notices[0], `"retryable":false`)
		})
		l.await(leaving, "refused", func(s reader.State) bool { return s.Status == http.StatusNotFound })
		leaving.Leave()
		fresh := l.read(l.options("/any/new"))
		l.await(fresh, "reading", func(s reader.State) bool { return s.Events > 5 })
		fresh.Leave()
		l.clients = staying

		l.awaitAll(l.Stats("/ticks").Head + 20)
		for i, c := range staying {
			if s := c.State(); s.Connects != 1 {
				t.Errorf("client %d of the untouched feed connected %d times", i, s.Connects)
			}
		}
		if s := l.Stats("/ticks"); s.Opens != 1 {
			t.Errorf("the untouched feed was opened upstream %d times", s.Opens)
		}
		if v := l.judge(); v.Gaps.Told != 0 {
			t.Errorf("%d gaps", v.Gaps.Told)
		}
	})
}

// problem reads a refusal and wants this problem.
func problem(t *testing.T, resp *http.Response, status int, kind string) {
	t.Helper()
	var p struct {
		Type   string
		Status int
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != status || p.Status != status ||
		p.Type != "/problems/"+kind || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s: %+v %v, want %d %s", resp.Status, resp.Header.Get("Content-Type"), p, err, status, kind)
	}
}

// TestTransports reads 100 streams over one HTTP/2 connection, and finds each API on its listeners only.
func TestTransports(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{HTTPS: true}, oracle.Run{}, ticksTopic)
	secure := strings.NewReplacer("name: market", "name: secure", "context: /market", "context: /secure",
		"state: PUBLISHED", "state: PUBLISHED\n  transports: [https]").Replace(fmt.Sprintf(definition, l.addr) + strings.Replace(ticksTopic, "/stream/ticks", "/stream/any/secure", 1))
	plain := strings.NewReplacer("name: secure", "name: plain", "context: /secure", "context: /plain", "[https]", "[http]", "any/secure", "any/plain").Replace(secure)
	l.gate.Write(filepath.Join("apis", "secure.yaml"), secure)
	l.gate.Write(filepath.Join("apis", "plain.yaml"), plain)
	l.gate.Signal(syscall.SIGHUP)
	l.gate.WaitLog("the reload", func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") })
	h2, dials := h2Client()
	defer h2.CloseIdleConnections()
	https := "https://" + l.gate.Addrs["edge-https"]

	problem(t, open(t, gateway.OneShot(), l.gate.URL("/secure/1.0.0/ticks")), http.StatusForbidden, "https-required")
	problem(t, open(t, h2, https+"/plain/1.0.0/ticks"), http.StatusForbidden, "transport-not-allowed")
	for _, url := range []string{https + "/secure/1.0.0/ticks", https + ticksPath} {
		if resp := open(t, h2, url); resp.StatusCode != http.StatusOK || resp.Proto != "HTTP/2.0" || resp.Header.Get("Connection") != "" {
			t.Errorf("%s: %s %s %v", url, resp.Proto, resp.Status, resp.Header)
		} else {
			resp.Body.Close()
		}
	}
	if resp := open(t, gateway.OneShot(), l.gate.URL("/plain/1.0.0/ticks")); resp.StatusCode != http.StatusOK {
		t.Errorf("plain: %s", resp.Status)
	}
	l.readMany("/ticks", 100, func(o *reader.Options) {
		o.HTTP, o.URL = h2, https+ticksPath
	})
	l.awaitAll(l.Stats("/ticks").Head + 50)
	if n := dials.Load(); n != 1 {
		t.Errorf("100 streams took %d connections", n)
	}
	for i, c := range l.clients {
		if i%3 == 0 {
			c.Cut()
		}
	}
	l.awaitAll(l.Stats("/ticks").Head + 50)
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes < 30 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}
