package ingest

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

// BenchmarkIngest guards the way from an upstream's socket to the broker's acknowledgement, one feed: parse, queue, group
// commit, fenced. The goal is 50,000 events of 200 bytes per second on two cores.
func BenchmarkIngest(b *testing.B) {
	r := newRig(b)
	r.define(ticksOnly)
	pad := bytes.Repeat([]byte("x"), 180)
	start := make(chan int)
	r.up.set(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		var buf []byte
		next := 0
		for n := range start {
			for to := next + n; next < to; next++ {
				buf = fmt.Appendf(buf, "id: %d\ndata: {\"n\":%d,\"p\":\"%s\"}\n\n", next, next, pad)
				if len(buf) > 32<<10 {
					_, _ = w.Write(buf)
					buf = buf[:0]
				}
			}
			_, _ = w.Write(buf)
			buf = buf[:0]
			w.(http.Flusher).Flush()
		}
	})
	r.run()
	r.wantState("/ticks", "up")
	stored := func() uint64 { return r.status("/ticks").Events }
	const round = 20_000
	b.ReportAllocs()
	b.SetBytes(round * 200)
	done := uint64(0)
	for b.Loop() {
		start <- round
		done += round
		r.until("stored", func() bool { return stored() >= done })
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "ev/s")
	close(start)
}
