package sse

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Heartbeat is the comment that keeps a silent stream alive. It may stand between events only.
const Heartbeat = ":\n"

// MaxType is how many bytes of an event type reach a body.
const MaxType = 255

// GatewayPrefix starts the types of the gateway's own events. An upstream's type that starts so is renamed.
const GatewayPrefix = "gateway."

// AppendBody appends the stored form of an upstream's event: "event: <type>\n", left out for "" and "message", then
// "data: <line>\n" per line of data, "data:\n" for an empty one. Data is split on CRLF, CR and LF, so neither field can
// start another; it is otherwise taken as it is, and should be valid UTF-8, as a Decoder's is.
//
// The type is made harmless: control characters and invalid UTF-8 become U+FFFD, a type that starts with GatewayPrefix
// gets "upstream." before it, and what then exceeds MaxType bytes is cut at a character.
func AppendBody(dst, typ, data []byte) []byte {
	if len(typ) > 0 && string(typ) != "message" {
		dst = append(dst, "event: "...)
		dst = appendType(dst, typ)
		dst = append(dst, '\n')
	}
	return appendData(dst, data)
}

// AppendControlBody appends the stored form of one of the gateway's own events, as a marker in a feed: type name (such as
// "gateway.gap") and data, one line of JSON. Line ends in data become spaces; bytes of name outside 0x21–0x7e are left
// out.
func AppendControlBody(dst []byte, name string, data []byte) []byte {
	dst = append(dst, "event: "...)
	for i := range len(name) {
		if name[i] > ' ' && name[i] < 0x7f {
			dst = append(dst, name[i])
		}
	}
	dst = append(dst, "\ndata: "...)
	from := len(dst)
	dst = append(dst, data...)
	for i, c := range dst[from:] {
		if c == '\r' || c == '\n' {
			dst[from+i] = ' '
		}
	}
	return append(dst, '\n')
}

// AppendFrame appends what a client gets for a stored body: the body, "id: <id>\n", and the blank line that ends the
// event. The id line is last, so a cut before the blank line never loses the event. An empty id, or one with a byte
// outside [0-9a-z-], is left out whole: a client then resumes at the id before it. An empty body makes a bookmark, which
// sets the id and dispatches nothing.
func AppendFrame(dst, body, id []byte) []byte {
	dst = append(dst, body...)
	if n := len(body); n > 0 && body[n-1] != '\n' {
		dst = append(dst, '\n')
	}
	if plainID(id) {
		dst = append(dst, "id: "...)
		dst = append(dst, id...)
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// AppendControl appends the frame of one of the gateway's own events: AppendControlBody, then AppendFrame.
func AppendControl(dst []byte, name string, data []byte, id string) []byte {
	dst = AppendControlBody(dst, name, data)
	return AppendFrame(dst, nil, []byte(id))
}

// AppendRetry appends a reconnection time in milliseconds: a line without a blank line behind it, as some clients take
// that for an empty event.
func AppendRetry(dst []byte, ms uint64) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendUint(dst, ms, 10)
	return append(dst, '\n')
}

// appendData appends one field per line of data.
func appendData(dst, data []byte) []byte {
	for {
		line, rest, more := cutLineEnd(data)
		if len(line) == 0 {
			dst = append(dst, "data:\n"...)
		} else {
			dst = append(dst, "data: "...)
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
		if !more {
			return dst
		}
		data = rest
	}
}

// cutLineEnd splits p at its first CRLF, CR or LF; more is false if there is none.
func cutLineEnd(p []byte) (line, rest []byte, more bool) {
	stop := len(p)
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		stop, more = i, true
	}
	if i := bytes.IndexByte(p[:stop], '\r'); i >= 0 {
		n := 1
		if more && i+1 == stop {
			n = 2
		}
		return p[:i], p[i+n:], true
	}
	if !more {
		return p, nil, false
	}
	return p[:stop], p[stop+1:], true
}

// appendType appends typ as AppendBody promises.
func appendType(dst, typ []byte) []byte {
	from := len(dst)
	if len(typ) >= len(GatewayPrefix) && string(typ[:len(GatewayPrefix)]) == GatewayPrefix {
		dst = append(dst, "upstream."...)
	}
	if len(dst)-from+len(typ) <= MaxType && printable(typ) {
		return append(dst, typ...)
	}
	for len(typ) > 0 {
		n, ok := nextRune(typ)
		add := typ[:n]
		if !ok || isControl(add) {
			add = []byte(replacement)
		}
		if len(dst)-from+len(add) > MaxType {
			break
		}
		dst = append(dst, add...)
		typ = typ[n:]
	}
	return dst
}

// printable says that p is printable ASCII, as nearly every type is.
func printable(p []byte) bool {
	for _, c := range p {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isControl says that the well-formed sequence p is a control character, C0, DEL or C1.
func isControl(p []byte) bool {
	if len(p) == 1 {
		return p[0] < ' ' || p[0] == 0x7f
	}
	r, _ := utf8.DecodeRune(p)
	return r < 0xa0
}

// plainID says that id is not empty and has only bytes that are safe in every client and proxy.
func plainID(id []byte) bool {
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(id) > 0
}
