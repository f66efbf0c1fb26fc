package sse

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/sse/ssetest"
)

// FuzzDecoderSplit: however a stream is cut into reads, everything that comes out is the same, in the same order, and
// memory stays bounded. With caps so small that skipping is common.
func FuzzDecoderSplit(f *testing.F) {
	for _, v := range loadVectors(f) {
		if len(v.In) < 4096 {
			f.Add([]byte(v.In), []byte{1, 2, 3}, uint8(40))
		}
	}
	long := bytes.Repeat([]byte("y"), 1500)
	for _, start := range []string{"data: ", "event: ", "id: ", "retry: ", ":", "x", "\xff"} {
		f.Add(append(append([]byte(start), long...), "\ndata: x\nid: 3\n\ndata: z\n\n"...), []byte{255, 0, 7}, uint8(20))
	}
	f.Add(append(append([]byte("retry: "), bytes.Repeat([]byte("1"), 1500)...), '\n'), []byte{200}, uint8(20))
	f.Fuzz(func(t *testing.T, stream, sizes []byte, most uint8) {
		o := Options{MaxEvent: 1 + int(most), MaxID: 1 + int(most)/8}
		whole := decode(t, &cuts{data: stream}, o)
		cut := decode(t, &cuts{data: stream, sizes: sizes}, o)
		if diff := cmp.Diff(whole, cut); diff != "" {
			t.Fatalf("cut into reads of %v (-whole +got):\n%s", sizes, diff)
		}
		for _, e := range whole.Events {
			if body := AppendBody(nil, []byte(e.Type), []byte(e.Data)); len(body) > o.MaxEvent+MaxType {
				t.Fatalf("body of %d bytes with a cap of %d", len(body), o.MaxEvent)
			}
		}
	})
}

// FuzzDecoderDiff: the decoder agrees with the reference parser on any stream.
func FuzzDecoderDiff(f *testing.F) {
	for _, v := range loadVectors(f) {
		if len(v.In) < 4096 {
			f.Add([]byte(v.In), []byte{5})
		}
	}
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		got := decode(t, &cuts{data: stream, sizes: sizes}, Options{MaxID: 1 << 20})
		events, last, retry := reference(string(stream))
		want := trace{Events: events, Log: got.Log, Last: last, Retry: retry}
		for _, e := range events {
			if len(e.Type) > longestType {
				t.Skip("a type the decoder does not take")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-reference +decoder):\n%s", diff)
		}
	})
}

// FuzzEncode: what is encoded and decoded is what went in, but for the normalisation AppendBody documents; nothing in
// type, data or id can start a field or an event of its own; and what comes out is a body an edge accepts.
func FuzzEncode(f *testing.F) {
	f.Add("quote", "a\r\nb\rc\n", "1a-2b")
	f.Add("gateway.gap", "", "")
	f.Add("a\ndata: x\n\nid: 9", "x\n\nid: 8\nretry: 1", "1\nretry: 5")
	f.Add("message", " lead", "-")
	f.Add("\xff\xe2\x82\x00\u0085", "\x00\xff", "A")
	f.Fuzz(func(t *testing.T, typ, data, id string) {
		body := AppendBody(nil, []byte(typ), []byte(data))
		if err := ValidBody(body); err != nil {
			t.Fatalf("ValidBody(%q): %v", body, err)
		}
		frame := AppendFrame([]byte("retry: 5\n"), body, []byte(id))
		tr := decode(t, &cuts{data: append(frame, "data: next\n\n"...)}, Options{MaxEvent: 1 << 30, MaxID: 1 << 20})

		wantID := ""
		if plainID([]byte(id)) {
			wantID = id
		}
		want := []ssetest.Event{
			{Type: normalType(typ), Data: refDecode("\xef\xbb\xbf" + joinLines(data)), ID: wantID},
			{Type: "message", Data: "next", ID: wantID},
		}
		if diff := cmp.Diff(want, tr.Events); diff != "" {
			t.Fatalf("frame %q (-want +got):\n%s", frame, diff)
		}
		if len(tr.Log) != 3 || *tr.Retry != 5 {
			t.Fatalf("frame %q has more in it than one event: %v", frame, tr.Log)
		}
	})
}

// FuzzValidBody: a body that is accepted is one event and nothing more when framed.
func FuzzValidBody(f *testing.F) {
	f.Add([]byte("event: t\ndata: x\ndata:\n"))
	f.Add([]byte("event: \ndata:\n"))
	f.Add([]byte("data: x\nid: 1\n"))
	f.Add([]byte("data: x\n\ndata: y\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if ValidBody(body) != nil {
			return
		}
		frame := AppendFrame(nil, body, []byte("1-1"))
		events, last, retry := reference("\n" + string(frame))
		if len(events) != 1 || last != "1-1" || retry != nil {
			t.Fatalf("accepted body %q makes %v, last id %q", body, events, last)
		}
		if !bytes.HasSuffix(frame, []byte("\nid: 1-1\n\n")) {
			t.Fatalf("frame %q does not end in its id", frame)
		}
	})
}
