package fanout

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// portableMetrics are the figures that both engines have, as this one counts them.
// Names, labels and helps are those of the shard engine: they share the families. A
// nil *portableMetrics counts nothing.
type portableMetrics struct {
	clients                         prometheus.Gauge
	joins, events, bytes, sends, up prometheus.Counter
	ends, slows                     *prometheus.CounterVec
}

const portableLabel = "portable"

func newPortableMetrics(reg prometheus.Registerer) *portableMetrics {
	if reg == nil {
		return nil
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return registerShared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help}, labels))
	}
	clients := registerShared(reg, prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "sluice_fanout_subscribers", Help: "Clients being served."}, []string{"engine"}))
	return &portableMetrics{
		clients: clients.WithLabelValues(portableLabel),
		joins:   counter("adopted_total", "Clients that an engine took.", "engine").WithLabelValues(portableLabel),
		events:  counter("deliveries_total", "Events handed to sockets.", "engine").WithLabelValues(portableLabel),
		bytes:   counter("sent_bytes_total", "Bytes handed to sockets.", "engine").WithLabelValues(portableLabel),
		sends:   counter("sends_total", "Writes to sockets.", "engine").WithLabelValues(portableLabel),
		up:      counter("skips_total", "Clients that went on at the newest event after a told gap.", "engine").WithLabelValues(portableLabel),
		ends:    counter("ends_total", "Streams ended, by reason.", "engine", "reason"),
		slows:   counter("slow_total", "Clients that hit a limit of slowness, by policy.", "engine", "policy"),
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
