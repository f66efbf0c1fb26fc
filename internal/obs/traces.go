package obs

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/trace"
)

// flushTime is how long the end of Run waits for a collector that does not answer.
const flushTime = 3 * time.Second

// Traces exports spans over OTLP. It is a trace.Recorder: what it takes waits in a
// bounded queue, and what does not fit is dropped and counted, so that nobody waits for
// a collector. Nil is tracing switched off.
type Traces struct {
	c      TraceConfig
	client *otlpClient
	log    *slog.Logger
	queue  chan *trace.Data
	spans  traceMetrics

	// Owned by Run: what is told of a collector that does not work.
	lost int       // spans since the last line
	told time.Time // of the last line; zero = it works
}

// traceMetrics count spans by what became of them.
type traceMetrics struct{ exported, failed, dropped prometheus.Counter }

// TraceDeps is what NewTraces works with.
type TraceDeps struct {
	Node, Version string // of this process, told with every export
	Log           *slog.Logger
	Registerer    prometheus.Registerer // nil = no metrics
}

// NewTraces makes what c asks for; nil if that is nothing. It starts nothing: without Run
// spans wait until the queue is full.
func NewTraces(c TraceConfig, d TraceDeps) *Traces {
	if !c.on {
		return nil
	}
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_trace_spans_total",
		Help: "Spans recorded, by what became of them: exported, failed (the collector did not take them), dropped (the queue was full)."},
		[]string{"result"})
	if d.Registerer != nil {
		d.Registerer.MustRegister(v)
	}
	return &Traces{c: c, client: newOTLPClient(c, d), log: d.Log, queue: make(chan *trace.Data, c.queue),
		spans: traceMetrics{v.WithLabelValues("exported"), v.WithLabelValues("failed"), v.WithLabelValues("dropped")}}
}

// Tracer begins spans; nil if t is nil.
func (t *Traces) Tracer() *trace.Tracer {
	if t == nil {
		return nil
	}
	return trace.New(t)
}

// Sampled implements trace.Recorder.
func (t *Traces) Sampled(id [16]byte, parent trace.Context, _ string) bool {
	return t.c.sampler.sampled(id, parent)
}

// Record implements trace.Recorder.
func (t *Traces) Record(d *trace.Data) {
	select {
	case t.queue <- d:
	default:
		t.spans.dropped.Inc()
	}
}

// Run exports until ctx ends, and then what has ended by then: for three seconds at most,
// and with one attempt each. Spans that a collector does not take are lost; that is no
// error.
func (t *Traces) Run(ctx context.Context) error {
	defer t.client.close()
	t.log.Info("traces on", "endpoint", t.c.endpoint.Scheme+"://"+t.c.endpoint.Host, "service", t.c.service)
	exports, stop := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by the time to flush
	defer stop()
	defer context.AfterFunc(ctx, func() { stopAfter(exports, flushTime, stop) })()
	timer := time.NewTimer(t.c.delay)
	defer timer.Stop()
	batch := make([]*trace.Data, 0, t.c.batch)
	for {
		select {
		case d := <-t.queue:
			if batch = append(batch, d); len(batch) < t.c.batch {
				continue
			}
		case <-timer.C:
		case <-ctx.Done():
			t.flush(ctx, exports, batch)
			return ctx.Err()
		}
		t.export(ctx, exports, batch)
		batch = batch[:0]
		timer.Reset(t.c.delay)
	}
}

// stopAfter calls stop after d, unless ctx ends before.
func stopAfter(ctx context.Context, d time.Duration, stop func()) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		stop()
	case <-ctx.Done():
	}
}

// flush exports batch and all that waits.
func (t *Traces) flush(ctx, exports context.Context, batch []*trace.Data) {
	for {
		select {
		case d := <-t.queue:
			if batch = append(batch, d); len(batch) < t.c.batch {
				continue
			}
			t.export(ctx, exports, batch)
			batch = batch[:0]
		default:
			t.export(ctx, exports, batch)
			return
		}
	}
}

// Waits between two attempts to export one batch.
const (
	firstRetry = time.Second
	mostRetry  = 10 * time.Second
)

// export sends a batch, again and again while that can help, ctx lasts and the time of one
// export is not over.
func (t *Traces) export(ctx, exports context.Context, batch []*trace.Data) {
	if len(batch) == 0 {
		return
	}
	exports, cancel := context.WithTimeout(exports, t.c.bound)
	defer cancel()
	body := t.client.encode(batch)
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		rejected, err := t.client.post(exports, body)
		if err == nil {
			t.took(len(batch)-rejected, rejected)
			return
		}
		after, again := err.retry()
		if !again || !pause(ctx, exports, max(after, wait/2+rand.N(wait/2))) {
			t.failed(len(batch), err)
			return
		}
	}
}

// pause waits d; false if ctx or the export ends before.
func pause(ctx, exports context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-exports.Done():
	case <-ctx.Done():
	}
	return false
}

// tellEvery is how often a collector that does not work is told.
const tellEvery = time.Minute

func (t *Traces) took(n, rejected int) {
	t.spans.exported.Add(float64(n))
	if rejected > 0 {
		t.failed(rejected, &otlpError{why: "the collector rejected spans"})
		return
	}
	if !t.told.IsZero() {
		t.log.Info("traces are exported again", "lost", t.lost)
		t.lost, t.told = 0, time.Time{}
	}
}

func (t *Traces) failed(n int, err error) {
	t.spans.failed.Add(float64(n))
	t.lost += n
	if now := time.Now(); now.Sub(t.told) >= tellEvery {
		t.told = now
		t.log.Warn("traces not exported", "error", err, "lost", t.lost)
	}
}

// sampler decides which traces are recorded.
type sampler struct {
	parents bool    // a parent's decision counts
	share   float64 // of the others
}

// sampled decides as OpenTelemetry's own samplers do, so that services that keep the same
// share keep the same traces.
func (s sampler) sampled(id [16]byte, parent trace.Context) bool {
	if s.parents && parent.Valid() {
		return parent.Sampled
	}
	return s.share >= 1 || binary.BigEndian.Uint64(id[8:])>>1 < uint64(s.share*(1<<63))
}
