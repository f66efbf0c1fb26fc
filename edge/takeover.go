package edge

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"time"
	"unique"

	"sluice/fanout"
	"sluice/internal/problem"
)

// takeable reports whether the request's socket can be handed to a shard: plaintext
// HTTP/1.1, a GET without a body, and no events that only this package can send.
func (s *Server) takeable(q *request) bool {
	return s.adopter != nil && q.proto == protoHTTP11 && q.r.TLS == nil && q.r.Method == http.MethodGet &&
		q.choice.control == 0
}

// handOver makes the stream's record and gives the client to an engine. After it
// began the seat belongs to the record: whoever closes the socket reports the end.
func (s *Server) handOver(w http.ResponseWriter, q *request, joined *fanout.Joined, framing fanout.Framing) error {
	if s.takeable(q) {
		conn, brw, err := http.NewResponseController(w).Hijack()
		if err == nil {
			return s.takeOver(q, conn, brw, joined, framing)
		}
	}
	return s.servePortable(w, q, joined)
}

// record is what is kept of the stream.
func (s *Server) record(q *request, joined *fanout.Joined) record {
	rec := record{
		hold: joined.Hold(), api: q.seat.api, remote: packAddr(q.remote.Addr()), port: q.remote.Port(), client: packAddr(q.ip),
		from:   unique.Make(sender{clip(q.origin), clip(q.r.UserAgent())}),
		opened: q.began.UnixNano(), start: q.choice.kind, resume: resumeResultOf(joined.Result), proto: q.proto,
	}
	if q.tls {
		rec.flags |= flagTLS
	}
	if q.r.TLS != nil {
		rec.flags |= flagListenerTLS
	}
	if len(joined.Gap) > 0 {
		rec.flags |= flagToldGap
	}
	return rec
}

// subscriber is what both engines are told. first goes out with the first events.
func (s *Server) subscriber(q *request, j *fanout.Joined, framing fanout.Framing, first []byte) fanout.Subscriber {
	ends, reason := s.ends(q.plan)
	return fanout.Subscriber{
		Log: j.Log, Next: j.Feed, Start: j.Start, Slow: s.slow(q), Head: first, Framing: framing,
		Ends: ends, EndsFor: reason, Heartbeat: q.api.Spec.Client.Heartbeat, Recheck: s.recheck(q), Meter: q.meter,
	}
}

// begin enters the stream into the table: from here on the seat, and the place in the
// feed, are released by Ended. Nothing else of joined lives on here: not a block of
// backlog above all.
func (s *Server) begin(q *request, joined *fanout.Joined, more flags) uint32 {
	q.seated = false
	rec := s.record(q, joined)
	rec.stake, q.stake = q.stake, nil
	rec.flags |= more
	s.metrics.opened(q.apiLabel(), &rec, s.now().Sub(q.began), q.waited)
	if rec.resume == resumeUnknown || rec.resume == resumeReset {
		s.metrics.badID(q.choice.at.Kind, rec.resume)
	}
	s.metrics.requested(q.apiLabel(), http.StatusOK)
	s.logOpen(q, &rec)
	var holder [16]byte
	if q.principal != nil {
		rec.right, holder = newRight(s.asked(q), q.deal), holderOf(q.principal, q.grant, q.deal)
	}
	n := s.metas.add(rec, q.id, placeKey{feed: q.route.Ref().ID(), topic: q.route.Topic.Name, byDef: q.route.Default}, q.route, holder)
	s.spans.keep(n, q.span)
	q.span = nil
	return n
}

// takeOver gives a hijacked connection to the shard engine. net/http has forgotten
// it: the head is ours to write, and the handler returns at once, so that its
// buffers go.
func (s *Server) takeOver(q *request, conn net.Conn, brw *bufio.ReadWriter, joined *fanout.Joined, framing fanout.Framing) error {
	if brw.Reader.Buffered() > 0 {
		joined.Release()
		s.refuseRaw(q, conn, refuse(problem.UnexpectedBody, "Bytes follow the request."))
		return nil
	}
	h := http.Header{}
	s.setStream(h, q)
	setFraming(h, q.proto, framing)
	first := s.firstBytes(q, joined)
	if framing == fanout.Chunked {
		first = fanout.AppendChunk(nil, first)
	}
	sub := s.subscriber(q, joined, framing, append(appendHead(nil, h, framing, s.now()), first...))
	sub.Meta = s.begin(q, joined, flagShard)
	if err := s.adopter.Adopt(conn, sub); err != nil {
		// The connection is still ours, and the head unwritten.
		s.metas.report(ended{sub.Meta, fanout.End{Reason: fanout.EndError}})
		k := problem.Overloaded
		if s.phase.Load() == phaseClosed {
			k = problem.Draining
		}
		s.refuseRaw(q, conn, &problem.Error{Kind: k, Err: err})
	}
	return nil
}

// refuseRaw answers a hijacked connection with a problem, or sheds it, and closes it.
func (s *Server) refuseRaw(q *request, conn net.Conn, err error) {
	rw := &rawWriter{header: http.Header{}}
	s.answerRefusal(rw, q, err)
	rw.header.Set("Connection", "close")
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(rw.bytes(s.now()))
	lingerClose(conn)
}

// servePortable serves the client on this goroutine until its stream ends.
func (s *Server) servePortable(w http.ResponseWriter, q *request, joined *fanout.Joined) error {
	framing := fanout.Identity
	if s.chunked(q) {
		framing = fanout.Chunked
	}
	h := w.Header()
	s.setStream(h, q)
	setFraming(h, q.proto, framing)
	// net/http delimits: the engine writes plain frames.
	sub := s.subscriber(q, joined, fanout.Identity, s.firstBytes(q, joined))
	sink := responseSink{w, http.NewResponseController(w), q.proto == protoHTTP2}
	var n *notifier
	if q.choice.control != 0 {
		n = s.newNotifier(sink, q, joined)
	}
	sub.Meta = s.begin(q, joined, 0)
	w.WriteHeader(http.StatusOK)
	var end fanout.End
	if n != nil {
		end = s.serveNotified(q, n, sub)
	} else {
		end = s.portable.Serve(q.r.Context(), sink, sub)
	}
	s.Ended(sub.Meta, end)
	if end.Reason == fanout.EndRevokedHard {
		reset(w)
	}
	return nil
}

// reset throws away what the kernel holds for the client, if the connection is its own.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // HTTP/2: the engine reset the stream
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn() // no word of TLS either
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = raw.Close()
}

// responseSink is a fanout.Sink over a response.
type responseSink struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	shared bool // the connection carries other streams too
}

func (r responseSink) Write(p []byte) (int, error)        { return r.w.Write(p) }
func (r responseSink) Flush() error                       { return r.rc.Flush() }
func (r responseSink) SetWriteDeadline(t time.Time) error { return r.rc.SetWriteDeadline(t) }

// Multiplexed tells the engine that a deadline left armed would hurt other streams.
func (r responseSink) Multiplexed() bool { return r.shared }
