package sse

import (
	"strings"

	"sluice/internal/sse/ssetest"
)

// reference parses a whole stream the way the standards spell it out, step by step and without regard to speed: decode
// (Encoding standard, "UTF-8 decoder"), split into lines, interpret (HTML standard, "interpreting an event stream"). It
// shares nothing with the decoder.
func reference(stream string) (events []ssetest.Event, last string, retry *uint64) {
	var data, eventType, idBuffer string
	for _, line := range refLines(refDecode(stream)) {
		if line == "" {
			last = idBuffer
			if data != "" {
				if eventType == "" {
					eventType = "message"
				}
				events = append(events, ssetest.Event{Type: eventType, Data: strings.TrimSuffix(data, "\n"), ID: last})
			}
			data, eventType = "", ""
			continue
		}
		field, val, colon := strings.Cut(line, ":")
		if colon && field == "" {
			continue
		}
		val = strings.TrimPrefix(val, " ")
		switch field {
		case "event":
			eventType = val
		case "data":
			data += val + "\n"
		case "id":
			if !strings.Contains(val, "\x00") {
				idBuffer = val
			}
		case "retry":
			if n, ok := refDigits(val); ok {
				retry = &n
			}
		}
	}
	return events, last, retry
}

// refDigits reads ASCII digits, at least one, saturating at MaxRetry.
func refDigits(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	s = strings.TrimLeft(s, "0")
	if len(s) > 15 {
		return MaxRetry, true
	}
	var n uint64
	for _, c := range s {
		n = 10*n + uint64(c-'0')
	}
	return min(n, MaxRetry), true
}

// refLines are the finished lines of s.
func refLines(s string) []string {
	var lines []string
	from := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '\r' && s[i] != '\n' {
			continue
		}
		lines = append(lines, s[from:i])
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			i++
		}
		from = i + 1
	}
	return lines
}

// refDecode is "UTF-8 decode": drop one byte order mark, then the decoder's state machine with replacement.
func refDecode(s string) string {
	s = strings.TrimPrefix(s, "\xef\xbb\xbf")
	var out strings.Builder
	var point rune
	needed, seen := 0, 0
	lower, upper := byte(0x80), byte(0xbf)
	for i := 0; i < len(s); i++ {
		b := s[i]
		if needed == 0 {
			switch {
			case b <= 0x7f:
				out.WriteByte(b)
			case 0xc2 <= b && b <= 0xdf:
				needed, point = 1, rune(b&0x1f)
			case 0xe0 <= b && b <= 0xef:
				if b == 0xe0 {
					lower = 0xa0
				}
				if b == 0xed {
					upper = 0x9f
				}
				needed, point = 2, rune(b&0xf)
			case 0xf0 <= b && b <= 0xf4:
				if b == 0xf0 {
					lower = 0x90
				}
				if b == 0xf4 {
					upper = 0x8f
				}
				needed, point = 3, rune(b&0x7)
			default:
				out.WriteRune(0xfffd)
			}
			continue
		}
		if b < lower || b > upper {
			point, needed, seen, lower, upper = 0, 0, 0, 0x80, 0xbf
			out.WriteRune(0xfffd)
			i-- // the byte is looked at again
			continue
		}
		lower, upper = 0x80, 0xbf
		point = point<<6 | rune(b&0x3f)
		seen++
		if seen == needed {
			out.WriteRune(point)
			point, needed, seen = 0, 0, 0
		}
	}
	if needed > 0 {
		out.WriteRune(0xfffd)
	}
	return out.String()
}
