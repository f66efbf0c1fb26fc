package edge

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/trace"
)

// resumeResult is what was found of a presented id.
type resumeResult uint8

const (
	resumeNone resumeResult = iota
	resumeExact
	resumeExpired
	resumeReset
	resumeUnknown
	resumeLimit
)

var resumeNames = [...]string{"none", "exact", "expired", "reset", "unknown", "limit"}

// String is the name in logs and metrics.
func (r resumeResult) String() string { return resumeNames[r] }

func resumeResultOf(name string) resumeResult {
	for i, n := range resumeNames {
		if n == name {
			return resumeResult(i)
		}
	}
	return resumeNone
}

// Ended reports the end of a stream, once, by whoever closed its socket. It is cheap
// and does not block; seats are given back and access lines written by the closer.
func (s *Server) Ended(meta uint32, e fanout.End) { s.metas.report(ended{meta, e}) }

// closer gives back what ended streams held and writes their access lines, until ctx
// ends and what was reported by then is done.
func (s *Server) closer(ctx context.Context) {
	var buf []ended
	for {
		select {
		case <-s.metas.signal:
		case <-ctx.Done():
			for _, e := range s.metas.drainEnds(buf) {
				s.close(e)
			}
			return
		}
		buf = s.metas.drainEnds(buf)
		for _, e := range buf {
			s.close(e)
		}
	}
}

// close ends the books of one stream.
func (s *Server) close(e ended) {
	rec, id, ok := s.metas.take(e.meta)
	if !ok {
		s.log.Error("end of an unknown stream", "meta", e.meta, "end", string(e.end.Reason))
		return
	}
	rec.hold.Release()
	s.admit.leave(rec.seat())
	_, _, told := endSpan(e.end.Reason)
	s.metrics.closed(rec.place.api.ID(), &rec, string(e.end.Reason), told)
	span := s.spans.take(e.meta)
	endStreamSpan(span, &rec, id, e.end)
	s.logClose(&rec, id, span.Context(), e.end)
}

// engine is the name of the engine that served the stream.
func (r *record) engine() string {
	if r.flags&flagShard != 0 {
		return "shard"
	}
	return "portable"
}

// principal and app name whose stream it was in the access log; of one without a
// credential nothing is known.
func (r *record) principal() string {
	if r.right == nil {
		return access.Anonymous.String()
	}
	return principalName(r.right.p)
}

func (r *record) app() string {
	if r.right == nil {
		return ""
	}
	return r.right.p.App
}

// gaps is how many gaps the client was told.
func (r *record) gaps(end fanout.End) uint64 {
	n := uint64(end.Gaps)
	if r.flags&flagToldGap != 0 {
		n++
	}
	return n
}

// logClose writes the access line. A client that is cut for being slow is told apart,
// since an operator acts on it. span, if recorded, is told.
func (s *Server) logClose(rec *record, id string, span trace.Context, end fanout.End) {
	ctx := context.Background()
	if !s.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	client, from := rec.client.addr().String(), rec.from.Value()
	var last [fanout.MaxIDLen]byte
	attrs := []slog.Attr{
		slog.String("request_id", id),
		slog.String("client_ip", client),
		slog.String("remote", netip.AddrPortFrom(rec.remote.addr(), rec.port).String()),
		slog.String("proto", rec.proto.String()),
		slog.Bool("tls", rec.flags&flagTLS != 0),
		slog.String("engine", rec.engine()),
		slog.String("api", rec.place.api.Name()),
		slog.String("version", rec.place.api.Version()),
		slog.String("topic", rec.place.key.topic),
		slog.String("feed", rec.place.key.feed.String()),
		slog.String("principal", rec.principal()),
		slog.String("app", rec.app()),
		slog.String("origin", from.origin),
		slog.String("ua", from.agent),
		slog.Int("status", 200),
		slog.String("start", rec.start.String()),
		slog.String("resume", rec.resume.String()),
		slog.Uint64("gaps", rec.gaps(end)),
		slog.String("last_id", string(fanout.AppendID(last[:0], end.Last))),
		slog.Uint64("events", end.Events),
		slog.Uint64("bytes", end.Bytes),
		slog.Int64("duration_ms", s.now().Sub(time.Unix(0, rec.opened)).Milliseconds()),
		slog.String("end", string(end.Reason)),
	}
	if span.Valid() {
		attrs = append(attrs, slog.String("trace_id", span.TraceID()))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "conn.close", attrs...)
	switch end.Reason {
	case fanout.EndSlow, fanout.EndStall:
		if pass, suppressed := s.lines.pass("client.slow"); pass {
			s.log.LogAttrs(ctx, slog.LevelInfo, "client.slow", slog.String("request_id", id),
				slog.String("client_ip", client), slog.String("feed", rec.place.key.feed.String()),
				slog.String("end", string(end.Reason)), slog.Int("suppressed", suppressed))
		}
	}
}

// logOpen writes what matters of a stream's start: at debug that it did, and at info
// that its resume was not exact.
func (s *Server) logOpen(q *request, rec *record) {
	ctx := q.r.Context()
	s.log.LogAttrs(ctx, slog.LevelDebug, "conn.open", slog.String("request_id", q.id),
		slog.String("client_ip", q.ip.String()), slog.String("path", q.route.Path), slog.String("start", rec.start.String()))
	if rec.resume <= resumeExact {
		return
	}
	pass, suppressed := s.lines.pass("resume.gap")
	if !pass {
		s.metrics.suppressed("resume.gap")
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "resume.gap", slog.String("request_id", q.id),
		slog.String("client_ip", q.ip.String()), slog.String("path", q.route.Path),
		slog.String("resume", strings.Clone(rec.resume.String())), slog.Int("suppressed", suppressed))
}
