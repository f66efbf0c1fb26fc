package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What looks at the parts of a process waits until they are there.
func TestOnceStarted(t *testing.T) {
	p := &process{}
	h := p.onceStarted(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest(http.MethodGet, "/feeds", nil))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || w.Body.String() != "still starting\n" {
		t.Errorf("before the start: %d, %v, %q", w.Code, w.Header(), w.Body)
	}
	p.started.Store(true)
	if w := ask(); w.Code != http.StatusOK {
		t.Errorf("after the start: %d", w.Code)
	}
}
