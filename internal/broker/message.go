package broker

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"sluice/internal/trace"
)

// Headers of a stored message. Names starting "Nats-" are the broker's.
const (
	hdrTx   = "Sse-Tx"   // <epoch>.<n>[.<i>] in base36: commit n of this epoch, its i-th event (absent: the first)
	hdrPrev = "Sse-Prev" // the feed's previous sequence, 0 = none; absent inside an atomic batch
	hdrID   = "Sse-Id"   // effective upstream id, escaped
	hdrRx   = "Sse-Rx"   // µs since 1970 at which ingest read it, base36
	hdrCtl  = "Sse-Ctl"  // "gap" on a stored marker
	hdrPath = "Sse-Path" // canonical path and query of a hashed feed

	// hdrTrace is the commit's span, on its first event if it is recorded. It takes
	// HeaderLen bytes and the name, far within headerReserve.
	hdrTrace = "traceparent"

	hdrSubject  = "Nats-Subject"
	hdrSeq      = "Nats-Sequence"
	hdrTime     = "Nats-Time-Stamp"
	hdrLast     = "Nats-Last-Sequence"
	hdrPending  = "Nats-Num-Pending"
	hdrStatus   = "Status"
	hdrWantSubj = "Nats-Expected-Last-Subject-Sequence"
	hdrBatch    = "Nats-Batch-Id"
	hdrBatchSeq = "Nats-Batch-Sequence"
	hdrBatchEnd = "Nats-Batch-Commit"

	ctlGap        = "gap"
	maxUpstreamID = 1024
)

// ErrForeign says that a stored message was not written by this program: it is not
// handed to clients but told as lost.
var ErrForeign = errors.New("foreign message")

// stored is a message with what only this package needs of it.
type stored struct {
	Message
	index int    // place of the event in its commit
	last  uint64 // Nats-Last-Sequence: its meaning depends on who sent it
}

// parseReceived parses a republished message or one of a direct read: the broker
// has added its place to the headers. m's slices are kept.
func parseReceived(subject string, h nats.Header, body []byte) (stored, error) {
	var s stored
	var err error
	if s.Seq, err = strconv.ParseUint(lastValue(h, hdrSeq), 10, 64); err != nil || s.Seq == 0 {
		return s, fmt.Errorf("%w: no sequence", ErrForeign)
	}
	at, err := time.Parse(time.RFC3339Nano, lastValue(h, hdrTime))
	if err != nil {
		return s, fmt.Errorf("%w: no time stamp", ErrForeign)
	}
	s.Micros = at.UnixMicro()
	if s.last, err = strconv.ParseUint(lastValue(h, hdrLast), 10, 64); err != nil {
		return s, fmt.Errorf("%w: no last sequence", ErrForeign)
	}
	if got := lastValue(h, hdrSubject); got != subject {
		return s, fmt.Errorf("%w: subject %q", ErrForeign, got)
	}
	err = s.parseOwn(h, body)
	return s, err
}

// parseOwn fills s, whose Position is set, from our headers and the body.
func (s *stored) parseOwn(h nats.Header, body []byte) error {
	var ok bool
	if s.Epoch, s.Tx, s.index, ok = parseTx(value(h, hdrTx)); !ok {
		return fmt.Errorf("%w: header %s %q", ErrForeign, hdrTx, value(h, hdrTx))
	}
	s.Link = s.Seq - 1
	if vs, present := h[hdrPrev]; present {
		prev, err := strconv.ParseUint(vs[0], 10, 64)
		if err != nil || prev >= s.Seq {
			return fmt.Errorf("%w: header %s %q", ErrForeign, hdrPrev, vs[0])
		}
		s.Link = prev
	}
	if s.UpstreamID, ok = unescapeID(value(h, hdrID)); !ok {
		return fmt.Errorf("%w: header %s", ErrForeign, hdrID)
	}
	if v := value(h, hdrRx); v != "" {
		rx, err := strconv.ParseInt(v, 36, 64)
		if err != nil {
			return fmt.Errorf("%w: header %s %q", ErrForeign, hdrRx, v)
		}
		s.Rx = rx
	}
	switch v := value(h, hdrCtl); v {
	case "":
	case ctlGap:
		s.Gap = true
	default:
		return fmt.Errorf("%w: header %s %q", ErrForeign, hdrCtl, v)
	}
	s.Path = value(h, hdrPath)
	if v := value(h, hdrTrace); v != "" { // one that cannot be read costs nobody an event
		s.Trace, _ = trace.Parse(v)
	}
	if !ValidBody(body) {
		return fmt.Errorf("%w: body is no prefix of a frame", ErrForeign)
	}
	s.Body = body
	return nil
}

// ValidBody reports whether body may be stored: every line is an "event:" or "data:" field and the
// last one is complete, so that a body can never end a frame or inject a field.
func ValidBody(body []byte) bool {
	if len(body) == 0 || body[len(body)-1] != '\n' || bytes.IndexByte(body, '\r') >= 0 {
		return false
	}
	for len(body) > 0 {
		if !bytes.HasPrefix(body, []byte("data:")) && !bytes.HasPrefix(body, []byte("event:")) {
			return false
		}
		body = body[bytes.IndexByte(body, '\n')+1:]
	}
	return true
}

func formatTx(epoch, tx uint64, index int) string {
	var buf [48]byte
	b := strconv.AppendUint(buf[:0], epoch, 36)
	b = append(b, '.')
	b = strconv.AppendUint(b, tx, 36)
	if index > 0 {
		b = append(b, '.')
		b = strconv.AppendUint(b, uint64(index), 36)
	}
	return string(b)
}

func parseTx(s string) (epoch, tx uint64, index int, ok bool) {
	e, rest, found := strings.Cut(s, ".")
	if !found {
		return 0, 0, 0, false
	}
	n, i, indexed := strings.Cut(rest, ".")
	epoch, err1 := strconv.ParseUint(e, 36, 64)
	tx, err2 := strconv.ParseUint(n, 36, 64)
	var err3 error
	if indexed {
		var x uint64
		x, err3 = strconv.ParseUint(i, 36, 31)
		index = int(x)
	}
	return epoch, tx, index, err1 == nil && err2 == nil && err3 == nil
}

// escapeID makes an upstream id safe as a header value: those are trimmed and cut
// at line ends.
func escapeID(id string) string {
	const digits = "0123456789abcdef"
	plain := true
	for i := 0; plain && i < len(id); i++ {
		plain = id[i] > 0x20 && id[i] < 0x7f && id[i] != '%'
	}
	if plain {
		return id
	}
	b := make([]byte, 0, len(id)+16)
	for i := range len(id) {
		if c := id[i]; c > 0x20 && c < 0x7f && c != '%' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', digits[id[i]>>4], digits[id[i]&15])
	}
	return string(b)
}

func unescapeID(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, len(s) <= maxUpstreamID
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || !isLowerHex(s[i+1]) || !isLowerHex(s[i+2]) {
			return "", false
		}
		b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
		i += 2
	}
	return string(b), len(b) <= maxUpstreamID
}

// value returns the first value of a header as its writer set it.
func value(h nats.Header, name string) string {
	if vs := h[name]; len(vs) > 0 {
		return vs[0]
	}
	return ""
}

// lastValue returns the last one: the broker appends its own behind a forged one.
func lastValue(h nats.Header, name string) string {
	if vs := h[name]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return ""
}
