package ingest

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/broker"
)

// metrics counts for the whole node and per API; never per feed or upstream. All methods may be called on nil.
type metrics struct {
	events     *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	commits    prometheus.Counter
	commitSize prometheus.Histogram
	commitTime prometheus.Histogram
	age        prometheus.Histogram
	retries    *prometheus.CounterVec
	fenced     prometheus.Counter
	markers    *prometheus.CounterVec
	connects   *prometheus.CounterVec
	skipped    *prometheus.CounterVec
	pauses     prometheus.Counter
	refused    *prometheus.CounterVec
	fences     prometheus.Counter
	lost       prometheus.Counter
	hands      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Supervisor) *metrics {
	if reg == nil {
		return nil
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_ingest_" + name, Help: help}, labels)
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_ingest_" + name, Help: help})
	}
	hist := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_ingest_" + name, Help: help,
			Buckets: buckets})
	}
	m := &metrics{
		events:  vec("events_total", "Events stored.", "api"),
		bytes:   vec("bytes_total", "Bytes of bodies stored.", "api"),
		commits: one("commits_total", "Commits stored."),
		age: hist("event_age_seconds", "Time from reading an event from its upstream to the broker's acknowledgement: the oldest one of each commit.",
			[]float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}),
		commitSize: hist("commit_events", "Events per commit.", prometheus.ExponentialBuckets(1, 2, 10)),
		commitTime: hist("commit_seconds", "Time from the first attempt of a commit to its acknowledgement, further attempts included. Each attempt: sluice_broker_commit_seconds.",
			prometheus.ExponentialBuckets(0.0001, 4, 10)),
		retries: vec("commit_retries_total", "Attempts of commits that failed, by cause.", "reason"),
		fenced:  one("fenced_total", "Commits refused because another writer had stored something."),
		markers: vec("markers_total", "Seam markers stored, by reason.", "api", "reason"),
		connects: vec("connects_total", "Attempts to connect to upstreams, by result (up, or the feed's state after it).",
			"result"),
		skipped: vec("skipped_total", "Upstream events not stored: repeated (seen before a reconnect) or oversize.", "reason"),
		pauses:  one("backpressure_total", "Times reading an upstream was stopped because its queue was full."),
		fences:  one("self_fences_total", "Times this node let its upstreams go because its own beats did not come back."),
		lost:    one("feeds_lost_total", "Feeds that this node believed to own and another one had taken."),
		hands: vec("handovers_total",
			"Feeds handed from node to node, by result: offered and received on the taking side; given, refused and failed on the other.",
			"result"),
		refused: vec("demand_refused_total", "Feeds asked for and refused, by cause.", "reason"),
	}
	reg.MustRegister(m.events, m.bytes, m.commits, m.commitSize, m.commitTime, m.age, m.retries, m.fenced, m.markers, m.connects,
		m.skipped, m.pauses, m.refused, m.fences, m.lost, m.hands, newFeedCollector(s))
	return m
}

func (m *metrics) committed(api string, events, bytes int, seconds, age float64) {
	if m == nil {
		return
	}
	m.events.WithLabelValues(api).Add(float64(events))
	m.bytes.WithLabelValues(api).Add(float64(bytes))
	m.commits.Inc()
	m.commitSize.Observe(float64(events))
	m.commitTime.Observe(seconds)
	m.age.Observe(max(0, age))
}

func (m *metrics) retried(cause string) {
	if m != nil {
		m.retries.WithLabelValues(cause).Inc()
	}
}

func (m *metrics) fence() {
	if m != nil {
		m.fenced.Inc()
	}
}

func (m *metrics) marked(api, reason string) {
	if m != nil {
		m.markers.WithLabelValues(api, reason).Inc()
	}
}

func (m *metrics) connected(result string) {
	if m != nil {
		m.connects.WithLabelValues(result).Inc()
	}
}

func (m *metrics) skip(why string, n int) {
	if m != nil {
		m.skipped.WithLabelValues(why).Add(float64(n))
	}
}

func (m *metrics) paused() {
	if m != nil {
		m.pauses.Inc()
	}
}

func (m *metrics) refuse(cause string) {
	if m != nil {
		m.refused.WithLabelValues(cause).Inc()
	}
}

func (m *metrics) fencedSelf(n uint64) {
	if m != nil {
		m.fences.Add(float64(n))
	}
}

func (m *metrics) losing() {
	if m != nil {
		m.lost.Inc()
	}
}

func (m *metrics) handed(result string) {
	if m != nil {
		m.hands.WithLabelValues(result).Inc()
	}
}

// feedCollector reports, when asked, how many feeds are in which state, what their queues hold, and how far the worst of an
// API's feeds is behind.
type feedCollector struct {
	s                                  *Supervisor
	feeds, queue, budget, lag, silence *prometheus.Desc
	nodes                              *prometheus.Desc
}

func newFeedCollector(s *Supervisor) *feedCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_ingest_"+name, help, labels, nil)
	}
	return &feedCollector{s: s,
		feeds:  desc("feeds", "Feeds this node runs, by state.", "api", "state"),
		queue:  desc("queue_bytes", "Bytes read and not yet stored."),
		budget: desc("queue_budget_bytes", "What all queues may hold together; then reading stops."),
		lag:    desc("lag_seconds", "Age of the oldest event of the API that was read and is not yet stored; 0 = all are.", "api"),
		nodes:  desc("nodes", "Ingest nodes that this one sees alive, itself included, by state: joined, draining, starting.", "state"),
		silence: desc("silence_seconds",
			"Longest time for which an always-on feed of the API that is up has brought no event.", "api"),
	}
}

// Describe implements prometheus.Collector.
func (c *feedCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.feeds, c.queue, c.budget, c.lag, c.silence, c.nodes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *feedCollector) Collect(ch chan<- prometheus.Metric) {
	type key struct{ api, state string }
	count, lag, silence := map[key]int{}, map[string]int64{}, map[string]int64{}
	now := c.s.node.clock.Now()
	for _, f := range c.s.Feeds() {
		api := f.API + "@" + f.Version
		count[key{api, f.State}]++
		lag[api] = max(lag[api], f.LagMs)
		if f.Always && f.State == broker.StateUp {
			quiet := max(now.Sub(f.Since).Milliseconds(), 0)
			if f.LastEventAgeMs >= 0 {
				quiet = min(quiet, f.LastEventAgeMs)
			}
			silence[api] = max(silence[api], quiet)
		}
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for k, n := range count {
		gauge(c.feeds, float64(n), k.api, k.state)
	}
	for api, ms := range lag {
		gauge(c.lag, float64(ms)/1e3, api)
	}
	for api, ms := range silence {
		gauge(c.silence, float64(ms)/1e3, api)
	}
	for state, n := range c.s.nodeStates() {
		gauge(c.nodes, float64(n), state)
	}
	gauge(c.queue, float64(c.s.node.used.Load()))
	gauge(c.budget, float64(c.s.node.limit))
}

// nodeStates counts the ingest nodes that live, by state.
func (s *Supervisor) nodeStates() map[string]int {
	n := map[string]int{"joined": 0, "draining": 0, "starting": 0}
	if s.members == nil {
		n["joined"] = 1
		return n
	}
	for _, m := range s.members.All() {
		switch {
		case m.Draining:
			n["draining"]++
		case m.Capacity == 0:
			n["starting"]++
		default:
			n["joined"]++
		}
	}
	return n
}
