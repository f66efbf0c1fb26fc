package obs

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Grade is what one check found.
type Grade uint8

// Grades of a check, from good to bad.
const (
	OK       Grade = iota
	Degraded       // told by ?verbose; the node still takes clients
	Failed         // the node takes no clients
)

// Check tells one thing's health and, unless OK, why in a few words. It is called
// by each probe: it must be quick and must not block.
type Check func() (Grade, string)

// Health holds the checks behind /livez and /readyz. Safe for concurrent use.
type Health struct {
	mu    sync.RWMutex // guards ready, live
	ready []namedCheck
	live  []namedCheck
}

type namedCheck struct {
	name  string
	check Check
}

// Ready adds a check to /readyz. Names are unique: a second one replaces the first.
func (h *Health) Ready(name string, c Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = put(h.ready, name, c)
}

// Live adds a check to /livez: only what a restart of the process would cure.
func (h *Health) Live(name string, c Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = put(h.live, name, c)
}

func put(list []namedCheck, name string, c Check) []namedCheck {
	i := slices.IndexFunc(list, func(n namedCheck) bool { return n.name == name })
	if i < 0 {
		return append(list, namedCheck{name, c})
	}
	list = slices.Clone(list)
	list[i].check = c
	return list
}

// ServeReady answers /readyz: 200 unless a check failed, then 503. ?verbose lists
// all checks, one a line.
func (h *Health) ServeReady(w http.ResponseWriter, r *http.Request) {
	h.mu.RLock()
	list := h.ready
	h.mu.RUnlock()
	answer(w, r, list)
}

// ServeLive answers /livez and /healthz: 200 unless a live check failed.
func (h *Health) ServeLive(w http.ResponseWriter, r *http.Request) {
	h.mu.RLock()
	list := h.live
	h.mu.RUnlock()
	answer(w, r, list)
}

func answer(w http.ResponseWriter, r *http.Request, list []namedCheck) {
	var text strings.Builder
	failed := false
	for _, c := range list {
		switch grade, why := c.check(); grade {
		case OK:
			fmt.Fprintf(&text, "[+]%s ok\n", c.name)
		case Degraded:
			fmt.Fprintf(&text, "[!]%s degraded: %s\n", c.name, why)
		default:
			failed = true
			fmt.Fprintf(&text, "[-]%s %s\n", c.name, why)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	last := "ok\n"
	if failed {
		w.WriteHeader(http.StatusServiceUnavailable)
		last = "not ready\n"
	}
	// A failed probe lists its checks unasked: the probe's log is where people look.
	if failed || r.URL.Query().Has("verbose") {
		_, _ = w.Write([]byte(text.String()))
	}
	_, _ = w.Write([]byte(last))
}
