package broker

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkCommit stores events of 200 bytes on one feed, 512 a commit. It guards the
// pipelined commit: window=1 is what waiting for each answer costs.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		profile string
		window  int
	}{{ProfileProcess, 64}, {ProfileProcess, 256}, {ProfileProcess, 1}, {ProfileMemory, 64}} {
		b.Run(fmt.Sprintf("%s/window=%d", c.profile, c.window), func(b *testing.B) {
			n := openNode(b, Config{Durability: c.profile, Window: c.window})
			f := ensure(b, n, StreamSpec{Name: "bench", MaxEvents: 100_000})
			es := make([]Event, 512)
			for i := range es {
				es[i] = Event{Body: []byte("data: " + strings.Repeat("x", 193) + "\n"), UpstreamID: fmt.Sprint(i), Rx: 1700000000000000}
			}
			b.ReportAllocs()
			var prev, tx uint64
			for b.Loop() {
				tx++
				p, err := n.Writer().Commit(b.Context(), f, &Commit{Epoch: 1, Tx: tx, Prev: prev, Events: es})
				if err != nil {
					b.Fatal(err)
				}
				prev = p.Seq
			}
			b.ReportMetric(float64(b.N*len(es))/b.Elapsed().Seconds(), "events/s")
		})
	}
}
