package fanout

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// probeEvery is the pause between two probes.
const probeEvery = 250 * time.Millisecond

// ReadLag measures how late this process reads what has arrived for it: Go looks
// after sockets with what processors busy shards leave over, and live events of the
// broker come by such a socket. It writes the time into a pipe four times a second
// and looks how old it is when it has been read. Start it with Run.
type ReadLag struct{ lag prometheus.Histogram }

// NewReadLag registers the metric; it starts nothing.
func NewReadLag(reg prometheus.Registerer) *ReadLag {
	l := &ReadLag{lag: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_fanout_live_read_lag_seconds",
		Help:    "Time from data being ready at a file descriptor to this process having read it, by a probe four times a second.",
		Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .1, .5, 2}})}
	reg.MustRegister(l.lag)
	return l
}

// Run probes until ctx ends. It owns one more goroutine, which it waits for.
func (l *ReadLag) Run(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("read lag: %w", err)
	}
	defer r.Close()
	began := time.Now() // times in the pipe are since then: its clock does not jump
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [8]byte
		for {
			if n, err := r.Read(b[:]); err != nil || n < len(b) {
				return // closed; eight bytes come whole or not at all
			}
			l.lag.Observe((time.Since(began) - time.Duration(binary.NativeEndian.Uint64(b[:]))).Seconds())
		}
	}()
	defer func() { _ = w.Close(); <-done }()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], uint64(time.Since(began)))
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("read lag: %w", err)
		}
	}
}
