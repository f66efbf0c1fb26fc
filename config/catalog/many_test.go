package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// fill writes n published APIs of three topics each into a bucket, as a Manager would have.
func fill(tb testing.TB, bucket broker.Bucket, n int) {
	tb.Helper()
	var writes []broker.BucketWrite
	add := func(key string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			tb.Fatal(err)
		}
		writes = append(writes, broker.BucketWrite{Key: key, Value: text})
	}
	now := time.Unix(1_800_000_000, 0).UTC()
	add(gateKey, gate{N: 1})
	for i := range n {
		src := yamlAPI(fmt.Sprintf("api-%d", i), "1.0.0", fmt.Sprintf("/team-%d/api-%d", i%100, i), `  edgeGroups: [default]
  topics: [{name: /ticks, security: none}, {name: '/quotes/{symbol}', params: {symbol: '^[A-Z]{1,8}$'}}, {name: '/*'}]
`)
		apis, _, err := ReadSource(src, Options{})
		if err != nil {
			tb.Fatal(err)
		}
		text, err := frozenOf(apis[0])
		if err != nil {
			tb.Fatal(err)
		}
		token := apiToken(apis[0].Name(), "1.0.0")
		add(revisionKey(token, 1), storedRevision{Schema: schemaNow, UID: token, N: 1, Definition: text})
		add(apiPrefix+token, stored{Schema: schemaNow, UID: token, Definition: text, State: StatePublished, Deployments: map[string]int{"default": 1}, Next: 2,
			Revisions: []RevisionInfo{{N: 1, By: "ann", At: now, SHA256: sumOf(text)}}, History: []HistoryEntry{{At: now, By: "ann", Action: "create", To: StateCreated}},
			CreatedAt: now, CreatedBy: "ann", UpdatedAt: now, UpdatedBy: "ann"})
		if len(writes) >= 60 || i == n-1 {
			if _, err := bucket.Batch(tb.Context(), writes); err != nil {
				tb.Fatal(err)
			}
			writes = nil
		}
	}
}

// BenchmarkTenThousandAPIs tells what a catalog of that size costs a node: to load it, one change from the call until both views show
// it, the swap alone, and memory.
func BenchmarkTenThousandAPIs(b *testing.B) {
	const n = 10_000
	node := brokertest.NewMemory(b)
	bucket, err := node.Admin().Bucket(b.Context(), Bucket, BucketHistory)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, bucket, n)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	began := time.Now()
	m := NewManager(ManagerOptions{Open: func(context.Context) (broker.Bucket, error) { return bucket, nil }})
	edge := m.Group("default")
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for snap := range edge.Watch(ctx) {
		if len(snap.APIs()) == n {
			break
		}
	}
	load := time.Since(began)
	size := float64(heap()-before) / n
	var swaps time.Duration
	b.ResetTimer()
	for i := range b.N {
		text := fmt.Sprintf("changed %d", i)
		_, err := m.Update(ctx, ann, "api-5000@1.0.0", yamlAPI("api-5000", "1.0.0", "/team-0/api-5000", "  topics: [{name: /ticks, security: none, description: "+text+"}]\n"))
		if err != nil {
			b.Fatal(err)
		}
		if t := edge.Snapshot().API("api-5000", "1.0.0").Topic("/ticks"); t.Description != text {
			b.Fatal("the change is not shown")
		}
		b.StopTimer()
		began := time.Now()
		m.mu.Lock()
		m.seen.apis[apiToken("api-7000", "1.0.0")] = other(m.seen.apis[apiToken("api-7000", "1.0.0")], uint64(i))
		m.rebuild()
		m.mu.Unlock()
		swaps += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(load.Seconds(), "s/load")
	b.ReportMetric(float64(swaps.Milliseconds())/float64(b.N), "ms/swap")
	b.ReportMetric(size/1024, "KiB/API")
}

// other is a record as of another revision.
func other(e *entryAPI, n uint64) *entryAPI {
	next, rec := *e, *e.rec
	rec.Rev += n + 1<<40
	next.rec = &rec
	return &next
}
