package load

import (
	"bytes"
)

// Where a client's parser stands.
const (
	atStatus  uint8 = iota // the status line comes
	atHeader               // header lines come
	atBody                 // the body comes, as long as the connection lives
	atSize                 // a chunk's size comes
	atSizeEnd              // the rest of the size line: extensions, line end
	atChunk                // left bytes of a chunk come
	atChunkCR              // the line end behind a chunk comes
	atEnd                  // the body is over: nothing more counts
)

const (
	maxHeadLine = 16 << 10
	maxLine     = 4 << 20 // of a body; a longer line is corrupt
	shortID     = 62
)

// eventID holds an event id; short ones, as nearly all are, without memory of their own.
type eventID struct {
	size  uint8 // of short; 255 = see long
	short [shortID]byte
	long  []byte
}

func (d *eventID) set(b []byte) {
	if len(b) <= shortID {
		d.size, d.long = uint8(copy(d.short[:], b)), nil
		return
	}
	d.size, d.long = 255, append([]byte(nil), b...)
}

func (d *eventID) bytes() []byte {
	if d.size == 255 {
		return d.long
	}
	return d.short[:d.size]
}

// parser turns the bytes of one connection into calls of a sink. It holds no buffer but for a line that is cut by the
// end of a read. Bytes may come cut anywhere.
type parser struct {
	state   uint8
	chunked bool
	stream  bool // the content type is an event stream's
	skipLF  bool // the last line ended in CR: a LF that comes next belongs to it
	begun   bool // past the place of a byte order mark
	kind    uint8
	hasData bool
	hasID   bool // the block being read has an id
	stamped bool
	tooLong bool // the line being read is longer than maxLine: dropped
	status  int16
	left    int64
	retry   int32 // ms; 0 = the stream said nothing
	after   int32 // Retry-After in s
	carry   []byte
	stamp   stamp
	newID   eventID // of the block being read
	id      eventID // in force
}

// Kinds of events.
const (
	kindPlain uint8 = iota
	kindGap
	kindEnd
	kindGateway // any other gateway event
)

// sink hears what a parser finds, in stream order, on the caller's goroutine. Slices are valid during the call.
type sink interface {
	// headed: the head is complete; eventStream says whether its content type is one.
	headed(c *client, eventStream bool)
	// event: an event was dispatched. c.parser.stamp and hasID are about it; c.parser.id is the id in force.
	event(c *client)
	// told: one line of data of a gateway event.
	told(c *client, kind uint8, data []byte)
	// comment: a line that keeps the connection alive.
	comment(c *client)
	// broken: bytes that no event stream may hold.
	broken(c *client, why string)
}

// reset prepares for a new connection. The id in force and the retry time stay.
func (p *parser) reset() {
	id, retry, carry := p.id, p.retry, p.carry
	*p = parser{id: id, retry: retry, carry: carry[:0]}
}

// feed takes bytes as they came from the connection of client c.
func (p *parser) feed(c *client, b []byte, s sink) {
	for len(b) > 0 && p.state < atBody {
		b = p.feedHead(c, b, s)
	}
	if p.state == atBody {
		p.feedBody(c, b, s)
		return
	}
	for len(b) > 0 && p.state != atEnd {
		b = p.feedChunk(c, b, s)
	}
}

// feedHead takes one line of the head and returns what follows it.
func (p *parser) feedHead(c *client, b []byte, s sink) []byte {
	i := bytes.IndexByte(b, '\n')
	if len(p.carry)+len(b) > maxHeadLine && (i < 0 || len(p.carry)+i > maxHeadLine) {
		s.broken(c, "head line too long")
		p.state = atEnd
		return nil
	}
	if i < 0 {
		p.carry = append(p.carry, b...)
		return nil
	}
	line := b[:i]
	if len(p.carry) > 0 {
		p.carry = append(p.carry, line...)
		line = p.carry
	}
	p.headLine(c, bytes.TrimSuffix(line, []byte("\r")), s)
	p.carry = p.carry[:0]
	return b[i+1:]
}

func (p *parser) headLine(c *client, line []byte, s sink) {
	if p.state == atStatus {
		version, rest, _ := bytes.Cut(line, []byte(" "))
		status, used := digits(rest)
		if !bytes.HasPrefix(version, []byte("HTTP/1.")) || used != 3 {
			s.broken(c, "answer is not HTTP")
			p.state = atEnd
			return
		}
		p.status, p.state = int16(status), atHeader
		return
	}
	if len(line) == 0 {
		p.state = atBody
		if p.chunked {
			p.state = atSize
		}
		s.headed(c, p.stream)
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		p.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("content-type")):
		p.stream = hasFold(value, "text/event-stream")
	case bytes.EqualFold(name, []byte("retry-after")):
		v, _ := digits(value)
		p.after = int32(min(v, 600))
	}
}

// feedChunk takes what belongs to the current part of the chunked coding and returns what follows.
func (p *parser) feedChunk(c *client, b []byte, s sink) []byte {
	switch p.state {
	case atSize:
		d, ok := hexDigit(b[0])
		if ok && p.left < 1<<40 {
			p.left = p.left<<4 | int64(d)
			return b[1:]
		}
		p.state = atSizeEnd
		return b
	case atSizeEnd:
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return nil
		}
		p.state = atChunk
		if p.left == 0 {
			p.state = atEnd
		}
		return b[i+1:]
	case atChunk:
		n := min(p.left, int64(len(b)))
		p.feedBody(c, b[:n], s)
		if p.left -= n; p.left == 0 {
			p.state = atChunkCR
		}
		return b[n:]
	}
	if b[0] == '\n' {
		p.state = atSize
	} else if b[0] != '\r' {
		s.broken(c, "chunk without its end")
		p.state = atEnd
	}
	return b[1:]
}

// feedBody takes bytes of the event stream itself.
func (p *parser) feedBody(c *client, b []byte, s sink) {
	if len(p.carry) > 0 || p.tooLong {
		b = p.endCarry(c, b, s)
	}
	for len(b) > 0 {
		if p.skipLF {
			p.skipLF = false
			if b[0] == '\n' {
				b = b[1:]
				continue
			}
		}
		line, rest, ok := p.cut(b)
		if !ok {
			p.carry = append(p.carry, b...)
			return
		}
		p.line(c, line, s)
		b = rest
	}
}

// endCarry completes the line that an earlier read began, and returns what follows it.
func (p *parser) endCarry(c *client, b []byte, s sink) []byte {
	line, rest, ok := p.cut(b)
	if !ok {
		line, rest = b, nil
	}
	if len(p.carry)+len(line) > maxLine && !p.tooLong {
		p.tooLong, p.carry = true, nil
		s.broken(c, "line too long")
	}
	if !p.tooLong {
		p.carry = append(p.carry, line...)
	}
	if !ok {
		return nil
	}
	if !p.tooLong {
		p.line(c, p.carry, s)
	}
	p.tooLong, p.carry = false, p.carry[:0]
	if cap(p.carry) > 1<<10 {
		p.carry = nil // many clients: nobody keeps a large buffer
	}
	return rest
}

// cut splits b at its first line end.
func (p *parser) cut(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i >= 0 {
		line = b[:i]
	} else {
		line = b
	}
	if j := bytes.IndexByte(line, '\r'); j >= 0 {
		p.skipLF = true
		return b[:j], b[j+1:], true
	}
	if i < 0 {
		return nil, b, false
	}
	return line, b[i+1:], true
}

// line takes one line of the stream.
func (p *parser) line(c *client, line []byte, s sink) {
	if !p.begun {
		p.begun = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	switch {
	case len(line) == 0:
		p.dispatch(c, s)
	case line[0] == ':':
		s.comment(c)
	case len(line) >= 5 && string(line[:5]) == "data:":
		p.data(c, fieldValue(line[5:]), s)
	case len(line) >= 3 && string(line[:3]) == "id:":
		if v := fieldValue(line[3:]); bytes.IndexByte(v, 0) < 0 {
			p.newID.set(v)
			p.hasID = true
		}
	case len(line) >= 6 && string(line[:6]) == "event:":
		p.kind = kindOf(fieldValue(line[6:]))
	case len(line) >= 6 && string(line[:6]) == "retry:":
		v := fieldValue(line[6:])
		if ms, used := digits(v); used > 0 && used == len(v) {
			p.retry = int32(min(ms, 1<<30))
		}
	default:
		p.bareField(c, line, s)
	}
}

// bareField takes a line without a colon that counts, or with a field name that no event stream has.
func (p *parser) bareField(c *client, line []byte, s sink) {
	switch string(line) {
	case "data":
		p.data(c, nil, s)
	case "id":
		p.newID.set(nil)
		p.hasID = true
	case "event":
		p.kind = kindPlain
	}
}

func (p *parser) data(c *client, v []byte, s sink) {
	p.hasData = true
	if p.kind != kindPlain {
		s.told(c, p.kind, v)
	}
	if !p.stamped {
		p.stamp, p.stamped = readStamp(v)
	}
}

// dispatch ends a block.
func (p *parser) dispatch(c *client, s sink) {
	if p.hasID {
		p.id = p.newID
	}
	if p.hasData && p.kind == kindPlain {
		s.event(c)
	}
	p.kind, p.hasData, p.hasID, p.stamped = kindPlain, false, false, false
}

// fieldValue drops the one space that may follow a colon.
func fieldValue(b []byte) []byte {
	if len(b) > 0 && b[0] == ' ' {
		return b[1:]
	}
	return b
}

func kindOf(typ []byte) uint8 {
	if !bytes.HasPrefix(typ, []byte("gateway.")) {
		return kindPlain
	}
	switch string(typ) {
	case "gateway.gap":
		return kindGap
	case "gateway.end":
		return kindEnd
	}
	return kindGateway
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// hasFold says that b begins with prefix, which is in lower case.
func hasFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}
