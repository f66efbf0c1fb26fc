package sse

import "unicode/utf8"

// block is the event being assembled. Its data is buf[from:to] of the decoder, joined there in place, until a line needs
// U+FFFD and thereby more room than it came in: then it is spill.
type block struct {
	from, to int
	spill    []byte
	spilled  bool
	data     bool // a data field came: the event will be dispatched
	skip     bool // too large: its data and type are ignored
	open     bool // a data, event or id field came
	hasID    bool
	cost     int   // bytes of the data lines in the body
	size     int64 // bytes of the lines so far, comments excepted
	typ      []byte
	id       []byte // takes effect at the blank line if hasID
}

const (
	longestType  = 4 << 10  // bytes of a type, after decoding; a body takes MaxType of them
	longestRetry = 1 << 10  // digits; fits the head kept of a line, so that how it arrives makes no difference
	keepSpill    = 16 << 10 // a larger spill is given back at the end of its event
)

// clear forgets the event; slices handed out stay valid, as nothing writes to them before the next line.
func (b *block) clear() {
	b.from, b.to = 0, 0
	b.spilled, b.data, b.skip, b.open, b.hasID = false, false, false, false, false
	b.cost, b.size = 0, 0
	b.typ, b.spill = b.typ[:0], b.spill[:0]
	if cap(b.spill) > keepSpill {
		b.spill = nil
	}
}

// moveTo copies the data from the decoder's old buffer to the front of the new one and returns its length.
func (b *block) moveTo(buf, old []byte) int {
	n := copy(buf, old[b.from:b.to])
	b.from, b.to = 0, n
	return n
}

// typeCost is what the type adds to the body.
func typeCost(n int) int {
	if n == 0 {
		return 0
	}
	return n + len("event: \n")
}

// lineCost is what a data line of n bytes adds to the body.
func lineCost(n int) int {
	if n == 0 {
		return len("data:\n")
	}
	return n + len("data: \n")
}

// value is the field value behind the first n bytes of a line: one leading space is dropped.
func value(line []byte, n int) []byte {
	if n >= len(line) {
		return nil
	}
	if line[n] == ' ' {
		n++
	}
	return line[n:]
}

// line handles the line buf[start:stop], not empty; d.extra more bytes of it were dropped.
func (d *Decoder) line(start, stop int) {
	line := d.buf[start:stop]
	bad := d.high < stop && !utf8.Valid(line)
	if line[0] == ':' {
		if d.o.OnComment != nil {
			d.o.OnComment(line[1:min(len(line), 1+MaxComment)])
		}
		return
	}
	d.block.size += int64(len(line) + d.extra)
	switch {
	case hasName(line, "data"):
		d.addData(value(line, len("data:")), stop, bad)
	case hasName(line, "event"):
		d.setType(value(line, len("event:")), bad)
	case hasName(line, "id"):
		d.setID(value(line, len("id:")), bad)
	case hasName(line, "retry"):
		d.setRetry(value(line, len("retry:")))
	}
}

// hasName says that line is a field of that name, with a colon or without one.
func hasName(line []byte, name string) bool {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return false
	}
	return len(line) == len(name) || line[len(name)] == ':'
}

// wanted says of a line that has not ended whether it must be kept whole: data or a type, not skipped, that may still fit.
// A data line or type that cannot fit makes the event one to skip.
func (d *Decoder) wanted(line []byte) bool {
	b := &d.block
	if b.skip {
		return false
	}
	fits := false
	switch {
	case hasName(line, "data"):
		fits = d.fits(lineCost(len(value(line, len("data:")))), len(b.typ))
	case hasName(line, "event"):
		fits = d.fits(0, len(value(line, len("event:"))))
	default:
		return false
	}
	if !fits {
		d.skipEvent()
	}
	return fits
}

// fits says that the event may grow by more body bytes with a type of typ bytes.
func (d *Decoder) fits(more, typ int) bool {
	return typ <= longestType && d.block.cost+more+typeCost(typ) <= d.o.MaxEvent
}

// skipEvent gives up the data and type of the event being assembled.
func (d *Decoder) skipEvent() {
	b := &d.block
	b.skip = true
	b.from, b.to, b.spill = 0, 0, nil
}

// addData appends a data line; v ends at buf[stop], and is ill-formed UTF-8 if bad.
func (d *Decoder) addData(v []byte, stop int, bad bool) {
	b := &d.block
	b.open = true
	first := !b.data
	b.data = true
	if b.skip {
		return
	}
	n := len(v)
	if bad {
		n = decodedLen(v)
	}
	if !d.fits(lineCost(n), len(b.typ)) {
		d.skipEvent()
		return
	}
	b.cost += lineCost(n)
	switch {
	case bad || b.spilled:
		d.spillData(v, n, first)
	case first:
		b.from, b.to = stop-n, stop
	default: // the line's own start is free to be written on
		d.buf[b.to] = '\n'
		b.to += 1 + copy(d.buf[b.to+1:], v)
	}
}

// spillData appends a data line of n bytes after decoding to spill, moving there what came before.
func (d *Decoder) spillData(v []byte, n int, first bool) {
	b := &d.block
	if !b.spilled {
		b.spill = growTo(b.spill[:0], b.to-b.from+1+n, d.o.MaxEvent)
		b.spill = append(b.spill, d.buf[b.from:b.to]...)
		b.from, b.to, b.spilled = 0, 0, true
	}
	b.spill = growTo(b.spill, len(b.spill)+1+n, d.o.MaxEvent)
	if !first {
		b.spill = append(b.spill, '\n')
	}
	b.spill = appendDecoded(b.spill, v)
}

// growTo makes room for n bytes in p, doubling but never above most unless n is.
func growTo(p []byte, n, most int) []byte {
	if n <= cap(p) {
		return p
	}
	return append(make([]byte, 0, max(n, min(2*cap(p), most))), p...)
}

// setType sets the event type; v is ill-formed UTF-8 if bad.
func (d *Decoder) setType(v []byte, bad bool) {
	b := &d.block
	b.open = true
	if b.skip {
		return
	}
	n := len(v)
	if bad {
		n = decodedLen(v)
	}
	if !d.fits(0, n) {
		d.skipEvent()
		return
	}
	if bad {
		b.typ = appendDecoded(b.typ[:0], v)
		return
	}
	b.typ = append(b.typ[:0], v...)
}

// setID sets the id that the blank line will put in force; v is ill-formed UTF-8 if bad, and d.extra bytes short.
func (d *Decoder) setID(v []byte, bad bool) {
	b := &d.block
	b.open = true
	if n := len(v) + d.extra; n > d.o.MaxID || bad && decodedLen(v) > d.o.MaxID {
		if d.o.OnLongID != nil {
			d.o.OnLongID(n)
		}
		return
	}
	for _, c := range v { // short; a call to bytes.IndexByte costs more
		if c == 0 {
			return
		}
	}
	b.hasID = true
	if bad {
		b.id = appendDecoded(b.id[:0], v)
		return
	}
	b.id = append(b.id[:0], v...)
}

// setRetry sets the reconnection time if v is all digits; d.extra more bytes of it were dropped.
func (d *Decoder) setRetry(v []byte) {
	if len(v) == 0 || len(v)+d.extra > longestRetry {
		return
	}
	var ms uint64
	for _, c := range v {
		if c < '0' || c > '9' {
			return
		}
		ms = min(ms*10+uint64(c-'0'), MaxRetry)
	}
	d.retry, d.hasRetry = ms, true
	if d.o.OnRetry != nil {
		d.o.OnRetry(ms)
	}
}

// dispatch ends the block: its id takes effect. True if it makes an event; false if it has no data or was skipped.
func (d *Decoder) dispatch() bool {
	b := &d.block
	if b.hasID {
		d.lastID, b.id = b.id, d.lastID
	}
	if b.data && !b.skip {
		return true
	}
	lost, size := b.data, b.size
	b.clear()
	if lost && d.o.OnOversize != nil {
		d.o.OnOversize(size)
	}
	return false
}

// event fills in the event just dispatched; the block is free for the next one. It writes to Next's result, as copying an
// Event costs a tenth of decoding it.
func (d *Decoder) event(ev *Event) {
	b := &d.block
	ev.Type, ev.ID, ev.HasID = b.typ, d.lastID, b.hasID
	if b.spilled {
		ev.Data = b.spill
	} else {
		ev.Data = d.buf[b.from:b.to]
	}
	b.clear()
}
