//go:build linux

package shard

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/fanout"
)

// engineMetrics are shared by the shards. A nil Registerer makes them invisible.
type engineMetrics struct {
	subscribers *prometheus.GaugeVec
	joins       *prometheus.CounterVec
	deliveries  *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	sends       *prometheus.CounterVec
	short       *prometheus.CounterVec
	ends        *prometheus.CounterVec
	slow        *prometheus.CounterVec
	gaps        *prometheus.CounterVec
	passes      *prometheus.HistogramVec
	age         *prometheus.HistogramVec
	whole       *prometheus.HistogramVec
	inbox       *prometheus.GaugeVec
	busy        *prometheus.GaugeVec
}

const engineLabel = "shard"

func newMetrics(reg prometheus.Registerer) (*engineMetrics, error) {
	var errs []error
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, &errs, prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: "sluice_fanout_" + name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, &errs, prometheus.NewGaugeVec(
			prometheus.GaugeOpts{Name: "sluice_fanout_" + name, Help: help}, labels))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return register(reg, &errs, prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: "sluice_fanout_" + name, Help: help, Buckets: buckets}, []string{"engine"}))
	}
	m := &engineMetrics{
		subscribers: gauge("subscribers", "Clients being served.", "engine"),
		joins:       counter("joins_total", "Clients that an engine took over; less ends_total they are the subscribers.", "engine"),
		deliveries:  counter("deliveries_total", "Events handed to sockets.", "engine"),
		bytes:       counter("sent_bytes_total", "Bytes handed to sockets.", "engine"),
		sends:       counter("sends_total", "Writes to sockets.", "engine"),
		short:       counter("short_sends_total", "Writes that a socket did not take whole.", "engine"),
		ends:        counter("ends_total", "Streams ended, by reason.", "engine", "reason"),
		slow:        counter("slow_total", "Clients that hit a limit of slowness, by policy.", "engine", "policy"),
		gaps:        counter("skips_total", "Slow clients that went on at the newest event after a gap told to them alone.", "engine"),
		passes: histogram("pass_seconds", "Time from the begin to the end of a pass over a log's clients.",
			prometheus.ExponentialBuckets(0.0001, 4, 8)),
		age: histogram("event_age_seconds", "Age of an event since the broker stored it, when it had been handed to the sockets of all clients that wait for it: once per event and pass over them, 64 per pass at most, or per write of the portable engine, 100 writes a second at most.",
			fanout.AgeBuckets()),
		whole: histogram("delivery_age_seconds", "As event_age_seconds, but since ingest read the event from its upstream: the whole way through sluice.",
			fanout.AgeBuckets()),
		inbox: gauge("inbox_depth", "Messages waiting for a shard.", "shard"),
		busy:  gauge("shard_busy_ratio", "Share of time in which a shard was not parked.", "shard"),
	}
	return m, errors.Join(errs...)
}

// register registers c or returns its like that the other engine registered.
func register[T prometheus.Collector](reg prometheus.Registerer, errs *[]error, c T) T {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if like, ok := already.ExistingCollector.(T); ok {
			return like
		}
	}
	if err != nil {
		*errs = append(*errs, err)
	}
	return c
}

// stats are a shard's counts since the last tick, in plain fields.
type stats struct {
	joins, events, bytes uint64
	sends, short         uint64
	passes, gaps         uint64
	slow                 [3]uint64 // by policy
	ends                 map[fanout.Reason]uint64
}

// shardMetrics are the metrics as one shard uses them: no look-up by label per event.
type shardMetrics struct {
	all                                          *engineMetrics
	subscribers, inbox, busy                     prometheus.Gauge
	joins, deliveries, bytes, sends, short, gaps prometheus.Counter
	passes, age, whole                           prometheus.Observer
	live                                         int // as last shown
}

func (m *engineMetrics) shard(i int) *shardMetrics {
	name := strconv.Itoa(i)
	return &shardMetrics{
		all:         m,
		subscribers: m.subscribers.WithLabelValues(engineLabel),
		inbox:       m.inbox.WithLabelValues(name),
		busy:        m.busy.WithLabelValues(name),
		joins:       m.joins.WithLabelValues(engineLabel),
		deliveries:  m.deliveries.WithLabelValues(engineLabel),
		bytes:       m.bytes.WithLabelValues(engineLabel),
		sends:       m.sends.WithLabelValues(engineLabel),
		short:       m.short.WithLabelValues(engineLabel),
		gaps:        m.gaps.WithLabelValues(engineLabel),
		passes:      m.passes.WithLabelValues(engineLabel),
		age:         m.age.WithLabelValues(engineLabel),
		whole:       m.whole.WithLabelValues(engineLabel),
	}
}

// pass observes one pass that ended at now and gave the events in (from, to] of log to
// all who wait for them. It returns buf, grown.
func (m *shardMetrics) pass(took time.Duration, now time.Time, log *fanout.Log, from, to fanout.Cursor, buf []fanout.Dates) []fanout.Dates {
	m.passes.Observe(took.Seconds())
	buf = log.Dates(buf[:0], from, to)
	for _, d := range buf {
		log.Given(m.age, m.whole, now, d)
	}
	return buf
}

var policyNames = [...]string{fanout.Drop: "drop", fanout.Backlog: "backlog", fanout.Latest: "latest"}

// busyOver is the least time that the share of busy time is taken over: a tick says little.
const busyOver = time.Second

// showBusy shows the share of time in which the shard was not parked.
func (s *shard) showBusy() {
	took := s.now.Sub(s.busyFrom)
	if took < busyOver {
		return
	}
	s.metrics.busy.Set(min(max(0, 1-s.idle.Seconds()/took.Seconds()), 1))
	s.busyFrom, s.idle = s.now, 0
}

// copyStats shows what was counted since it was last called.
func (s *shard) copyStats() {
	c, m := &s.stats, s.metrics
	add := func(to prometheus.Counter, n uint64) {
		if n > 0 {
			to.Add(float64(n))
		}
	}
	add(m.joins, c.joins)
	add(m.deliveries, c.events)
	add(m.bytes, c.bytes)
	add(m.sends, c.sends)
	add(m.short, c.short)
	add(m.gaps, c.gaps)
	for policy, n := range c.slow {
		if n > 0 {
			m.all.slow.WithLabelValues(engineLabel, policyNames[policy]).Add(float64(n))
		}
	}
	for reason, n := range c.ends {
		m.all.ends.WithLabelValues(engineLabel, string(reason)).Add(float64(n))
	}
	m.subscribers.Add(float64(s.slab.live - m.live))
	m.live = s.slab.live
	m.inbox.Set(float64(len(s.messages) + s.joins.len() + s.dirty.len()))
	ends := c.ends
	clear(ends)
	*c = stats{ends: ends}
}
