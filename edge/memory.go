package edge

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"sluice/fanout"
)

const (
	memoryLook = time.Second     // between two samples, and what a share per second is of
	collectGap = 5 * time.Second // between two collections that this package asks for
	cullWait   = memoryLook / 2  // for the engines to name their laggards
)

// memoryUse is what the process holds of what it may. Garbage not yet collected does
// not count: the runtime collects it before the limit. So held is as old as the last
// collection.
type memoryUse struct {
	held, limit uint64 // limit 0 = none
	collections uint64 // so far
}

// share is how much of the limit is held; 0 without one.
func (u memoryUse) share() float64 {
	if u.limit == 0 {
		return 0
	}
	return float64(u.held) / float64(u.limit)
}

// sampleMemory asks the runtime.
func sampleMemory() memoryUse {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 || limit <= 0 {
		return memoryUse{}
	}
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/other:bytes"},
	}
	metrics.Read(samples)
	use := memoryUse{limit: uint64(limit)}
	for i, s := range samples {
		switch {
		case s.Value.Kind() != metrics.KindUint64:
		case i == 0:
			use.collections = s.Value.Uint64()
		default:
			use.held += s.Value.Uint64()
		}
	}
	return use
}

// memoryWatch is what the watch remembers. All but share belongs to its goroutine.
type memoryWatch struct {
	sample func() memoryUse
	every  time.Duration // memoryLook

	share     atomic.Uint64 // of the limit, as last seen: math.Float64bits
	collected time.Time     // when the watch last asked for a collection
	cutAt     uint64        // collections at the last cut
	due       float64       // streams that may be cut, saved up
}

// watchMemory compares the process's memory with its limit every second, until ctx
// ends.
func (s *Server) watchMemory(ctx context.Context) {
	tick := time.NewTicker(s.memory.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.checkMemory(ctx)
		}
	}
}

// checkMemory refuses joins from 80 % of the limit on. From 95 % on it cuts the streams
// that lag most, of all engines, at most one in a hundred per second and only after a
// collection that the last cut preceded: else it would cut for memory already free.
func (s *Server) checkMemory(ctx context.Context) {
	m := &s.memory
	use := m.sample()
	if now := s.now(); use.share() >= memoryFull && now.Sub(m.collected) >= collectGap {
		m.collected = now
		runtime.GC() // idle streams allocate nothing: no collection would come by itself
		use = m.sample()
	}
	m.share.Store(math.Float64bits(use.share()))
	s.admit.memory.Store(use.share() >= memoryFull)
	if use.share() < memoryOver {
		m.due = 0
		return
	}
	if n := m.allowance(s.Open()); n > 0 && use.collections != m.cutAt {
		m.cutAt = use.collections
		s.cutLaggards(ctx, n, use)
	}
}

// allowance is how many of the open streams may be cut at this look. Parts of a stream
// are saved up, whole ones are not.
func (m *memoryWatch) allowance(open int) int {
	m.due += cutShare * float64(open)
	n := math.Floor(m.due)
	m.due -= n
	return int(n)
}

// cutLaggards ends at most n streams, those that lag most.
func (s *Server) cutLaggards(ctx context.Context, n int, use memoryUse) {
	ctx, cancel := context.WithTimeout(ctx, cullWait)
	defer cancel()
	c := fanout.NewCull(n)
	for _, e := range s.engines() {
		e.Laggards(c)
	}
	chosen := c.End(ctx)
	pass, suppressed := s.lines.pass("memory.cut")
	if !pass {
		s.metrics.suppressed("memory.cut")
		return
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "memory.cut", slog.Int("streams", chosen), slog.Int("open", s.Open()),
		slog.Uint64("held", use.held), slog.Uint64("limit", use.limit), slog.Int("suppressed", suppressed))
}
