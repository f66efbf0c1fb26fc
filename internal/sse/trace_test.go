package sse

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"sluice/internal/sse/ssetest"
)

// trace is all that a decoder makes of a stream.
type trace struct {
	Events []ssetest.Event
	Log    []string // events and callbacks in order
	Last   string
	Retry  *uint64
}

// decode reads r to its end and returns what came out. The decoder's memory is checked against what Options promises.
func decode(tb testing.TB, r io.Reader, o Options) trace {
	tb.Helper()
	var tr trace
	var d *Decoder
	note := func(format string, args ...any) { tr.Log = append(tr.Log, fmt.Sprintf(format, args...)) }
	o.OnComment = func(text []byte) { note("comment %q", text) }
	o.OnRetry = func(ms uint64) { note("retry %d", ms) }
	o.OnLongID = func(n int) { note("long id %d", n) }
	o.OnOversize = func(n int64) { note("oversize %d, id %q", n, d.LastID()) }
	o.OnBytes = func(int) { checkMemory(tb, d) }
	d = NewDecoder(r, o)
	for {
		ev, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatalf("Next: %v", err)
		}
		checkMemory(tb, d)
		e := ssetest.Event{Type: string(ev.Type), Data: string(ev.Data), ID: string(ev.ID)}
		if e.Type == "" {
			e.Type = "message"
		}
		if string(d.LastID()) != e.ID {
			tb.Fatalf("LastID %q after an event with id %q", d.LastID(), e.ID)
		}
		tr.Events = append(tr.Events, e)
		note("event %q %q %q %v", ev.Type, ev.Data, ev.ID, ev.HasID)
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		tb.Fatalf("Next after the end: %v", err)
	}
	if d.InEvent() || d.Buffered() != 0 {
		tb.Fatalf("after the end: in event %v, %d bytes buffered", d.InEvent(), d.Buffered())
	}
	tr.Last = string(d.LastID())
	if ms, ok := d.Retry(); ok {
		tr.Retry = &ms
	}
	return tr
}

// checkMemory fails if d holds more than Options.MaxEvent allows.
func checkMemory(tb testing.TB, d *Decoder) {
	tb.Helper()
	b := &d.block
	held := cap(d.buf) + cap(b.spill) + cap(b.typ) + cap(b.id) + cap(d.lastID)
	if most := 2*d.o.MaxEvent + 64<<10 + 4*d.o.MaxID; held > most {
		tb.Fatalf("decoder holds %d bytes, more than %d", held, most)
	}
	if d.Buffered() > d.o.MaxEvent+len(d.buf) {
		tb.Fatalf("Buffered says %d with a buffer of %d", d.Buffered(), len(d.buf))
	}
}

// cuts reads data in pieces of the given sizes, over and over; without sizes, whole. A size of zero is a read of nothing.
type cuts struct {
	data  []byte
	sizes []byte
	next  int
}

func (c *cuts) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if len(c.sizes) > 0 {
		n = int(c.sizes[c.next%len(c.sizes)])
		c.next++
		if n == 0 && c.next%50 == 0 {
			n = 1 // or the decoder rightly complains of no progress
		}
	}
	n = copy(p, c.data[:min(n, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

// halves reads data in two reads, cut at the given place.
func halves(data string, at int) io.Reader {
	return io.MultiReader(&cuts{data: []byte(data[:at])}, &cuts{data: []byte(data[at:])})
}
