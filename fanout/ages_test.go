package fanout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAgeBuckets(t *testing.T) {
	b := AgeBuckets()
	if len(b) != len(ageBounds) || !slices.IsSorted(b) || len(slices.Compact(slices.Clone(b))) != len(b) {
		t.Fatalf("not rising: %v", b)
	}
	for i, le := range b {
		if le >= .001 && le < 2 && (b[i+1]/le > 1.11 || len(fmt.Sprint(le)) > len("0.00123")) {
			t.Errorf("after %v comes %v", le, b[i+1])
		}
	}
}

func TestAgesOfALog(t *testing.T) {
	l := NewLog(LogConfig{})
	now := time.Now()
	seen := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Help: "x"})
	give := func(to *Log, ages ...time.Duration) {
		for _, age := range ages {
			to.Given(seen, seen, now, Dates{Stored: now.UnixMicro(), Received: now.Add(-age).UnixMicro()})
		}
	}
	if got := l.Ages(); len(got) != 0 {
		t.Errorf("at first %v", got)
	}
	give(l, -time.Second, 100*time.Microsecond, time.Millisecond, 1050*time.Microsecond, time.Minute)
	give(l.Chunked(), time.Millisecond)
	l.Given(seen, seen, now, Dates{Stored: now.UnixMicro()}) // nobody knows when it was read
	if got, want := fmt.Sprint(l.Ages()), "[{0.0002 2} {0.001 2} {0.0011 1} {0 1}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
