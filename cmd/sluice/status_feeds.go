package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/fanout"
	"sluice/ingest"
	"sluice/ingest/lease"
	"sluice/internal/broker"
)

// feedReport is one feed in GET /feeds. What ingest knows stands at the top: for a feed that another node owns as that node
// answers, else as far as its beacons tell.
type feedReport struct {
	ingest.FeedStatus

	Owned bool        `json:"owned"`          // this node reads its upstream
	Edge  *edgeReport `json:"edge,omitempty"` // absent while no client here has asked for it
}

// edgeReport is what this node's edge does with a feed.
type edgeReport struct {
	State           string  `json:"state"` // joining, synced, or repairing while something is missing
	Clients         int     `json:"clients"`
	Events          uint64  `json:"events"`          // that its log got since it is held here
	EventsPerSecond float64 `json:"eventsPerSecond"` // of them, over the last seconds
	Gaps            uint64  `json:"gaps"`            // told: in the feed, once for all clients, or to one client at its resume
	Seq             uint64  `json:"seq"`             // newest event here
	LastEventAgeMs  int64   `json:"lastEventAgeMs"`  // since the broker stored it, −1 = none yet
	LagMs           int64   `json:"lagMs"`           // since when stored events are known to be missing here, 0 = complete
	OwnerSeq        uint64  `json:"ownerSeq"`        // newest event as its owner told last, 0 = no word yet
	OwnerHeardMs    int64   `json:"ownerHeardMs"`    // since that word, −1 = none
	LogBytes        int64   `json:"logBytes"`        // memory of its log
}

// nodeFeeds lists every feed that this node ingests or holds for clients, by API, version and path.
func (p *process) nodeFeeds() []feedReport {
	var own []ingest.FeedStatus
	if p.ingest != nil {
		own = p.ingest.Feeds()
	}
	return p.merge(own, nil)
}

// merge makes the list of feeds from those that this node owns, those that others do, and what its edge holds.
func (p *process) merge(own, others []ingest.FeedStatus) []feedReport {
	list, at := []feedReport{}, map[string]int{}
	add := func(f ingest.FeedStatus, owned bool) {
		i, known := at[f.Feed]
		switch {
		case !known:
			at[f.Feed] = len(list)
			list = append(list, feedReport{FeedStatus: f, Owned: owned})
		case f.Epoch > list[i].Epoch: // between two owners the newer one has it
			list[i] = feedReport{FeedStatus: f, Owned: owned}
		}
	}
	for _, f := range own {
		add(f, true)
	}
	for _, f := range others {
		add(f, false)
	}
	if p.hub != nil {
		now := time.Now()
		for _, f := range p.hub.Status() {
			add(remoteFeed(f), false)
			list[at[f.Feed.String()]].Edge = edgeReportOf(f, now)
		}
	}
	slices.SortFunc(list, func(a, b feedReport) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Path, b.Path))
	})
	return list
}

// remoteFeed is what an edge knows of a feed that another node owns.
func remoteFeed(f fanout.FeedStatus) ingest.FeedStatus {
	path := f.Demand.Path
	if f.Demand.Query != "" {
		path += "?" + f.Demand.Query
	}
	s := ingest.FeedStatus{
		API: f.Demand.API, Version: f.Demand.Version, Topic: f.Demand.Topic, Path: path, Feed: f.Feed.String(),
		State: f.Owner.State, Why: f.Owner.Why, Node: f.Owner.Node, Epoch: f.Owner.Epoch, Seq: f.Owner.Seq, Micros: f.Owner.Micros,
		LastEventAgeMs: -1,
	}
	if s.State == "" {
		s.State = "unknown"
	}
	if f.Owner.Since > 0 {
		s.Since = time.UnixMicro(f.Owner.Since)
	}
	return s
}

func edgeReportOf(f fanout.FeedStatus, now time.Time) *edgeReport {
	e := &edgeReport{
		State: f.State, Clients: f.Clients, Events: f.Events, EventsPerSecond: f.PerSecond, Gaps: f.Gaps, Seq: f.Last.Seq,
		LastEventAgeMs: -1, LagMs: f.Lag.Milliseconds(), OwnerSeq: f.Owner.Seq, OwnerHeardMs: -1, LogBytes: f.LogBytes,
	}
	if f.Last.Micros > 0 {
		e.LastEventAgeMs = max(0, now.Sub(time.UnixMicro(f.Last.Micros)).Milliseconds())
	}
	if !f.Heard.IsZero() {
		e.OwnerHeardMs = max(0, now.Sub(f.Heard).Milliseconds())
	}
	return e
}

// serveFeeds answers GET /feeds: the feeds of the whole cluster, or with ?scope=node those of this node.
func (p *process) serveFeeds(w http.ResponseWriter, r *http.Request) {
	if p.members == nil || p.broker == nil || r.URL.Query().Get("scope") == "node" {
		writeStatus(w, feedsReport{Feeds: p.nodeFeeds()})
		return
	}
	writeStatus(w, p.clusterFeeds(r.Context(), broker.FeedsAsk{}))
}

// feedsReport is the body of GET /feeds.
type feedsReport struct {
	Feeds []feedReport `json:"feeds"`
	Nodes []nodeSeen   `json:"nodes,omitempty"` // the ingest nodes that this one sees; absent with an embedded broker
}

// nodeSeen is one ingest node of the cluster.
type nodeSeen struct {
	lease.Node
	SilentMs int64  `json:"silentMs"` // since its last beat
	Err      string `json:"error,omitempty"`
}

// askTime is how long the other nodes have to tell of their feeds.
const askTime = 2 * time.Second

// asksAtOnce bounds the nodes asked at one moment.
const asksAtOnce = 16

// stateUnowned is the state of a feed that is to run all the time and that no node has.
const stateUnowned = "unowned"

// clusterFeeds asks every ingest node for its feeds, or those of one API. What a node does not tell in time is missing, and its line
// says why.
func (p *process) clusterFeeds(ctx context.Context, of broker.FeedsAsk) feedsReport {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	nodes := p.members.All()
	r := feedsReport{Nodes: make([]nodeSeen, len(nodes))}
	told := make([][]ingest.FeedStatus, len(nodes))
	var asking errgroup.Group
	asking.SetLimit(asksAtOnce)
	for i, n := range nodes {
		r.Nodes[i] = nodeSeen{Node: n, SilentMs: n.Silent.Milliseconds()}
		if p.ingest != nil && n.Name == nodeName(p.cfg) {
			continue
		}
		asking.Go(func() error {
			feeds, err := ingest.AskFeeds(ctx, p.broker.Bus(), n.Name, of)
			if err != nil {
				r.Nodes[i].Err = err.Error()
			}
			told[i] = feeds
			return nil
		})
	}
	_ = asking.Wait() //nolint:errcheck // each node's line has its own
	var own []ingest.FeedStatus
	if p.ingest != nil {
		own = p.ingest.Feeds()
	}
	r.Feeds = p.merge(own, append(slices.Concat(told...), p.unowned()...))
	return r
}

// unowned lists the feeds that are to run all the time as if nobody had them: who has one stands before it.
func (p *process) unowned() []ingest.FeedStatus {
	var out []ingest.FeedStatus
	for _, route := range p.store.Snapshot().AlwaysOn() {
		ref := route.Ref()
		out = append(out, ingest.FeedStatus{API: ref.API, Version: ref.Version, Topic: route.Topic.Name, Feed: ref.ID().String(),
			Path: broker.CanonicalPath(ref.Path, ref.Query), State: stateUnowned, Always: true, LastEventAgeMs: -1})
	}
	return out
}

func writeStatus(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
