package main

import (
	"strings"
	"testing"
	"time"

	"sluice/ingest"
)

func topSample() topFrame {
	feed := func(path, state string, clients int, perSecond float64, lagMs, ageMs int64, gaps uint64) feedReport {
		return feedReport{FeedStatus: ingest.FeedStatus{API: "market", Version: "1.0.0", Path: path, State: state, LastEventAgeMs: ageMs},
			Edge: &edgeReport{Clients: clients, EventsPerSecond: perSecond, LagMs: lagMs, Gaps: gaps, LastEventAgeMs: -1}}
	}
	return topFrame{
		Node: nodeReport{Node: "edge-1", Version: "1.2.3", Started: time.Unix(1, 0), BrokerUp: true, Connections: 99_999, ConnectionsLimit: 100_000,
			ShardsBusy: make([]float64, 64), Memory: memoryReport{Used: 999e9, Limit: 999e9, Fanout: 999e9, FanoutMax: 999e9, Queues: 999e9,
				QueuesMax: 999e9, Sockets: 999e9, SocketsMax: 999e9}},
		Feeds: []feedReport{
			feed("/a", "up", 1, 5, 0, 10, 0), feed("/b", "backoff", 7, 0, 0, -1, 0), feed("/c", "up", 3, 9, 40, 99_000, 2),
			feed("/"+strings.Repeat("long\x1b[31m", 30), "up", 0, 0, 0, -1, 0),
		},
		Rates: &topRates{Deliveries: 123_456_789, SentBytes: 9e15, Stored: 1e6, CPU: 63.99, CPUPerDelivery: 999_999},
	}
}

// However large the figures and strange the names: no line is wider than the terminal, and no control byte comes through.
func TestTopFitsTheTerminal(t *testing.T) {
	f := topSample()
	table := topTable{width: 80, plain: true}
	for _, line := range append(table.head(f), table.rows(f.Feeds)...) {
		if len(line) > 80 && !strings.Contains(line, "broker up") {
			t.Errorf("%d cells: %q", len(line), line)
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("a control byte came through: %q", line)
		}
	}
}

func TestTopOrders(t *testing.T) {
	for order, want := range map[string]string{"clients": "/b", "events": "/c", "lag": "/c", "gaps": "/c", "age": "/c", "name": "/a", "state": "/b"} {
		f := topSample()
		f.sortBy(topOrders[order])
		if got := f.Feeds[0].Path; got != want {
			t.Errorf("by %s %s comes first, want %s", order, got, want)
		}
	}
}

// The live table keeps within 24 lines however many feeds there are, scrolls no further than its end, and obeys its keys.
func TestTopModel(t *testing.T) {
	f := topSample()
	for range 5 {
		f.Feeds = append(f.Feeds, f.Feeds...)
	}
	m := &topModel{table: topTable{width: 80, plain: true}, height: 24, by: topOrders["clients"], again: make(chan struct{}, 1)}
	m.Update(topLook(f))
	for range 100 {
		m.key("pgdown")
	}
	if n := len(m.lines()); n != 24 {
		t.Errorf("%d lines on 24", n)
	}
	if m.top != len(f.Feeds)-m.room() {
		t.Errorf("scrolled to %d of %d", m.top, len(f.Feeds))
	}
	if m.key("space"); len(m.again) != 1 {
		t.Error("space asks for nothing")
	}
	if m.key("s"); m.top == 0 {
		t.Error("a key that means nothing sorts")
	}
	if m.key("t"); m.top != 0 || !strings.Contains(m.lines()[6], "backoff") {
		t.Errorf("sorted by state the first feed is %q", m.lines()[6])
	}
	if _, cmd := m.key("q"); cmd == nil {
		t.Error("q does not quit")
	}
	m.Update(topErr{errNoAnswer})
	if foot := m.lines()[23]; !strings.Contains(foot, "no answer") {
		t.Errorf("the last line does not tell of the error: %q", foot)
	}
}

// Rates are differences of two looks, and none after a restart in between.
func TestTopRates(t *testing.T) {
	at := time.Unix(100, 0)
	a := nodeReport{Now: at, Deliveries: 100, CPUSeconds: 1, SentBytes: 10}
	b := nodeReport{Now: at.Add(2 * time.Second), Deliveries: 300, CPUSeconds: 1.5, SentBytes: 50}
	r := ratesOf(&a, &b)
	if r.Deliveries != 100 || r.CPU != 0.25 || r.CPUPerDelivery != 2500 || r.SentBytes != 20 {
		t.Errorf("%+v", r)
	}
	if r := ratesOf(&b, &b); r.Deliveries != 0 || r.CPUPerDelivery != 0 {
		t.Errorf("nothing happened: %+v", r)
	}
}
