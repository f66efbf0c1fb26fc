package sse

import (
	"bytes"
	"errors"
)

// Why ValidBody refuses a body.
var (
	ErrBodyEnd   = errors.New("body does not end in a line feed")
	ErrBodyCR    = errors.New("body contains a carriage return")
	ErrBodyField = errors.New("body has a line that is neither data nor a leading event")
	ErrBodyData  = errors.New("body has no data line")
)

// ValidBody checks that b has the form AppendBody gives a stored body: lines ending in \n, no \r, no blank line, an
// optional "event: …" line first, then at least one "data: …" or "data:" line and nothing else. A body of any other form
// was not written by an ingest node. It returns one of the ErrBody values.
func ValidBody(b []byte) error {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return ErrBodyEnd
	}
	if bytes.IndexByte(b, '\r') >= 0 {
		return ErrBodyCR
	}
	if len(b) >= 7 && string(b[:7]) == "event: " {
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	if len(b) == 0 {
		return ErrBodyData
	}
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		if n < 5 || string(b[:5]) != "data:" || n > 5 && b[5] != ' ' {
			return ErrBodyField
		}
		b = b[n+1:]
	}
	return nil
}
