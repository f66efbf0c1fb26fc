package main

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/config/admin"
	"sluice/internal/broker"
	"sluice/internal/presence"
	"sluice/internal/version"
)

// tellPresence makes an edge that serves the shared catalog tell how far it follows it.
func (p *process) tellPresence(context.Context) error {
	if p.edge == nil || p.manager == nil {
		return nil
	}
	build := version.Read().Version
	urls := edgeURLs(p.edge.Addrs())
	if public := p.publicURLs(); len(public) > 0 {
		urls = public
	}
	var told uint64 // revision that refused is of; only Say uses both
	var refused []string
	t, err := presence.NewTeller(presence.TellerConfig{
		Bus: p.broker.Bus(), Node: nodeName(p.cfg), Moved: p.manager.Moved, Clients: p.clientsOf, Usage: p.viewer.usage, Figures: p.figures, Log: p.log,
		Say: func() presence.Edge {
			rev := p.manager.Rev() // before what is refused of it
			if rev != told {
				told, refused = rev, p.manager.Behind(p.cfg.Edge.Group)
			}
			return presence.Edge{Node: nodeName(p.cfg), Boot: p.boot, Version: build, Group: p.cfg.Edge.Group, URLs: urls, Rev: rev,
				Refused: refused, Clients: p.edge.Open(), Draining: p.edge.Draining()}
		},
	})
	if err != nil {
		return withCode(exitFailed, err)
	}
	p.start("presence", t.Run)
	return nil
}

// publicURLs are the addresses by which clients reach the edges of this one's group, if the settings name any.
func (p *process) publicURLs() (out []string) {
	for _, u := range p.cfg.Edge.Public() {
		if u.Group == "" || u.Group == p.cfg.Edge.Group {
			out = append(out, u.URL)
		}
	}
	return out
}

// edgeURLs are the addresses of an edge's listeners; one that listens everywhere has no better name than the port.
func edgeURLs(addrs map[string]net.Addr) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(addrs)) {
		out = append(out, strings.TrimPrefix(name, "edge-")+"://"+addrs[name].String())
	}
	return out
}

// clientsOf lists the feeds of an API that clients here read, or all of them.
func (p *process) clientsOf(api, version string, all bool) []presence.Feed {
	var out []presence.Feed
	for _, f := range p.hub.Status() {
		if all || f.Demand.API == api && f.Demand.Version == version {
			feed := presence.Feed{API: f.Demand.API, Version: f.Demand.Version, Feed: f.Feed.String(), Topic: f.Demand.Topic, Path: remoteFeed(f).Path,
				Clients: f.Clients, EventsPerSecond: f.PerSecond, LagMs: f.Lag.Milliseconds(), Gaps: f.Gaps}
			if all {
				for _, a := range f.Ages {
					feed.Ages = append(feed.Ages, presence.Age(a))
				}
			}
			out = append(out, feed)
		}
	}
	return out
}

// nodes is what the management API hears of other nodes.
type nodes struct {
	*presence.Roster
	p *process
}

var _ admin.Nodes = nodes{}

// Feeds implements admin.Nodes: ingest nodes and edges are asked at the same time.
func (n nodes) Feeds(ctx context.Context, name, version string) (feeds []admin.FeedState, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var report feedsReport
	var asking sync.WaitGroup
	asking.Go(func() { report = n.p.feedsOf(ctx, name, version) })
	clients, silent := n.clients(ctx, name, version)
	asking.Wait()
	for _, node := range report.Nodes {
		if node.Err != "" {
			silent = append(silent, node.Name)
		}
	}
	slices.Sort(silent)
	for _, f := range joined(report.Feeds, clients) {
		feeds = append(feeds, f.FeedState)
	}
	return feeds, slices.Compact(silent)
}

// clients asks every edge for the feeds of an API that its clients read.
func (n nodes) clients(ctx context.Context, name, version string) (all []presence.Feed, silent []string) {
	var mu sync.Mutex // guards the results
	var asking errgroup.Group
	asking.SetLimit(asksAtOnce)
	if n.p.manager == nil && n.p.edge != nil { // with definitions of its own it tells nobody else
		all = n.p.clientsOf(name, version, false)
	}
	for _, e := range n.Edges() {
		asking.Go(func() error {
			feeds, err := presence.AskClients(ctx, n.p.broker.Bus(), e.Node, name, version)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, e.Node)
			}
			all = append(all, feeds...)
			return nil
		})
	}
	_ = asking.Wait() //nolint:errcheck // who did not answer is in silent
	return all, silent
}

// feedsOf lists the feeds of an API as the ingest nodes tell, or of all with name "".
func (p *process) feedsOf(ctx context.Context, name, version string) feedsReport {
	r := feedsReport{}
	if p.members != nil {
		r = p.clusterFeeds(ctx, broker.FeedsAsk{API: name, Version: version})
	} else if p.ingest != nil {
		r.Feeds = p.merge(p.ingest.Feeds(), p.unowned())
	}
	r.Feeds = slices.DeleteFunc(r.Feeds, func(f feedReport) bool { return name != "" && (f.API != name || f.Version != version) })
	return r
}

// joined makes one list of what ingest nodes and edges tell.
func joined(feeds []feedReport, clients []presence.Feed) []admin.SeenFeed {
	var out []admin.SeenFeed
	now := time.Now()
	at := map[string]int{}
	for _, f := range feeds {
		at[f.Feed] = len(out)
		s := admin.SeenFeed{API: f.API + "@" + f.Version, LagMs: f.LagMs, Gaps: f.Markers, FeedState: admin.FeedState{
			Path: f.Path, Topic: f.Topic, State: f.State, Why: f.Why, Since: f.Since, Owner: f.Node, Standby: f.Standby, Always: f.Always,
			EventsPerSecond: float32(f.EventsPerSecond)}}
		if f.State == broker.StateBlocked { // the reason names the address that a name stands for
			s.Why = "its address is not one that endpoints may have"
		}
		if f.LastEventAgeMs >= 0 {
			s.LastEventAt = now.Add(-time.Duration(f.LastEventAgeMs) * time.Millisecond)
		}
		out = append(out, s)
	}
	for _, c := range clients {
		i, known := at[c.Feed]
		if !known {
			i = len(out)
			at[c.Feed] = i
			out = append(out, admin.SeenFeed{API: c.API + "@" + c.Version, FeedState: admin.FeedState{Path: c.Path, Topic: c.Topic, State: stateUnowned}})
		}
		f := &out[i]
		f.Clients += c.Clients
		f.Topic = cmp.Or(f.Topic, c.Topic)
		f.DeliveriesPerSecond += c.EventsPerSecond * float64(c.Clients)
		f.LagMs = max(f.LagMs, c.LagMs)
		f.Gaps = max(f.Gaps, c.Gaps)
	}
	return out
}
