package edge

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// A client joins live, gets an event as stored, leaves, comes back with its id and
// gets exactly what it missed: over the real broker.
func TestStreamAndResume(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) { s.node = brokertest.Start(t) })
		ticks := feedOf("market", "1.0.0", "/ticks")
		first := r.get("/market/1.0.0/ticks", "Accept: text/event-stream")
		if first.StatusCode != 200 {
			t.Fatalf("%d %s", first.StatusCode, first.text(t))
		}
		if ms := first.takeRetry(t); ms < 2000 || ms > 5000 {
			t.Errorf("retry %d", ms)
		}
		one := r.publish(ticks, "one")[0]
		first.take(t, frame("one", one))
		_ = first.conn.Close()
		wait(t, "the first stream is closed", func() bool { return len(r.logs.events("conn.close")) == 1 })
		missed := r.publish(ticks, "two", "three")

		again := r.get("/market/ticks", "Last-Event-ID: "+eventID(one)) // the default version
		again.takeRetry(t)
		again.take(t, frame("two", missed[0])+frame("three", missed[1]))
		four := r.publish(ticks, "four")[0]
		again.take(t, frame("four", four))
		_ = again.conn.Close()

		wait(t, "both streams are closed", func() bool { return len(r.logs.events("conn.close")) == 2 })
		line := r.logs.events("conn.close")[1]
		for k, want := range map[string]any{"end": "client", "start": "id", "resume": "exact", "api": "market", "version": "1.0.0",
			"topic": "/ticks", "feed": ticks.String(), "proto": "HTTP/1.1", "tls": false, "events": 3.0, "last_id": eventID(four), "gaps": 0.0} {
			if line[k] != want {
				t.Errorf("conn.close %s=%v, want %v", k, line[k], want)
			}
		}
		wait(t, "seats are back", func() bool { return r.srv.admit.open() == 0 && r.srv.Open() == 0 })
		if n := r.count("sluice_edge_resumes_total", "result=exact"); n != 1 {
			t.Errorf("%v exact resumes counted", n)
		}
		if n, sum := r.observed("sluice_edge_resume_events"); n != 1 || sum != 2 {
			t.Errorf("%d resumes with %v events behind, want one with two", n, sum)
		}
		if n, _ := r.observed("sluice_edge_resume_seconds"); n != 1 {
			t.Errorf("%d resumes timed, want one", n)
		}
	})
}

// The starts that need no id, and the id in the query. Each on a feed of its own.
func TestStarts(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		for i, c := range []struct {
			query string // %s = the second event's time, %i its id
			from  int    // first of a, b, c that comes; 3 = none
		}{
			{"", 3}, {"?from=live", 3}, {"?since=2999-01-01T00:00:00Z", 3},
			{"?from=earliest", 0}, {"?lastEventId=earliest", 0}, {"?from=last:9", 0}, {"?since=2001-01-01T00:00:00%2B01:00", 0},
			{"?from=last", 2}, {"?from=last:2", 1}, {"?since=%s", 1}, {"?lastEventId=%i", 2}, {"?last_event_id=%i&from=earliest", 2},
		} {
			path := "/start" + itoa(i)
			f := feedOf("wild", "1", path)
			at := r.publish(f, "a", "b", "c")
			since := time.UnixMicro(at[1].Micros).UTC().Format("2006-01-02T15:04:05.000000Z")
			query := strings.NewReplacer("%s", since, "%i", eventID(at[1])).Replace(c.query)
			a := r.get("/wild/1" + path + query)
			a.takeRetry(t)
			for k := c.from; k < len(at); k++ {
				a.take(t, frame(string(rune('a'+k)), at[k]))
			}
			a.take(t, frame("d", r.publish(f, "d")[0]))
		}
		early := feedOf("market", "1.0.0", "/early") // the topic's own start
		at := r.publish(early, "a", "b")
		a := r.get("/market/1.0.0/early")
		a.takeRetry(t)
		a.take(t, frame("a", at[0])+frame("b", at[1]))
	})
}

// Rows 5–8 and 10 of the answers to a presented id, as bytes behind the retry line.
func TestUselessIDsAreTold(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		ticks := feedOf("market", "1.0.0", "/ticks")
		r.publish(ticks, "a", "b")
		const unknown = `{"reason":"unknown","from":null,"to":null,"possible":true}`
		reset := func(id string) string {
			return `{"reason":"reset","from":"` + id + `","to":null,"possible":true,"doubles":true}`
		}
		for _, c := range []struct {
			name string
			id   func(last broker.Position) string
			gap  func(id string) string
		}{
			{"D8 row 10 malformed", func(broker.Position) string { return "banana" }, func(string) string { return unknown }},
			{"D8 row 10 not canonical", func(broker.Position) string { return "01-1" }, func(string) string { return unknown }},
			{"D11 row 5 other time", func(p broker.Position) string { return eventID(broker.Position{Seq: p.Seq, Micros: p.Micros + 7}) }, reset},
			{"D11 row 7 ahead", func(p broker.Position) string {
				return eventID(broker.Position{Seq: p.Seq + 1_000_000, Micros: p.Micros + 1})
			}, reset},
		} {
			t.Run(c.name, func(t *testing.T) {
				began := time.Now()
				id := c.id(r.written[ticks])
				a := r.get("/market/1.0.0/ticks", "Last-Event-ID: "+id)
				if a.StatusCode != 200 {
					t.Fatalf("%d %s", a.StatusCode, a.text(t))
				}
				a.takeRetry(t)
				a.take(t, "event: gateway.gap\ndata: "+c.gap(id)+"\n\n")
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("told after %v", d)
				}
				next := r.publish(ticks, "next "+c.name)[0]
				a.take(t, frame("next "+c.name, next))
				_ = a.conn.Close()
			})
		}
		if len(r.logs.events("resume.gap")) != 4 {
			t.Errorf("resume.gap lines: %v", r.logs.events("resume.gap"))
		}
	})
}

// D15: more than one resume carries is told, and the newest part sent.
func TestBacklogLimit(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) { s.cfg.Edge.Resume.MaxEvents = 2 })
		ticks := feedOf("market", "1.0.0", "/ticks")
		at := r.publish(ticks, "a", "b", "c", "d")
		a := r.get("/market/1.0.0/ticks", "Last-Event-ID: "+eventID(at[0]))
		a.takeRetry(t)
		a.take(t, "event: gateway.gap\ndata: {\"reason\":\"backlog-limit\",\"from\":\""+eventID(at[0])+"\",\"to\":\""+eventID(at[2])+
			"\",\"possible\":false}\n\n"+frame("c", at[2])+frame("d", at[3]))
	})
}

// D30: HEAD has GET's checks, status and header, and opens nothing.
func TestHead(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		get := r.get("/market/1.0.0/ticks")
		head := r.raw("HEAD /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for _, a := range []*answer{get, head} {
			a.Header.Del("Date")
			a.Header.Del("X-Request-Id")
		}
		if g, h := headText(get), headText(head); g != h {
			t.Errorf("HEAD %q\nGET %q", h, g)
		}
		if n := r.srv.Open(); n != 1 {
			t.Errorf("%d streams open", n)
		}
	})
}

// D37: HTTP/1.0, Upgrade and Range change nothing but the version of the answer.
func TestOddRequestsGetAStream(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		ticks := feedOf("market", "1.0.0", "/ticks")
		for _, request := range []string{
			"GET /market/1.0.0/ticks HTTP/1.0\r\n\r\n",
			"GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
			"GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\nIf-None-Match: *\r\nExpect: 100-continue\r\nAccept-Encoding: gzip\r\n\r\n",
			"GET http://anything/market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /%6darket/1%2E0.0/t%69cks HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			a := r.raw(request)
			if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
				t.Fatalf("%q: %d %v", request, a.StatusCode, a.Header)
			}
			a.takeRetry(t)
			p := r.publish(ticks, "x")[0]
			a.take(t, frame("x", p))
			_ = a.conn.Close()
		}
	})
}

// The head of a stream, by its lines.
func TestHeadLines(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, trustLoopback)
		a := r.get("/tls/1/t", "X-Forwarded-Proto: https", "X-Request-ID: my.id-1")
		want := http.Header{
			"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-store, no-transform"}, "X-Accel-Buffering": {"no"},
			"X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"my.id-1"}, "Connection": {"close"}, "Deprecation": {"@0"},
		}
		if _, err := http.ParseTime(a.Header.Get("Date")); err != nil {
			t.Error(err)
		}
		a.Header.Del("Date")
		var got, wanted strings.Builder
		_ = a.Header.Write(&got)
		want.Del("Connection") // ReadResponse took it out
		_ = want.Write(&wanted)
		if got.String() != wanted.String() || !a.Close {
			t.Errorf("head\n%swant\n%s", got.String(), wanted.String())
		}
	})
}

func TestCORS(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		a := r.get("/market/1.0.0/ticks", "Origin: https://app.example.com")
		for k, want := range map[string]string{"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers": "X-Request-ID, Retry-After", "Vary": "Origin"} {
			if got := a.Header.Get(k); got != want {
				t.Errorf("%s: %q, want %q", k, got, want)
			}
		}
		for _, origin := range []string{"https://evil.org", "null", "https://app.example.com.evil.org", "https://APP.example.com"} { // D27
			a := r.get("/market/1.0.0/ticks", "Origin: "+origin)
			if a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Vary") != "Origin" {
				t.Errorf("%s: %d %v", origin, a.StatusCode, a.Header)
			}
		}
		p := r.get("/market/1.0.0/nope", "Origin: https://app.example.com")
		if p.StatusCode != 404 || p.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("a problem must be readable too: %d %v", p.StatusCode, p.Header)
		}
		f := r.raw("OPTIONS /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\nAccess-Control-Request-Method: GET\r\n" +
			"Access-Control-Request-Headers: last-event-id\r\n\r\n")
		for k, want := range map[string]string{"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "GET",
			"Access-Control-Allow-Headers": "Authorization, ApiKey, Last-Event-ID, Cache-Control", "Access-Control-Max-Age": "600"} {
			if got := f.Header.Get(k); got != want || f.StatusCode != 204 {
				t.Errorf("preflight %d %s: %q, want %q", f.StatusCode, k, got, want)
			}
		}
		if o := r.raw("OPTIONS /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\n\r\n"); o.StatusCode != 204 || o.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("OPTIONS: %d %v", o.StatusCode, o.Header)
		}
		if a := r.get("/mixed/1/open", "Origin: https://app.example.com"); a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Vary") != "" {
			t.Errorf("an API without origins: %v", a.Header)
		}
	})
}

// Chunked framing: each write is a chunk, the last one ends the body.
func TestChunkedFraming(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) { s.apis = withFraming(testAPIs) })
		a := r.get("/market/1.0.0/ticks")
		if len(a.TransferEncoding) != 1 || a.TransferEncoding[0] != "chunked" {
			t.Fatalf("%v %v", a.TransferEncoding, a.Header)
		}
		a.takeRetry(t)
		p := r.publish(feedOf("market", "1.0.0", "/ticks"), "x")[0]
		a.take(t, frame("x", p))
		r.drain()
		if rest := a.text(t); !strings.Contains(rest, `"reason":"drain"`) {
			t.Errorf("end %q", rest)
		}
	})
}

func withFraming(apis string) string {
	return strings.Replace(apis, "  cors: {origins:", "  client: {framing: chunked}\n  cors: {origins:", 1)
}

func (r *rig) drain() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.srv.Drain(ctx); err != nil {
		r.t.Error(err)
	}
}

// D23: a second request behind the first never gets a second answer.
func TestPipelinedRequestIsNotAnswered(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		a := r.raw("GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\n\r\nGET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\n\r\n")
		if a.StatusCode == 200 {
			r.drain()
		}
		if body := a.text(t); strings.Contains(body, "HTTP/1.1") {
			t.Errorf("a second answer: %q", body)
		}
	})
}

// Over TLS: HTTP/2 with many streams on one connection, HTTP/1.1, and what an API's
// transports allow.
func TestTLS(t *testing.T) {
	r := newRig(t, devTLS)
	ticks := feedOf("market", "1.0.0", "/ticks")
	client := r.tlsClient()
	var bodies []io.ReadCloser
	for range 100 {
		resp, err := client.Get("https://" + r.tlsAddr + "/market/1.0.0/ticks")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.Header.Get("Connection") != "" {
			t.Fatalf("%d %s %v", resp.StatusCode, resp.Proto, resp.Header)
		}
		bodies = append(bodies, resp.Body)
	}
	want := frame("x", r.publish(ticks, "x")[0])
	form := regexp.MustCompile(`^retry: \d+\n` + regexp.QuoteMeta(want) + `$`)
	for i, b := range bodies {
		got := make([]byte, len("retry: 1234\n")+len(want))
		if _, err := io.ReadFull(b, got); err != nil || !form.Match(got) {
			t.Fatalf("stream %d: %q (%v)", i, got, err)
		}
	}
	if n := r.count("sluice_edge_connections", "listener=edge-https", "proto=HTTP/2"); n != 100 {
		t.Errorf("%v h2 streams counted", n)
	}
	resp, err := client.Get("https://" + r.tlsAddr + "/plain/1/t")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 403 || !strings.Contains(string(body), "/problems/transport-not-allowed") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}}}
	if resp, err := old.Get("https://" + r.tlsAddr + "/market/1.0.0/ticks"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 was accepted")
	}
	wait(t, "the failed handshake is counted", func() bool { return r.count("sluice_edge_tls_handshake_errors_total") >= 1 })
	r.drain()
}

func TestTLSWithHTTP11Only(t *testing.T) {
	r := newRig(t, devTLS, func(s *setup) { s.cfg.Edge.HTTPS.ALPN = []string{"http/1.1"} })
	resp, err := r.tlsClient().Get("https://" + r.tlsAddr + "/tls/1/t")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("%s %d %v", resp.Proto, resp.StatusCode, resp.Header)
	}
	p := r.publish(feedOf("tls", "1", "/t"), "x")[0]
	got := make([]byte, len("retry: 1234\n")+len(frame("x", p)))
	if _, err := io.ReadFull(resp.Body, got); err != nil || !strings.HasSuffix(string(got), frame("x", p)) {
		t.Errorf("%q (%v)", got, err)
	}
}

func devTLS(s *setup) {
	s.cfg.Edge.HTTPS = config.EdgeHTTPS{Addr: "127.0.0.1:0", ALPN: []string{"h2", "http/1.1"}, DevTLS: true}
}

func (r *rig) tlsClient() *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// The drain's steps: not ready at once, streams told and closed, late requests shed,
// listener closed.
func TestDrain(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) { s.cfg.Edge.ReadyPath = "/_ready" })
		if a := r.get("/_ready"); a.StatusCode != 204 {
			t.Errorf("ready: %d", a.StatusCode)
		}
		var streams []*answer
		for range 20 {
			a := r.get("/market/1.0.0/ticks")
			a.takeRetry(t)
			streams = append(streams, a)
		}
		idle := r.raw("HEAD /nothing/1/t HTTP/1.1\r\nHost: x\r\n\r\n") // its connection stays open
		_ = idle
		r.drain()
		end := regexp.MustCompile(`^retry: (\d+)\nevent: gateway\.end\ndata: \{"reason":"drain","retryable":true,"retryAfterMs":(\d+)\}\n\n$`)
		for i, a := range streams {
			if got := a.text(t); !end.MatchString(got) {
				t.Errorf("stream %d ended with %q", i, got)
			}
		}
		if !r.srv.Draining() {
			t.Error("not draining")
		}
		if resp, err := http.Get("http://" + r.addr + "/market/1.0.0/ticks"); err == nil {
			resp.Body.Close()
			t.Error("the listener is still open")
		}
		wait(t, "all are gone", func() bool { return r.srv.Open() == 0 })
		if n := r.count("sluice_edge_draining"); n != 1 {
			t.Errorf("draining gauge %v", n)
		}
	})
}

// What a change of the definitions does to open streams.
func TestWarden(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		for _, c := range []struct {
			name, old, new string
			reason         string // "" = the stream stays
		}{
			{"text changed", "metadata: {name: market}", "metadata: {name: market, description: other}", ""},
			{"another topic added", "    - {name: /quiet, security: none}", "    - {name: /quiet, security: none}\n    - {name: /more, security: none}", ""},
			{"topic removed", "    - {name: /ticks, security: none}\n", "", "topic-deleted"},
			{"topic secured", "    - {name: /ticks, security: none}", "    - {name: /ticks}", "access-changed"},
			{"blocked", "state: PUBLISHED\n  cors", "state: BLOCKED\n  cors", "api-blocked"},
			{"demoted", "state: PUBLISHED\n  cors", "state: CREATED\n  cors", "api-unpublished"},
			{"retired", "state: PUBLISHED\n  cors", "state: RETIRED\n  cors", "api-retired"},
			{"transport closed", "endpoint: http://127.0.0.1:1\n  state: PUBLISHED\n  cors", "endpoint: http://127.0.0.1:1\n  transports: [https]\n  state: PUBLISHED\n  cors", "transport-closed"},
			{"deleted", "metadata: {name: market}", "metadata: {name: bazaar}", "api-deleted"},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, engine)
				a := r.get("/market/1.0.0/ticks")
				a.takeRetry(t)
				other := r.get("/wild/1/x")
				other.takeRetry(t)
				next := strings.Replace(testAPIs, c.old, c.new, 1)
				if next == testAPIs {
					t.Fatal("the change changes nothing")
				}
				began := time.Now()
				r.replace(next)
				if c.reason != "" {
					got := a.text(t)
					if !strings.Contains(got, `{"reason":"`+c.reason+`","retryable":false,`) {
						t.Errorf("end %q, want %s", got, c.reason)
					}
					if d := time.Since(began); d > 5*time.Second {
						t.Errorf("told after %v", d)
					}
				} else {
					p := r.publish(feedOf("market", "1.0.0", "/ticks"), "x")[0]
					a.take(t, frame("x", p))
				}
				p := r.publish(feedOf("wild", "1", "/x"), "y")[0]
				other.take(t, frame("y", p))
			})
		}
	})
}

// A life of zero spread ends a stream on time, with a short delay to come back.
func TestLifetime(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) { s.cfg.Fanout.Life = config.FanoutLife{Max: 300 * time.Millisecond} })
		a := r.get("/market/1.0.0/ticks")
		a.takeRetry(t)
		if got := a.text(t); !strings.Contains(got, `{"reason":"lifetime","retryable":true,`) {
			t.Errorf("end %q", got)
		}
	})
}

// Who came without a version is sent to the new default; who named it stays.
func TestDefaultVersionMoves(t *testing.T) {
	r := newRig(t, func(s *setup) { s.moveOver = 50 * time.Millisecond })
	byDefault := r.get("/market/ticks")
	byDefault.takeRetry(t)
	named := r.get("/market/1.0.0/ticks")
	named.takeRetry(t)
	r.replace(strings.Replace(testAPIs, "  default: true\n", "", 1))
	if got := byDefault.text(t); !strings.Contains(got, `{"reason":"version-moved","retryable":true,`) {
		t.Errorf("end %q", got)
	}
	p := r.publish(feedOf("market", "1.0.0", "/ticks"), "x")[0]
	named.take(t, frame("x", p))
}
