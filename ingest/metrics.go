package ingest

import "github.com/prometheus/client_golang/prometheus"

// metrics counts for the whole node and per API; never per feed or upstream. All methods may be called on nil.
type metrics struct {
	events     *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	commits    prometheus.Counter
	commitSize prometheus.Histogram
	commitTime prometheus.Histogram
	retries    *prometheus.CounterVec
	fenced     prometheus.Counter
	markers    *prometheus.CounterVec
	connects   *prometheus.CounterVec
	skipped    *prometheus.CounterVec
	pauses     prometheus.Counter
	refused    *prometheus.CounterVec
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
		events:     vec("events_total", "Events stored.", "api"),
		bytes:      vec("bytes_total", "Bytes of bodies stored.", "api"),
		commits:    one("commits_total", "Commits stored."),
		commitSize: hist("commit_events", "Events per commit.", prometheus.ExponentialBuckets(1, 2, 10)),
		commitTime: hist("commit_seconds", "Time from the first attempt of a commit to its acknowledgement.",
			prometheus.ExponentialBuckets(0.0001, 4, 10)),
		retries: vec("commit_retries_total", "Attempts of commits that failed, by cause.", "cause"),
		fenced:  one("fenced_total", "Commits refused because another writer had stored something."),
		markers: vec("markers_total", "Seam markers stored, by reason.", "api", "reason"),
		connects: vec("connects_total", "Attempts to connect to upstreams, by result (up, or the feed's state after it).",
			"result"),
		skipped: vec("skipped_total", "Upstream events not stored: repeated (seen before a reconnect) or oversize.", "why"),
		pauses:  one("backpressure_total", "Times reading an upstream was stopped because its queue was full."),
		refused: vec("demand_refused_total", "Feeds asked for and refused, by cause.", "cause"),
	}
	reg.MustRegister(m.events, m.bytes, m.commits, m.commitSize, m.commitTime, m.retries, m.fenced, m.markers, m.connects,
		m.skipped, m.pauses, m.refused, newFeedCollector(s))
	return m
}

func (m *metrics) committed(api string, events, bytes int, seconds float64) {
	if m == nil {
		return
	}
	m.events.WithLabelValues(api).Add(float64(events))
	m.bytes.WithLabelValues(api).Add(float64(bytes))
	m.commits.Inc()
	m.commitSize.Observe(float64(events))
	m.commitTime.Observe(seconds)
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

// feedCollector reports how many feeds are in which state, and what their queues hold, when asked.
type feedCollector struct {
	s     *Supervisor
	feeds *prometheus.Desc
	queue *prometheus.Desc
}

func newFeedCollector(s *Supervisor) *feedCollector {
	return &feedCollector{s: s,
		feeds: prometheus.NewDesc("sluice_ingest_feeds", "Feeds this node runs, by state.", []string{"api", "state"}, nil),
		queue: prometheus.NewDesc("sluice_ingest_queue_bytes", "Bytes read and not yet stored.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (c *feedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.feeds; ch <- c.queue }

// Collect implements prometheus.Collector.
func (c *feedCollector) Collect(ch chan<- prometheus.Metric) {
	type key struct{ api, state string }
	count := make(map[key]int)
	for _, f := range c.s.Feeds() {
		count[key{f.API, f.State}]++
	}
	for k, n := range count {
		ch <- prometheus.MustNewConstMetric(c.feeds, prometheus.GaugeValue, float64(n), k.api, k.state)
	}
	ch <- prometheus.MustNewConstMetric(c.queue, prometheus.GaugeValue, float64(c.s.node.used.Load()))
}
