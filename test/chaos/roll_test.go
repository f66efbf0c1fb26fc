//go:build unix

package chaos

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/test/oracle"
	"sluice/test/topology"
)

// reconnects counts what clients do while one edge is rolled.
type reconnects struct {
	mu    sync.Mutex
	times []time.Time
	by    map[string]int
}

func (c *reconnects) take(f oracle.Fact) {
	if f.Kind != oracle.KindConnect {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times = append(c.times, time.UnixMicro(f.At))
	c.by[f.Client]++
}

// next returns what was counted and begins anew.
func (c *reconnects) next() (times []time.Time, by map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times, by = c.times, c.by
	c.times, c.by = nil, map[string]int{}
	return times, by
}

// TestRoll restarts all edges, one after the other, under clients behind the balancer: each client comes back at most once per
// edge, spread over the drain's window, is never refused and misses nothing: A12. CHAOS_CLIENTS=3000 CHAOS_RATE=5 is the run of
// the acceptance.
func TestRoll(t *testing.T) {
	const delay, over = 3 * time.Second, 10 * time.Second
	clients := number(t, "CHAOS_CLIENTS", 90)
	sc := &scenario{name: "edge-roll-behind-balancer", row: "A12", n: 3, env: []string{
		"SLUICE_EDGE_DRAIN_DELAY=" + delay.String(), "SLUICE_FANOUT_DRAIN_OVER=" + over.String(),
	}}
	r := newRun(t, sc, uint64(number(t, "CHAOS_SEED", 1)), load{rate: float64(number(t, "CHAOS_RATE", 20)), quiet: 2 * time.Second}, &programs)
	count := &reconnects{by: map[string]int{}}
	r.told = func(f oracle.Fact) {
		count.take(f)
		r.book.Add(f)
	}
	for i := range clients {
		feed := feeds[i%len(feeds)]
		r.readAt(fmt.Sprintf("c%d", i), r.topo.URL("/market/1.0.0"+feed), feed, nil)
	}
	r.flow()
	for _, e := range r.topo.Of(topology.Edge) {
		r.pause(r.load.quiet)
		count.next()
		r.fault("roll " + e.Name)
		asked := time.Now()
		e.End(syscall.SIGTERM, patience)
		took := time.Since(asked)
		r.flow()
		times, by := count.next()
		r.start(e)
		if want := clients / 4; len(times) < want {
			t.Errorf("%s: %d clients came back, want a third of %d", e.Name, len(times), clients)
		}
		for client, n := range by {
			if n > 1 {
				t.Errorf("%s: %s connected %d times", e.Name, client, n)
			}
		}
		var slots [10]int // of the window
		for _, at := range times {
			since := at.Sub(asked) - delay
			slots[max(0, min(len(slots)-1, int(since*time.Duration(len(slots))/over)))]++
		}
		for _, n := range slots {
			if mean := len(times) / len(slots); n > 3*mean+5 {
				t.Errorf("%s: %d clients came back in a tenth of the window, %d on average", e.Name, n, mean)
			}
		}
		t.Logf("%s: ended after %v; %d clients came back, by tenths of the window %v", e.Name, took.Round(time.Millisecond), len(times), slots)
	}
	v := r.judge()
	t.Log(v)
	if !v.OK() || v.Gaps.Told > 0 {
		t.Error("promises were broken, or gaps told: see above")
	}
	for i, c := range r.clients {
		if s := c.State(); s.Refused > 0 || s.Connects > 4 {
			t.Errorf("client %d: %d connects, %d refused, last status %d, notices %v", i, s.Connects, s.Refused, s.Status, s.Notices)
		}
	}
}
