package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// TestStoreGone takes the store away while the process is down: every client that comes back is told, and service goes on:
// A5, A23.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Engine: engine}, oracle.Run{MinFaults: 1}, ticksTopic)
		l.readMany("/ticks", 10, nil)
		l.awaitAll(l.head("/ticks") + 20)
		l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: "store gone", Edge: oracle.Begin})
		l.gate.Stop()
		if err := os.RemoveAll(filepath.Join(l.gate.Dir, "data")); err != nil {
			t.Fatal(err)
		}
		l.gate.Start()
		l.awaitAll(l.head("/ticks") + 20)
		for i, c := range l.clients {
			if g := c.State().Gaps; len(g) != 1 || g[0].Reason != "reset" || !g[0].Possible || !g[0].Doubles {
				t.Errorf("client %d was told %+v, want one reset", i, g)
			}
		}
		l.judge()
	})
}

// TestManyFeeds bursts on many feeds of one API at once, and holds to the API's bound of feeds: A42, A45.
func TestManyFeeds(t *testing.T) {
	t.Parallel()
	const feeds = 60
	limit := fmt.Sprintf("  limits: {maxFeeds: %d}\n  topics:\n", feeds)
	l := newLine(t, feed.Options{Manual: true}, gateway.Options{}, oracle.Run{}, anyTopic)
	l.define(strings.Replace(fmt.Sprintf(definition, l.addr)+anyTopic, "  topics:\n", limit, 1))
	l.gate.WaitLog("the reload", func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") })
	for i := range feeds {
		l.readMany(fmt.Sprintf("/any/f%d", i), 1, nil)
	}
	resp := open(t, gateway.OneShot(), l.gate.URL("/market/1.0.0/any/one-too-many"), "Accept", "*/*")
	problem(t, resp, http.StatusTooManyRequests, "too-many-feeds")
	for i := range feeds {
		l.wait(fmt.Sprintf("/any/f%d", i), "open", func(s feed.Stats) bool { return s.Open == 1 })
	}
	for range 5 {
		for i := range feeds {
			l.Emit(fmt.Sprintf("/any/f%d", i), 100)
		}
	}
	for i, c := range l.clients {
		l.await(c, "at event 500", func(s reader.State) bool { return s.N == 500 })
		if s := l.Stats(fmt.Sprintf("/any/f%d", i)); s.Opens != 1 {
			t.Errorf("feed %d was opened %d times", i, s.Opens)
		}
	}
	if v := l.judge(); v.Gaps.Told != 0 || v.Deliveries != feeds*500 {
		t.Errorf("%d gaps, %d deliveries", v.Gaps.Told, v.Deliveries)
	}
}

// TestUpstreamTLS reads an upstream over TLS only if its certificate is good, or if the definition says not to look.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"self-signed", "expired", "wrong-host"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, feed.Options{Rate: 100}, gateway.Options{}, oracle.Run{}, ticksTopic)
			l.awaitUp()
			secure := newTLSOrigin(t, l.Market, kind)
			text := strings.Replace(fmt.Sprintf(definition, secure)+ticksTopic, "endpoint: http:", "endpoint: https:", 1)
			l.define(text)
			l.gate.WaitFeed("/ticks", "tls", func(s gateway.FeedStatus, _ bool) bool { return s.State == "tls" && s.Why != "" })
			l.define(strings.Replace(text, "  topics:", "  upstream: {tls: {insecureSkipVerify: true}}\n  topics:", 1))
			l.awaitUp()
			l.readMany("/ticks", 1, nil)
			l.awaitAll(l.head("/ticks") + 10)
			l.judge()
		})
	}
}

func (l *line) awaitUp() {
	l.t.Helper()
	l.gate.WaitFeed("/ticks", "up", func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
}
