package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hub is a real server to test the bench against: POST /pub/<topic> appends an event, GET /sub/<topic> streams and
// honours Last-Event-ID. What it sends can be spoiled.
type hub struct {
	*httptest.Server
	// spoil turns the frame of event n into what client number c gets; frames come one by one. May be nil.
	spoil func(c int, n int, frame string) string
	// silent sends no ids.
	silent bool
	// refuse answers so many GETs with 503 first.
	refuse atomic.Int64
	// cut ends a connection of client number c before event n. May be nil.
	cut func(c int, n int) bool

	clients atomic.Int64
	resumes atomic.Int64
	mu      sync.Mutex // guards the rest
	topics  map[string][]string
	changed chan struct{}
}

func startHub(t *testing.T, h *hub, start func(*httptest.Server)) *hub {
	h.topics, h.changed = map[string][]string{}, make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pub/{topic}", h.publish)
	mux.HandleFunc("GET /sub/{topic}", h.subscribe)
	h.Server = httptest.NewUnstartedServer(mux)
	start(h.Server)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	topic := r.PathValue("topic")
	h.topics[topic] = append(h.topics[topic], string(data))
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) subscribe(w http.ResponseWriter, r *http.Request) {
	if h.refuse.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "0")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	c := int(h.clients.Add(1)) - 1
	topic := r.PathValue("topic")
	h.mu.Lock()
	next := len(h.topics[topic])
	h.mu.Unlock()
	if id, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Last-Event-ID"), "e")); err == nil {
		next = id
		h.resumes.Add(1)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 20\n")
	flush := http.NewResponseController(w)
	for {
		if flush.Flush() != nil {
			return
		}
		h.mu.Lock()
		events, changed := h.topics[topic][next:], h.changed
		h.mu.Unlock()
		for _, data := range events {
			next++
			if h.cut != nil && h.cut(c, next) {
				return
			}
			frame := fmt.Sprintf("data: %s\nid: e%d\n\n", data, next)
			if h.silent {
				frame = fmt.Sprintf("data: %s\n\n", data)
			}
			if h.spoil != nil {
				frame = h.spoil(c, next, frame)
			}
			fmt.Fprint(w, frame)
		}
		if len(events) == 0 {
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// cell is a short cell over the hub.
func (h *hub) cell() Cell {
	return Cell{
		Name: "hub", URL: h.URL + "/sub/{topic}", Publish: &Publish{URL: h.URL + "/pub/{topic}"},
		Clients: 20, Topics: 2, Rate: 100, Size: 300, Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond,
		Settle: -1, Drain: time.Second, Insecure: true, LateAfter: time.Minute,
	}
}

// engines runs f for every way to connect.
func engines(t *testing.T, f func(t *testing.T, start func(*httptest.Server), adapt func(*Cell))) {
	plain := (*httptest.Server).Start
	for name, e := range map[string]struct {
		start func(*httptest.Server)
		adapt func(*Cell)
	}{
		"epoll":    {plain, func(c *Cell) { c.Workers = 2 }},
		"portable": {plain, func(c *Cell) { c.Portable = true }},
		"h2":       {func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }, func(c *Cell) { c.HTTP2 = true }},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "epoll" {
				needEpoll(t)
			}
			t.Parallel()
			f(t, e.start, e.adapt)
		})
	}
}

// measure runs a cell that can be measured.
func measure(t *testing.T, c Cell) *Result {
	t.Helper()
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
