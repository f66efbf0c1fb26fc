package fanout

import (
	"math"
	"sort"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ageBounds are the upper bounds of the buckets of an event's age, in seconds.
var ageBounds = func() (bounds [87]float64) {
	n := copy(bounds[:], []float64{.0002, .0005})
	for b := .001; n < 82; b *= 1.1 { // up to 1.86 s
		digits := math.Pow(10, 2-math.Floor(math.Log10(b))) // three are enough to read
		bounds[n] = math.Round(b*digits) / digits
		n++
	}
	copy(bounds[n:], []float64{2, 3, 5, 10, 30})
	return bounds
}()

// AgeBuckets are those of all histograms of an event's age, in seconds. From 1 ms to 2 s
// each bound is a tenth above the one before, so that a quantile is right within a tenth.
func AgeBuckets() []float64 { return append([]float64{}, ageBounds[:]...) }

// Age is one bucket of the ages of a feed's events.
type Age struct {
	Le float64 // no older than this, in seconds; 0 = older than every bound
	N  uint64
}

// ages counts events by age. Anybody may add and read.
type ages [len(ageBounds) + 1]atomic.Uint64

func (a *ages) add(seconds float64) { a[sort.SearchFloat64s(ageBounds[:], seconds)].Add(1) }

// list has the buckets in which there is something, in a or the other, the shortest first.
func (a *ages) list(other *ages) (list []Age) {
	for i := range a {
		n := a[i].Load()
		if other != nil {
			n += other[i].Load()
		}
		if n == 0 {
			continue
		}
		age := Age{N: n}
		if i < len(ageBounds) {
			age.Le = ageBounds[i]
		}
		list = append(list, age)
	}
	return list
}

// Given observes an event of the log that had been handed to sockets at now: how old it was
// since it was stored and, where that is known, since ingest read it. Engines call it, of
// some events where there are many.
func (l *Log) Given(stored, received prometheus.Observer, now time.Time, d Dates) {
	stored.Observe(float64(max(now.UnixMicro()-d.Stored, 0)) / 1e6)
	if d.Received != 0 {
		age := float64(max(now.UnixMicro()-d.Received, 0)) / 1e6
		received.Observe(age)
		l.ages.add(age)
	}
}

// Ages are how old events were when they had been handed to sockets, since ingest read
// them: what engines told with Given since the log was made, also of its chunked twin.
func (l *Log) Ages() []Age {
	if twin := l.chunked.Load(); twin != nil {
		return l.ages.list(&twin.ages)
	}
	return l.ages.list(nil)
}
