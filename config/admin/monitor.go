package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/auth"
	"sluice/internal/presence"
)

// Times and bounds of monitors.
const (
	lookEvery   = time.Second
	lookShare   = 10               // nodes are asked for at most one part in ten of the time
	lookForgets = 30 * time.Second // rates over more than that tell nothing of now

	mostMonitors   = 200
	mostMonitorsBy = 16 // of one user
	mostListed     = 500
)

const eventSample = "sample"

// Look is what the nodes tell at one moment.
type Look struct {
	Feeds  []SeenFeed    // in any order
	Edges  []EdgeFigures // by node
	Silent []string      // nodes that did not answer in time
}

// SeenFeed is a feed as a Look has it.
type SeenFeed struct {
	API string // id
	FeedState
	DeliveriesPerSecond float64
	LagMs               int64
	Gaps                uint64
}

// EdgeFigures are those of one edge.
type EdgeFigures struct {
	Node string
	presence.Figures
	FeedAges map[FeedKey][]presence.Age // as Figures.Ages, since the edge holds the feed
}

// FeedKey names a feed.
type FeedKey struct{ API, Path string } // API is its id

// Monitor implements ServerInterface.
func (s *Server) Monitor(c echo.Context, params MonitorParams) error {
	if params.API != "" {
		if _, err := s.find(c, params.API); err != nil {
			return err
		}
	}
	return s.stream(c, &s.monitoring, func(f *flow) error { return s.runMonitor(f, params.API, c.Request().Context()) })
}

// runMonitor tells what runs until the reader is gone, the caller may not be told any more or the server ends.
func (s *Server) runMonitor(f *flow, api string, request context.Context) error {
	beat, stand, next := time.NewTicker(watchHeartbeat), time.NewTicker(watchLook), time.NewTimer(0)
	defer beat.Stop()
	defer stand.Stop()
	defer next.Stop()
	var told uint64
	for {
		select {
		case <-next.C:
		case <-stand.C:
		case <-beat.C:
			f.heartbeat()
		case <-s.ending:
			return f.end("shutdown")
		case <-request.Done():
			return nil
		}
		caller, reason := f.caller()
		if reason != "" {
			return f.end(reason)
		}
		newest, wait := s.looks.newest(context.WithoutCancel(request))
		next.Reset(wait)
		if newest.n > told {
			told = newest.n
			if err := f.event(eventSample, "", s.sampleFor(caller, api, newest)); err != nil {
				return err
			}
		}
		if err := f.flush(); err != nil {
			return err
		}
	}
}

// looks asks the nodes, while somebody watches, and no more often for many than for one.
type looks struct {
	nodes Nodes

	mu     sync.Mutex // guards what follows; held while nodes are asked
	last   *seen
	due    time.Time
	before map[string]EdgeFigures // of the look before, by node
}

// seen is a Look with what came between it and the one before.
type seen struct {
	Look
	n        uint64 // rises
	at       time.Time
	interval time.Duration // 0 = there was none before
	edges    []edgeSample
	rate     *float64
	latency  *latencySample
	ages     map[FeedKey]ageCounts     // of the feeds of which any were told
	drops    map[presence.Count]uint64 // N of the key is 0
}

// newest is the newest look, which is asked for now if one is due, and when the next one is.
func (l *looks) newest(ctx context.Context) (*seen, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := time.Now()
	if l.last != nil && began.Before(l.due) {
		return l.last, l.due.Sub(began)
	}
	next := &seen{Look: l.nodes.Look(ctx), n: 1, at: time.Now(), drops: map[presence.Count]uint64{}, ages: map[FeedKey]ageCounts{}}
	if last := l.last; last != nil {
		next.n = last.n + 1
		if next.interval = next.at.Sub(last.at); next.interval > lookForgets {
			next.interval = 0
		}
	}
	if next.interval == 0 {
		l.before = nil
	}
	l.before = next.compare(l.before)
	l.last, l.due = next, began.Add(max(lookEvery, lookShare*time.Since(began)))
	return next, time.Until(l.due)
}

// compare counts what the edges did since the figures before, and returns those of now.
func (s *seen) compare(before map[string]EdgeFigures) map[string]EdgeFigures {
	now := map[string]EdgeFigures{}
	all := ageCounts{}
	for i := range s.Edges {
		e := &s.Edges[i]
		now[e.Node] = *e
		out := edgeSample{Node: e.Node, Clients: e.Clients}
		was, known := before[e.Node]
		if ms := e.Clock - was.Clock; known && was.Boot == e.Boot && ms > 0 {
			rate := float64(since(e.Deliveries, was.Deliveries)) * 1000 / float64(ms)
			out.DeliveriesPerSecond = &rate
			if s.rate == nil {
				s.rate = new(float64)
			}
			*s.rate += rate
			own := ageCounts{}
			own.add(e.Ages, was.Ages)
			all.addAll(own)
			out.Latency = latencyOf(own)
			for key, ages := range e.FeedAges {
				if s.ages[key] == nil {
					s.ages[key] = ageCounts{}
				}
				s.ages[key].add(ages, was.FeedAges[key])
			}
			s.addDrops(e.Counts, was.Counts)
		}
		s.edges = append(s.edges, out)
	}
	s.latency = latencyOf(all)
	return now
}

// addDrops adds what was counted since.
func (s *seen) addDrops(now, before []presence.Count) {
	was := map[presence.Count]uint64{}
	for _, c := range before {
		n := c.N
		c.N = 0
		was[c] = n
	}
	for _, c := range now {
		n := c.N
		c.N = 0
		if n = since(n, was[c]); n > 0 && (c.Kind != presence.CountEnd || c.Reason != "client") {
			s.drops[c] += n
		}
	}
}

// since is how much a counter rose.
func since(now, before uint64) uint64 { return max(now, before) - before }

// ageCounts are how many events were of an age, by the bound of its bucket.
type ageCounts map[float64]uint64

// add adds what came to a histogram since it was as before. One in which a bucket has less began anew.
func (a ageCounts) add(now, before []presence.Age) {
	was := map[float64]uint64{}
	for _, b := range before {
		was[b.Le] = b.N
	}
	held := 0
	for _, n := range now {
		if b, there := was[n.Le]; there && n.N >= b {
			held++
		}
	}
	if held < len(was) {
		clear(was)
	}
	for _, n := range now {
		a[n.Le] += n.N - was[n.Le]
	}
}

func (a ageCounts) addAll(b ageCounts) {
	for le, n := range b {
		a[le] += n
	}
}

// latencyOf finds percentiles: the upper bounds of the buckets that they are in. Nil = nothing was observed.
func latencyOf(ages ageCounts) *latencySample {
	var bounds []float64
	var all uint64
	for le, n := range ages {
		if all += n; n > 0 && le > 0 {
			bounds = append(bounds, le)
		}
	}
	if len(bounds) == 0 {
		return nil
	}
	slices.Sort(bounds)
	at := func(share float64) float64 {
		var below uint64
		for _, le := range bounds {
			if below += ages[le]; float64(below) >= share*float64(all) {
				return le * 1000
			}
		}
		return bounds[len(bounds)-1] * 1000 // older than all bounds
	}
	return &latencySample{at(.5), at(.95), at(.99)}
}

// MonitorSample and its parts, as openapi.yaml has them.
type (
	monitorSample struct {
		At                  time.Time      `json:"at"`
		IntervalMs          int64          `json:"intervalMs"`
		Clients             int            `json:"clients"`
		DeliveriesPerSecond *float64       `json:"deliveriesPerSecond,omitempty"`
		Latency             *latencySample `json:"latency,omitempty"`
		APIs                []*apiSample   `json:"apis"`
		APIsLeft            int            `json:"apisLeft"`
		Feeds               []feedSample   `json:"feeds"`
		FeedsLeft           int            `json:"feedsLeft"`
		Edges               []edgeSample   `json:"edges"`
		Drops               []dropSample   `json:"drops"`
		Silent              []string       `json:"silent"`
	}
	latencySample struct {
		P50 float64 `json:"p50Ms"`
		P95 float64 `json:"p95Ms"`
		P99 float64 `json:"p99Ms"`
	}
	apiSample struct {
		ID                  string         `json:"id"`
		Feeds               int            `json:"feeds"`
		States              map[string]int `json:"states"`
		Clients             int            `json:"clients"`
		EventsPerSecond     float64        `json:"eventsPerSecond"`
		DeliveriesPerSecond float64        `json:"deliveriesPerSecond"`
		LagMs               int64          `json:"lagMs"`
		Latency             *latencySample `json:"latency,omitempty"`

		ages ageCounts
	}
	feedSample struct {
		API                 string    `json:"api"`
		Path                string    `json:"path"`
		Topic               string    `json:"topic"`
		State               string    `json:"state"`
		Why                 string    `json:"why,omitempty"`
		Since               time.Time `json:"since,omitzero"`
		Owner               string    `json:"owner,omitempty"`
		LastEventAt         time.Time `json:"lastEventAt,omitzero"`
		Clients             int       `json:"clients"`
		EventsPerSecond     float64   `json:"eventsPerSecond"`
		DeliveriesPerSecond float64   `json:"deliveriesPerSecond"`
		LagMs               int64     `json:"lagMs"`
		Gaps                uint64    `json:"gaps"`

		Latency *latencySample `json:"latency,omitempty"`
	}
	edgeSample struct {
		Node                string         `json:"node"`
		Clients             int            `json:"clients"`
		DeliveriesPerSecond *float64       `json:"deliveriesPerSecond,omitempty"`
		Latency             *latencySample `json:"latency,omitempty"`
	}
	dropSample struct {
		Kind   string `json:"kind"`
		API    string `json:"api,omitempty"`
		Reason string `json:"reason"`
		Count  uint64 `json:"count"`
	}
)

// sampleFor is what a caller is told of a look: of one API, or "" = of all that the caller sees.
func (s *Server) sampleFor(caller auth.Principal, api string, l *seen) *monitorSample {
	visible := map[string]bool{"": api == ""}
	sees := func(id string) bool {
		is, known := visible[id]
		if !known {
			r, err := s.catalog.Get(id)
			is = err == nil && manages(caller, r) && (api == "" || api == r.ID())
			visible[id] = is
		}
		return is
	}
	out := &monitorSample{At: when(l.at), IntervalMs: l.interval.Milliseconds(), Latency: l.latency, APIs: []*apiSample{}, Feeds: []feedSample{},
		Edges: append([]edgeSample{}, l.edges...), Drops: l.dropsFor(sees, api != ""), Silent: append([]string{}, l.Silent...)}
	if api == "" {
		out.DeliveriesPerSecond = l.rate
	}
	apis := map[string]*apiSample{}
	for i := range l.Feeds {
		f := &l.Feeds[i]
		if !sees(f.API) {
			continue
		}
		a := apis[f.API]
		if a == nil {
			a = &apiSample{ID: f.API, States: map[string]int{}, ages: ageCounts{}}
			apis[f.API] = a
			out.APIs = append(out.APIs, a)
		}
		a.add(f)
		out.Clients += f.Clients
		feed, ages := sampleOf(f), l.ages[FeedKey{f.API, f.Path}]
		feed.Latency = latencyOf(ages)
		a.ages.addAll(ages)
		out.Feeds = append(out.Feeds, feed)
	}
	for _, a := range out.APIs {
		a.Latency = latencyOf(a.ages)
	}
	if api != "" {
		out.Latency = nil
		if a := apis[api]; a != nil {
			out.Latency = a.Latency
		}
	}
	slices.SortFunc(out.APIs, func(a, b *apiSample) int { return cmp.Or(b.Clients-a.Clients, strings.Compare(a.ID, b.ID)) })
	slices.SortFunc(out.Feeds, byTrouble)
	out.APIs, out.APIsLeft = atMost(out.APIs)
	out.Feeds, out.FeedsLeft = atMost(out.Feeds)
	return out
}

// atMost cuts a list, and tells how many it cut off.
func atMost[T any](list []T) ([]T, int) {
	n := min(len(list), mostListed)
	return list[:n], len(list) - n
}

// byTrouble sorts feeds that are not up first, then those with most clients.
func byTrouble(a, b feedSample) int {
	rank := func(f feedSample) int {
		if f.State == "up" {
			return 1
		}
		return 0
	}
	return cmp.Or(rank(a)-rank(b), b.Clients-a.Clients, strings.Compare(a.API, b.API), strings.Compare(a.Path, b.Path))
}

func (a *apiSample) add(f *SeenFeed) {
	a.Feeds++
	a.States[f.State]++
	a.Clients += f.Clients
	a.EventsPerSecond += float64(f.EventsPerSecond)
	a.DeliveriesPerSecond += f.DeliveriesPerSecond
	a.LagMs = max(a.LagMs, f.LagMs)
}

func sampleOf(f *SeenFeed) feedSample {
	return feedSample{API: f.API, Path: f.Path, Topic: f.Topic, State: f.State, Why: f.Why, Since: whenKnown(f.Since), Owner: f.Owner,
		LastEventAt: whenKnown(f.LastEventAt), Clients: f.Clients, EventsPerSecond: float64(f.EventsPerSecond),
		DeliveriesPerSecond: f.DeliveriesPerSecond, LagMs: f.LagMs, Gaps: f.Gaps}
}

// dropsFor lists what clients did not get. Every end is counted once: by what it was, or, of one API, by what its client was told.
func (l *seen) dropsFor(sees func(string) bool, one bool) []dropSample {
	out := []dropSample{}
	for c, n := range l.drops {
		kind := c.Kind
		switch {
		case kind == presence.CountTold && one:
			kind = presence.CountEnd
		case kind == presence.CountTold:
			continue
		}
		if sees(c.API) {
			out = append(out, dropSample{Kind: kind, API: c.API, Reason: c.Reason, Count: n})
		}
	}
	slices.SortFunc(out, func(a, b dropSample) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Reason, b.Reason), strings.Compare(a.API, b.API))
	})
	return out
}
