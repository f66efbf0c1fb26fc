package edge

import (
	"math/rand/v2"
	"strconv"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/sse"
)

// Reasons for which this package ends streams; those of the engines are in fanout.
const (
	endAPIBlocked                    = fanout.Reason(catalog.EndAPIBlocked)
	endAPIUnpublished                = fanout.Reason(catalog.EndAPIUnpublished)
	endAPIRetired                    = fanout.Reason(catalog.EndAPIRetired)
	endAPIDeleted                    = fanout.Reason(catalog.EndAPIDeleted)
	endUndeployed                    = fanout.Reason(catalog.EndUndeployed)
	endTopicDeleted                  = fanout.Reason(catalog.EndTopicDeleted)
	endTransportClosed               = fanout.Reason(catalog.EndTransportClosed)
	endAccessChanged                 = fanout.Reason(catalog.EndAccessChanged)
	endVersionMoved    fanout.Reason = "version-moved"
	endPlanChanged     fanout.Reason = "plan-changed"
	endTokenExpired    fanout.Reason = "token-expired"
	endRevoked         fanout.Reason = "revoked"
	endDenied          fanout.Reason = "denied"
	endNotSubscribed   fanout.Reason = "not-subscribed"
	endAppBlocked      fanout.Reason = "app-blocked"
)

// defaultRetry is the base of the delay told to clients of an API that sets none.
const defaultRetry = 2 * time.Second

// retrySpan is a range of reconnect delays in milliseconds.
type retrySpan struct{ from, to uint64 }

// draw picks one, uniformly, so that clients told at once do not come back at once.
func (s retrySpan) draw() uint64 { return s.from + rand.Uint64N(s.to-s.from+1) }

// headSpan is the range of the first retry line: [1, 2.5] × base.
func headSpan(base time.Duration) retrySpan {
	if base <= 0 {
		base = defaultRetry
	}
	ms := uint64(base.Milliseconds())
	return retrySpan{ms, ms * 5 / 2}
}

// shedSpan is the range of refusals and of ends for a broken line.
func shedSpan() retrySpan { return retrySpan{5_000, 30_000} }

// endSpan tells how an end is told: its range of delays and whether coming back
// helps; ok is false for ends of which a client is told nothing.
func endSpan(r fanout.Reason) (span retrySpan, retryable, ok bool) {
	switch r {
	case fanout.EndDrain, fanout.EndLifetime, fanout.EndMaxDuration, endVersionMoved, endPlanChanged:
		return retrySpan{100, 2_000}, true, true
	case fanout.EndUnavailable:
		return shedSpan(), true, true
	case endAPIBlocked, endAPIUnpublished, endAPIRetired, endAPIDeleted, endUndeployed, endTopicDeleted, endTransportClosed,
		endAccessChanged, endTokenExpired, endRevoked, endDenied, endNotSubscribed, endAppBlocked:
		return headSpan(defaultRetry), false, true
	}
	return retrySpan{}, false, false
}

// EndBytes appends the last bytes of a stream that ends for r: its own retry line
// and gateway.end. It appends nothing for ends of which a client cannot or need not
// be told (client, slow, stall, abuse, error, revoked-hard). It is a fanout.EndBytes: both engines
// are made with it. Safe for concurrent use.
func EndBytes(dst []byte, r fanout.Reason) []byte {
	span, retryable, ok := endSpan(r)
	if !ok {
		return dst
	}
	return appendEnd(dst, string(r), retryable, span.draw())
}

// appendEnd appends "retry:" and one gateway.end.
func appendEnd(dst []byte, reason string, retryable bool, ms uint64) []byte {
	var room [128]byte
	data := append(room[:0], `{"reason":"`...)
	data = append(data, reason...)
	data = append(data, `","retryable":`...)
	data = strconv.AppendBool(data, retryable)
	data = append(data, `,"retryAfterMs":`...)
	data = strconv.AppendUint(data, ms, 10)
	data = append(data, '}')
	dst = sse.AppendRetry(dst, ms)
	return sse.AppendControl(dst, "gateway.end", data, "")
}
