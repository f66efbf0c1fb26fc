package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/internal/broker"
)

// edge is the other side of demand.
type edge struct {
	r    *rig
	name string
}

func (r *rig) edge(name string) *edge { return &edge{r, name} }

func (e *edge) want(path string) broker.Demand {
	return broker.Demand{API: "market", Version: "1.0.0", Path: path}
}

// ask requests one feed, as often as an edge does.
func (e *edge) ask(d broker.Demand) (broker.DemandReply, error) {
	body, err := json.Marshal(broker.DemandOpen{V: 1, Edge: e.name, Boot: "b", Want: d})
	e.r.check(err)
	var reply broker.DemandReply
	again := time.NewTicker(100 * time.Millisecond) // as an edge does, and longer than a supervisor takes to start
	defer again.Stop()
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		var answer []byte
		answer, err = e.r.b.Bus().Request(ctx, broker.SubjectDemandOpen, body)
		cancel()
		if err == nil {
			e.r.check(json.Unmarshal(answer, &reply))
			return reply, nil
		}
		<-again.C
	}
	return reply, err
}

func (e *edge) open(path string) broker.DemandReply {
	e.r.t.Helper()
	reply, err := e.ask(e.want(path))
	e.r.check(err)
	return reply
}

func (e *edge) list(paths ...string) {
	e.r.t.Helper()
	l := broker.DemandList{V: 1, Edge: e.name, Boot: "b", Parts: 1}
	for _, p := range paths {
		l.Feeds = append(l.Feeds, e.want(p))
	}
	body, err := json.Marshal(l)
	e.r.check(err)
	e.r.check(e.r.b.Bus().Publish(broker.SubjectDemandList, body))
}

func TestDemandOpensAndLingers(t *testing.T) {
	r := newRig(t)
	r.define("  topics:\n    - {name: /ticks, security: none}\n    - {name: '/q/{s}', security: none, linger: 1s}\n")
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	e := r.edge("e1")
	if reply := e.open("/q/A"); reply.Refused != "" || reply.Beacon.Epoch == 0 || reply.Beacon.Node != "n1" {
		t.Fatalf("reply %+v", reply)
	}
	r.wantState("/q/A", "up")
	p.add("a")
	r.wantTexts(feedOf("/q/A"), "a")
	if reply := e.open("/q/A"); reply.Beacon.State != "up" || reply.Beacon.Seq == 0 {
		t.Errorf("reply of an open feed %+v", reply)
	}
	if reply := e.open("/ticks"); reply.Beacon.State != "up" {
		t.Errorf("reply of an always-on feed %+v", reply)
	}
	r.edge("e2").list("/q/A", "/q/B")
	r.wantState("/q/B", "up")
	e.list()
	began := time.Now()
	r.until("one edge is left", func() bool { return r.status("/q/A").Demand == 1 })
	r.edge("e2").list("/q/B")
	r.until("closed after linger", func() bool { return r.status("/q/A").State == "" })
	if d := time.Since(began); d < time.Second {
		t.Errorf("closed after %s, linger is 1s", d)
	}
	if _, err := r.own.Get(t.Context(), feedOf("/q/A").String()); err == nil {
		t.Error("the owner's entry of a closed on-demand feed is still there")
	}
	if r.status("/q/B").State != "up" || r.status("/ticks").State != "up" {
		t.Errorf("feeds: %+v", r.s.Feeds())
	}
}

func TestDemandDuringLingerKeepsTheFeed(t *testing.T) {
	r := newRig(t)
	r.define("  topics:\n    - {name: '/q/{s}', security: none, linger: 2s}\n")
	newTape(r.up, true, true)
	r.run()
	e := r.edge("e1")
	e.open("/q/A")
	r.wantState("/q/A", "up")
	e.list()
	r.until("nobody wants it", func() bool { return r.status("/q/A").Demand == 0 })
	e.open("/q/A")
	if st := r.status("/q/A"); st.Opens != 1 || st.Demand != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestDemandIsRefused(t *testing.T) {
	r := newRig(t)
	r.define("  limits: {maxFeeds: 2}\n  topics:\n    - {name: '/q/{s}', security: none, params: {s: '[A-Z]+'}}\n")
	newTape(r.up, true, true)
	r.run()
	e := r.edge("e1")
	e.open("/q/A")
	e.open("/q/B")
	for _, c := range []struct{ path, want string }{
		{"/q/C", "cap"}, {"/q/A", ""}, {"/q/lower", "topic"}, {"/none", "topic"}, {"no path", "topic"},
	} {
		if got := e.open(c.path).Refused; got != c.want {
			t.Errorf("%s: refused %q, want %q", c.path, got, c.want)
		}
	}
	if reply, err := e.ask(broker.Demand{API: "other", Version: "1", Path: "/x"}); err != nil || reply.Refused != "topic" {
		t.Errorf("other API: %+v, %v", reply, err)
	}
	if n := len(r.s.Feeds()); n != 2 {
		t.Errorf("%d feeds", n)
	}
}

func TestMissingFeedTellsItsState(t *testing.T) {
	r := newRig(t)
	r.define("  topics:\n    - {name: '/q/{s}', security: none}\n")
	r.up.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	r.run()
	e := r.edge("e1")
	e.open("/q/A")
	r.wantState("/q/A", "missing")
	if b := e.open("/q/A").Beacon; b.State != "missing" || b.Why != "status 404" {
		t.Errorf("beacon %+v", b)
	}
}

func TestNodeCap(t *testing.T) {
	r := newRig(t)
	r.cfg.Ingest.Demand.MaxFeeds = 3
	r.define("  topics:\n    - {name: '/q/{s}', security: none}\n")
	newTape(r.up, true, true)
	r.run()
	e := r.edge("e1")
	for i := range 3 {
		e.open(fmt.Sprintf("/q/%d", i))
	}
	if got := e.open("/q/3").Refused; got != "cap" {
		t.Errorf("refused %q", got)
	}
}
