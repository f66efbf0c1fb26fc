package broker

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one node's broker use. A nil *metrics counts nothing.
type metrics struct {
	up           prometheus.Gauge
	commits      *prometheus.CounterVec // by result
	commitTime   prometheus.Histogram
	refused      *prometheus.CounterVec // by code
	mispredicted prometheus.Counter
	reads        *prometheus.CounterVec // by kind
	readRetries  prometheus.Counter
	readMessages prometheus.Counter
	live         *prometheus.CounterVec // by kind
	dirty        *prometheus.CounterVec // by cause
	async        *prometheus.CounterVec // by connection
	cuts         *prometheus.CounterVec // by connection
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	if reg == nil {
		return nil, nil
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_broker_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_broker_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_broker_up",
			Help: "1 while every connection to the broker is up."}),
		commits: vec("commits_total", "Commits by result: stored, fenced, busy, unknown, failed.", "result"),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_broker_commit_seconds",
			Help:                        "Time from handing over a commit to the broker's word on it: one attempt.",
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
			NativeHistogramBucketFactor: 1.1}),
		refused: vec("refused_total", "Refusals by JetStream error code.", "code"),
		mispredicted: counter("mispredicted_total",
			"Pipelined events sent again because another writer of the stream came between."),
		reads:        vec("read_requests_total", "Read requests sent to the broker: block, last, leader, info.", "kind"),
		readRetries:  counter("read_retries_total", "Direct reads asked again: no answer, or a cut one."),
		readMessages: counter("read_messages_total", "Stored messages received by direct reads."),
		live:         vec("live_total", "Live deliveries by kind: message, beacon, foreign.", "kind"),
		dirty:        vec("dirty_total", "Times feeds may have missed something, by cause: cut, back, overflow.", "reason"),
		async:        vec("connection_errors_total", "Errors of a connection outside any call.", "conn"),
		cuts:         vec("connection_cuts_total", "Times a connection to the broker was cut, by its purpose.", "conn"),
	}
	var err error
	for _, c := range []prometheus.Collector{m.up, m.commits, m.commitTime, m.refused, m.mispredicted,
		m.reads, m.readRetries, m.readMessages, m.live, m.dirty, m.async, m.cuts} {
		err = errors.Join(err, reg.Register(c))
	}
	return m, err
}

func (m *metrics) linkUp(up bool) {
	if m != nil {
		m.up.Set(float64(btoi(up)))
	}
}

func (m *metrics) commit(took time.Duration, err error) {
	if m == nil {
		return
	}
	m.commitTime.Observe(took.Seconds())
	m.commits.WithLabelValues(commitResult(err)).Inc()
}

func commitResult(err error) string {
	var fenced *FencedError
	switch {
	case err == nil:
		return "stored"
	case errors.As(err, &fenced):
		return "fenced"
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrUnknownOutcome):
		return "unknown"
	}
	return "failed"
}

func (m *metrics) refusal(code string) {
	if m != nil {
		m.refused.WithLabelValues(code).Inc()
	}
}

func (m *metrics) mispredict(n int) {
	if m != nil {
		m.mispredicted.Add(float64(n))
	}
}

func (m *metrics) read(kind string) {
	if m != nil {
		m.reads.WithLabelValues(kind).Inc()
	}
}

func (m *metrics) readAgain() {
	if m != nil {
		m.readRetries.Inc()
	}
}

func (m *metrics) readGot(n int) {
	if m != nil {
		m.readMessages.Add(float64(n))
	}
}

func (m *metrics) delivered(kind string, n int) {
	if m != nil && n > 0 {
		m.live.WithLabelValues(kind).Add(float64(n))
	}
}

func (m *metrics) feedDirty(cause string) {
	if m != nil {
		m.dirty.WithLabelValues(cause).Inc()
	}
}

func (m *metrics) linkCut(conn string) {
	if m != nil {
		m.cuts.WithLabelValues(conn).Inc()
	}
}

func (m *metrics) asyncError(conn string) {
	if m != nil {
		m.async.WithLabelValues(conn).Inc()
	}
}
