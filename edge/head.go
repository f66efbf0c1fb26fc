package edge

import (
	"bytes"
	"net/http"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access/token"
	"sluice/internal/sse"
)

// streamType is the media type of streams.
const streamType = "text/event-stream"

// setCommon sets the fields that every answer carries.
func (s *Server) setCommon(h http.Header, q *request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", q.id)
	if q.api != nil {
		setCORS(h, q.api, q.origin)
	}
}

// setStream sets the fields of a stream's head that do not depend on how the body is
// delimited.
func (s *Server) setStream(h http.Header, q *request) {
	s.setCommon(h, q)
	h.Set("Content-Type", streamType)
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	if q.cookie != "" {
		crossSite := q.api.Spec.CORS.Credentials && originAllowed(q.api, q.origin)
		h.Add("Set-Cookie", token.StreamCookie(q.cookie, q.principal.Expires, crossSite).String())
	}
	if q.api != nil && q.api.Spec.State == catalog.StateDeprecated {
		// RFC 9745 wants a date; that of the action is not recorded, so: the epoch,
		// which means "has been for some time".
		h.Set("Deprecation", "@0")
	}
}

// setFraming sets how the body ends. Identity bodies end with the connection;
// net/http takes "identity" out again and closes. HTTP/2 frames by itself.
func setFraming(h http.Header, p protocol, f fanout.Framing) {
	if p == protoHTTP2 {
		return
	}
	h.Set("Connection", "close")
	if f == fanout.Identity {
		h.Set("Transfer-Encoding", "identity")
	}
}

// appendHead appends the status line and header of a hijacked connection: the bytes
// that net/http would have sent for h.
func appendHead(dst []byte, h http.Header, f fanout.Framing, now time.Time) []byte {
	buf := bytes.NewBuffer(dst)
	buf.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.WriteSubset(buf, map[string]bool{"Transfer-Encoding": true}) // a Buffer does not fail
	buf.WriteString("Date: ")
	buf.Write(now.UTC().AppendFormat(buf.AvailableBuffer(), http.TimeFormat))
	buf.WriteString("\r\n")
	if f == fanout.Chunked {
		buf.WriteString("Transfer-Encoding: chunked\r\n")
	}
	buf.WriteString("\r\n")
	return buf.Bytes()
}

// firstBytes is how a stream's body begins; who has a credential that is about to end is
// told at once.
func (s *Server) firstBytes(q *request, j *fanout.Joined) []byte {
	b := firstBytes(q.api.Spec.Client.Retry, j.Gap)
	if q.principal == nil {
		return b
	}
	x := s.asked(q)
	if at := x.expires(); !at.IsZero() && at.Sub(x.now) <= reauthAhead {
		b = appendReauth(b, at, x.now)
		s.metrics.told(q.apiLabel(), "gateway.reauth", "")
	}
	return b
}

// firstBytes is how each body begins: a retry line, without a blank line, then what
// must be told before the first event.
func firstBytes(retry time.Duration, told []byte) []byte {
	b := make([]byte, 0, 16+len(told))
	b = sse.AppendRetry(b, headSpan(retry).draw())
	return append(b, told...)
}
