package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/presence"
)

// edge is an edge that follows the catalog as its test says.
type edge struct {
	rev, lag atomic.Uint64
	refused  atomic.Pointer[string]
}

// startEdge starts what an edge tells; stop ends it.
func (r *rig) startEdge(name string) (*edge, func()) {
	r.t.Helper()
	e := &edge{}
	teller, err := presence.NewTeller(presence.TellerConfig{Bus: r.node.Bus(), Node: name, Log: slog.New(slog.DiscardHandler),
		Moved: r.server.catalog.Moved, Clients: func(string, string, bool) []presence.Feed { return nil },
		Figures: func() presence.Figures { return presence.Figures{} },
		Say: func() presence.Edge {
			said := presence.Edge{Node: name, Boot: "b", Version: "test", Group: "default", URLs: []string{"http://127.0.0.1:8080"}, Rev: e.rev.Load(), Clients: 7}
			if e.lag.Load() == 0 {
				said.Rev = r.server.catalog.Rev()
				e.rev.Store(said.Rev)
			}
			if id := e.refused.Load(); id != nil {
				said.Refused = []string{*id}
			}
			return said
		}})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = teller.Run(ctx) }()
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); <-done }) }
	r.t.Cleanup(stop)
	return e, stop
}

func (r *rig) awaitEdges(n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d edges", n), func() bool { return len(r.nodes.Edges()) == n })
}

func TestEdgesAndWaitingForThem(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	if list := decodeAs[EdgeList](t, c.send("GET", "/api/v1/edges", "", "").want(t, http.StatusOK).body); list.Total != 0 {
		t.Errorf("nobody is there: %+v", list)
	}
	one, _ := r.startEdge("edge-1")
	two, stop := r.startEdge("edge-2")
	r.awaitEdges(2)
	open := func(d map[string]any) { put(t, d, "/spec/topics/0/security", "none") }
	d := anAPI("waits")
	open(d)
	a := c.send("POST", "/api/v1/apis?wait=edges", mediaJSON, body(t, d)).want(t, http.StatusCreated)
	path := a.header.Get("Location")
	list := decodeAs[EdgeList](t, c.send("GET", "/api/v1/edges", "", "").want(t, http.StatusOK).body)
	if list.Total != 2 || list.Items[0].Node != "edge-1" || !list.Items[0].Current || list.Items[0].Clients != 7 || len(list.Items[0].Urls) != 1 || list.Rev == 0 {
		t.Errorf("edges %+v", list)
	}

	// One does not take the API: there is nothing to wait for, and every kind of change says so.
	id := "waits@1.0.0"
	two.refused.Store(&id)
	for _, w := range []struct{ method, target, media, body string }{
		{"POST", path + "/lifecycle", mediaJSON, `{"action":"publish"}`},
		{"POST", path + "/topics", mediaJSON, `{"name":"/more","security":"none"}`},
		{"DELETE", path + "/topics?name=%2Fmore", "", ""},
		{"PUT", "/api/v1/families/waits", mediaJSON, `{"defaultVersion":"1.0.0"}`},
		{"POST", "/api/v1/apply", mediaJSON, body(t, d)},
	} {
		join := "?"
		if w.method == "DELETE" {
			join = "&"
		}
		a := c.send(w.method, w.target+join+"wait=edges", w.media, w.body, "If-Match", "*").want(t, http.StatusAccepted)
		got := decodeAs[EdgesReached](t, a.body)
		if w.target == "/api/v1/apply" {
			got = decodeAs[Applied](t, a.body).Edges
		}
		if got.Live != 2 || got.Done != 1 || len(got.Failed) != 1 || got.Failed[0].Node != "edge-2" || got.Failed[0].Reason != LateEdgeReasonRefused {
			t.Errorf("%s %s: %s", w.method, w.target, a.body)
		}
	}
	list = decodeAs[EdgeList](t, c.send("GET", "/api/v1/edges", "", "").want(t, http.StatusOK).body)
	if len(list.Items[1].Refused) != 1 {
		t.Errorf("edges %+v", list)
	}
	c.send("POST", path+"/topics?wait=edges&dryRun=true", mediaJSON, `{"name":"/dry","security":"none"}`).want(t, http.StatusOK)
	c.send("POST", path+"/topics?wait=nodes", mediaJSON, `{"name":"/dry"}`).problem(t, http.StatusBadRequest, "invalid-query")

	// One is behind until it ends: a change waits no longer for it then.
	two.refused.Store(nil)
	two.lag.Store(1)
	answers := make(chan answered, 1)
	go func() {
		a, err := c.try("POST", path+"/topics?wait=edges", mediaJSON, `{"name":"/late","security":"none"}`)
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	eventually(t, "the change is made, and at the first edge", func() bool {
		rec, err := r.server.catalog.Get(id)
		return err == nil && rec.API.Topic("/late") != nil && one.rev.Load() >= rec.Rev
	})
	select {
	case a := <-answers:
		t.Errorf("answered while an edge is behind: %d %s", a.status, a.body)
	default:
		stop()
		(<-answers).want(t, http.StatusCreated)
	}
}

func TestStatusOfAnAPI(t *testing.T) {
	r := newRig(t)
	path, _ := create(t, r.as("creator"), "quotes", nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	for i := range 5 {
		r.nodes.feeds = append(r.nodes.feeds, FeedState{Path: fmt.Sprintf("/q/%d", i), Topic: "/q/{s}", State: "up", Owner: "ingest-1", Clients: i, Since: at, LastEventAt: at})
	}
	r.nodes.feeds = append(r.nodes.feeds, FeedState{Path: "/a", Topic: "/a", State: "unowned", Always: true})
	r.nodes.silent = []string{"edge-9"}
	var got []string
	for cursor := ""; ; {
		s := decodeAs[APIStatus](t, r.as("publisher").send("GET", path+"/status?limit=4&cursor="+cursor, "", "").want(t, http.StatusOK).body)
		if s.Total != 6 || s.Clients != 10 || s.States["up"] != 5 || s.States["unowned"] != 1 || len(s.Silent) != 1 || s.State != "CREATED" {
			t.Fatalf("status %+v", s)
		}
		for _, f := range s.Items {
			got = append(got, f.Path)
			if f.State == "up" && !f.LastEventAt.Equal(at.Truncate(time.Millisecond)) || f.State == "unowned" && !f.Since.IsZero() {
				t.Errorf("feed %+v", f)
			}
		}
		if cursor = s.NextCursor; cursor == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[/a /q/0 /q/1 /q/2 /q/3 /q/4]" {
		t.Errorf("pages have %v", got)
	}
	r.as("publisher").send("GET", "/api/v1/apis/none@1/status", "", "").problem(t, http.StatusNotFound, "not-found")
}

// TestTwoControlNodes creates one context 20 times at once through two nodes, and has each see what the other wrote.
func TestTwoControlNodes(t *testing.T) {
	one, two := newPair(t)
	nodes := []client{one.as("both"), two.as("both")}
	answers := make(chan answered, 20)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			d := anAPI(fmt.Sprintf("race%d", i))
			put(t, d, "/spec/context", "/race")
			a, err := nodes[i%2].try("POST", "/api/v1/apis", mediaJSON, body(t, d))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	all.Wait()
	close(answers)
	counts := map[int]int{}
	for a := range answers {
		if counts[a.status]++; a.status == http.StatusConflict {
			a.problem(t, http.StatusConflict, "context-conflict")
		}
	}
	if counts[http.StatusCreated] != 1 || counts[http.StatusConflict] != 19 {
		t.Errorf("answers %v", counts)
	}

	path, tag := create(t, nodes[0], "shared", nil)
	for i := range 6 { // what one wrote is what the other compares with, at once
		a := nodes[(i+1)%2].send("POST", path+"/topics", mediaJSON, fmt.Sprintf(`{"name":"/t%d"}`, i), "If-Match", tag).want(t, http.StatusCreated)
		nodes[i%2].send("DELETE", path+"/topics?name=%2Ft0", "", "", "If-Match", tag).problem(t, http.StatusPreconditionFailed, "version-mismatch")
		tag = a.header.Get("ETag")
	}
	// So it is with the versions of a name.
	family := nodes[0].send("GET", "/api/v1/families/shared", "", "").want(t, http.StatusOK).header.Get("ETag")
	nodes[0].send("GET", "/api/v1/families/shared", "", "", "If-None-Match", family).want(t, http.StatusNotModified)
	set := func(c client, version, tag string) answered {
		return c.send("PUT", "/api/v1/families/shared", mediaJSON, `{"defaultVersion":`+version+`}`, "If-Match", tag)
	}
	nodes[0].send("PUT", "/api/v1/families/shared", mediaJSON, `{"defaultVersion":null}`).problem(t, http.StatusPreconditionRequired, "precondition-required")
	a := set(nodes[1], `"1.0.0"`, family).want(t, http.StatusOK)
	set(nodes[0], `null`, family).problem(t, http.StatusPreconditionFailed, "version-mismatch")
	if again := nodes[1].send("GET", "/api/v1/families/shared", "", "").header.Get("ETag"); again != a.header.Get("ETag") || again == family {
		t.Errorf("tag %s, told %s, was %s", again, a.header.Get("ETag"), family)
	}
	nodes[1].send("POST", path+"/versions", mediaJSON, `{"version":"2.0.0"}`).want(t, http.StatusCreated)
	set(nodes[0], `null`, a.header.Get("ETag")).problem(t, http.StatusPreconditionFailed, "version-mismatch")
	set(nodes[0], `null`, "*").want(t, http.StatusOK)
}
