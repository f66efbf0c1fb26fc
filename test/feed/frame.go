package feed

import (
	"bytes"
	"strconv"
)

// ends is how the lines of a stream end.
type ends int

const (
	endLF ends = iota
	endCR
	endCRLF
	endMixed
)

// appendEvent appends the frame of event n.
func (c *conn) appendEvent(dst []byte, n uint64) []byte {
	from := len(dst)
	t := c.m.tape
	if every := c.m.o.CommentEvery; every > 0 {
		if c.unheard++; c.unheard >= every {
			c.unheard = 0
			dst = append(dst, ": "...)
			dst = strconv.AppendUint(dst, n, 10)
			dst = append(dst, '\n')
		}
	}
	dst = append(dst, "id: "...)
	withID, ok := t.appendID(dst, c.r.feed, n)
	if ok {
		dst = append(withID, '\n')
	} else {
		dst = dst[:len(dst)-len("id: ")]
	}
	if c.m.o.Event != "" {
		dst = append(append(append(dst, "event: "...), c.m.o.Event...), '\n')
	}
	dst = append(dst, "data: "...)
	at := len(dst)
	dst = t.append(dst, c.r.feed, n, c.r.table)
	if c.m.o.Lines > 1 {
		lines := bytes.ReplaceAll(dst[at:], []byte("\n"), []byte("\ndata: "))
		dst = append(dst[:at], lines...)
	}
	dst = append(dst, "\n\n"...)
	if c.ends == endLF {
		return dst
	}
	return appendEnds(dst[:from], bytes.Clone(dst[from:]), c.ends)
}

// appendEnds appends a text of LF lines with other line ends. An empty line never gets a lone LF behind a lone
// CR, which would read as one end instead of two.
func appendEnds(dst, text []byte, e ends) []byte {
	cycle := []string{"\n", "\r\n", "\r"}
	afterCR := false
	for i := 0; len(text) > 0; i++ {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		end := map[ends]string{endCR: "\r", endCRLF: "\r\n", endMixed: cycle[i%3]}[e]
		if afterCR && len(line) == 0 && end == "\n" {
			end = "\r\n"
		}
		dst = append(append(dst, line...), end...)
		afterCR = end == "\r"
		text = rest
	}
	return dst
}

// cutPoint returns after how many bytes of a frame the cut falls.
func (f Fault) cutPoint(frame []byte) int {
	switch f.At {
	case "id":
		if i := bytes.Index(frame, []byte("id:")); i >= 0 {
			return i + len("id:")
		}
	case "crlf":
		return bytes.LastIndexByte(frame[:len(frame)-2], '\r') + 1
	case "rune":
		for i, b := range frame {
			if b >= 0x80 {
				return i + 1
			}
		}
	case "":
		if f.Byte >= 0 {
			return min(f.Byte, len(frame))
		}
		return len(frame)
	}
	return len(frame) / 2
}
