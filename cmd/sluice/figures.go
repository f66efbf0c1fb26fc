package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/config/admin"
	"sluice/internal/presence"
)

// figures are the counters of this node's edge, as the monitor of the management API reads them.
func (p *process) figures() presence.Figures {
	families, err := p.reg.Gather()
	if err != nil {
		p.log.Warn("figures from incomplete metrics", "error", err)
	}
	f := presence.Figures{Boot: p.boot, Clock: time.Since(p.began).Milliseconds(), Clients: p.edge.Open()}
	ages, counts := map[float64]uint64{}, map[presence.Count]uint64{}
	for _, family := range families {
		kind, counted := countKinds[family.GetName()]
		for _, m := range family.GetMetric() {
			switch {
			case family.GetName() == "sluice_fanout_deliveries_total":
				f.Deliveries += uint64(m.GetCounter().GetValue())
			case family.GetName() == "sluice_fanout_delivery_age_seconds":
				var below uint64
				for _, b := range m.GetHistogram().GetBucket() {
					ages[b.GetUpperBound()] += b.GetCumulativeCount() - below
					below = b.GetCumulativeCount()
				}
				ages[0] += m.GetHistogram().GetSampleCount() - below
			case counted:
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				if c, ok := kind(labels); ok {
					counts[c] += uint64(m.GetCounter().GetValue())
				}
			}
		}
	}
	for _, le := range slices.Sorted(maps.Keys(ages)) {
		if le > 0 && ages[le] > 0 {
			f.Ages = append(f.Ages, presence.Age{Le: le, N: ages[le]})
		}
	}
	if ages[0] > 0 {
		f.Ages = append(f.Ages, presence.Age{N: ages[0]})
	}
	for c, n := range counts {
		if c.N = n; n > 0 {
			f.Counts = append(f.Counts, c)
		}
	}
	return f
}

// countKinds says which metrics tell what clients did not get, and what of their labels is the reason. A gap that one client met at its
// resume is in sluice_fanout_gaps_total too.
var countKinds = map[string]func(labels map[string]string) (c presence.Count, ok bool){
	"sluice_edge_ends_total": func(l map[string]string) (presence.Count, bool) {
		return presence.Count{Kind: presence.CountEnd, Reason: l["reason"]}, true
	},
	"sluice_edge_refused_total": func(l map[string]string) (presence.Count, bool) {
		return presence.Count{Kind: presence.CountRefused, Reason: l["type"]}, true
	},
	"sluice_fanout_gaps_total": func(l map[string]string) (presence.Count, bool) {
		return presence.Count{Kind: presence.CountGap, API: l["api"], Reason: l["reason"]}, true
	},
	"sluice_fanout_skips_total": func(map[string]string) (presence.Count, bool) {
		return presence.Count{Kind: presence.CountGap, Reason: "slow"}, true
	},
	"sluice_edge_gateway_events_total": func(l map[string]string) (presence.Count, bool) {
		kind := map[string]string{"gateway.end": presence.CountTold, "gateway.throttled": presence.CountThrottled}[l["event"]]
		return presence.Count{Kind: kind, API: l["api"], Reason: l["reason"]}, kind != ""
	},
}

// Look implements admin.Nodes: ingest nodes and edges are asked at the same time.
func (n nodes) Look(ctx context.Context) admin.Look {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var report feedsReport
	var asking sync.WaitGroup
	asking.Go(func() { report = n.p.feedsOf(ctx, "", "") })
	out, clients := n.counted(ctx)
	asking.Wait()
	for _, node := range report.Nodes {
		if node.Err != "" {
			out.Silent = append(out.Silent, node.Name)
		}
	}
	slices.Sort(out.Silent)
	out.Silent = slices.Compact(out.Silent)
	out.Feeds = joined(report.Feeds, clients)
	return out
}

// counted asks every edge for all that it counts.
func (n nodes) counted(ctx context.Context) (out admin.Look, feeds []presence.Feed) {
	if n.p.manager == nil && n.p.edge != nil { // with definitions of its own it tells nobody else
		feeds = n.p.clientsOf("", "", true)
		out.Edges = append(out.Edges, admin.EdgeFigures{Node: nodeName(n.p.cfg), Figures: n.p.figures(), FeedAges: feedAges(feeds)})
		return out, feeds
	}
	var mu sync.Mutex // guards the results
	var asking errgroup.Group
	asking.SetLimit(asksAtOnce)
	for _, e := range n.Edges() {
		asking.Go(func() error {
			figures, read, err := presence.AskFigures(ctx, n.p.broker.Bus(), e.Node)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Silent = append(out.Silent, e.Node)
				return nil
			}
			out.Edges = append(out.Edges, admin.EdgeFigures{Node: e.Node, Figures: figures, FeedAges: feedAges(read)})
			feeds = append(feeds, read...)
			return nil
		})
	}
	_ = asking.Wait() //nolint:errcheck // who did not answer is in Silent
	slices.SortFunc(out.Edges, func(a, b admin.EdgeFigures) int { return cmp.Compare(a.Node, b.Node) })
	return out, feeds
}

// feedAges are the ages of events that an edge tells with its feeds.
func feedAges(feeds []presence.Feed) map[admin.FeedKey][]presence.Age {
	out := map[admin.FeedKey][]presence.Age{}
	for _, f := range feeds {
		if len(f.Ages) > 0 {
			out[admin.FeedKey{API: f.API + "@" + f.Version, Path: f.Path}] = f.Ages
		}
	}
	return out
}
