package edge

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/broker"
	"sluice/internal/problem"
)

// refusingHub records what would have been joined and refuses it.
type refusingHub struct{ wants []fanout.Want }

func (h *refusingHub) Join(_ context.Context, w fanout.Want) (*fanout.Joined, error) {
	h.wants = append(h.wants, w)
	return nil, fanout.ErrUnavailable
}
func (h *refusingHub) CloseFeed(broker.FeedID, fanout.Reason) {}
func (h *refusingHub) Feeds() []*fanout.Feed                  { return nil }

// FuzzRoute sends any request target through net/http's parser and the front. No
// input yields a redirect; what is asked of the hub is what the catalog's match says
// of the target as sent; a topic that needs a credential is never joined; and the
// canonical path leads to the same feed again.
func FuzzRoute(f *testing.F) {
	for _, seed := range []string{
		"/market/1.0.0/ticks", "/market/ticks", "//market", "/market/1.0.0/ticks/", "/m/%2e%2e/x", "/m/1/..%2fx", "/wild/1", "/wild/1/",
		"/wild/1/%252e%252e", "/wild/1/q/lower", "/wild/1/q/UPPER", "/mixed/1/secret", "/mixed/1/%73ecret", "/mixed/1//secret", "*",
		"http://h/market/1.0.0/ticks", "/market/1.0.0/quotes/ACME?depth=3&x=y", "/wild/1/é", "/wild/1/a;b", "/wild/1/a%00", "/wild/1/a#b",
		"/wild/1/a?lastEventId=banana", "/wild/1/..", "/wild/1/%ff", "/wild/1/a%20b", `/wild/1/a\b`, "/wild/1/+%2B", "?", "/?", "http://", "/wild/1/x/y",
	} {
		f.Add(seed)
	}
	store, err := catalog.NewStatic(catalog.OptionsFrom(config.Default()), catalog.Source{Name: "t.yaml", Data: []byte(testAPIs)})
	if err != nil {
		f.Fatal(err)
	}
	hub := &refusingHub{}
	def := config.Default()
	srv, err := New(Config{Edge: def.Edge, Fanout: def.Fanout}, Deps{Catalog: store, Hub: hub, Portable: fanout.NewPortable(fanout.PortableConfig{})})
	if err != nil {
		f.Fatal(err)
	}
	snap := store.Snapshot()
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil || r.ContentLength != 0 {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		hub.wants = hub.wants[:0]
		w := httptest.NewRecorder()
		srv.front.ServeHTTP(w, r)
		if w.Code >= 300 && w.Code < 400 || w.Header().Get("Location") != "" {
			t.Fatalf("%q: %d %v", target, w.Code, w.Header())
		}
		if srv.admit.open() != 0 {
			t.Fatalf("%q: a seat is left", target)
		}
		path, query := splitTarget(r.RequestURI)
		route, err := snap.Match(path, query)
		if len(hub.wants) == 0 {
			return
		}
		if err != nil || route.Topic.Security != catalog.SecurityNone || problem.KindOf(orNotFound(err)) == problem.InvalidPath {
			t.Fatalf("%q: joined %v although %v", target, hub.wants[0].Feed, err)
		}
		if want := route.Ref().ID(); hub.wants[0].Feed != want || hub.wants[0].Demand.Path != route.FeedPath {
			t.Fatalf("%q: joined %v, the catalog says %v", target, hub.wants[0].Feed, want)
		}
		again, err := snap.Match(route.Path, query)
		if err != nil || again.Path != route.Path || again.Ref() != route.Ref() || again.Upstream != route.Upstream {
			t.Fatalf("%q: canonical %q leads to %+v (%v)", target, route.Path, again.Ref(), err)
		}
		if u, err := url.Parse(route.Upstream); err != nil || u.Host != "127.0.0.1:1" || strings.Contains(u.Path, "/../") {
			t.Fatalf("%q: upstream %q", target, route.Upstream)
		}
	})
}

// The gate lets no more than its slots between accept and a complete head, and frees
// them for whoever waits.
func TestGate(t *testing.T) {
	r := newRig(t, func(s *setup) { s.cfg.Edge.MaxHandshakes = 2 })
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	wait(t, "both are in the gate", func() bool { return r.srv.handshakes() == 2 })
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + r.addr + "/nothing/1/t")
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		answered <- resp.StatusCode
	}()
	select {
	case code := <-answered:
		t.Fatalf("answered %d through a full gate", code)
	default:
	}
	_ = held[0].Close()
	if code := <-answered; code != 404 {
		t.Errorf("%d", code)
	}
	_ = held[1].Close()
	wait(t, "the gate is empty", func() bool { return r.srv.handshakes() == 0 })
}
