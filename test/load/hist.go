package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the largest latency that a histogram tells apart, in µs. Larger ones count as this.
const maxLatency = int64(10 * time.Minute / time.Microsecond)

// newHist returns an empty histogram of microseconds, exact to 0.2 %.
func newHist() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

// record adds one latency in µs. Clocks of two processes on one machine are one, so a negative value means that the
// payload lies; it counts as the smallest.
func record(h *hdrhistogram.Histogram, us int64) {
	_ = h.RecordValue(min(max(us, 1), maxLatency)) // cannot fail: the value is in range
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	Mean  float64 `json:"mean_ms"`
}

// summary reads the usual percentiles of h.
func summary(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	v := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9, 100})
	return Latency{
		Count: h.TotalCount(), P50: ms(v[0]), P90: ms(v[1]), P99: ms(v[2]), P999: ms(v[3]), Max: ms(h.Max()),
		Mean: h.Mean() / 1000,
	}
}

func ms(us int64) float64 { return float64(us) / 1000 }
