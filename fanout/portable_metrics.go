package fanout

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/broker"
)

// portableMetrics are the figures that both engines have, as this one counts them.
// Names, labels and helps are those of the shard engine: they share the families. A
// nil *portableMetrics counts nothing.
type portableMetrics struct {
	clients                         prometheus.Gauge
	joins, events, bytes, sends, up prometheus.Counter
	ends, slows                     *prometheus.CounterVec
	age, whole                      prometheus.Observer
	aged                            atomic.Int64 // when ages were last observed, in ms
}

// agesEvery is the pause between two observations of ages: a histogram on each write
// of each client would cost more than it tells.
const agesEvery = 10 * time.Millisecond

const portableLabel = "portable"

func newPortableMetrics(reg prometheus.Registerer) *portableMetrics {
	if reg == nil {
		return nil
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return registerShared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help}, labels))
	}
	age := func(name, help string) prometheus.Observer {
		return registerShared(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sluice_fanout_" + name, Help: help,
			Buckets: AgeBuckets()}, []string{"engine"})).WithLabelValues(portableLabel)
	}
	clients := registerShared(reg, prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "sluice_fanout_subscribers", Help: "Clients being served."}, []string{"engine"}))
	return &portableMetrics{
		clients: clients.WithLabelValues(portableLabel),
		joins:   counter("joins_total", "Clients that an engine took over; less ends_total they are the subscribers.", "engine").WithLabelValues(portableLabel),
		events:  counter("deliveries_total", "Events handed to sockets.", "engine").WithLabelValues(portableLabel),
		bytes:   counter("sent_bytes_total", "Bytes handed to sockets.", "engine").WithLabelValues(portableLabel),
		sends:   counter("sends_total", "Writes to sockets.", "engine").WithLabelValues(portableLabel),
		up:      counter("skips_total", "Slow clients that went on at the newest event after a gap told to them alone.", "engine").WithLabelValues(portableLabel),
		ends:    counter("ends_total", "Streams ended, by reason.", "engine", "reason"),
		slows:   counter("slow_total", "Clients that hit a limit of slowness, by policy.", "engine", "policy"),
		age:     age("event_age_seconds", "Age of the newest event since the broker stored it, when it had been handed to the sockets of all clients that wait for it: once per pass over them, or per write of the portable engine, 100 a second at most."),
		whole:   age("delivery_age_seconds", "As event_age_seconds, but since ingest read the event from its upstream: the whole way through sluice."),
	}
}

// registerShared registers c or returns its like that another engine registered.
func registerShared[T prometheus.Collector](reg prometheus.Registerer, c T) T {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if like, ok := already.ExistingCollector.(T); ok {
			return like
		}
	}
	if err != nil {
		panic(err) // two families of one name: a mistake in this program
	}
	return c
}

func (m *portableMetrics) subscribers(n int) {
	if m != nil {
		m.clients.Add(float64(n))
		m.joins.Add(float64(max(n, 0)))
	}
}

func (m *portableMetrics) wrote(n int) {
	if m != nil {
		m.sends.Inc()
		m.bytes.Add(float64(n))
	}
}

func (m *portableMetrics) delivered(n int) {
	if m != nil {
		m.events.Add(float64(n))
	}
}

// wroteNewest observes the ages of the event that ends at c, the newest one of log.
func (m *portableMetrics) wroteNewest(now time.Time, log *Log, c Cursor, p broker.Position) {
	if m == nil {
		return
	}
	last := m.aged.Load()
	if now.UnixMilli()-last < agesEvery.Milliseconds() || !m.aged.CompareAndSwap(last, now.UnixMilli()) {
		return
	}
	if rx, ok := log.Received(c); ok {
		m.age.Observe(float64(max(now.UnixMicro()-p.Micros, 0)) / 1e6)
		m.whole.Observe(float64(max(now.UnixMicro()-rx, 0)) / 1e6)
	}
}

func (m *portableMetrics) skipped() {
	if m != nil {
		m.up.Inc()
	}
}

func (m *portableMetrics) slow(p Policy) {
	if m != nil {
		m.slows.WithLabelValues(portableLabel, [...]string{Drop: "drop", Backlog: "backlog", Latest: "latest"}[p]).Inc()
	}
}

func (m *portableMetrics) ended(e *End) {
	if m != nil {
		m.ends.WithLabelValues(portableLabel, string(e.Reason)).Inc()
	}
}
