package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"sluice/internal/sse"
)

// monitored is what this test reads of a sample.
type monitored struct {
	Clients             int
	DeliveriesPerSecond *float64
	Latency             *struct{ P50Ms, P99Ms float64 }
	APIs                []struct{ ID string }
	Feeds               []struct {
		Path, State     string
		Clients         int
		EventsPerSecond float64
	}
	Drops []struct {
		Kind, API, Reason string
		Count             int
	}
	Silent []string
}

// monitor reads samples until one is as wanted.
func (s *liveServer) monitor(t *testing.T, query string) (until func(what string, ok func(*monitored) bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(t, "control")+"/api/v1/monitor"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", s.password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("monitor: %s", res.Status)
	}
	read := sse.NewDecoder(res.Body, sse.Options{})
	return func(what string, ok func(*monitored) bool) {
		t.Helper()
		var m monitored
		for {
			ev, err := read.Next()
			if err != nil {
				t.Fatalf("never told: %s: %v; at last %+v", what, err, m)
			}
			m = monitored{}
			if err := json.Unmarshal(ev.Data, &m); err != nil {
				t.Fatal(err)
			}
			if ok(&m) {
				return
			}
		}
	}
}

// TestMonitorTellsWhatTheEdgeCounts reads the monitor of a whole process while a client reads a feed, while one is refused and when the API
// is blocked: each figure that the monitor takes out of the metrics by name.
func TestMonitorTellsWhatTheEdgeCounts(t *testing.T) {
	server, upstream := startLive(t), startFeed(t)
	s := newShell(t, server.url(t, "control"))
	if code, _, notes := s.do(server.password+"\n", "login"); code != exitOK {
		t.Fatal(notes)
	}
	s.ok("apply", "-f", s.file("api.yaml", "apiVersion: sluice/v1\nkind: API\nmetadata: {name: m}\nspec:\n  context: /m\n  version: 1.0.0\n  endpoint: "+upstream+
		"/stream\n  topics: [{name: /ticks, security: none}]\n"))
	s.ok("publish", "m@1.0.0", "--wait")
	edge := server.url(t, "edge-http")
	res, err := http.Get(edge + "/m/1.0.0/ticks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(io.Discard, res.Body) }() // until the API is blocked

	all, one := server.monitor(t, ""), server.monitor(t, "?api=m@1.0.0")
	all("deliveries, latency and the feed", func(m *monitored) bool {
		return len(m.Silent) == 0 && m.Clients == 1 && m.DeliveriesPerSecond != nil && *m.DeliveriesPerSecond > 0 && m.Latency != nil && m.Latency.P50Ms > 0 &&
			m.Latency.P99Ms >= m.Latency.P50Ms && len(m.APIs) == 1 && m.APIs[0].ID == "m@1.0.0" && len(m.Feeds) == 1 && m.Feeds[0].Path == "/ticks" &&
			m.Feeds[0].State == "up" && m.Feeds[0].Clients == 1 && m.Feeds[0].EventsPerSecond > 0
	})
	drop := func(kind, api, reason string) func(*monitored) bool {
		return func(m *monitored) bool {
			for _, d := range m.Drops {
				if d.Kind == kind && d.API == api && d.Reason == reason && d.Count == 1 {
					return true
				}
			}
			return false
		}
	}
	refused, err := http.Get(edge + "/nothing/here")
	if err != nil {
		t.Fatal(err)
	}
	refused.Body.Close()
	all("a request was refused", drop("refused", "", "no-such-api"))
	s.ok("block", "m@1.0.0")
	<-ended
	all("the stream ended", drop("end", "", "api-blocked"))
	one("the client was told why", drop("end", "m@1.0.0", "api-blocked"))
}
