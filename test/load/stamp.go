package load

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"strconv"
)

// stamp is what a payload says of itself.
type stamp struct {
	n       int64 // number within its topic, from 1
	t       int64 // when it was due: ns since 1970, or µs since an unknown start (see dueNanos)
	run     int64 // which run of the bench made it; 0 = not said
	corrupt bool  // it carries a checksum that its bytes do not match
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	sumField  = `,"c":"`
	sumLength = len(`,"c":"00000000"}`)
	padField  = `,"p":"`
)

// appendPayload appends event n of a run as one JSON line of size bytes, or of what its fields need if that is more:
// {"n":number,"t":due in ns,"r":run,"p":padding,"c":CRC-32C of all before ,"c"}.
func appendPayload(dst []byte, n, due, run int64, size int) []byte {
	from := len(dst)
	dst = strconv.AppendInt(append(dst, `{"n":`...), n, 10)
	dst = strconv.AppendInt(append(dst, `,"t":`...), due, 10)
	dst = strconv.AppendInt(append(dst, `,"r":`...), run, 10)
	if room := size - (len(dst) - from) - sumLength - len(padField) - 1; room >= 0 {
		dst = append(dst, padField...)
		for i := range room {
			dst = append(dst, 'a'+byte((n+int64(i))%26))
		}
		dst = append(dst, '"')
	}
	sum := crc32.Checksum(dst[from:], castagnoli)
	dst = append(dst, sumField...)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(dst, `"}`...)
}

// readStamp finds a stamp in one line of data: the bench's own payload, the demo market's, either of them inside an
// envelope, or the form @due@number@ of other tools. ok is false if there is none.
func readStamp(line []byte) (s stamp, ok bool) {
	if bytes.HasPrefix(line, []byte(`{"n":`)) || bytes.HasPrefix(line, []byte(`{"f":`)) {
		return readJSONStamp(line)
	}
	if i := bytes.Index(line, []byte(`{"n":`)); i >= 0 {
		return readJSONStamp(line[i:])
	}
	return readMarkStamp(line)
}

// readJSONStamp reads n, t and what else there is of a JSON object that begins at line.
func readJSONStamp(line []byte) (s stamp, ok bool) {
	i := bytes.Index(line, []byte(`"n":`))
	if i < 0 {
		return s, false
	}
	var used int
	if s.n, used = digits(line[i+4:]); used == 0 {
		return s, false
	}
	rest, found := bytes.CutPrefix(line[i+4+used:], []byte(`,"t":`))
	if !found {
		return s, false
	}
	if s.t, used = digits(rest); used == 0 {
		return s, false
	}
	if r, found := bytes.CutPrefix(rest[used:], []byte(`,"r":`)); found {
		s.run, _ = digits(r)
	}
	s.corrupt = !sumMatches(line)
	return s, true
}

// sumMatches checks the checksum of the payload at the start of line. A payload without one is not judged.
func sumMatches(line []byte) bool {
	at := len(line) - sumLength
	if at < 0 || string(line[at:at+len(sumField)]) != sumField {
		if at = bytes.LastIndex(line, []byte(sumField)); at < 0 {
			return true
		}
	}
	text := line[at+len(sumField):]
	if len(text) < 8 {
		return false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], text[:8]); err != nil {
		return false
	}
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	return crc32.Checksum(line[:at], castagnoli) == want
}

// readMarkStamp reads @due@number@, wherever in the line.
func readMarkStamp(line []byte) (s stamp, ok bool) {
	for {
		i := bytes.IndexByte(line, '@')
		if i < 0 {
			return s, false
		}
		line = line[i+1:]
		t, used := digits(line)
		if used == 0 || used >= len(line) || line[used] != '@' {
			continue
		}
		n, more := digits(line[used+1:])
		if end := used + 1 + more; more > 0 && end < len(line) && line[end] == '@' {
			return stamp{n: n, t: t}, true
		}
	}
}

// digits reads a decimal number of at most 19 digits and says how many it used.
func digits(b []byte) (v int64, used int) {
	for used < len(b) && used < 19 && b[used] >= '0' && b[used] <= '9' {
		v = v*10 + int64(b[used]-'0')
		used++
	}
	return v, used
}
