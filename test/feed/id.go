package feed

import (
	"strconv"
	"strings"
)

const (
	backSpan = 1000 // ids of mode back run from backSpan down to 1
	longPad  = 1100
)

// appendID appends the id of event n, and whether the event has an id line at all.
func (t *Tape) appendID(dst []byte, feed string, n uint64) ([]byte, bool) {
	switch t.o.IDs {
	case IDNone:
		return dst, false
	case IDSame:
		return append(dst, "same"...), true
	case IDBack:
		return strconv.AppendUint(dst, backSpan-(n-1)%backSpan, 10), true
	case IDOpaque:
		dst = append(dst, 'e')
		return strconv.AppendUint(dst, mix(n^t.feedKey(feed)), 36), true
	case IDLong:
		dst = append(strconv.AppendUint(dst, n, 10), '-')
		for range longPad {
			dst = append(dst, 'x')
		}
		return dst, true
	case IDNul:
		return append(strconv.AppendUint(dst, n, 10), 0), true
	default:
		return strconv.AppendUint(dst, n, 10), true
	}
}

// eventOf returns the number of the newest event up to head that carries the id.
func (t *Tape) eventOf(feed, id string, head uint64) (n uint64, ok bool) {
	switch t.o.IDs {
	case IDSame:
		n, ok = head, id == "same"
	case IDBack:
		v, err := strconv.ParseUint(id, 10, 64)
		if err != nil || v < 1 || v > backSpan {
			return 0, false
		}
		first := backSpan - v + 1
		if head < first {
			return 0, false
		}
		n, ok = head-(head-first)%backSpan, true
	case IDOpaque:
		v, err := strconv.ParseUint(strings.TrimPrefix(id, "e"), 36, 64)
		n, ok = unmix(v)^t.feedKey(feed), err == nil && strings.HasPrefix(id, "e")
	case IDNone, IDNul:
		return 0, false
	default:
		digits, _, _ := strings.Cut(id, "-")
		v, err := strconv.ParseUint(digits, 10, 64)
		n, ok = v, err == nil
	}
	return n, ok && n >= 1 && n <= head
}
