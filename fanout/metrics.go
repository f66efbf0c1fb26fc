package fanout

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the core's figures. A nil *metrics counts nothing. Engines have their
// own (EngineMetrics).
type metrics struct {
	logBytes atomic.Int64
	hits     prometheus.Counter
	fetches  prometheus.Counter
	doubles  prometheus.Counter
	mismatch prometheus.Counter
	repairs  *prometheus.CounterVec // reason
	gaps     *prometheus.CounterVec // api, reason
	ages     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	if reg == nil {
		return nil
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help}, labels)
	}
	m := &metrics{
		hits:     counter("block_hits_total", "Backlog look-ups answered by a block held."),
		fetches:  counter("block_fetches_total", "Backlog blocks read from the broker."),
		doubles:  counter("live_doubles_total", "Live messages dropped because they were held already."),
		mismatch: counter("handover_mismatch_total", "Readers whose backlog and live log did not meet at one event. Must stay 0."),
		repairs:  vec("repairs_total", "Feeds read from the broker because live events did not link up, by cause.", "reason"),
		gaps: vec("gaps_total",
			"Gaps found by the hub: in a feed, once for all its clients, or at one client's resume. Those of slow clients are skips_total.",
			"api", "reason"),
		ages: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_fanout_live_age_seconds",
			Help:    "Age of the newest event of a publish since ingest read it from its upstream, when it became visible to readers here.",
			Buckets: AgeBuckets()}),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_fanout_" + name, Help: help}, f)
	}
	reg.MustRegister(m.hits, m.fetches, m.doubles, m.mismatch, m.repairs, m.gaps, m.ages,
		newFeedCollector(h), newSocketCollector(),
		gauge("log_bytes", "Bytes of logs and indexes.", func() float64 { return float64(m.logBytes.Load()) }),
		gauge("block_bytes", "Bytes of backlog blocks.", func() float64 { return float64(h.blocks.bytes()) }),
		gauge("memory_budget_bytes", "What logs, indexes and blocks may take together; 0 = no bound.",
			func() float64 { return float64(h.cfg.Memory) }),
	)
	return m
}

func (m *metrics) setLogBytes(n int64) {
	if m != nil {
		m.logBytes.Store(n)
	}
}

func (m *metrics) blockHit() {
	if m != nil {
		m.hits.Inc()
	}
}

func (m *metrics) blockFetch() {
	if m != nil {
		m.fetches.Inc()
	}
}

func (m *metrics) doubled() {
	if m != nil {
		m.doubles.Inc()
	}
}

func (m *metrics) mismatched() {
	if m != nil {
		m.mismatch.Inc()
	}
}

func (m *metrics) repair(why string) {
	if m != nil {
		m.repairs.WithLabelValues(why).Inc()
	}
}

func (m *metrics) gap(api, reason string) {
	if m != nil {
		m.gaps.WithLabelValues(api, reason).Inc()
	}
}

// visible observes an event that ingest read at rx, in µs; 0 = not known.
func (m *metrics) visible(now time.Time, rx int64) {
	if m != nil && rx != 0 {
		m.ages.Observe(max(0, now.Sub(time.UnixMicro(rx)).Seconds()))
	}
}

// feedCollector reports the states of the feeds held when asked.
type feedCollector struct {
	h     *Hub
	feeds *prometheus.Desc
	lag   *prometheus.Desc
}

func newFeedCollector(h *Hub) *feedCollector {
	return &feedCollector{h: h,
		feeds: prometheus.NewDesc("sluice_fanout_feeds",
			"Feeds held, by state: joining, synced, or repairing while something is missing.", []string{"state"}, nil),
		lag: prometheus.NewDesc("sluice_fanout_lag_seconds",
			"Longest time since which a feed of the API has been missing stored events here; 0 = all are complete.",
			[]string{"api"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *feedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.feeds; ch <- c.lag }

// Collect implements prometheus.Collector.
func (c *feedCollector) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	states, lags := map[phase]int{phaseJoining: 0, phaseSynced: 0, phaseDirty: 0}, map[string]time.Duration{}
	for _, f := range c.h.list() {
		p, lag := f.lag(now)
		states[p]++
		lags[f.api] = max(lags[f.api], lag)
	}
	for p, n := range states {
		ch <- prometheus.MustNewConstMetric(c.feeds, prometheus.GaugeValue, float64(n), p.String())
	}
	for api, lag := range lags {
		ch <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, lag.Seconds(), api)
	}
}
