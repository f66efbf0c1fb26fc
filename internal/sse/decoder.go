package sse

import (
	"bytes"
	"io"
	"math"
	"time"
)

const (
	// DefaultMaxEvent is Options.MaxEvent when that is not positive.
	DefaultMaxEvent = 1 << 20
	// DefaultMaxID is Options.MaxID when that is not positive.
	DefaultMaxID = 1024
	// MaxComment is how many bytes of a comment OnComment sees at most.
	MaxComment = 1024
	// MaxRetry is where a retry value saturates, in milliseconds: the largest that fits a time.Duration. One of more than
	// 1,024 digits is ignored.
	MaxRetry = uint64(math.MaxInt64 / time.Millisecond)

	minBuffer   = 4 << 10  // a decoder starts with this
	calmBuffer  = 32 << 10 // grown for throughput up to this; above it only for a large event
	minFree     = 1 << 10  // least room offered to Read
	calmFills   = 256      // reads without need for a large buffer before it is given back
	maxIdleRead = 100      // reads of nothing in a row before io.ErrNoProgress
)

// Options bounds a Decoder and names who hears of what Next does not return. The zero value is usable. Callbacks run
// inside Next, on its goroutine, in stream order; nil ones are skipped. They must not call Next or Reset.
type Options struct {
	// MaxEvent caps one event, in bytes of the body AppendBody makes of it (field names and line ends included, the type
	// as received), so len(body) ≤ MaxEvent + 255. A larger event, or one with a type above 4 KiB, is skipped up to its
	// blank line, and reported. A decoder holds at most 2 × MaxEvent + 64 KiB + 4 × MaxID. ≤ 0 means DefaultMaxEvent.
	MaxEvent int
	// MaxID caps an event id in bytes. A longer one is ignored, as if its line were absent, and reported. ≤ 0 means
	// DefaultMaxID.
	MaxID int

	// OnBytes hears of every read: n > 0 bytes arrived, not yet looked at. For idle timers.
	OnBytes func(n int)
	// OnComment gets the text behind a comment's colon, unchanged but cut to MaxComment bytes, valid during the call.
	OnComment func(text []byte)
	// OnRetry gets each accepted retry value, ≤ MaxRetry.
	OnRetry func(ms uint64)
	// OnLongID gets the length, as received, of an id that was ignored for being longer than MaxID.
	OnLongID func(n int)
	// OnOversize is called at the blank line of an event that had data and was skipped; n is the bytes of its lines
	// without line ends. LastID already includes the id of the skipped event: reading on from there does not bring it
	// back. An unfinished one at the end of the stream is discarded like any other, unreported.
	OnOversize func(n int64)
}

// Event is one dispatched event. Its slices point into the decoder and are valid until the next call of Next or Reset.
type Event struct {
	// Type is the event type as sent; empty means "message".
	Type []byte
	// Data is the data lines joined by \n, valid UTF-8, without \r. May be empty.
	Data []byte
	// ID is the last event id in force after this event: its own, or that of an earlier block (ids are sticky).
	ID []byte
	// HasID is true if this event's own block carried an accepted id, an empty one included.
	HasID bool
}

// Decoder reads an event stream as the HTML standard defines it: one leading byte order mark is dropped; lines end in LF,
// CR or CRLF; an event ends at a blank line; a block without data dispatches nothing, though its id counts; an id with a
// NUL is ignored; retry takes digits only; invalid UTF-8 becomes U+FFFD, one per maximal subpart; the end of the stream
// discards an unfinished event. How the bytes are cut into reads never changes a result.
//
// Not safe for concurrent use. Next allocates nothing for an event that fits the buffer.
type Decoder struct {
	o    Options
	r    io.Reader
	err  error // from r, to be returned once what came before it is used up
	head int   // bytes kept of a line that is not worth buffering

	// Input. buf[pos:end] is not yet parsed.
	buf    []byte
	pos    int
	end    int
	cr     int  // first '\r' in buf[pos:end]; end if there is none
	high   int  // first byte ≥ 0x80 in buf[pos:end]; end if there is none
	scan   int  // no '\n' in buf[pos:scan]
	extra  int  // bytes dropped of the current line, behind buf[pos:end]
	skipLF bool // the last line ended in CR: a LF that comes next belongs to it
	begun  bool // past the place of a byte order mark
	calm   int  // reads since a buffer above calmBuffer was needed
	eager  bool // the last read filled the buffer

	// The event being assembled.
	block block

	// The stream.
	lastID   []byte
	retry    uint64
	hasRetry bool
}

// NewDecoder returns a decoder of what r delivers. It reads nothing yet.
func NewDecoder(r io.Reader, o Options) *Decoder {
	if o.MaxEvent <= 0 {
		o.MaxEvent = DefaultMaxEvent
	}
	if o.MaxID <= 0 {
		o.MaxID = DefaultMaxID
	}
	return &Decoder{o: o, r: r, head: max(o.MaxID, MaxComment) + 16}
}

// Reset starts on a new stream, keeping the last event id, the retry value and the buffers. An unfinished event is
// discarded. For a reconnect.
func (d *Decoder) Reset(r io.Reader) {
	d.discard()
	d.r, d.err = r, nil
	d.skipLF, d.begun = false, false
}

// discard forgets an unfinished event and line.
func (d *Decoder) discard() {
	d.block.clear()
	d.pos, d.end, d.cr, d.high, d.scan, d.extra = 0, 0, 0, 0, 0, 0
}

// LastID is the last event id in force: the latest that a blank line has confirmed, or what SetLastID set. Empty if none.
// Valid until the next call of Next or SetLastID.
func (d *Decoder) LastID() []byte { return d.lastID }

// SetLastID sets the id in force before the first event, for a stream that goes on after id. It copies id.
func (d *Decoder) SetLastID(id []byte) { d.lastID = append(d.lastID[:0], id...) }

// Retry is the last accepted reconnection time in milliseconds, ≤ MaxRetry; ok is false if none came yet. It is in force
// from its line on, also if the block is never finished.
func (d *Decoder) Retry() (ms uint64, ok bool) { return d.retry, d.hasRetry }

// InEvent says, asked from within Read, that an event has begun and not ended: a data, event or id line, or a part of any
// line, came after the last blank line. Comments and retry lines alone begin none, so a stream that only sends heartbeats
// is never in an event. For an assembly timer.
func (d *Decoder) InEvent() bool { return d.block.open || d.end > d.pos || d.extra > 0 }

// Buffered is the number of bytes held of what was read and not returned: unparsed ones and an event being assembled.
func (d *Decoder) Buffered() int {
	return d.end - d.pos + len(d.block.spill) + d.block.to - d.block.from + len(d.block.typ)
}

// Next returns the next event. At the end of the stream it returns io.EOF, now and ever after, until Reset. Any other error of
// the reader is passed on unchanged, once every event before it was returned; what was read is kept, so after a passing
// one (a deadline) Next may be called again and goes on where it stopped. No input makes Next fail.
func (d *Decoder) Next() (ev Event, err error) {
	for {
		if (d.begun || d.skipMark()) && d.parse() {
			d.event(&ev)
			return ev, nil
		}
		if err := d.fill(); err != nil {
			return Event{}, err
		}
	}
}

// skipMark drops one leading byte order mark; false if it cannot tell yet.
func (d *Decoder) skipMark() bool {
	const mark = "\xef\xbb\xbf"
	in := d.buf[d.pos:d.end]
	if len(in) < len(mark) && string(in) == mark[:len(in)] {
		return false
	}
	if bytes.HasPrefix(in, []byte(mark)) {
		d.pos += len(mark)
		d.scan = d.pos
		d.high = indexHigh(d.buf, d.pos, d.end)
	}
	d.begun = true
	return true
}

// parse takes lines until an event is complete, or the buffer is used up (false).
func (d *Decoder) parse() bool {
	buf, end := d.buf, d.end // neither changes while lines are taken
	start, scan := d.pos, d.scan
	for {
		if d.skipLF && start < end {
			d.skipLF = false
			if buf[start] == '\n' {
				start++
				d.pos, scan = start, start
			}
		}
		stop := d.cr
		if start < stop && buf[start] == '\n' {
			stop = start
		} else if i := bytes.IndexByte(buf[scan:stop], '\n'); i >= 0 {
			stop = scan + i
		} else if stop == end {
			d.scan = end
			d.cutLine()
			return false
		}
		next := stop + 1
		d.pos, d.scan = next, next
		if stop == d.cr {
			d.skipLF = true
			d.cr = indexCR(buf, next, end)
		}
		if start == stop {
			if d.dispatch() {
				return true
			}
			start, scan = next, next
			continue
		}
		d.line(start, stop)
		d.extra = 0
		if d.high < stop {
			d.high = indexHigh(buf, next, end)
		}
		start, scan = next, next
	}
}

// cutLine drops what is not needed of a line that has not ended: all but a head, unless it is data or a type that may
// still fit.
func (d *Decoder) cutLine() {
	n := d.end - d.pos
	if n <= d.head || d.wanted(d.buf[d.pos:d.end]) {
		return
	}
	d.extra += n - d.head
	d.end = d.pos + d.head
	d.cr, d.scan, d.high = d.end, d.end, min(d.high, d.end)
}

// fill reads once more, after making room.
func (d *Decoder) fill() error {
	if d.err != nil {
		err := d.err
		if err != io.EOF {
			d.err = nil
			return err
		}
		d.discard()
		return err
	}
	d.room()
	for range maxIdleRead {
		n, err := d.r.Read(d.buf[d.end:])
		d.err = err
		if n > 0 {
			d.took(n)
			return nil
		}
		if err != nil {
			return d.fill()
		}
	}
	return io.ErrNoProgress
}

// took accounts for n bytes read to buf[end:].
func (d *Decoder) took(n int) {
	d.eager = n == len(d.buf)-d.end
	from := d.end
	d.end += n
	if d.cr == from {
		d.cr = indexCR(d.buf, from, d.end)
	}
	if d.high == from {
		d.high = indexHigh(d.buf, from, d.end)
	}
	if d.o.OnBytes != nil {
		d.o.OnBytes(n)
	}
}

// room makes at least minFree bytes free behind end: by moving what is held to the front, then by a larger buffer. It
// gives a large buffer back after calmFills reads that did not need it.
func (d *Decoder) room() {
	held := d.end - d.pos + d.block.to - d.block.from
	if held <= calmBuffer/2 {
		d.calm++
	} else {
		d.calm = 0
	}
	size := len(d.buf)
	switch {
	case size > calmBuffer && d.calm > calmFills:
		size = calmBuffer
	case d.eager && size < calmBuffer:
		size *= 2
	}
	// A wanted line and the data before it stay within MaxEvent, any other within head.
	most := max(d.o.MaxEvent+d.head+minFree, minBuffer)
	for size = max(size, minBuffer); size-held < minFree; {
		size *= 2
	}
	if size > calmBuffer {
		size = min(size, max(most, calmBuffer))
	}
	if size != len(d.buf) {
		d.move(make([]byte, size))
		return
	}
	if d.pos == d.end && d.block.from == d.block.to || len(d.buf)-d.end < minFree {
		d.move(d.buf)
	}
}

// move puts the data of the event being assembled and the unparsed bytes to the front of buf, which may be d.buf.
func (d *Decoder) move(buf []byte) {
	n := d.block.moveTo(buf, d.buf)
	m := copy(buf[n:], d.buf[d.pos:d.end])
	shift := n - d.pos
	d.buf = buf
	d.pos, d.end, d.cr, d.high, d.scan = n, n+m, d.cr+shift, d.high+shift, d.scan+shift
}

// indexCR is the index of the first '\r' in buf[from:to], or to.
func indexCR(buf []byte, from, to int) int {
	if i := bytes.IndexByte(buf[from:to], '\r'); i >= 0 {
		return from + i
	}
	return to
}
