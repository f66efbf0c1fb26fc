package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// backend answers as its paths say.
func backend(t *testing.T) string {
	t.Helper()
	done := make(chan struct{})
	mux := http.NewServeMux()
	streams := func(text string, ends bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			fmt.Fprint(w, text)
			w.(http.Flusher).Flush()
			if !ends {
				select {
				case <-r.Context().Done():
				case <-done:
				}
			}
		}
	}
	mux.HandleFunc("/base/ticks", streams(": hello\n\nevent: tick\nid: 7\ndata: {\"n\":1}\n\n", false))
	mux.HandleFunc("/large", streams("data: "+strings.Repeat("é", 10_000)+"\n\n", false))
	mux.HandleFunc("/ends", streams("retry: 1\n\n", true))
	mux.HandleFunc("/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	})
	mux.HandleFunc("/hop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/base/ticks", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
	})
	mux.HandleFunc("/key", func(w http.ResponseWriter, r *http.Request) {
		streams("data: "+r.Header.Get("X-Key")+" "+r.Header.Get("Accept")+"\n\n", false)(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() { close(done); s.CloseClientConnections(); s.Close() })
	return s.URL
}

func TestEndpointsAreLookedAt(t *testing.T) {
	r := newRig(t)
	at := backend(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	ln.Close()
	for _, c := range []struct {
		name, body         string
		reachable, streams bool
		status             int
		said               string // part of the first error or warning
		event              string // its data
	}{
		{"an event stream", `{"endpoint":"` + at + `/base","path":"/ticks"}`, true, true, 200, "", `{"n":1}`},
		{"by a redirect", `{"endpoint":"` + at + `","path":"/hop"}`, true, true, 200, "", `{"n":1}`},
		{"with a header", `{"endpoint":"` + at + `","path":"/key","headers":{"X-Key":"k"}}`, true, true, 200, "", `k text/event-stream`},
		{"a large event", `{"endpoint":"` + at + `","path":"/large"}`, true, true, 200, "", strings.Repeat("é", probeShown/2)},
		{"that ends", `{"endpoint":"` + at + `","path":"/ends"}`, true, true, 200, "ended before", ""},
		{"JSON", `{"endpoint":"` + at + `/json"}`, true, false, 200, "no event stream", ""},
		{"not found", `{"endpoint":"` + at + `/none"}`, true, false, 404, "404", ""},
		{"a circle", `{"endpoint":"` + at + `","path":"/loop"}`, false, false, 0, "redirects more than", ""},
		{"a redirect to where nobody may", `{"endpoint":"` + at + `/inside"}`, false, false, 0, "not one that endpoints may have", ""},
		{"an address that nobody may", `{"endpoint":"http://169.254.169.254/latest"}`, false, false, 0, "not one that endpoints may have", ""},
		{"nobody there", `{"endpoint":"` + nobody + `"}`, false, false, 0, "Nobody listens", ""},
		{"no name", `{"endpoint":"http://nothing.invalid"}`, false, false, 0, "", ""},
		{"another scheme", `{"endpoint":"file:///etc/passwd"}`, false, false, 0, "http://", ""},
		{"a user", `{"endpoint":"http://u:canary@127.0.0.1/"}`, false, false, 0, "must not hold a user", ""},
		{"nothing", `{"endpoint":""}`, false, false, 0, "must be", ""},
		{"a bad path", `{"endpoint":"` + at + `","path":"/a\r\nb"}`, false, false, 0, "", ""},
		{"a header that may not be", `{"endpoint":"` + at + `","headers":{"Host":"x"}}`, false, false, 0, "", ""},
	} {
		a := r.as("creator").send("POST", "/api/v1/validate/endpoint", mediaJSON, c.body).want(t, http.StatusOK)
		v := decodeAs[EndpointVerdict](t, a.body)
		findings := append(append([]Finding{}, v.Errors...), v.Warnings...)
		if v.Reachable != c.reachable || v.EventStream != c.streams || v.Valid != c.streams || v.Status != c.status || v.FirstEvent.Data != c.event {
			t.Errorf("%s: %.600s", c.name, a.body)
		}
		if c.event == "" && (len(findings) == 0 || !strings.Contains(findings[0].Detail, c.said) || findings[0].Pointer == "" && c.name != "nothing") {
			t.Errorf("%s: said %+v", c.name, findings)
		}
		for _, secret := range []string{"169.254", "canary", nobody[len("http://"):], "refused", "dial"} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s: the answer names %s: %s", c.name, secret, a.body)
			}
		}
	}
	c := r.as("creator")
	c.send("POST", "/api/v1/validate/endpoint", mediaJSON, `{"endpoint":"http://a","port":1}`).problem(t, http.StatusBadRequest, "unknown-field")
	c.send("POST", "/api/v1/validate/endpoint", mediaJSON, `{}`).problem(t, http.StatusUnprocessableEntity, "invalid-value")
}

// TestASilentEndpointIsLeft looks at one that never sends anything: the answer comes when the time is up.
func TestASilentEndpointIsLeft(t *testing.T) {
	r := newRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r.server.probeTime = 100 * time.Millisecond
	v := decodeAs[EndpointVerdict](t, r.as("creator").send("POST", "/api/v1/validate/endpoint", mediaJSON, `{"endpoint":"http://`+ln.Addr().String()+`"}`).want(t, http.StatusOK).body)
	if v.Valid || v.Reachable || len(v.Errors) != 1 || !strings.Contains(v.Errors[0].Detail, "Nobody answered") {
		t.Errorf("verdict %+v", v)
	}
}
