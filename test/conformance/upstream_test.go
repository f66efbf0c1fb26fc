package conformance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// tapes are backends that number their events: GET /t/<name> sends {"n":1}, {"n":2}, … as far as the test has allowed, then
// waits for more. It honours Last-Event-ID, as a good backend does.
type tapes struct {
	mu   sync.Mutex
	more map[string]chan struct{} // closed when a tape gets longer
	len  map[string]int
}

// startTapes runs the backend until the test ends.
func startTapes(t *testing.T) (*tapes, string) {
	p := &tapes{more: map[string]chan struct{}{}, len: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return p, srv.URL
}

// definition is the API over the tapes: open topics under /t, a closed one.
func tapesAPI(name, endpoint, extra string) string {
	return definition(name, endpoint, "  client: {retry: 500ms}\n"+extra+`  topics:
    - {name: '/t/{tape}', params: {tape: '^[a-z0-9-]{1,64}$'}, security: none, start: earliest}
    - {name: '/locked/{tape}', backend: '/t/{tape}', params: {tape: '^[a-z0-9-]{1,64}$'}}
`)
}

// allow lets the tape run to event n.
func (p *tapes) allow(tape string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.len[tape] = max(p.len[tape], n)
	if ch := p.more[tape]; ch != nil {
		close(ch)
	}
	p.more[tape] = make(chan struct{})
}

// state is how far the tape may run, and a channel that is closed when that changes.
func (p *tapes) state(tape string) (int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.more[tape] == nil {
		p.more[tape] = make(chan struct{})
	}
	return p.len[tape], p.more[tape]
}

func (p *tapes) serve(w http.ResponseWriter, r *http.Request) {
	tape := strings.TrimPrefix(r.URL.Path, "/t/")
	n, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		end, more := p.state(tape)
		for n < end {
			n++
			if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\nid: %d\n\n", tapeType(n), tapeData(n), n); err != nil {
				return
			}
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// tapeType is the type of event n: every third has the default one, as EventSource treats it apart.
func tapeType(n int) string {
	if n%3 == 0 {
		return "message"
	}
	return "tick"
}

// tapeData is the data of event n: two lines, the second empty in every fifth.
func tapeData(n int) string {
	if n%5 == 0 {
		return fmt.Sprintf("{\"n\":%d}\ndata:", n)
	}
	return fmt.Sprintf("{\"n\":%d,\ndata: \"café\":\"☕\"}", n)
}

// wantTape is what a client must have made of events 1 to n.
func wantTape(n int) []event {
	out := make([]event, 0, n)
	for i := 1; i <= n; i++ {
		data := strings.NewReplacer("\ndata: ", "\n", "\ndata:", "\n").Replace(tapeData(i))
		out = append(out, event{Type: tapeType(i), Data: data})
	}
	return out
}
