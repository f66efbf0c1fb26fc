package deploy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/gateway"
	"sluice/test/load"
)

// The latency that a node shows is the latency that clients have. Writes are gathered for 200 ms, so that an event's age is
// anything up to that, and what a busy machine adds on the client's side is little beside it.
func TestHistogramAgreesWithClients(t *testing.T) {
	origin := gateway.FreeAddr(t)
	g := gateway.New(t, gateway.Options{
		APIs: map[string]string{"bench.yaml": benchFile(origin)}, Plain: true,
		Env: []string{"SLUICE_FANOUT_COALESCE_HTTP1=200ms", "SLUICE_LOG_LEVEL=warn"},
	})
	g.Spawn()
	until(t, "the gateway is ready", func() bool { return answersOK(g.Addrs["ops"] + "/readyz") })
	cell := load.Cell{
		URL: g.URL("/bench/1.0.0/t/0"), Origin: origin, Clients: 20, Rate: 50,
		Settle: 100 * time.Millisecond, Warmup: -1, Duration: 6 * time.Second,
	}
	r, err := cell.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != "" || r.Delivered < 5000 {
		t.Fatalf("%d delivered, failed: %q", r.Delivered, r.Failed)
	}
	_, text := g.Ops("/metrics")
	h := parseHistogram(t, string(text), "sluice_fanout_delivery_age_seconds")
	if h.count() < 250 {
		t.Fatalf("%v observations of 300 events", h.count())
	}
	for _, q := range []struct{ q, outside float64 }{{0.5, r.Latency.P50}, {0.9, r.Latency.P90}, {0.99, r.Latency.P99}} {
		inside := 1000 * h.quantile(q.q)
		t.Logf("p%v: %.1f ms inside, %.1f ms outside", 100*q.q, inside, q.outside)
		if d := math.Abs(inside - q.outside); d > 0.1*q.outside+5 {
			t.Errorf("p%v: %.1f ms inside, %.1f ms outside: more than a tenth and 5 ms apart", 100*q.q, inside, q.outside)
		}
	}
}

// benchFile is an API whose upstream is the bench.
func benchFile(origin string) string {
	return fmt.Sprintf(`apiVersion: sluice/v1
kind: API
metadata: {name: bench}
spec:
  context: /bench
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  topics: [{name: '/t/{n}', params: {n: '^[0-9]{1,4}$'}, backend: '/t/{n}', security: none}]
`, origin)
}

func answersOK(url string) bool {
	resp, err := gateway.OneShot().Get("http://" + url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == 200
}

// histogram is one of Prometheus' in its text form, all its series added up.
type histogram struct{ bounds, counts []float64 } // counts up to and including each bound; the last bound is +Inf

func parseHistogram(t *testing.T, text, name string) *histogram {
	t.Helper()
	h := &histogram{}
	at := map[float64]int{}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+"_bucket{")
		if !ok {
			continue
		}
		_, le, _ := strings.Cut(rest, `le="`)
		bound, _, _ := strings.Cut(le, `"`)
		_, value, _ := strings.Cut(rest, "} ")
		b, err := strconv.ParseFloat(bound, 64)
		n, err2 := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || err2 != nil {
			t.Fatalf("%q is no bucket", line)
		}
		i, seen := at[b]
		if !seen {
			i = len(h.bounds)
			at[b] = i
			h.bounds, h.counts = append(h.bounds, b), append(h.counts, 0)
		}
		h.counts[i] += n
	}
	if len(h.bounds) == 0 {
		t.Fatalf("no buckets of %s", name)
	}
	return h
}

func (h *histogram) count() float64 { return h.counts[len(h.counts)-1] }

// quantile is what histogram_quantile makes of it.
func (h *histogram) quantile(q float64) float64 {
	rank, below, low := q*h.count(), 0.0, 0.0
	for i, n := range h.counts {
		if n >= rank {
			if math.IsInf(h.bounds[i], 1) {
				return low
			}
			return low + (h.bounds[i]-low)*(rank-below)/(n-below)
		}
		below, low = n, h.bounds[i]
	}
	return low
}
