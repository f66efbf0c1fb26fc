package trace

import "encoding/hex"

// Context names a span to others: what the W3C header traceparent carries. The zero
// value names none.
type Context struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool // whoever made the span records it
}

// Valid reports whether c names a span.
func (c Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// HeaderLen is the length of Context.String for a context that is valid.
const HeaderLen = 2 + 1 + 32 + 1 + 16 + 1 + 2

// String is c as the value of a traceparent header, version 00; "" if c names no span.
func (c Context) String() string {
	if !c.Valid() {
		return ""
	}
	var b [HeaderLen]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], c.Trace[:])
	b[35] = '-'
	hex.Encode(b[36:52], c.Span[:])
	copy(b[52:], "-00")
	if c.Sampled {
		b[54] = '1'
	}
	return string(b[:])
}

// TraceID is the trace's id as 32 hex digits, for a line of the log.
func (c Context) TraceID() string { return hex.EncodeToString(c.Trace[:]) }

// Parse reads the value of a traceparent header as W3C Trace Context level 2 says: of a
// later version what version 00 has, as long as it is told apart. False for anything
// else.
func Parse(s string) (Context, bool) {
	var c Context
	if len(s) < HeaderLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[:2]) || !unhex(c.Trace[:], s[3:35]) || !unhex(c.Span[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return Context{}, false
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(s) != HeaderLen, len(s) > HeaderLen && s[HeaderLen] != '-', !c.Valid():
		return Context{}, false
	}
	c.Sampled = flags[0]&1 != 0
	return c, true
}

// unhex decodes lower-case hex digits, the only ones that the header may have.
func unhex(dst []byte, s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}
