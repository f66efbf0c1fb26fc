package broker

import (
	"bytes"
	"fmt"
	"testing"

	"sluice/internal/trace"
)

// A commit's span costs its header on the commit's first message and nothing else; without
// one not a byte is stored. The largest event has room for it.
func TestTraceHeaderBytes(t *testing.T) {
	span := trace.Context{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: true}
	line := fmt.Appendf(nil, "traceparent: %s\r\n", span)
	for _, profile := range []string{ProfileMemory, ProfileProcess, ProfilePower} {
		t.Run(profile, func(t *testing.T) {
			n := openNode(t, Config{Durability: profile, MaxEvent: maxPayload - headerReserve})
			f := ensure(t, n, StreamSpec{Name: "test 1"})
			var prev uint64
			commit := func(tx uint64, c trace.Context, es []Event) {
				t.Helper()
				p, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Tx: tx, Prev: prev, Events: es, Trace: c})
				if err != nil {
					t.Fatal(err)
				}
				prev = p.Seq
			}
			commit(1, trace.Context{}, events(0, 20))
			commit(2, span, events(20, 20))
			commit(3, span, events(40, 1))
			largest := append(bytes.Repeat([]byte("x"), maxPayload-headerReserve-1), '\n')
			copy(largest, "data: ")
			commit(4, span, []Event{{Body: largest, UpstreamID: string(bytes.Repeat([]byte("%"), maxUpstreamID))}})
			var all []Message
			for next := uint64(1); next <= prev; {
				var b Block
				if err := n.Direct().Read(t.Context(), f, From{Seq: next}, &b); err != nil {
					t.Fatal(err)
				}
				all, next = append(all, b.Messages...), b.Next
			}
			if len(all) != 42 {
				t.Fatalf("%d messages, want 42", len(all))
			}
			for i, m := range all {
				lm, err := leaderGet(t.Context(), n.writer.box, streamName(f.API), getRequest{Seq: m.Seq})
				if err != nil {
					t.Fatal(err)
				}
				first := i == 20 || i == 40 || i == 41
				if n := bytes.Count(lm.Hdrs, line); (n == 1) != first || bytes.Contains(lm.Hdrs, []byte("traceparent")) != first || (m.Trace == span) != first {
					t.Errorf("message %d has the span %v, headers %q", i, m.Trace, lm.Hdrs)
				}
			}
		})
	}
}

// A span that cannot be read costs nobody an event.
func TestUnreadableTrace(t *testing.T) {
	c := &Commit{Epoch: 1, Tx: 1, Events: events(0, 1)}
	h := map[string][]string{}
	c.header(h, 0, 0, false)
	h[hdrTrace] = []string{"00-what-is-this"}
	s := stored{Message: Message{Position: Position{Seq: 1, Micros: 1}}}
	if err := s.parseOwn(h, c.Events[0].Body); err != nil || s.Trace.Valid() {
		t.Errorf("%v, %+v", err, s)
	}
}
