package fanout

import (
	"math"
	"strconv"

	"sluice/internal/broker"
)

// MaxIDLen is the length of the longest event id.
const MaxIDLen = 27

// AppendID appends the event id of p, "<seq>-<µs>" in lower-case base36. A
// position with sequence 0 becomes a bookmark. Negative times and sequences of
// 2^63 and more have no id: nothing is appended for them.
func AppendID(dst []byte, p broker.Position) []byte {
	if p.Micros <= 0 || p.Seq > math.MaxInt64 {
		return dst
	}
	dst = strconv.AppendUint(dst, p.Seq, 36)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, p.Micros, 36)
}

// ParseID reads an event id. Exactly the texts that AppendID makes are accepted:
// one spelling per position, nothing above 2^63-1.
func ParseID(s string) (broker.Position, bool) {
	if len(s) > MaxIDLen {
		return broker.Position{}, false
	}
	seq, rest, ok := base36(s)
	if !ok || len(rest) == 0 || rest[0] != '-' {
		return broker.Position{}, false
	}
	micros, rest, ok := base36(rest[1:])
	if !ok || rest != "" || micros == 0 {
		return broker.Position{}, false
	}
	return broker.Position{Seq: seq, Micros: int64(micros)}, true
}

// base36 reads one number of 1 to 13 digits without leading zeros.
func base36(s string) (v uint64, rest string, ok bool) {
	i := 0
	for ; i < len(s) && i <= 13; i++ {
		var d uint64
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'z':
			d = uint64(c-'a') + 10
		default:
			return v, s[i:], i > 0
		}
		if i == 1 && v == 0 || v > (math.MaxInt64-d)/36 {
			return 0, "", false
		}
		v = v*36 + d
	}
	return v, s[i:], i > 0
}
