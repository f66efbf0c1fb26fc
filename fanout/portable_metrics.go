package fanout

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// portableMetrics are the figures that both engines have, as this one counts them.
// Names, labels and helps are those of the shard engine: they share the families. A
// nil *portableMetrics counts nothing.
type portableMetrics struct {
	clients                         prometheus.Gauge
	joins, events, bytes, sends, up prometheus.Counter
	ends, slows                     *prometheus.CounterVec
	age, whole                      prometheus.Observer
	writes                          atomic.Uint64
	stride                          atomic.Uint64 // ages are observed at each stride-th write
	paced                           atomic.Int64  // when stride was last set, in ms
	pacedAt                         atomic.Uint64 // writes then
}

// agesPerSecond is how many writes a second have the ages of their events observed: all
// would cost more than they tell. They are picked evenly, since who is served first is
// always early.
const agesPerSecond = 100

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
		age:     age("event_age_seconds", "Age of an event since the broker stored it, when it had been handed to the sockets of all clients that wait for it: once per event and pass over them, 64 per pass at most, or per write of the portable engine, 100 writes a second at most."),
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

// wroteLive observes the ages of the events in (from, to] of log, which one client has
// got at now, for some of the writes.
func (m *portableMetrics) wroteLive(now time.Time, log *Log, from, to Cursor) {
	if m == nil {
		return
	}
	n := m.writes.Add(1)
	if n%max(1, m.stride.Load()) == 0 {
		var few [mostDates]Dates
		for _, d := range log.Dates(few[:0], from, to) {
			log.Given(m.age, m.whole, now, d)
		}
	}
	paced, ms := m.paced.Load(), now.UnixMilli()
	if took := ms - paced; took >= 1000 && m.paced.CompareAndSwap(paced, ms) {
		perSecond := (n - m.pacedAt.Swap(n)) * 1000 / uint64(took)
		m.stride.Store(perSecond/agesPerSecond + 1)
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
