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
	repairs  *prometheus.CounterVec // api, reason
	gaps     *prometheus.CounterVec // api, reason
	joins    *prometheus.CounterVec // api, reason = result
	ages     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	if reg == nil {
		return nil
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help})
	}
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help}, []string{"api", "reason"})
	}
	m := &metrics{
		hits:     counter("block_hits_total", "Backlog look-ups answered by a block held."),
		fetches:  counter("block_fetches_total", "Backlog blocks read from the broker."),
		doubles:  counter("live_doubles_total", "Live messages dropped because they were held already."),
		mismatch: counter("handover_mismatch_total", "Readers whose backlog and live log did not meet at one event. Must stay 0."),
		repairs:  vec("repairs_total", "Feeds read from the broker because live events did not link up, by cause."),
		gaps:     vec("gaps_total", "Gaps told, by reason."),
		joins:    vec("joins_total", "Readers placed in a feed, by result of their resume."),
		ages: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_fanout_event_age_seconds",
			Help:    "Age of an event since the broker stored it, when it became visible to readers here.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 5, 30}}),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_fanout_" + name, Help: help}, f)
	}
	reg.MustRegister(m.hits, m.fetches, m.doubles, m.mismatch, m.repairs, m.gaps, m.joins, m.ages,
		gauge("feeds", "Feeds held.", func() float64 {
			h.mu.Lock()
			defer h.mu.Unlock()
			return float64(len(h.feeds))
		}),
		gauge("log_bytes", "Bytes of logs and indexes.", func() float64 { return float64(m.logBytes.Load()) }),
		gauge("block_bytes", "Bytes of backlog blocks.", func() float64 { return float64(h.blocks.bytes()) }),
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

func (m *metrics) repair(api, why string) {
	if m != nil {
		m.repairs.WithLabelValues(api, why).Inc()
	}
}

func (m *metrics) gap(api, reason string) {
	if m != nil {
		m.gaps.WithLabelValues(api, reason).Inc()
	}
}

func (m *metrics) joined(api, result string) {
	if m != nil {
		m.joins.WithLabelValues(api, result).Inc()
	}
}

func (m *metrics) age(d time.Duration) {
	if m != nil {
		m.ages.Observe(max(0, d.Seconds()))
	}
}
