package load

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/sse"
)

// seen is one event as both decoders can tell it.
type seen struct {
	N, T int64
	ID   string
}

// recorder is a sink that notes what it hears.
type recorder struct {
	events   []seen
	told     []string
	comments int
	broken   []string
	heads    []string
}

func (r *recorder) headed(c *client, stream bool) {
	r.heads = append(r.heads, fmt.Sprint(c.status, stream, c.after))
}
func (r *recorder) event(c *client) {
	e := seen{ID: string(c.id.bytes())}
	if c.stamped {
		e.N, e.T = c.stamp.n, c.stamp.t
	}
	r.events = append(r.events, e)
}
func (r *recorder) gateway(kind uint8, data []byte) {
	r.told = append(r.told, fmt.Sprint(kind, " ", string(data)))
}

// sinkOf adapts recorder, whose field told has the name of a method of sink.
type sinkOf struct{ *recorder }

func (s sinkOf) told(_ *client, kind uint8, data []byte) { s.gateway(kind, data) }
func (s sinkOf) comment(*client)                         { s.comments++ }
func (s sinkOf) broken(_ *client, why string) {
	s.recorder.broken = append(s.recorder.broken, why)
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

// parse feeds text in pieces that end at the given places, all that is left at the end.
func parse(text []byte, cuts ...int) *recorder {
	var c client
	r := &recorder{}
	from := 0
	for _, to := range cuts {
		if to > from && to < len(text) {
			c.feed(&c, text[from:to], sinkOf{r})
			from = to
		}
	}
	c.feed(&c, text[from:], sinkOf{r})
	return r
}

func TestParserReadsStreams(t *testing.T) {
	own := string(appendPayload(nil, 7, 1_700_000_000_000_000_000, 5, 200))
	for name, c := range map[string]struct {
		text string
		want recorder
	}{
		"an event":               {streamHead + "id: a\ndata: " + own + "\n\n", recorder{events: []seen{{7, 1_700_000_000_000_000_000, "a"}}}},
		"the market's payload":   {streamHead + `data: {"f":"/ticks","n":3,"t":4500,"s":"X"}` + "\n\n", recorder{events: []seen{{3, 4500, ""}}}},
		"an envelope":            {streamHead + `data: {"pub":{"data":` + own + "}}\n\n", recorder{events: []seen{{7, 1_700_000_000_000_000_000, ""}}}},
		"marks":                  {streamHead + "data: a@b @12@34@xx\n\n", recorder{events: []seen{{34, 12, ""}}}},
		"data without number":    {streamHead + "data: x\n\n", recorder{events: []seen{{}}}},
		"CR and CRLF":            {streamHead + "data: @1@2@\r\rdata: @1@3@\r\n\r\n", recorder{events: []seen{{2, 1, ""}, {3, 1, ""}}}},
		"lines that end in CRLF": {streamHead + "data: @1@2@\r\nid: q\r\n\r\n", recorder{events: []seen{{2, 1, "q"}}}},
		"a heartbeat":            {streamHead + ":\n:x\n", recorder{comments: 2}},
		"a gap":                  {streamHead + "event: gateway.gap\ndata: {}\n\n", recorder{told: []string{"1 {}"}}},
		"an unfinished event":    {streamHead + "data: @1@2@\n", recorder{}},
		"a bookmark":             {streamHead + "id: b\n\ndata: @1@2@\n\n", recorder{events: []seen{{2, 1, "b"}}}},
		"an id with NUL":         {streamHead + "id: a\x00\ndata: @1@2@\n\n", recorder{events: []seen{{2, 1, ""}}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.heads = []string{"200 true 0"}
			for cut := range len(c.text) {
				if diff := cmp.Diff(&c.want, parse([]byte(c.text), cut), cmp.AllowUnexported(recorder{})); diff != "" {
					t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
				}
			}
		})
	}
}

func TestParserReadsHeads(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want recorder
	}{
		"a refusal":      {"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Type: text/plain\r\n\r\n", recorder{heads: []string{"503 false 7"}}},
		"not a stream":   {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", recorder{heads: []string{"200 false 0"}}},
		"not HTTP":       {"SSH-2.0-x\r\n\r\n", recorder{broken: []string{"answer is not HTTP"}}},
		"a broken chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n1\r\n:XX", recorder{heads: []string{"200 true 0"}, broken: []string{"chunk without its end"}}},
		"endless":        {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHeadLine) + "\r\n", recorder{broken: []string{"head line too long"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse([]byte(c.text), 5, 9)
			if diff := cmp.Diff(&c.want, got, cmp.AllowUnexported(recorder{})); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParserBoundsALine(t *testing.T) {
	var c client
	r := &recorder{}
	c.feed(&c, []byte(streamHead+"data: "), sinkOf{r})
	piece := bytes.Repeat([]byte("x"), 1<<20)
	for range 6 {
		c.feed(&c, piece, sinkOf{r})
		if cap(c.carry) > 2*maxLine {
			t.Fatalf("holds %d bytes", cap(c.carry))
		}
	}
	c.feed(&c, []byte("\n\ndata: @1@2@\n\n"), sinkOf{r})
	want := &recorder{heads: []string{"200 true 0"}, broken: []string{"line too long"}, events: []seen{{2, 1, ""}}}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(recorder{})); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

// FuzzParser wants of any bytes, cut anywhere, chunked or not, what the decoder of the gateway reads.
func FuzzParser(f *testing.F) {
	f.Add([]byte("id: a\ndata: @1@2@\n\nevent: gateway.gap\ndata: {\"n\":1,\"t\":2}\n\n"), uint64(1))
	f.Add([]byte("\xef\xbb\xbfdata:{\"n\":1,\"t\":2,\"r\":3,\"c\":\"00000000\"}\r\rid\ndata\n\n"), uint64(2))
	f.Add([]byte("data: @1@2@\r\nid: 3\r\n\r\n:\nretry: 5\nid:x\x00\n\n"), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		if len(stream) > 1<<16 {
			return
		}
		var want []seen
		d := sse.NewDecoder(bytes.NewReader(stream), sse.Options{MaxEvent: 1 << 22, MaxID: 1 << 20})
		for {
			ev, err := d.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(ev.Type, []byte("gateway.")) {
				continue
			}
			e := seen{ID: string(ev.ID)}
			for line := range bytes.SplitSeq(ev.Data, []byte("\n")) {
				if s, ok := readStamp(line); ok {
					e.N, e.T = s.n, s.t
					break
				}
			}
			want = append(want, e)
		}
		rnd := rand.New(rand.NewPCG(seed, 1))
		text := append([]byte(streamHead), stream...)
		if seed%2 == 1 {
			text = chunk(stream, rnd)
		}
		got := parse(text, cutsOf(rnd, len(text))...)
		if !utf8.Valid(stream) {
			for i := range got.events { // the decoder repairs ids, this parser does not: it only sends them back
				got.events[i].ID = ""
			}
			for i := range want {
				want[i].ID = ""
			}
		}
		if diff := cmp.Diff(want, got.events); diff != "" {
			t.Fatalf("(-decoder +parser):\n%s", diff)
		}
	})
}

// chunk wraps stream in a chunked answer with chunks of random sizes.
func chunk(stream []byte, rnd *rand.Rand) []byte {
	out := []byte("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n")
	for len(stream) > 0 {
		n := 1 + rnd.IntN(min(len(stream), 40))
		out = fmt.Appendf(out, "%X;ext=1\r\n%s\r\n", n, stream[:n])
		stream = stream[n:]
	}
	return append(out, "0\r\n\r\n"...)
}

// cutsOf are rising places to cut n bytes at.
func cutsOf(rnd *rand.Rand, n int) (cuts []int) {
	for at := 0; at < n; at += 1 + rnd.IntN(30) {
		cuts = append(cuts, at)
	}
	return cuts
}

func TestPayloadSaysWhatItIs(t *testing.T) {
	for _, size := range []int{0, 100, 200, 5000} {
		p := appendPayload(nil, 42, 1_764_000_000_000_000_001, 77, size)
		if size >= 100 && len(p) != size {
			t.Errorf("size %d: got %d bytes", size, len(p))
		}
		s, ok := readStamp(p)
		if want := (stamp{n: 42, t: 1_764_000_000_000_000_001, run: 77}); !ok || s != want {
			t.Errorf("got %+v, want %+v", s, want)
		}
		for i := range p {
			bad := bytes.Clone(p)
			bad[i] ^= 1
			if s, ok := readStamp(bad); ok && !s.corrupt && !bytes.HasPrefix(bad, []byte(`{"n":`)) {
				t.Fatalf("byte %d changed unnoticed: %s", i, bad)
			}
			if s, ok := readStamp(bad); ok && i < len(p)-sumLength && !s.corrupt {
				t.Fatalf("byte %d changed unnoticed: %s", i, bad)
			}
		}
	}
}
