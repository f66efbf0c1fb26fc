package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"sluice/fanout"
	"sluice/ingest"
)

// feedReport is one feed in GET /feeds. What ingest knows stands at the top; for a feed that another node owns, as far as
// that node's beacons tell.
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

// feedReports lists every feed that this node ingests or holds for clients, by API, version and path.
func (p *process) feedReports() []feedReport {
	list, at := []feedReport{}, map[string]int{}
	if p.ingest != nil {
		for _, f := range p.ingest.Feeds() {
			at[f.Feed] = len(list)
			list = append(list, feedReport{FeedStatus: f, Owned: true})
		}
	}
	if p.hub != nil {
		now := time.Now()
		for _, f := range p.hub.Status() {
			i, owned := at[f.Feed.String()]
			if !owned {
				i = len(list)
				list = append(list, feedReport{FeedStatus: remoteFeed(f)})
			}
			list[i].Edge = edgeReportOf(f, now)
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

// serveFeeds answers GET /feeds.
func (p *process) serveFeeds(w http.ResponseWriter, _ *http.Request) {
	writeStatus(w, feedsReport{p.feedReports()})
}

// feedsReport is the body of GET /feeds.
type feedsReport struct {
	Feeds []feedReport `json:"feeds"`
}

func writeStatus(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
