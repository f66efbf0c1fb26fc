package admin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/auth"
	"sluice/internal/presence"
)

// sample reads the next sample of a stream.
func (s *stream) sample() monitorSample {
	s.t.Helper()
	e := s.next()
	if e.name != eventSample || e.id != "" {
		s.t.Fatalf("event %+v, want a sample", e)
	}
	return decodeAs[monitorSample](s.t, []byte(e.data))
}

// runs50 are looks at one API with 50 feeds and at a private one. Each look has 1 s more of an edge that hands out 100 events a second, of
// which one in ten takes half a second.
func runs50(n int) Look {
	up := uint64(n) //nolint:gosec // small
	l := Look{Silent: []string{"edge-9"}, Edges: []EdgeFigures{{Node: "edge-1", Figures: presence.Figures{Boot: "b", Clock: int64(1000 * n), Clients: 70,
		Deliveries: 5000 + 100*up, Ages: []presence.Age{{Le: .01, N: 90 * up}, {Le: .5, N: 10 * up}},
		Counts: []presence.Count{
			{Kind: presence.CountEnd, Reason: "client", N: up}, {Kind: presence.CountEnd, Reason: "slow", N: 2 * up}, {Kind: presence.CountEnd, Reason: "drain", N: 7},
			{Kind: presence.CountTold, API: "seen@1.0.0", Reason: "api-blocked", N: 3 * up}, {Kind: presence.CountGap, API: "seen@1.0.0", Reason: "expired", N: up},
			{Kind: presence.CountGap, API: "hidden@1.0.0", Reason: "reset", N: up},
		}}}}}
	for i := range 50 {
		f := SeenFeed{API: "seen@1.0.0", FeedState: FeedState{Path: fmt.Sprintf("/t/%02d", i), Topic: "/t/{x}", State: "up", Clients: 1, EventsPerSecond: 2}, DeliveriesPerSecond: 2, LagMs: int64(i)}
		if i == 30 {
			f.State, f.Why = "backoff", "refused"
		}
		l.Feeds = append(l.Feeds, f)
	}
	l.Edges[0].FeedAges = map[FeedKey][]presence.Age{
		{"seen@1.0.0", "/t/00"}: {{Le: .01, N: 90 * up}},
		{"seen@1.0.0", "/t/01"}: {{Le: .2, N: 9 * up}, {N: up}},
		{"hidden@1.0.0", "/h"}:  {{Le: .5, N: 100 * up}},
	}
	l.Feeds = append(l.Feeds, SeenFeed{API: "hidden@1.0.0", FeedState: FeedState{Path: "/h", Topic: "/h", State: "up", Clients: 20}},
		SeenFeed{API: "gone@1.0.0", FeedState: FeedState{Path: "/g", Topic: "/g", State: "up", Clients: 5}})
	return l
}

func TestMonitor(t *testing.T) {
	r := newRig(t)
	owner := r.as("creator")
	create(t, owner, "seen", nil)
	create(t, owner, "hidden", func(d map[string]any) { put(t, d, "/spec/visibility", "private") })
	r.nodes.look = runs50

	all, other, one := owner.stream("/api/v1/monitor"), r.as("other").stream("/api/v1/monitor"), r.as("publisher").stream("/api/v1/monitor?api=seen@1.0.0")
	if s := all.sample(); s.IntervalMs != 0 || s.DeliveriesPerSecond != nil || s.Latency != nil || len(s.Drops) != 0 || s.Clients != 70 {
		t.Errorf("the first sample has rates: %+v", s)
	}
	s := all.sample()
	if s.IntervalMs < lookEvery.Milliseconds()/2 || s.DeliveriesPerSecond == nil || *s.DeliveriesPerSecond != 100 || len(s.Feeds) != 51 || s.FeedsLeft != 0 || fmt.Sprint(s.Silent) != "[edge-9]" {
		t.Errorf("the second sample: %+v", s)
	}
	if want := (latencySample{10, 500, 500}); s.Latency == nil || *s.Latency != want || len(s.Edges) != 1 || s.Edges[0].Latency == nil || *s.Edges[0].Latency != want {
		t.Errorf("latency %+v, of the edges %+v", s.Latency, s.Edges)
	}
	if f := s.Feeds[0]; f.State != "backoff" || f.Path != "/t/30" || f.Why != "refused" {
		t.Errorf("first of the feeds is %+v", f)
	}
	if a := s.APIs[0]; a.ID != "seen@1.0.0" || a.Feeds != 50 || a.States["up"] != 49 || a.Clients != 50 || a.EventsPerSecond != 100 || a.DeliveriesPerSecond != 100 || a.LagMs != 49 {
		t.Errorf("API %+v", a)
	}
	latencies := func(s *monitorSample) (out string) {
		for _, a := range s.APIs {
			if a.Latency != nil {
				out += fmt.Sprint(a.ID, *a.Latency)
			}
		}
		for _, f := range s.Feeds {
			if f.Latency != nil {
				out += fmt.Sprint(" ", f.Path, *f.Latency)
			}
		}
		return out
	}
	if got, want := latencies(&s), "seen@1.0.0{10 200 200}hidden@1.0.0{500 500 500} /h{500 500 500} /t/00{10 10 10} /t/01{200 200 200}"; got != want {
		t.Errorf("latencies %s, want %s", got, want)
	}
	if got := fmt.Sprint(s.Drops); got != "[{end  slow 2} {gap seen@1.0.0 expired 1} {gap hidden@1.0.0 reset 1}]" {
		t.Errorf("drops %s", got)
	}
	// Others are told nothing of a private API, and nobody of one that is no more.
	if s := other.sample(); s.Clients != 50 || len(s.Feeds) != 50 || len(s.APIs) != 1 || strings.Contains(fmt.Sprint(s.Drops), "hidden") {
		t.Errorf("others are told %+v", s)
	}
	// Of one API: its own, and why clients were told that they end.
	one.sample()
	if s := one.sample(); s.Clients != 50 || s.DeliveriesPerSecond != nil || s.Latency == nil || *s.Latency != (latencySample{10, 200, 200}) || fmt.Sprint(s.Drops) != "[{end seen@1.0.0 api-blocked 3} {gap seen@1.0.0 expired 1}]" {
		t.Errorf("of one API: %+v", s)
	}
	r.server.looks.mu.Lock()
	if n := r.nodes.looked; uint64(n) != r.server.looks.last.n || n > 10 { //nolint:gosec // small
		t.Errorf("%d looks for three readers", n)
	}
	r.server.looks.mu.Unlock()

	r.as("other").send("GET", "/api/v1/monitor?api=hidden@1.0.0", "", "").problem(t, http.StatusNotFound, "not-found")
	r.as("both").send("GET", "/api/v1/monitor?api=no", "", "").problem(t, http.StatusBadRequest, "invalid-query")
	r.as("both").send("GET", "/api/v1/monitor?of=x", "", "").problem(t, http.StatusBadRequest, "invalid-query")
}

// TestMonitorBegunAnew has an edge that starts again: what it counted before is not compared with what it counts now.
func TestMonitorBegunAnew(t *testing.T) {
	l := looks{nodes: &heard{look: func(n int) Look {
		look := runs50(n)
		if n > 1 {
			look.Edges[0].Boot = "c"
		}
		if n > 2 {
			look.Edges[0].Deliveries = 1 // a counter never falls; if it does, that is nothing
		}
		return look
	}}}
	var got []string
	for range 3 {
		s, _ := l.newest(t.Context())
		got = append(got, fmt.Sprint(s.rate != nil && *s.rate == 0, s.rate == nil, len(s.drops)))
		l.due = s.at // another may come now
	}
	if text := strings.Join(got, ", "); text != "false true 0, false true 0, true false 4" {
		t.Errorf("looks %s", text)
	}
}

// TestLatencyOfAFeedBegunAnew has a feed that an edge gave up and took again: what it counts then is new, and that of a new feed is too.
func TestLatencyOfAFeedBegunAnew(t *testing.T) {
	key := FeedKey{"a@1", "/x"}
	ages := [][]presence.Age{{{Le: .01, N: 100}, {Le: .02, N: 5}}, {{Le: .01, N: 100}, {Le: .02, N: 7}}, {{Le: .01, N: 3}}, nil, {{Le: .01, N: 2}, {Le: .5, N: 1}}}
	l := looks{nodes: &heard{look: func(n int) Look {
		return Look{Edges: []EdgeFigures{{Node: "e", Figures: presence.Figures{Boot: "b", Clock: int64(1000 * n)}, FeedAges: map[FeedKey][]presence.Age{key: ages[n-1]}}}}
	}}}
	for i, want := range []string{"map[]", "map[0.01:0 0.02:2]", "map[0.01:3]", "map[]", "map[0.01:2 0.5:1]"} {
		s, _ := l.newest(t.Context())
		if got := fmt.Sprint(map[float64]uint64(s.ages[key])); got != want {
			t.Errorf("look %d: %s, want %s", i+1, got, want)
		}
		l.due = s.at // another may come now
	}
}

// TestMonitorEndsWithTheSession reads as a page does, by the cookie, and signs out.
func TestMonitorEndsWithTheSession(t *testing.T) {
	r := newRig(t)
	cookie := auth.Cookie("", false).Name + "=" + r.tokens["creator"]
	w := r.nobody().stream("/api/v1/monitor", "Cookie", cookie)
	w.sample()
	r.as("creator").send("POST", "/api/v1/logout", "", "").want(t, http.StatusNoContent)
	for {
		e := w.next()
		if e.name == eventSample {
			continue
		}
		if e.name != eventEnd || !strings.Contains(e.data, "signed-out") {
			t.Errorf("told %+v", e)
		}
		break
	}
}

func TestMonitorsAreBounded(t *testing.T) {
	r := newRig(t)
	for range mostMonitorsBy {
		r.as("both").stream("/api/v1/monitor")
	}
	r.as("both").send("GET", "/api/v1/monitor", "", "").problem(t, http.StatusTooManyRequests, "too-many-connections")
	r.as("creator").stream("/api/v1/monitor").sample()
}
