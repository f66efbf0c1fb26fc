package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/ingest"
	"sluice/internal/broker"
	"sluice/internal/presence"
)

// TestStatusIsJoined makes one list of what ingest nodes and edges tell of an API's feeds.
func TestStatusIsJoined(t *testing.T) {
	feed := func(name, state, why string) feedReport {
		return feedReport{FeedStatus: ingest.FeedStatus{Feed: name, Path: "/" + name, Topic: "/" + name, State: state, Why: why, Node: "ingest-1", LastEventAgeMs: -1}}
	}
	a := feed("a", broker.StateUp, "")
	a.LastEventAgeMs = 3_600_000
	got := joined([]feedReport{a, feed("b", broker.StateBlocked, "10.1.2.3:80 is forbidden: private")},
		[]presence.Feed{{Feed: "a", Clients: 2}, {Feed: "c", Topic: "/{x}", Path: "/c", Clients: 1}, {Feed: "a", Clients: 3}})
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprint(f.Path, " ", f.State, " ", f.Owner, " ", f.Clients, " ", !f.LastEventAt.IsZero() && time.Since(f.LastEventAt) >= time.Hour))
	}
	if text := strings.Join(lines, ", "); text != "/a up ingest-1 5 true, /b blocked ingest-1 0 false, /c unowned  1 false" {
		t.Errorf("joined %s", text)
	}
	if why := got[1].Why; why == "" || strings.Contains(why, "10.1") {
		t.Errorf("a blocked feed is told to be so because %q", why)
	}
}

func TestEdgeURLs(t *testing.T) {
	addr := func(text string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	got := edgeURLs(map[string]net.Addr{"edge-https": addr("127.0.0.1:8443"), "edge-http": addr("[::]:8080")})
	if fmt.Sprint(got) != "[http://[::]:8080 https://127.0.0.1:8443]" {
		t.Errorf("URLs %v", got)
	}
}
