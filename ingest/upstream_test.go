package ingest

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func answer(status int, header ...string) func(*rig) http.HandlerFunc {
	return func(*rig) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
}

func text(s string) func(*rig) http.HandlerFunc {
	return func(r *rig) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) { r.up.stream(w, q, s) }
	}
}

// TestUpstreamRows is the table of bad upstreams: each leads to a state, a log line and what is stored.
func TestUpstreamRows(t *testing.T) {
	bad := string([]byte{0xff, 0xc3, 0x28})
	for _, c := range []struct {
		id, name string
		serve    func(*rig) http.HandlerFunc
		spec     string // of the API, instead of none
		state    string
		log      string // part of the log
		stored   string // "" = nothing
	}{
		{id: "U1", name: "404", serve: answer(404), state: "error", log: "status 404"},
		{id: "U1", name: "410", serve: answer(410), state: "error", log: "status 410"},
		{id: "U2", name: "401", serve: answer(401), state: "auth", log: "level=ERROR"},
		{id: "U2", name: "403", serve: answer(403), state: "auth", log: "status 403"},
		{id: "U3", name: "204", serve: answer(204), state: "ended", log: "wait=10m0s"},
		{id: "U3", name: "204 with retry", serve: answer(204), spec: "  upstream: {on204: retry}\n", state: "ended",
			log: "failures=3"},
		{id: "U4", name: "endless redirects", serve: answer(302, "Location", "/again"), state: "redirect-loop",
			log: "more than 5 redirects"},
		{id: "U5", name: "redirect to a forbidden address", serve: answer(307, "Location", "http://169.254.169.254/x"),
			state: "blocked", log: "ssrf.block"},
		{id: "U5", name: "redirect to another scheme", serve: answer(307, "Location", "file:///etc/passwd"),
			state: "blocked", log: "ssrf.block"},
		{id: "U6", name: "other content type", serve: answer(200, "Content-Type", "text/html"), state: "bad-content-type",
			log: "content-type text/html"},
		{id: "U7", name: "encoded body", serve: gzipped, state: "encoded", log: "content-encoding gzip"},
		{id: "U8", name: "a line of 3 MB is skipped", state: "up", log: "too large", stored: "a <oversize> b",
			serve: text("data: a\n\ndata: " + strings.Repeat("x", 3<<20) + "\n\ndata: b\n\n")},
		{id: "U9", name: "an event of endless fields is skipped", state: "up", log: "too large", stored: "a <oversize> b",
			serve: text("data: a\n\n" + strings.Repeat("data: 0123456789\n", 100_000) + "\ndata: b\n\n")},
		{id: "U10", name: "an id with NUL is ignored", state: "up", stored: "a b",
			serve: text("id: 1\ndata: a\n\nid: 2\x00\ndata: b\n\n")},
		{id: "U11", name: "an id of 2 KB is ignored", state: "up", log: "upstream id ignored", stored: "a b",
			serve: text("id: 1\ndata: a\n\nid: " + strings.Repeat("9", 2048) + "\ndata: b\n\n")},
		{id: "U12", name: "foolish retry values", state: "up", stored: "a",
			serve: text("retry: 0\nretry: 1000000000000\nretry: abc\nretry: +5\ndata: a\n\n")},
		{id: "U13", name: "a BOM and blocks without data", state: "up", stored: "a",
			serve: text("\xef\xbb\xbfevent: x\n\n: hi\n\nid: 3\n\ndata: a\n\n")},
		{id: "U14", name: "invalid UTF-8 becomes U+FFFD", state: "up", stored: "a\ufffd\ufffd(b",
			serve: text("data: a" + bad + "b\n\n")},
		{id: "U15", name: "an event of our own name is renamed", state: "up", stored: "a",
			serve: text("event: gateway.gap\ndata: a\n\n")},
		{id: "U16", name: "a stray CR ends a line", state: "up", stored: "a\ndata: b",
			serve: text("data: a\rdata: b\r\r")},
		{id: "U22", name: "headers of 100 KB", serve: answer(200, "X-Big", strings.Repeat("x", 100<<10)), state: "error",
			log: "response head is too large"},
		{id: "U25", name: "repeated ids and events are kept", state: "up", stored: "a a b",
			serve: text("id: 1\ndata: a\n\nid: 1\ndata: a\n\nid: 1\ndata: b\n\n")},
		{id: "", name: "503 with Retry-After", serve: answer(503, "Retry-After", "125"), state: "error", log: "wait=2m"},
		{id: "", name: "500", serve: answer(500), state: "error", log: "status 500"},
		{id: "", name: "a foreign charset is read as UTF-8", state: "up", log: "charset=latin-1", stored: "a",
			serve: func(*rig) http.HandlerFunc {
				return func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream; charset=latin-1")
					fmt.Fprint(w, "data: a\n\n")
					w.(http.Flusher).Flush()
					<-q.Context().Done()
				}
			}},
	} {
		t.Run(strings.TrimSpace(c.id+" "+c.name), func(t *testing.T) {
			r := newRig(t)
			r.define(c.spec + ticksOnly)
			r.up.set(c.serve(r))
			r.run()
			if c.stored != "" {
				r.wantTexts(feedOf("/ticks"), c.stored)
			}
			r.wantState("/ticks", c.state)
			r.until("log says "+c.log, func() bool { return strings.Contains(r.log.String(), c.log) })
			if c.stored == "" && len(r.stored(feedOf("/ticks"))) != 0 {
				t.Errorf("stored %q", r.texts(feedOf("/ticks")))
			}
		})
	}
}

func gzipped(*rig) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "data: a\n\n")
		_ = z.Close()
	}
}

func TestU15RenamedEventIsNoMarker(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	r.up.set(text("event: gateway.gap\ndata: {\"reason\":\"oversize\"}\n\n")(r))
	r.run()
	r.until("stored", func() bool { return len(r.stored(feedOf("/ticks"))) == 1 })
	m := r.stored(feedOf("/ticks"))[0]
	if m.Gap || !strings.HasPrefix(string(m.Body), "event: upstream.gateway.gap\n") {
		t.Errorf("stored %+v %q", m, m.Body)
	}
}

func TestU17SilentUpstreamIsStalled(t *testing.T) {
	r := newRig(t)
	r.cfg.Upstream.Idle = 100 * time.Millisecond
	r.define(ticksOnly)
	r.up.set(text("data: a\n\n")(r))
	r.run()
	r.until("stalled", func() bool { return strings.Contains(r.log.String(), "no byte for the idle time") })
}

func TestU18UnfinishedEventIsStalled(t *testing.T) {
	r := newRig(t)
	r.cfg.Upstream.Assembly = 200 * time.Millisecond
	r.define(ticksOnly)
	r.up.set(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		drip := time.NewTicker(20 * time.Millisecond)
		defer drip.Stop()
		fmt.Fprint(w, "data: ")
		for {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
			select {
			case <-drip.C:
			case <-q.Context().Done():
				return
			}
		}
	})
	r.run()
	r.until("stalled", func() bool { return strings.Contains(r.log.String(), "an event was not finished in time") })
	if n := len(r.stored(feedOf("/ticks"))); n != 0 {
		t.Errorf("%d events stored", n)
	}
}

func TestU19AcceptThenCloseBacksOff(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	r.up.set(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") })
	r.run()
	r.until("third failure", func() bool { return strings.Contains(r.log.String(), "failures=3") })
	if st := r.status("/ticks"); st.State != "backoff" && st.State != "up" && st.State != "opening" {
		t.Errorf("status %+v", st)
	}
}

func TestU20EndInsideAnEventDiscardsIt(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	r.up.set(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Last-Event-ID") != "" {
			r.up.stream(w, q, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "id: 1\ndata: a\n\nid: 2\ndata: half")
	})
	r.run()
	r.wantTexts(feedOf("/ticks"), "a b")
}

func TestU21CertificateIsChecked(t *testing.T) {
	r := newRig(t)
	r.up.Server.Close()
	r.up = newTLSOrigin(t)
	newTape(r.up, true, true)
	r.define(ticksOnly)
	r.run()
	r.wantState("/ticks", "tls")
	if !strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("no error logged:\n%s", r.log)
	}
	if len(r.up.requests()) != 0 {
		t.Error("a request was sent over an unchecked connection")
	}
	r.define("  upstream: {tls: {insecureSkipVerify: true}}\n" + ticksOnly)
	r.wantState("/ticks", "up")
}

func TestU23UnknownName(t *testing.T) {
	r := newRig(t)
	r.up.URL = "http://no-such-host.invalid"
	r.define(ticksOnly)
	r.run()
	r.wantState("/ticks", "backoff")
	r.until("reason", func() bool { return strings.HasPrefix(r.status("/ticks").Why, "name ") })
}

func TestU5AddressThatIsForbidden(t *testing.T) {
	r := newRig(t)
	r.up.URL = "http://[::1]:1"
	r.define("  topics:\n    - {name: '/q/{s}', security: none}\n")
	r.run()
	e := r.edge("e1")
	e.open("/q/A")
	r.wantState("/q/A", "blocked")
	if got := e.open("/q/A").Refused; got != "blocked" {
		t.Errorf("refused %q", got)
	}
}

func TestCredentialsAreSentAndStayWithTheOrigin(t *testing.T) {
	r := newRig(t)
	other := newOrigin(t)
	newTape(other, true, true)
	r.up.set(func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, other.URL+"/moved", http.StatusTemporaryRedirect)
	})
	r.deps = func(d *Deps) {
		d.Secret = func(name string) (string, bool) { return "s3cret\n", name == "feed-token" }
	}
	r.define("  upstream: {headers: {X-Team: rates}, auth: {type: bearer, secret: feed-token}}\n" + ticksOnly)
	r.run()
	r.wantState("/ticks", "up")
	q := r.up.requests()[0]
	if q.Header.Get("Authorization") != "Bearer s3cret" || q.Header.Get("X-Team") != "rates" {
		t.Errorf("sent %v", q.Header)
	}
	q = other.requests()[0]
	if q.Header.Get("Authorization") != "" || q.Header.Get("X-Team") != "" || q.URL.Path != "/moved" {
		t.Errorf("sent to another origin: %s %v", q.URL, q.Header)
	}
	if strings.Contains(r.log.String(), "s3cret") {
		t.Error("the secret is in the log")
	}
	r.define("  upstream: {auth: {type: bearer, secret: other}}\n" + ticksOnly)
	r.wantState("/ticks", "auth")
}
