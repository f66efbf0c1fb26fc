package ingest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"sluice/ingest/lease"
	"sluice/ingest/upstream"
	"sluice/internal/broker"
	"sluice/internal/trace"
)

// Commits are recorded now and then: a feed may store hundreds a second, and what one
// took the others take too. All of a node's feeds share commitSpansPerSecond.
const (
	commitSpanEvery      = time.Second // between two recorded commits of one feed
	commitSpansPerSecond = 50
)

// tracing is what a node's feeds have of spans. The zero value is off.
type tracing struct {
	tracer  *trace.Tracer
	commits *rate.Limiter // recorded commits; nil = off
}

func newTracing(t *trace.Tracer) tracing {
	if t == nil {
		return tracing{}
	}
	return tracing{t, rate.NewLimiter(commitSpansPerSecond, commitSpansPerSecond)}
}

// span begins a span about the feed that begins a trace.
func (w *worker) span(name string, k trace.Kind) *trace.Span {
	s := w.n.tracing.tracer.Start(name, k, time.Time{})
	if s != nil {
		d := w.def.Load()
		s.Set(trace.Str("sluice.api", d.api), trace.Str("sluice.topic", d.topic))
	}
	return s
}

// endTake ends the span of a take-over that made attempts.
func endTake(s *trace.Span, attempts int, l *lease.Lease, found start, err error) {
	if s == nil {
		return
	}
	s.Set(trace.Int("sluice.attempts", int64(attempts)), trace.Str("sluice.result", resultOf(err)),
		trace.Int("sluice.epoch", int64(l.Epoch)), trace.Bool("sluice.changed", found.changed),
		trace.Bool("sluice.stored", found.pos.Seq != 0))
	if failure(err) {
		s.Fail(resultOf(err))
	}
	s.End()
}

// upSpan is one connection to the upstream as a span. Nil is one not recorded.
type upSpan struct {
	w    *worker
	span *trace.Span
}

// beginUpstream begins the span of a connection and returns the target to open, which
// carries it to the upstream's own origin.
func (r *reader) beginUpstream(d *def, a ask) (*upSpan, upstream.Target) {
	s := r.w.span("ingest.upstream", trace.Client)
	if s == nil {
		return nil, d.target
	}
	s.Link(r.w.taken)
	s.Set(trace.Bool("sluice.resumes", a.send != ""))
	t := d.target
	if u, err := url.Parse(t.URL); err == nil {
		s.Set(trace.Str("url.scheme", u.Scheme), trace.Str("server.address", u.Hostname()))
	}
	if len(t.Header.Values("Traceparent")) == 0 {
		if t.Header = maps.Clone(t.Header); t.Header == nil {
			t.Header = http.Header{}
		}
		t.Header.Set("Traceparent", s.Context().String())
	}
	return &upSpan{r.w, s}, t
}

// opened makes the connection the one that the feed's commits belong to.
func (u *upSpan) opened() {
	if u != nil {
		c := u.span.Context()
		u.w.reads.Store(&c)
	}
}

// end ends the span: the connection brought events, and ended or was not made for err.
func (u *upSpan) end(events int, seam string, err error) {
	if u == nil {
		return
	}
	u.w.reads.Store(nil)
	u.span.Set(trace.Int("sluice.events", int64(events)))
	if seam != "" {
		u.span.Set(trace.Str("sluice.seam", seam))
	}
	switch e := upstream.AsError(err); {
	case e != nil:
		if e.Status != 0 {
			u.span.Set(trace.Int("http.response.status_code", int64(e.Status)))
		}
		u.span.Set(trace.Str("sluice.end", e.State))
		u.span.Fail(e.Why)
	case errors.Is(err, errRedefined), errors.Is(err, errStopped), errors.Is(err, errResync), errors.Is(err, context.Canceled):
		u.span.Set(trace.Str("sluice.end", "ours"))
	default:
		u.span.Set(trace.Str("sluice.end", "error"))
		u.span.Fail("not opened")
	}
	u.span.End()
}

// commitSpan begins the span of a commit of events, nil unless this one is recorded.
func (c *committer) commitSpan(events []broker.Event) *trace.Span {
	t := &c.w.n.tracing
	if t.commits == nil {
		return nil
	}
	now := time.Now()
	if now.Sub(c.spanned) < commitSpanEvery || !t.commits.AllowN(now, 1) {
		return nil
	}
	c.spanned = now
	s := c.w.span("ingest.commit", trace.Producer)
	if s == nil {
		return nil
	}
	if from := c.w.reads.Load(); from != nil {
		s.Link(*from)
	}
	bytes := 0
	for i := range events {
		bytes += len(events[i].Body)
	}
	s.Set(trace.Int("sluice.events", int64(len(events))), trace.Int("sluice.bytes", int64(bytes)),
		trace.Int("sluice.epoch", int64(c.lease.Epoch)))
	return s
}

// endCommit ends the span of a commit that took so many attempts.
func endCommit(s *trace.Span, attempts int, err error) {
	if s == nil {
		return
	}
	s.Set(trace.Int("sluice.attempts", int64(attempts)), trace.Str("sluice.result", resultOf(err)))
	if failure(err) {
		s.Fail(resultOf(err))
	}
	s.End()
}

// resultOf names how a take-over or a commit ended in a word or two.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errResync):
		return "resync"
	case errors.Is(err, errCollision):
		return "collision"
	case errors.Is(err, broker.ErrTooLarge):
		return "too large"
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		return "stopped"
	}
	return cause(err)
}

// failure reports whether err is more than an end that was asked for.
func failure(err error) bool { return err != nil && resultOf(err) != "stopped" }
