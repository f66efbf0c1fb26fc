package obs

import (
	"math"
	"runtime/debug"
	"runtime/metrics"

	"github.com/prometheus/client_golang/prometheus"
)

// Memory is what this process holds, and what Go's runtime may use; limit is 0 without
// one. Garbage that is not yet collected does not count: the runtime collects it before
// the limit is reached.
func Memory() (held, limit int64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/other:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			held += int64(s.Value.Uint64())
		}
	}
	if limit = debug.SetMemoryLimit(-1); limit == math.MaxInt64 {
		limit = 0
	}
	return held, limit
}

// memoryGauges show Memory.
func memoryGauges() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_memory_used_bytes",
			Help: "Memory held by this process, garbage not yet collected left out."},
			func() float64 { held, _ := Memory(); return float64(held) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_memory_limit_bytes",
			Help: "What Go's runtime may use; 0 = no limit. At 80 % of it an edge refuses joins."},
			func() float64 { _, limit := Memory(); return float64(limit) }),
	}
}
