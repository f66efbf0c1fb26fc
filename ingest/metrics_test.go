package ingest

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What the collector says of feeds: their states, by API and never by feed, and how long the quietest always-on one has
// brought nothing.
func TestFeedMetrics(t *testing.T) {
	r := newRig(t)
	r.up.set(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/quiet" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		r.up.stream(w, q, "id: 1\ndata: x\n\n")
	})
	reg := prometheus.NewRegistry()
	r.deps = func(d *Deps) { d.Metrics = reg }
	r.define("  topics:\n    - {name: /ticks, security: none}\n    - {name: /quiet, security: none}\n")
	r.run()
	r.wantState("/quiet", "auth")
	r.until("the event is stored", func() bool { return r.status("/ticks").Events == 1 })
	before := value(t, reg, "sluice_ingest_silence_seconds", "market@1.0.0")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for value(t, reg, "sluice_ingest_silence_seconds", "market@1.0.0") < before+0.05 {
		<-tick.C
	}
	for _, state := range []string{"up", "auth"} {
		if n := value(t, reg, "sluice_ingest_feeds", "market@1.0.0", state); n != 1 {
			t.Errorf("%v feeds %s, want 1", n, state)
		}
	}
	if lag := value(t, reg, "sluice_ingest_lag_seconds", "market@1.0.0"); lag != 0 {
		t.Errorf("lag %v with nothing queued", lag)
	}
	if n := value(t, reg, "sluice_ingest_event_age_seconds"); n != 1 {
		t.Errorf("%v ages of commits, want 1", n)
	}
	if n := value(t, reg, "sluice_ingest_queue_budget_bytes"); n <= 0 {
		t.Errorf("budget %v", n)
	}
}

// value is a gauge, a counter or the count of a histogram with these label values; 0 if there is none.
func value(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && matches(m.GetLabel(), labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func matches[L interface{ GetValue() string }](have []L, want []string) bool {
	for i, l := range have {
		if i < len(want) && l.GetValue() != want[i] {
			return false
		}
	}
	return true
}
