package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/problem"
)

// ticking is an upstream that sends an event a few times a second.
func ticking(t *testing.T) string {
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			fmt.Fprintf(w, "id: %d\ndata: %d\n\n", n, n)
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-done:
				return
			}
		}
	}))
	t.Cleanup(func() { close(done); s.CloseClientConnections(); s.Close() })
	return s.URL
}

// TestSharedCatalog walks one API from nothing to served, blocked, republished and gone, in a process without a folder.
func TestSharedCatalog(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Edge.HTTP.Addr, cfg.Edge.HTTPS.Addr, cfg.Control.Addr, cfg.Ops.Addr = "127.0.0.1:0", "", "", ""
	cfg.Edge.Drain.Delay, cfg.Fanout.Drain.Over = 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := build(ctx, env{stdout: io.Discard, stderr: io.Discard, lookup: func(string) (string, bool) { return "", false }}, cfg, newGuard(cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.shutdown(); err != nil {
			t.Error(err)
		}
	}()
	w := catalog.Write{By: catalog.Actor{Name: "ann"}}
	src := catalog.Source{Name: "a.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: clock}\nspec:\n  context: /clock\n  version: 1.0.0\n" +
		"  endpoint: " + ticking(t) + "\n  topics: [{name: /ticks, security: none}, {name: /more, security: none}]\n")}
	if _, err := p.manager.Create(ctx, w, src); err != nil {
		t.Fatal(err)
	}
	at := "http://" + p.edge.Addrs()["edge-http"].String() + "/clock/1.0.0"
	status := func(path string) int {
		resp, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status("/ticks"); got != 404 {
		t.Errorf("CREATED answers %d, want 404", got)
	}
	move := func(tr catalog.Transition) {
		t.Helper()
		if _, err := p.manager.Lifecycle(ctx, w, "clock@1.0.0", tr, catalog.LifecycleOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	move(catalog.Publish)
	one, two := open(t, at+"/ticks"), open(t, at+"/more")
	one.until(t, "data: 2")
	two.until(t, "data: 2")
	if r, err := p.manager.DeleteTopic(ctx, w, "clock@1.0.0", "/more"); err != nil || len(r.Impact.StreamsEnded) != 1 {
		t.Fatalf("%+v, %v", r.Impact, err)
	}
	two.until(t, `"reason":"topic-deleted"`)
	move(catalog.Block)
	one.until(t, `"reason":"api-blocked"`)
	if got := status("/ticks"); got != 503 {
		t.Errorf("BLOCKED answers %d, want 503", got)
	}
	move(catalog.Republish)
	three := open(t, at+"/ticks")
	three.until(t, "data: ")
	if _, err := p.manager.Deploy(ctx, w, "clock@1.0.0", map[string]int{}); err != nil {
		t.Fatal(err)
	}
	three.until(t, `"reason":"undeployed"`)
	move(catalog.Deprecate)
	move(catalog.Retire)
	if _, err := p.manager.Delete(ctx, w, "clock@1.0.0", false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.manager.Get("clock@1.0.0"); !errors.Is(err, problem.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// client is one open stream.
type client struct{ lines *bufio.Scanner }

func open(t *testing.T, url string) *client {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		t.Fatalf("%s answers %d", url, resp.StatusCode)
	}
	return &client{bufio.NewScanner(resp.Body)}
}

// until reads lines until one holds text.
func (c *client) until(t *testing.T, text string) {
	t.Helper()
	for c.lines.Scan() {
		if strings.Contains(c.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the stream ended before %q: %v", text, c.lines.Err())
}
