package edge

import (
	"errors"
	"net/http"
	"sync"

	"sluice/fanout"
	"sluice/internal/problem"
	"sluice/internal/trace"
)

// A request for a stream is one span, edge.connection: from its head to the end of the
// stream, however long that takes, or to its refusal. A client's traceparent continues
// its trace only if the socket's other end is a trusted proxy: anybody else could choose
// what is recorded and join traces that are not theirs, so theirs is a link.

// beginSpan begins the span of a request.
func (s *Server) beginSpan(q *request) {
	if s.tracer == nil {
		return
	}
	theirs := parentOf(q.r.Header)
	if q.trusted {
		q.span = s.tracer.Continue(theirs, "edge.connection", trace.Server, q.began)
	} else {
		q.span = s.tracer.Start("edge.connection", trace.Server, q.began)
		q.span.Link(theirs)
	}
}

// tellRequest sets what every request's span tells. It is done at the end, so that an
// open stream holds none of it.
func tellRequest(span *trace.Span, method string, tls bool, p protocol, id string) {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	span.Set(trace.Str("http.request.method", method), trace.Str("url.scheme", scheme),
		trace.Str("network.protocol.version", p.version()), trace.Str("sluice.request_id", id))
}

// parentOf is the context that a request came with, zero if it has none or several.
func parentOf(h http.Header) trace.Context {
	values := h.Values("Traceparent")
	if len(values) != 1 {
		return trace.Context{}
	}
	c, _ := trace.Parse(values[0])
	return c
}

// endSpan ends the span of a request that became no stream.
func (q *request) endSpan() {
	if q.span == nil {
		return
	}
	tellRequest(q.span, q.r.Method, q.tls, q.proto, q.id)
	if q.api != nil {
		q.span.Set(trace.Str("sluice.api", q.api.ID()))
	}
	q.span.End()
	q.span = nil
}

// refusedSpan notes how a request was refused. Only what is the gateway's fault is a
// failure.
func (q *request) refusedSpan(p problem.Problem, shed bool) {
	q.span.Set(trace.Int("http.response.status_code", int64(p.Status)), trace.Str("sluice.refused", string(p.Kind)),
		trace.Bool("sluice.shed", shed))
	if p.Status >= http.StatusInternalServerError {
		q.span.Fail(string(p.Kind))
	}
}

// beginResume begins the span of a client's return; nil for one that only joins.
func (q *request) beginResume() *trace.Span {
	switch q.choice.at.Kind {
	case fanout.AtID, fanout.AtBadID, fanout.AtSince:
		return q.span.Child("edge.resume", trace.Internal)
	}
	return nil
}

// endResume ends the span of a client's return: what was found, and which commits stored
// what it is sent.
func (q *request) endResume(span *trace.Span, j *fanout.Joined, err error) {
	if j != nil {
		q.span.Link(j.Traces...)
	}
	if span == nil {
		return
	}
	span.Set(trace.Str("sluice.start", q.choice.kind.String()))
	switch {
	case errors.Is(err, errGone):
		span.Set(trace.Str("sluice.end", string(fanout.EndClient)))
	case err != nil:
		span.Fail(string(problem.KindOf(err)))
	default:
		span.Set(trace.Str("sluice.resume", resumeResultOf(j.Result).String()), trace.Int("sluice.behind", j.Behind))
		if j.Reason != "" {
			span.Set(trace.Str("sluice.gap", string(j.Reason)))
		}
		span.Link(j.Traces...)
	}
	span.End()
}

// endStreamSpan ends the span of the stream whose request had the id.
func endStreamSpan(span *trace.Span, rec *record, id string, end fanout.End) {
	if span == nil {
		return
	}
	tellRequest(span, http.MethodGet, rec.flags&flagTLS != 0, rec.proto, id)
	span.Set(
		trace.Int("http.response.status_code", http.StatusOK),
		trace.Str("sluice.api", rec.place.api.ID()),
		trace.Str("sluice.topic", rec.place.key.topic),
		trace.Str("sluice.engine", rec.engine()),
		trace.Str("sluice.listener", rec.flags.listener()),
		trace.Str("sluice.start", rec.start.String()),
		trace.Str("sluice.resume", rec.resume.String()),
		trace.Str("sluice.end", string(end.Reason)),
		trace.Int("sluice.events", int64(end.Events)),
		trace.Int("sluice.bytes", int64(end.Bytes)),
		trace.Int("sluice.gaps", int64(rec.gaps(end))),
	)
	if end.Reason == fanout.EndError {
		span.Fail(string(end.Reason))
	}
	span.End()
}

// spanTable holds the spans of open streams by the number of their record. They are
// apart from the records because those are most of what a client costs. Bounded by the
// node's seats. Safe for concurrent use.
type spanTable struct {
	mu   sync.Mutex
	open map[uint32]*trace.Span
}

// keep keeps the span of stream n, unless it is not recorded.
func (t *spanTable) keep(n uint32, span *trace.Span) {
	if span == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[uint32]*trace.Span{}
	}
	t.open[n] = span
}

// take removes the span of stream n and returns it; nil if there is none.
func (t *spanTable) take(n uint32) *trace.Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	span := t.open[n]
	delete(t.open, n)
	return span
}
