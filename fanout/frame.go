package fanout

import (
	"math/bits"

	"sluice/internal/broker"
	"sluice/internal/sse"
)

// AppendFrame appends the client's frame of a stored event: its body, its id and
// the blank line.
func AppendFrame(dst, body []byte, p broker.Position) []byte {
	var id [MaxIDLen]byte
	return sse.AppendFrame(dst, body, AppendID(id[:0], p))
}

// AppendChunk appends b as one chunk of a chunked HTTP/1.1 body. An empty b
// appends nothing: an empty chunk would end the body.
func AppendChunk(dst, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = appendHex(dst, len(b))
	dst = append(dst, '\r', '\n')
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// LastChunk ends a chunked body.
const LastChunk = "0\r\n\r\n"

func appendHex(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	for i := (bits.Len(uint(n)) - 1) / 4; i >= 0; i-- {
		dst = append(dst, digits[n>>(4*i)&15])
	}
	return dst
}

// chunkOverhead is how many bytes AppendChunk adds to n > 0 bytes.
func chunkOverhead(n int) int { return (bits.Len(uint(n))+3)/4 + 4 }
