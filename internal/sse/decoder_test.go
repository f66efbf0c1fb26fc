package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOversize: what is too large is skipped up to its blank line, told with its id, and costs nothing else.
func TestOversize(t *testing.T) {
	big := strings.Repeat("x", 101)
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"as large as allowed", "data: " + big[:93] + "\n\n", []string{`event "" "` + big[:93] + `" "" false`}},
		{"one byte more", "data: " + big[:94] + "\n\n", []string{`oversize 100, id ""`}},
		{"the type counts", "event: abc\ndata: " + big[:83] + "\n\n", []string{`oversize 99, id ""`}},
		{"a type behind the data counts", "data: " + big[:83] + "\nevent: abc\n\n", []string{`oversize 99, id ""`}},
		{"an empty line counts", "data: " + big[:88] + "\ndata\n\n", []string{`oversize 98, id ""`}},
		{"many short lines", strings.Repeat("data: x\n", 13) + "\n", []string{`oversize 91, id ""`}},
		{"U+FFFD counts as sent on", "data: " + strings.Repeat("\xff", 32) + "\n\n", []string{`oversize 38, id ""`}},
		{"its id counts", "data: " + big + "\nid: 4\n\ndata: a\n\n", []string{`oversize 112, id "4"`, `event "" "a" "4" false`}},
		{"an id before it counts", "id: 4\ndata: " + big + "\n\n", []string{`oversize 112, id "4"`}},
		{"its retry counts", "data: " + big + "\nretry: 4\n\n", []string{"retry 4", `oversize 115, id ""`}},
		{"the next event is whole", "event: t\ndata: " + big + "\ndata: b\n\ndata: a\n\n", []string{`oversize 122, id ""`, `event "" "a" "" false`}},
		{"a type alone loses no event", "event: " + big + "\n\ndata: a\n\n", []string{`event "" "a" "" false`}},
		{"comments do not count", ":" + big + "\ndata: a\n\n", []string{`comment "` + big + `"`, `event "" "a" "" false`}},
		{"unknown fields do not count", "foo: " + big + "\ndata: a\n\n", []string{`event "" "a" "" false`}},
		{"a replaced type does not count", "event: " + big[:80] + "\nevent: t\ndata: " + big[:60] + "\n\n", []string{`event "t" "` + big[:60] + `" "" false`}},
		{"an unfinished one is not told", "data: " + big + "\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, at := range splits(len(c.in)) {
				tr := decode(t, halves(c.in, at), Options{MaxEvent: 100})
				if diff := cmp.Diff(c.want, tr.Log); diff != "" {
					t.Fatalf("cut at byte %d (-want +got):\n%s", at, diff)
				}
			}
		})
	}
}

// TestEndless: lines and blocks far above the cap cost no more than the cap, whatever field they are.
func TestEndless(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ name, start, unit string }{
		{"a data line", "data: ", "x"},
		{"a data line of ill-formed bytes", "data: ", "\xff"},
		{"data lines", "", "data: x\n"},
		{"data lines of ill-formed bytes", "", "data: \xff\n"},
		{"empty data lines", "", "data\r"},
		{"a type", "data: x\nevent: ", "x"},
		{"an id", "data: x\nid: ", "x"},
		{"a retry", "data: x\nretry: ", "1"},
		{"a comment", "data: x\n:", "x"},
		{"an unknown field", "data: x\nfoo: ", "x"},
		{"a name", "data: x\n", "y"},
		{"ids", "data: x\n", "id: 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader(c.start), &repeat{unit: c.unit, left: 8 * mib}, strings.NewReader("\n\ndata: next\n\n"))
			tr := decode(t, in, Options{MaxEvent: mib})
			if n := len(tr.Events); n == 0 || tr.Events[n-1].Data != "next" {
				t.Fatalf("the next event is missing: %d events", n)
			}
		})
	}
}

// repeat reads unit until about left bytes are read, always whole units.
type repeat struct {
	unit string
	left int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for r.left > 0 && n+len(r.unit) <= len(p) {
		n += copy(p[n:], r.unit)
		r.left -= len(r.unit)
	}
	return n, nil
}

// TestLargeBufferIsGivenBack: one large event does not tie its memory down for ever.
func TestLargeBufferIsGivenBack(t *testing.T) {
	stream := "data: " + strings.Repeat("x", 900<<10) + "\n\n" + strings.Repeat("data: small\n\n", 2*calmFills)
	d := NewDecoder(&cuts{data: []byte(stream), sizes: []byte{13}}, Options{})
	grown := 0
	for {
		if _, err := d.Next(); err != nil {
			break
		}
		grown = max(grown, len(d.buf))
	}
	if grown < 900<<10 || len(d.buf) > calmBuffer {
		t.Errorf("buffer grew to %d and ended at %d", grown, len(d.buf))
	}
}

// TestLargeSpillIsGivenBack: nor does one large event of ill-formed bytes.
func TestLargeSpillIsGivenBack(t *testing.T) {
	d := NewDecoder(strings.NewReader("data: "+strings.Repeat("\xff", 100<<10)+"\n\ndata: \xff\n\n"), Options{})
	for range 2 {
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := cap(d.block.spill); n > keepSpill {
		t.Errorf("%d bytes kept", n)
	}
}

// TestLongType: a type beyond any use makes its event one to skip, well below the cap of the event.
func TestLongType(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"as long as allowed", "event: " + strings.Repeat("t", 4096) + "\ndata: a\n\n", []string{`event "` + strings.Repeat("t", 4096) + `" "a" "" false`}},
		{"one byte more", "event: " + strings.Repeat("t", 4097) + "\ndata: a\n\n", []string{`oversize 4111, id ""`}},
		{"behind the data", "data: a\nevent: " + strings.Repeat("t", 4097) + "\n\n", []string{`oversize 4111, id ""`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, at := range splits(len(c.in)) {
				if diff := cmp.Diff(c.want, decode(t, halves(c.in, at), Options{}).Log); diff != "" {
					t.Fatalf("cut at byte %d (-want +got):\n%s", at, diff)
				}
			}
		})
	}
}

// TestLongRetry: what is too long to keep is ignored, however it arrives.
func TestLongRetry(t *testing.T) {
	for digits, want := range map[int][]string{1024: {"retry 7"}, 1025: nil, 2000: nil} {
		in := "retry: " + strings.Repeat("0", digits-1) + "7\n"
		for _, at := range splits(len(in)) {
			if diff := cmp.Diff(want, decode(t, halves(in, at), Options{}).Log); diff != "" {
				t.Fatalf("%d digits cut at byte %d (-want +got):\n%s", digits, at, diff)
			}
		}
	}
}

func TestLongID(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"as long as allowed", "id: 12345678\ndata: a\n\n", []string{`event "" "a" "12345678" true`}},
		{"one byte more", "id: 123456789\ndata: a\n\n", []string{"long id 9", `event "" "a" "" false`}},
		{"one before it stays", "id: 1\nid: 123456789\ndata: a\n\n", []string{"long id 9", `event "" "a" "1" true`}},
		{"one after it counts", "id: 123456789\nid: 1\ndata: a\n\n", []string{"long id 9", `event "" "a" "1" true`}},
		{"U+FFFD counts as sent on", "id: \xff\xff\xff\ndata: a\n\n", []string{"long id 3", `event "" "a" "" false`}},
		{"far too long", "id: " + strings.Repeat("i", 5000) + "\ndata: a\n\n", []string{"long id 5000", `event "" "a" "" false`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, at := range splits(len(c.in)) {
				tr := decode(t, halves(c.in, at), Options{MaxID: 8})
				if diff := cmp.Diff(c.want, tr.Log); diff != "" {
					t.Fatalf("cut at byte %d (-want +got):\n%s", at, diff)
				}
			}
		})
	}
}

func TestComments(t *testing.T) {
	in := ":\n: hi\ndata: a\n:" + strings.Repeat("c", 3000) + "\r\n\n:\xff\r"
	want := []string{`comment ""`, `comment " hi"`, `comment "` + strings.Repeat("c", MaxComment) + `"`, `event "" "a" "" false`, `comment "\xff"`}
	for _, at := range splits(len(in)) {
		if diff := cmp.Diff(want, decode(t, halves(in, at), Options{}).Log); diff != "" {
			t.Fatalf("cut at byte %d (-want +got):\n%s", at, diff)
		}
	}
}

// script reads one entry at a time: text, then an error if it has one.
type script []struct {
	text string
	err  error
}

func (s *script) Read(p []byte) (int, error) {
	if len(*s) == 0 {
		return 0, io.EOF
	}
	now := (*s)[0]
	*s = (*s)[1:]
	return copy(p, now.text), now.err
}

// TestReadErrors: events before an error come first; a passing error loses nothing.
func TestReadErrors(t *testing.T) {
	boom := errors.New("boom")
	d := NewDecoder(&script{
		{"data: a\n\nda", nil}, {"ta: b", os.ErrDeadlineExceeded}, {"\n\ndata: c\n\ndata: d", boom}, {"\n\n", io.EOF},
	}, Options{})
	var got []string
	for range 8 {
		ev, err := d.Next()
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, string(ev.Data))
	}
	want := []string{"a", os.ErrDeadlineExceeded.Error(), "b", "c", "boom", "d", "EOF", "EOF"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoProgress(t *testing.T) {
	d := NewDecoder(&cuts{data: []byte("x"), sizes: []byte{0}}, Options{})
	d.r = readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := d.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestInEvent asks what an assembly timer asks: before each read, is an event under way?
func TestInEvent(t *testing.T) {
	for _, c := range []struct {
		in   string
		want bool
	}{
		{"", false}, {"\xef\xbb\xbf", false}, {"retry: 10\n", false}, {":\n:\n", false}, {"foo: x\n", false}, {"\n\n", false},
		{"data: a\n\n", false}, {"data: a\n\r", false}, {"data: a\r\n\r", false},
		{"d", true}, {":", true}, {"data: a\n", true}, {"event: a\n", true}, {"id: a\n", true}, {"data: a\n\nx", true},
		{"data: " + strings.Repeat("x", 5000), true}, {":" + strings.Repeat("x", 5000), true},
	} {
		var d *Decoder
		asked, got := 0, false
		first := strings.NewReader(c.in)
		d = NewDecoder(readerFunc(func(p []byte) (int, error) {
			if first.Len() > 0 {
				return first.Read(p)
			}
			asked++
			got = d.InEvent()
			return 0, io.EOF
		}), Options{MaxEvent: 2000})
		for {
			if _, err := d.Next(); err != nil {
				break
			}
		}
		if asked != 1 || got != c.want {
			t.Errorf("after %.40q: in event %v (asked %d times), want %v", c.in, got, asked, c.want)
		}
	}
}

// TestReset: a reconnect keeps id and retry and nothing else.
func TestReset(t *testing.T) {
	d := NewDecoder(strings.NewReader("\xef\xbb\xbfretry: 7\nid: 1\ndata: a\n\nid: 2\nevent: t\ndata: lost\r"), Options{})
	d.SetLastID([]byte("0"))
	if string(d.LastID()) != "0" {
		t.Fatalf("LastID %q", d.LastID())
	}
	for {
		if _, err := d.Next(); err != nil {
			break
		}
	}
	d.Reset(strings.NewReader("\n\xef\xbb\xbfdata: x\n\n"))
	if ev, err := d.Next(); err == nil {
		t.Errorf("a mark after a line end was dropped: %+v", ev)
	}
	d.Reset(strings.NewReader("\xef\xbb\xbfdata: b\n\n"))
	ev, err := d.Next()
	if err != nil || string(ev.Data) != "b" || len(ev.Type) > 0 || string(ev.ID) != "1" || ev.HasID {
		t.Errorf("got %q %q %q %v, %v", ev.Type, ev.Data, ev.ID, ev.HasID, err)
	}
	if ms, ok := d.Retry(); !ok || ms != 7 {
		t.Errorf("retry %d %v", ms, ok)
	}
}

func TestOnBytes(t *testing.T) {
	sum := 0
	in := ":\n\ndata: x\n\n:\ndata: unfinished"
	d := NewDecoder(&cuts{data: []byte(in), sizes: []byte{3}}, Options{OnBytes: func(n int) { sum += n }})
	for {
		if _, err := d.Next(); err != nil {
			break
		}
	}
	if sum != len(in) {
		t.Errorf("heard of %d bytes of %d", sum, len(in))
	}
}

// TestNextAllocatesNothing, once buffers have their size: for single-line events, several lines, CRLF, other scripts.
func TestNextAllocatesNothing(t *testing.T) {
	for _, c := range []struct{ name, event string }{
		{"one line", "event: quote\ndata: {\"n\":1,\"s\":\"ACME\"}\nid: 17\n\n"},
		{"lines", "data: a\ndata: b\ndata: c\n\n"},
		{"CRLF", "event: quote\r\ndata: {\"n\":1}\r\nid: 17\r\n\r\n"},
		{"characters", "event: prix\ndata: 10 € — é\nid: 17\n\n"},
		{"ill-formed", "event: t\xff\ndata: a\ndata: \xe2\x82\nid: \xff\n\n"},
		{"comment", ":\n: x\nfoo: y\nretry: 5\ndata: a\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &endless{data: []byte(strings.Repeat(c.event, 50))}
			d := NewDecoder(r, Options{})
			next := func() {
				if _, err := d.Next(); err != nil {
					t.Fatal(err)
				}
			}
			for range 5000 {
				next()
			}
			if n := testing.AllocsPerRun(5000, next); n != 0 {
				t.Errorf("%v allocations per event", n)
			}
		})
	}
}

// endless reads data over and over, in reads of any size.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

// TestEncodeAllocatesNothing into a buffer that has room.
func TestEncodeAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	typ, data, id := []byte("gateway.x\x00"), []byte("a\r\nb\nc"), []byte("1-2")
	n := testing.AllocsPerRun(100, func() {
		dst = AppendBody(dst[:0], typ, data)
		if ValidBody(dst) != nil {
			t.Fatal("not valid")
		}
		dst = AppendFrame(dst, nil, id)
		dst = AppendRetry(dst, 3000)
		dst = AppendControl(dst, "gateway.end", data, "1-2")
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestDataStaysUntilNext: what Next returned is untouched while the callbacks of that call ran, and until the next call.
func TestDataStaysUntilNext(t *testing.T) {
	var b bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&b, "event: t%d\ndata: %d\ndata: %0*d\nid: %d\n\n", i, i, i%300, i, i)
	}
	d := NewDecoder(&cuts{data: b.Bytes(), sizes: []byte{200, 1, 77, 254}}, Options{})
	for i := range 3000 {
		ev, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("t%d|%d\n%0*d|%d", i, i, i%300, i, i)
		if got := fmt.Sprintf("%s|%s|%s", ev.Type, ev.Data, ev.ID); got != want {
			t.Fatalf("event %d: got %q, want %q", i, got, want)
		}
	}
}
