package rate

import (
	"math"
	"testing"
	"time"
)

// A steady pace is measured as it is, in any portions; a change shows within seconds; silence fades to nothing.
func TestMeter(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var m Meter
	if got := m.PerSecond(now); got != 0 {
		t.Errorf("nothing added: %v per second", got)
	}
	near := func(when string, want float64) {
		t.Helper()
		if got := m.PerSecond(now); math.Abs(got-want) > 0.03*want+0.01 {
			t.Errorf("%s: %.2f per second, want %.2f", when, got, want)
		}
	}
	for range 3_000 { // 30 s of 2 events each 10 ms
		now = now.Add(10 * time.Millisecond)
		m.Add(2, now)
	}
	near("200 per second", 200)
	for range 300 { // 30 s of 10 events each 100 ms
		now = now.Add(100 * time.Millisecond)
		m.Add(10, now)
	}
	near("100 per second", 101) // right behind a portion it counts in full
	now = now.Add(memory)
	near("one memory of silence", 101/math.E)
	now = now.Add(time.Minute)
	near("a minute of silence", 0)
	now = now.Add(-time.Hour)
	if got := m.PerSecond(now); math.IsInf(got, 0) || got > 102 {
		t.Errorf("a clock that went back: %v per second", got)
	}
}
