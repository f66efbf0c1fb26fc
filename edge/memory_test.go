package edge

import (
	"io"
	"math"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/fanout"
)

// At most one stream in a hundred per second, over any number of seconds.
func TestCutAllowance(t *testing.T) {
	for _, open := range []int{0, 1, 30, 99, 100, 101, 250, 5_000, 99_999} {
		m := memoryWatch{}
		total := 0
		for second := 1; second <= 1000; second++ {
			n := m.allowance(open)
			total += n
			if n > (open+99)/100 || 100*total > open*second {
				t.Fatalf("%d open: %d cut in second %d, %d so far", open, n, second, total)
			}
		}
		if want := open * 10; total < want-1 {
			t.Errorf("%d open: %d cut in 1,000 seconds, want %d", open, total, want)
		}
	}
}

// The runtime's own figures: what is held counts, its garbage does not.
func TestSampleMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	debug.SetMemoryLimit(math.MaxInt64)
	if use := sampleMemory(); use.share() != 0 {
		t.Errorf("%+v without a limit", use)
	}
	debug.SetMemoryLimit(1 << 30)
	debug.FreeOSMemory()
	small := sampleMemory()
	if small.limit != 1<<30 || small.share() <= 0 || small.share() > 0.5 {
		t.Errorf("%+v of an idle test", small)
	}
	kept := make([]byte, 300<<20)
	debug.FreeOSMemory()
	large := sampleMemory()
	// What earlier tests left may be collected in between.
	if grown := int64(large.held) - int64(small.held); grown < 290<<20 || grown > 320<<20 || large.collections <= small.collections {
		t.Errorf("held grew by %d after 300 MiB: %+v, %+v", grown, small, large)
	}
	clear(kept)
}

// From 80 % on joins are refused and nobody ends; from 95 % on those end that lag most,
// one after the other, and who reads everything stays.
func TestMemoryRefusesThenCuts(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		var percent, looks atomic.Uint64
		percent.Store(50)
		r := newRig(t, engine, func(s *setup) {
			s.memory = func() memoryUse { return memoryUse{percent.Load(), 100, looks.Add(1)} }
			s.cfg.Fanout.Slow.Stall, s.cfg.Fanout.Slow.Lag, s.cfg.Fanout.Slow.SoftLag = time.Minute, 64<<20, 64<<20
		})
		look := func(n uint64) {
			t.Helper()
			from := looks.Load()
			wait(t, "looks at the memory", func() bool { return looks.Load() >= from+n })
		}
		ticks := feedOf("market", "1.0.0", "/ticks")
		large := strings.Repeat("x", 32<<10)
		fill := func() {
			for range 40 {
				r.publish(ticks, large)
			}
		}
		lagging := func() []fanout.Laggard {
			c := fanout.NewCull(9)
			for _, e := range r.srv.engines() {
				e.Laggards(c)
			}
			return c.Found(t.Context())
		}
		const path = "/market/1.0.0/ticks"
		reader := r.get(path)
		var read atomic.Int64
		go func() {
			n, _ := io.CopyN(io.Discard, reader.body, int64(2*40*len(large)))
			read.Store(n)
		}()
		_ = r.get(path, "User-Agent: worst")
		fill()
		wait(t, "the first is stuck", func() bool { return len(lagging()) == 1 })
		_ = r.get(path, "User-Agent: second")
		fill()
		wait(t, "two are stuck", func() bool { return len(lagging()) == 2 })
		wait(t, "the reader has everything", func() bool { return read.Load() == int64(2*40*len(large)) })

		percent.Store(80)
		look(2)
		if a := r.get(path); a.StatusCode != 503 {
			t.Errorf("a join at 80 %% is answered %d", a.StatusCode)
		}
		look(120) // enough for a cut of one in three
		if n := r.srv.Open(); n != 3 {
			t.Fatalf("%d open at 80 %%, want 3", n)
		}

		percent.Store(95)
		wait(t, "both are cut", func() bool { return r.srv.Open() == 1 })
		wait(t, "two lines", func() bool { return len(r.logs.events("conn.close")) == 2 })
		for i, agent := range []string{"worst", "second"} {
			if l := r.logs.events("conn.close")[i]; l["ua"] != agent || l["end"] != "memory" {
				t.Errorf("line %d: %v %v, want %s", i, l["ua"], l["end"], agent)
			}
		}
		look(120)
		if n := r.srv.Open(); n != 1 {
			t.Errorf("%d open, want the reader", n)
		}
		if n := r.count("sluice_edge_ends_total", "reason=memory"); n != 2 {
			t.Errorf("%v ends counted, want 2", n)
		}
		if len(r.logs.events("memory.cut")) == 0 {
			t.Error("no line tells the operator")
		}
		percent.Store(50)
		look(2)
		if a := r.get(path); a.StatusCode != 200 {
			t.Errorf("a join at 50 %% is answered %d", a.StatusCode)
		}
	})
}
