//go:build unix

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/test/topology"
)

// TestHotApply adds, changes and deletes topics of an API through the management API while clients read others of its topics on
// all edges: theirs never notice, and the changes are served everywhere within 2 s. CHAOS_CLIENTS=2000 CHAOS_RATE=5 is the
// run of the acceptance.
func TestHotApply(t *testing.T) {
	const edits, within = 10, 2 * time.Second
	sc := &scenario{name: "hot-apply", n: edits, catalog: true}
	r := newRun(t, sc, uint64(number(t, "CHAOS_SEED", 1)), load{
		clients: number(t, "CHAOS_CLIENTS", 60), rate: float64(number(t, "CHAOS_RATE", 20)), quiet: time.Second,
	}, &programs)
	var slowest time.Duration
	for i := range edits {
		r.fault(fmt.Sprintf("edit %d: add, change and delete a topic", i))
		topic := fmt.Sprintf("/extra%d", i)
		line := "    - {name: " + topic + ", backend: /stream/any/%s, security: none, linger: 1s}\n"
		r.apply(definition + fmt.Sprintf(line, "first"))
		asked := time.Now()
		var streams []io.ReadCloser
		for _, e := range r.topo.Of(topology.Edge) {
			streams = append(streams, r.served(e, topic, within))
		}
		slowest = max(slowest, time.Since(asked))
		r.apply(definition + fmt.Sprintf(line, "second"))
		r.apply(definition)
		asked = time.Now()
		for n, s := range streams {
			if end := lastLines(s); !strings.Contains(end, `"reason":"topic-deleted"`) {
				t.Errorf("edit %d, edge %d: the stream of the deleted topic ended with %q", i, n+1, end)
			}
		}
		slowest = max(slowest, time.Since(asked))
		r.flow()
	}
	if slowest > 2*within {
		t.Errorf("a change was served everywhere after %v, goal %v", slowest, within)
	}
	v := r.judge()
	t.Logf("%v; slowest change %v", v, slowest.Round(time.Millisecond))
	if !v.OK() || v.Gaps.Told > 0 {
		t.Error("promises were broken, or gaps told: see above")
	}
	for i, c := range r.clients {
		if s := c.State(); s.Connects != 1 || s.Refused > 0 {
			t.Errorf("client %d of a topic that nobody touched: %d connects, %d refused, notices %v", i, s.Connects, s.Refused, s.Notices)
		}
	}
}

// served opens a stream of a topic at an edge, which may not have heard of it yet.
func (r *run) served(e *topology.Process, topic string, within time.Duration) io.ReadCloser {
	r.t.Helper()
	late, cancel := context.WithTimeout(r.ctx, 10*within)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "http://"+e.Addr+"/market/1.0.0"+topic, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := once.Do(req)
		if err == nil && resp.StatusCode == http.StatusOK {
			return resp.Body
		}
		if err == nil {
			resp.Body.Close()
		}
		if late.Err() != nil {
			r.t.Fatalf("%s does not serve %s: %v", e.Name, topic, err)
		}
		r.wait(20 * time.Millisecond)
	}
}

// lastLines reads a stream to its end and returns the end of it.
func lastLines(s io.ReadCloser) string {
	late := time.AfterFunc(patience, func() { s.Close() }) // it never ends
	defer late.Stop()
	defer s.Close()
	var last []string
	for sc := bufio.NewScanner(s); sc.Scan(); {
		last = append(last[max(0, len(last)-5):], sc.Text())
	}
	return strings.Join(last, "\n")
}
