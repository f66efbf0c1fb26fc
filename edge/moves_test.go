package edge

import (
	"testing"
	"time"
)

// A place that moves is cut over all of the time, then over the rest of it for late joins, and not again for what else changes.
func TestMovesArePacedByPlace(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	moved, gone := verdict{http: endVersionMoved, https: endVersionMoved}, verdict{http: endAPIDeleted, https: endAPIDeleted}
	a, b, c := &place{}, &place{}, &place{}
	m := moves{}
	look := func(after time.Duration, second bool, found map[*place]verdict, want map[*place]time.Duration) {
		t.Helper()
		now = now.Add(after)
		got := map[*place]time.Duration{}
		for over, places := range m.due(found, 30*time.Second, now, second) {
			for p, v := range places {
				if got[p] = over; v != moved {
					t.Errorf("verdict %v", v)
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d places are cut, want %d", len(got), len(want))
		}
		for p, over := range want {
			if got[p] != over {
				t.Errorf("over %v, want %v", got[p], over)
			}
		}
		for p, v := range found {
			if p != c || v != gone {
				t.Error("a place that moves is left among those that end at once")
			}
		}
	}
	look(0, false, map[*place]verdict{a: moved, c: gone}, map[*place]time.Duration{a: 30 * time.Second})
	look(time.Second, true, map[*place]verdict{a: moved}, map[*place]time.Duration{a: 29 * time.Second})
	look(time.Second, false, map[*place]verdict{a: moved, b: moved}, map[*place]time.Duration{b: 30 * time.Second})
	look(time.Second, true, map[*place]verdict{a: moved, b: moved}, map[*place]time.Duration{b: 29 * time.Second})
	look(27*time.Second, false, map[*place]verdict{a: moved, b: moved}, map[*place]time.Duration{a: 0})
	look(time.Second, false, map[*place]verdict{c: gone}, nil)
	if len(m) != 0 {
		t.Errorf("%d places are still held", len(m))
	}
}
