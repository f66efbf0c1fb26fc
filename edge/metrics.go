package edge

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/fanout"
	"sluice/internal/problem"
)

// metrics are the edge's figures. Labels are bounded by configuration: never a feed,
// client, address or key. A nil *edgeMetrics counts nothing.
type edgeMetrics struct {
	connections *prometheus.GaugeVec
	requests    *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	sheds       *prometheus.CounterVec
	admitTime   prometheus.Histogram
	joinWait    prometheus.Histogram
	resumes     *prometheus.CounterVec
	badIDs      *prometheus.CounterVec
	bookmarks   prometheus.Counter
	gateway     *prometheus.CounterVec
	ends        *prometheus.CounterVec
	draining    prometheus.Gauge
	tlsErrors   prometheus.Counter
	keptBack    *prometheus.CounterVec
	resumeTime  prometheus.Histogram
	resumeSize  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *edgeMetrics {
	if reg == nil {
		return nil
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_edge_" + name, Help: help}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_edge_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_edge_" + name, Help: help})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_edge_" + name, Help: help,
			Buckets: []float64{.0001, .001, .005, .02, .1, .5, 1, 2, 5}})
	}
	m := &edgeMetrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_edge_connections",
			Help: "Open streams."}, []string{"listener", "proto"}),
		resumeTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_edge_resume_seconds",
			Help:    "Time to find where a client goes on that presented an id or a time.",
			Buckets: []float64{.0001, .001, .005, .02, .1, .5, 2, 5}}),
		resumeSize: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_edge_resume_events",
			Help:    "Events that such a client had missed: exact while the feed's window holds them, else an upper bound.",
			Buckets: []float64{0, 1, 10, 100, 1000, 10_000, 100_000}}),
		requests:  counters("requests_total", "Requests answered, by API and status; a stream counts when its head is sent.", "api", "code"),
		refusals:  counters("refused_total", "Requests refused, by problem type; shed ones too.", "type"),
		sheds:     counters("sheds_total", "Refusals told as a stream that ends at once.", "type"),
		admitTime: seconds("admit_seconds", "Time from request head to stream head, waits included."),
		joinWait:  seconds("join_wait_seconds", "Time that a join waited for its turn."),
		resumes:   counters("resumes_total", "Streams started with an id or a time, by what was found.", "api", "result"),
		badIDs:    counters("bad_ids_total", "Presented ids that were of no use: malformed, foreign or of another life of the log.", "kind"),
		bookmarks: counter("bookmarks_total", "Bookmarks sent."),
		gateway:   counters("gateway_events_total", "Gateway events sent to one client at the start, during or at the end of its stream; gaps in a feed, which all its clients meet, are sluice_fanout_gaps_total.", "api", "event", "reason"),
		ends:      counters("ends_total", "Streams ended, by reason.", "reason"),
		draining:  gauge("draining", "1 while this node drains."),
		tlsErrors: counter("tls_handshake_errors_total", "TLS handshakes that failed."),
		keptBack:  counters("log_suppressed_total", "Lines about single requests and streams kept back because an event had ten in a second.", "event"),
	}
	reg.MustRegister(m.connections, m.requests, m.refusals, m.sheds, m.admitTime, m.joinWait, m.resumes, m.badIDs,
		m.bookmarks, m.gateway, m.ends, m.draining, m.tlsErrors, m.keptBack,
		m.resumeTime, m.resumeSize)
	return m
}

// register adds the figures that are read from the server when asked for.
func (s *Server) registerGauges(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_edge_handshakes_pending",
			Help: "Connections between accept and a complete request head."}, func() float64 {
			return float64(s.handshakes())
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_edge_memory_ratio",
			Help: "Share of the process's memory limit that is held: from 0.8 on joins are refused, from 0.95 on the most lagging streams are cut. 0 without a limit."},
			func() float64 { return math.Float64frombits(s.memory.share.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_edge_connections_limit",
			Help: "Streams that this node takes at most."}, func() float64 { return float64(s.admit.most) }),
		newStaleCollector(s),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_edge_drain_remaining",
			Help: "Open streams while draining, else 0."}, func() float64 {
			if s.phase.Load() == phaseServing {
				return 0
			}
			return float64(s.metas.open())
		}),
	)
}

func (m *edgeMetrics) refused(k problem.Kind, shed bool) {
	if m == nil {
		return
	}
	m.refusals.WithLabelValues(string(k)).Inc()
	if shed {
		m.sheds.WithLabelValues(string(k)).Inc()
	}
}

func (m *edgeMetrics) requested(api string, code int) {
	if m != nil {
		m.requests.WithLabelValues(api, strconv.Itoa(code)).Inc()
	}
}

func (m *edgeMetrics) suppressed(event string) {
	if m != nil {
		m.keptBack.WithLabelValues(event).Inc()
	}
}

// opened counts a stream whose head is about to be sent.
func (m *edgeMetrics) opened(api string, r *record, admitted, waited time.Duration) {
	if m == nil {
		return
	}
	m.connections.WithLabelValues(r.flags.listener(), r.proto.String()).Inc()
	m.admitTime.Observe(admitted.Seconds())
	m.joinWait.Observe(waited.Seconds())
	if r.start == startID || r.start == startSince {
		m.resumes.WithLabelValues(api, r.resume.String()).Inc()
	}
	if r.flags&flagToldGap != 0 {
		m.gateway.WithLabelValues(api, "gateway.gap", r.resume.String()).Inc()
	}
}

// resumed observes how a place was found for a client that missed events.
func (m *edgeMetrics) resumed(took time.Duration, missed int64) {
	if m != nil {
		m.resumeTime.Observe(took.Seconds())
		m.resumeSize.Observe(float64(max(0, missed)))
	}
}

// badID counts an id that was of no use: malformed, foreign (never of this feed, or
// forged), or of another life of the log.
func (m *edgeMetrics) badID(at fanout.AtKind, r resumeResult) {
	if m == nil {
		return
	}
	kind := "foreign"
	switch {
	case at == fanout.AtBadID:
		kind = "malformed"
	case r == resumeReset:
		kind = "reset"
	}
	m.badIDs.WithLabelValues(kind).Inc()
}

// closed counts a stream's end.
func (m *edgeMetrics) closed(api string, r *record, reason string, told bool) {
	if m == nil {
		return
	}
	m.connections.WithLabelValues(r.flags.listener(), r.proto.String()).Dec()
	m.ends.WithLabelValues(reason).Inc()
	if told {
		m.gateway.WithLabelValues(api, "gateway.end", reason).Inc()
	}
}

// told counts a gateway event.
func (m *edgeMetrics) told(api, event, reason string) {
	if m != nil {
		m.gateway.WithLabelValues(api, event, reason).Inc()
	}
}

func (m *edgeMetrics) bookmarked() {
	if m != nil {
		m.bookmarks.Inc()
	}
}

func (m *edgeMetrics) drain(on bool) {
	if m == nil {
		return
	}
	v := 0.0
	if on {
		v = 1
	}
	m.draining.Set(v)
}
