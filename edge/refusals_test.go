package edge

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"sluice/config"
	"sluice/internal/problem"
)

// Rows of the contract's table of bad input that refuse for good: exact status,
// type, header and log, and no stream opened. Each row is sent over a raw socket.
func TestRefusals(t *testing.T) {
	r := newRig(t, func(s *setup) { s.cfg.Edge.Hosts = []string{"localhost", "*.example.com"} })
	r.verdicts.Store("/quotes/GONE", "missing")
	get := func(target string, lines ...string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headerLines(lines) + "\r\n"
	}
	long := "/market/1.0.0/" + strings.Repeat("a", 2048-len("/market/1.0.0/"))
	for _, c := range []struct {
		name    string
		request string
		status  int
		kind    problem.Kind
		header  map[string]string // exact values; "" = absent
		log     string            // event, "" = none
		part    string            // parameter named
	}{
		{name: "D1 unknown context", request: get("/nothing/1/x"), status: 404, kind: problem.NoSuchAPI},
		{name: "D1 the root", request: get("/"), status: 404, kind: problem.NoSuchAPI},
		{name: "D2 unknown topic of a protected API", request: get("/mixed/1/nope"), status: 401, kind: problem.MissingToken,
			header: map[string]string{"Www-Authenticate": `Bearer realm="sluice"`}},
		{name: "D2 known topic of a protected API", request: get("/mixed/1/secret"), status: 401, kind: problem.MissingToken,
			header: map[string]string{"Www-Authenticate": `Bearer realm="sluice"`}},
		{name: "unknown topic of an open API", request: get("/market/1.0.0/nope"), status: 404, kind: problem.NoSuchTopic},
		{name: "D3 POST", request: "POST /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", status: 405,
			kind: problem.MethodNotAllowed, header: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
		{name: "D3 FOO", request: "FOO /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\n\r\n", status: 405,
			kind: problem.MethodNotAllowed, header: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
		{name: "D4 Accept json", request: get("/market/1.0.0/ticks", "Accept: application/json"), status: 406, kind: problem.NotAcceptable},
		{name: "D4 Accept q=0", request: get("/market/1.0.0/ticks", "Accept: text/event-stream;q=0"), status: 406, kind: problem.NotAcceptable},
		{name: "D5 encoded slash after dots", request: get("/m/1/..%2fx"), status: 400, kind: problem.InvalidPath, log: "path.reject",
			header: map[string]string{"Location": ""}},
		{name: "D5 encoded dot segment", request: get("/m/%2e%2e/x"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 dot segment", request: get("/market/1.0.0/../1.0.0/ticks"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 two slashes", request: get("//market"), status: 400, kind: problem.InvalidPath, log: "path.reject",
			header: map[string]string{"Location": ""}},
		{name: "D5 trailing slash", request: get("/market/1.0.0/ticks/"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 semicolon", request: get("/m;a=1/t"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 encoded backslash", request: get("/m/%5c"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 backslash", request: get(`/m/\x`), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D5 raw é", request: get("/market/1.0.0/é"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D6 double encoding stays literal", request: get("/market/1.0.0/%252e%252e"), status: 404, kind: problem.NoSuchTopic},
		{name: "D7 NUL", request: get("/market/1.0.0/%00"), status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D9 1,025 bytes of id", request: get("/market/1.0.0/ticks", "Last-Event-ID: "+strings.Repeat("a", 1025)), status: 400,
			kind: problem.InvalidLastEventID, log: "request.reject"},
		{name: "D9 NUL in a query id", request: get("/market/1.0.0/ticks?lastEventId=%00"), status: 400, kind: problem.InvalidLastEventID,
			log: "request.reject"},
		{name: "D14 two ids", request: get("/market/1.0.0/ticks", "Last-Event-ID: a-1", "Last-Event-ID: b-2"), status: 400,
			kind: problem.DuplicateHeader, log: "request.reject"},
		{name: "two Authorization", request: get("/market/1.0.0/ticks", "Authorization: Bearer a", "Authorization: Bearer b"), status: 400,
			kind: problem.DuplicateHeader, log: "request.reject"},
		{name: "D16 token in the query", request: get("/market/1.0.0/ticks?access_token=canary-value"), status: 401, kind: problem.TokenInQuery,
			log: "token.query"},
		{name: "D23 two kinds of length", request: "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			status: 400, kind: problem.UnexpectedBody, log: "request.reject", header: map[string]string{"Connection": "close"}},
		{name: "D31 a body of 10 GB", request: "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\nxxxx",
			status: 400, kind: problem.UnexpectedBody, log: "request.reject", header: map[string]string{"Connection": "close"}},
		{name: "D27 preflight of an unlisted origin", request: "OPTIONS /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.com.evil.org\r\nAccess-Control-Request-Method: GET\r\n\r\n",
			status: 403, kind: problem.CORSForbidden, header: map[string]string{"Access-Control-Allow-Origin": ""}},
		{name: "D27 preflight of null", request: "OPTIONS /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nAccess-Control-Request-Method: GET\r\n\r\n",
			status: 403, kind: problem.CORSForbidden, header: map[string]string{"Access-Control-Allow-Origin": ""}},
		{name: "D29 foreign Host", request: "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: evil.org\r\n\r\n", status: 421, kind: problem.Misdirected},
		{name: "D29 absolute form", request: "GET http://evil.org/market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\n\r\n", status: 421, kind: problem.Misdirected},
		{name: "D32 https only", request: get("/tls/1/t"), status: 403, kind: problem.HTTPSRequired, log: "transport.reject",
			header: map[string]string{"Location": ""}},
		{name: "D28 a spoofed proto", request: get("/tls/1/t", "X-Forwarded-Proto: https", "X-Forwarded-For: 127.0.0.1"), status: 403,
			kind: problem.HTTPSRequired, log: "transport.reject"},
		{name: "D33 since banana", request: get("/market/1.0.0/ticks?since=banana"), status: 400, kind: problem.InvalidQuery, log: "request.reject", part: "since"},
		{name: "D33 from=last:0", request: get("/market/1.0.0/ticks?from=last:0"), status: 400, kind: problem.InvalidQuery, log: "request.reject", part: "from"},
		{name: "D33 control=foo", request: get("/market/1.0.0/ticks?control=foo"), status: 400, kind: problem.InvalidQuery, log: "request.reject", part: "control"},
		{name: "allow-listed name out of its grammar", request: get("/market/1.0.0/quotes/ACME?depth=xx"), status: 400, kind: problem.InvalidQuery,
			log: "request.reject", part: "depth"},
		{name: "allow-listed name twice", request: get("/market/1.0.0/quotes/ACME?depth=1&depth=1"), status: 400, kind: problem.InvalidQuery,
			log: "request.reject", part: "depth"},
		{name: "D34 a param that fails beside a wildcard", request: get("/wild/1/q/lower"), status: 404, kind: problem.NoSuchTopic},
		{name: "D35 a path of 2,049 bytes", request: get(long + "b"), status: 414, kind: problem.URITooLong, log: "path.reject",
			header: map[string]string{"Connection": "close"}},
		{name: "a path of 2,048 bytes", request: get(long), status: 404, kind: problem.NoSuchTopic},
		{name: "a query of 8,193 bytes", request: get("/market/1.0.0/ticks?" + strings.Repeat("q", 8193)), status: 414, kind: problem.URITooLong, log: "path.reject",
			header: map[string]string{"Connection": "close"}},
		{name: "D36 OPTIONS *", request: "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", status: 400, kind: problem.InvalidPath, log: "path.reject"},
		{name: "D38 blocked, never shed", request: get("/blocked/1/t", "Accept: text/event-stream"), status: 503, kind: problem.APIBlocked,
			header: map[string]string{"Retry-After": "60"}},
		{name: "D38 retired", request: get("/retired/1/t"), status: 404, kind: problem.NoSuchAPI},
		{name: "D38 created", request: get("/created/1/t"), status: 404, kind: problem.NoSuchAPI},
		{name: "D39 the upstream says 404", request: get("/market/1.0.0/quotes/GONE"), status: 404, kind: problem.NoSuchFeed},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := len(r.logs.events(c.log))
			refused := r.count("sluice_edge_refused_total", "type="+string(c.kind))
			a := r.raw(c.request)
			body := a.text(t)
			if a.StatusCode != c.status || a.Header.Get("Content-Type") != "application/problem+json" ||
				a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Fatalf("%d %v\n%s", a.StatusCode, a.Header, body)
			}
			want := problem.Problem{Type: c.kind.Type(), Title: c.kind.Title(), Status: c.status, Instance: a.Header.Get("X-Request-Id")}
			var got problem.Problem
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Type != want.Type || got.Title != want.Title || got.Status != want.Status || got.Instance != want.Instance || got.Instance == "" {
				t.Errorf("problem %+v, want %+v", got, want)
			}
			if c.part != "" && (len(got.Errors) != 1 || got.Errors[0].Parameter != c.part) {
				t.Errorf("parts %+v, want %s", got.Errors, c.part)
			}
			for k, v := range c.header {
				if have := a.Header.Get(k); k != "Connection" && have != v {
					t.Errorf("%s: %q, want %q", k, have, v)
				}
			}
			if a.Close != (c.header["Connection"] == "close") {
				t.Errorf("Connection: close is %v", a.Close)
			}
			if n := len(r.logs.events(c.log)) - logged; c.log != "" && n != 1 && !suppressed(r, c.log) {
				t.Errorf("%d lines %q, want 1", n, c.log)
			}
			if n := r.count("sluice_edge_refused_total", "type="+string(c.kind)) - refused; n != 1 {
				t.Errorf("counted %v times", n)
			}
			if strings.Contains(body, "canary") || strings.Contains(body, "evil") {
				t.Errorf("the body echoes the request: %s", body)
			}
		})
	}
	if n := r.srv.Open(); n != 0 || r.srv.admit.open() != 0 {
		t.Errorf("%d streams, %d seats after refusals only", n, r.srv.admit.open())
	}
	if text := r.logs.text(); strings.Contains(text, "canary-value") {
		t.Error("the log holds a credential")
	}
}

// suppressed tells whether lines of an event were kept back: ten a second pass.
func suppressed(r *rig, event string) bool {
	return r.count("sluice_edge_log_suppressed_total", "event="+event) > 0
}

// D1, D38: an API that is unknown, created or retired answers with the same bytes.
func TestUnknownAPIsLookAlike(t *testing.T) {
	r := newRig(t)
	var first string
	for _, target := range []string{"/nothing/1/t", "/created/1/t", "/retired/1/t"} {
		a := r.get(target)
		body := strings.ReplaceAll(a.text(t), a.Header.Get("X-Request-Id"), "")
		a.Header.Del("X-Request-Id")
		a.Header.Del("Date")
		got := headText(a) + body
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s: %q, want %q", target, got, first)
		}
	}
}

// D2: an unknown topic of a protected API answers as a known one does.
func TestUnknownTopicOfAProtectedAPILooksKnown(t *testing.T) {
	r := newRig(t)
	var first string
	for _, target := range []string{"/mixed/1/secret", "/mixed/1/nope", "/mixed/1/secret/deeper"} {
		a := r.get(target)
		body := strings.ReplaceAll(a.text(t), a.Header.Get("X-Request-Id"), "")
		a.Header.Del("X-Request-Id")
		a.Header.Del("Date")
		got := headText(a) + body
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s: %q, want %q", target, got, first)
		}
	}
}

func headText(a *answer) string {
	var b strings.Builder
	b.WriteString(a.Status + "\n")
	_ = a.Header.Write(&b)
	return b.String()
}

// Rows that net/http answers by itself: text and close, or silence.
func TestBrokenRequests(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ name, request, status string }{
		{"D7 broken escape", "GET /market/%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		{"D7 tab in the target", "GET /market/\tx HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		{"D17 headers of 40 KiB", "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", "431"},
		{"D23 two lengths", "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400"},
		{"D23 space before the colon", "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\nx", "400"},
		{"no Host", "GET /market/1.0.0/ticks HTTP/1.1\r\n\r\n", "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(conn) // a reset after the answer is fine
			if !strings.HasPrefix(string(got), "HTTP/1.1 "+c.status) || strings.Count(string(got), "HTTP/1.1 ") != 1 {
				t.Errorf("answer %q, want one %s", got, c.status)
			}
		})
	}
	if n := r.srv.Open(); n != 0 {
		t.Errorf("%d streams open", n)
	}
}

// Temporary refusals: an SSE request gets a stream that ends at once, another one, or
// who asks for it, the status. D20–D22, D40, D41.
func TestShed(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   problem.Kind
		status int
		event  string
		change func(*setup)
		before func(*rig)
		target string
		lines  []string
	}{
		{name: "D21 node full", kind: problem.Overloaded, status: 503, event: "conn.overload",
			change: func(s *setup) { s.cfg.Edge.MaxConnections = 1 },
			before: func(r *rig) { r.get("/market/1.0.0/ticks").takeRetry(r.t) }},
		{name: "D21 memory full", kind: problem.Overloaded, status: 503, event: "conn.overload",
			before: func(r *rig) { r.srv.admit.memory.Store(true) }},
		{name: "D20 streams of an address", kind: problem.TooManyConnections, status: 429, event: "conn.limit",
			change: func(s *setup) { trustLoopback(s); s.cfg.Edge.PerIP.Streams = 1 },
			before: func(r *rig) { r.get("/market/1.0.0/ticks", "X-Forwarded-For: 203.0.113.5").takeRetry(r.t) },
			lines:  []string{"X-Forwarded-For: 203.0.113.5"}},
		{name: "D22 draining", kind: problem.Draining, status: 503, before: func(r *rig) { r.srv.phase.Store(phaseClosed) }},
		{name: "D40 too many feeds", kind: problem.TooManyFeeds, status: 429, event: "feed.limit", target: "/market/1.0.0/quotes/FULL",
			before: func(r *rig) { r.verdicts.Store("/quotes/FULL", "refused:cap") }},
		{name: "D41 broker down", kind: problem.BrokerUnavailable, status: 503, event: "broker.unavailable",
			before: func(r *rig) { r.node.Cut() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*setup) {}
			}
			r := newRig(t, change)
			c.before(r)
			target := c.target
			if target == "" {
				target = "/market/1.0.0/ticks"
			}
			open, seats := r.srv.Open(), r.srv.admit.open()

			a := r.get(target, append(c.lines, "Accept: text/event-stream")...)
			if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" || !a.Close || a.ContentLength != -1 {
				t.Fatalf("shed: %d %v", a.StatusCode, a.Header)
			}
			ms := a.takeRetry(t)
			if ms < 5000 || ms > 30000 || a.Header.Get("Retry-After") != itoa((ms+999)/1000) {
				t.Errorf("retry %d, Retry-After %s", ms, a.Header.Get("Retry-After"))
			}
			want := "event: gateway.end\ndata: {\"reason\":\"" + string(c.kind) + "\",\"retryable\":true,\"retryAfterMs\":" + itoa(ms) + "}\n\n"
			if got := a.text(t); got != want {
				t.Errorf("shed %q, want %q", got, want)
			}
			for _, plain := range []*answer{r.get(target, append(c.lines, "Accept: */*")...),
				r.get(target+"?errors=status", append(c.lines, "Accept: text/event-stream")...)} {
				if plain.StatusCode != c.status || plain.Header.Get("Retry-After") == "" || !strings.Contains(plain.text(t), c.kind.Type()) {
					t.Errorf("status: %d %v", plain.StatusCode, plain.Header)
				}
			}
			if c.event != "" && len(r.logs.events(c.event)) == 0 {
				t.Errorf("no line %q in %s", c.event, r.logs.text())
			}
			if n := r.count("sluice_edge_sheds_total", "type="+string(c.kind)); n != 1 {
				t.Errorf("%v sheds counted", n)
			}
			if r.srv.Open() != open || r.srv.admit.open() != seats {
				t.Errorf("streams %d→%d, seats %d→%d", open, r.srv.Open(), seats, r.srv.admit.open())
			}
		})
	}
}

func trustLoopback(s *setup) { s.cfg.Edge.TrustedProxies = prefixes("127.0.0.0/8") }

// edge.shed and client.shed decide for everybody.
func TestShedSettings(t *testing.T) {
	for _, c := range []struct {
		shed   config.Shed
		accept string
		status int
	}{
		{config.ShedAuto, "text/event-stream", 200}, {config.ShedAuto, "*/*", 503},
		{config.ShedSSE, "*/*", 200}, {config.ShedStatus, "text/event-stream", 503},
	} {
		r := newRig(t, func(s *setup) { s.cfg.Edge.Shed = c.shed })
		r.srv.admit.memory.Store(true)
		// The API inherits the catalog's default, auto, unless it says otherwise.
		if a := r.get("/nothing/1/t", "Accept: "+c.accept); a.StatusCode != c.status {
			t.Errorf("%s, Accept %s: %d, want %d", c.shed, c.accept, a.StatusCode, c.status)
		}
		r.stop()
	}
}

func TestNotReadyBeforeTheFirstDefinitions(t *testing.T) {
	r := newRig(t, func(s *setup) { s.unready = true })
	if a := r.get("/market/1.0.0/ticks", "Accept: text/event-stream", "X: y"); a.StatusCode != 200 {
		t.Errorf("shed: %d", a.StatusCode)
	}
	a := r.get("/market/1.0.0/ticks")
	if body := a.text(t); a.StatusCode != 503 || !strings.Contains(body, "/problems/not-ready") {
		t.Errorf("%d %s", a.StatusCode, body)
	}
}
