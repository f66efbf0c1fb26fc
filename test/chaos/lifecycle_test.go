//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/test/oracle/reader"
	"sluice/test/topology"
)

// TestLifecycle blocks an API under its clients on all edges, lets it go on, and retires it: every stream ends with the reason
// within 2 s, who comes back after the block misses nothing, and each state answers as it must. CHAOS_CLIENTS=1000
// CHAOS_RATE=5 is the run of the acceptance.
func TestLifecycle(t *testing.T) {
	const within = 2 * time.Second
	sc := &scenario{name: "lifecycle", n: 3, catalog: true}
	r := newRun(t, sc, uint64(number(t, "CHAOS_SEED", 1)), load{
		clients: number(t, "CHAOS_CLIENTS", 60), rate: float64(number(t, "CHAOS_RATE", 20)), quiet: time.Second,
	}, &programs)
	var slowest time.Duration
	for range sc.times() {
		r.flow()
		r.fault("block the API")
		before := make([]int, len(r.clients))
		for i, c := range r.clients {
			before[i] = len(c.State().Notices)
		}
		r.manage("block", "market@1.0.0")
		asked := time.Now()
		for i, c := range r.clients {
			r.await(c, "told of the block", func(s reader.State) bool {
				return slices.ContainsFunc(s.Notices[before[i]:], func(n string) bool {
					return strings.HasPrefix(n, "gateway.end ") && strings.Contains(n, `"reason":"api-blocked"`)
				})
			})
		}
		slowest = max(slowest, time.Since(asked))
		r.answers(http.StatusServiceUnavailable, "/problems/api-blocked")
		r.pause(r.load.quiet)
		r.manage("republish", "market@1.0.0")
	}
	r.flow()
	v := r.judge()
	t.Logf("%v; all streams ended %v after a block", v, slowest.Round(time.Millisecond))
	if !v.OK() || v.Gaps.Told > 0 {
		t.Error("promises were broken, or gaps told: see above")
	}
	if slowest > 3*within {
		t.Errorf("all streams ended %v after a block, goal %v", slowest, within)
	}
	r.ctx = t.Context() // that of the run ended with its clients
	r.manage("deprecate", "market@1.0.0")
	if _, err := r.topo.Manage(r.ctx, "", "publish", "market@1.0.0"); err == nil || !strings.Contains(err.Error(), "retire") {
		t.Errorf("publish of a deprecated API: %v, want what is allowed", err)
	}
	r.manage("retire", "market@1.0.0")
	r.answers(http.StatusNotFound, "/problems/no-such-api")
	history := r.manage("history", "market@1.0.0")
	for _, action := range []string{"create", "publish", "block", "republish", "deprecate", "retire"} {
		if !strings.Contains(history, action) {
			t.Errorf("the history has no %s: %s", action, history)
		}
	}
}

// manage runs a verb of the management command line.
func (r *run) manage(args ...string) string {
	r.t.Helper()
	out, err := r.topo.Manage(r.ctx, "", args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// answers waits until every edge answers new connects with a problem.
func (r *run) answers(status int, kind string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	for _, e := range r.topo.Of(topology.Edge) {
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addr+"/market/1.0.0"+feeds[0], nil)
			if err != nil {
				r.t.Fatal(err)
			}
			resp, err := once.Do(req)
			if err != nil {
				r.t.Fatalf("%s: %v, want status %d, %s", e.Name, err, status, kind)
			}
			var p struct{ Type string }
			if resp.StatusCode == status {
				if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Type != kind {
					r.t.Fatalf("%s: %v, type %q, want %s", e.Name, err, p.Type, kind)
				}
			}
			resp.Body.Close()
			if p.Type == kind {
				break
			}
			r.wait(20 * time.Millisecond)
		}
	}
}
