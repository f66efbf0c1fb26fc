package badinput

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/gateway"
)

// TestEdge sends what clients can send.
func TestEdge(t *testing.T) {
	t.Parallel()
	f := load(t, "edge")
	for _, name := range slices.Sorted(maps.Keys(f.Fixtures)) {
		fix := f.Fixtures[name]
		if len(fix.Engines) == 0 {
			fix.Engines = []string{"auto"}
		}
		for _, engine := range fix.Engines {
			t.Run(name+" "+engine, func(t *testing.T) {
				t.Parallel()
				var cases []Case
				for _, c := range f.Cases {
					if onOrMain(c) == name && (c.Engine == "" || c.Engine == engine && runtime.GOOS == "linux") {
						cases = append(cases, c)
					}
				}
				r := newRig(t, fix, engine)
				if fix.Drain {
					r.drainCases(cases)
				} else {
					for _, c := range cases {
						t.Run(c.ID, func(t *testing.T) {
							ran(t, c.ID)
							r.edgeCase(t, c)
						})
					}
				}
				r.end()
			})
		}
	}
}

// edgeCase sends one case and checks everything around it. If the log was full of such lines it is sent again, as one of
// them must be seen.
func (r *rig) edgeCase(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		if !r.attempt(t, c) || t.Failed() {
			return
		}
		<-tick.C
	}
	t.Error("its log line is kept back every time")
}

// attempt is one sending; true means that its log line was kept back.
func (r *rig) attempt(t *testing.T, c Case) (again bool) {
	if r.doors != nil {
		r.doors.prepare(t, c)
	}
	c.Want.Body = r.expand(c.Want.Body) // ids count from what there is now
	r.fed = nil
	for i, w := range r.watched {
		if i == 0 || w.Feed == c.Send.Emit {
			r.fed = append(r.fed, w.name())
		}
	}
	held := r.hold(t, c.Send.Hold, r.expandAll(c.Send.As)...)
	counts := r.metrics()
	before := r.stateAt(counts)
	if c.Send.Away {
		r.away(t)
	}
	switch {
	case c.Send.H2 != "":
		r.frames(t, c)
	case c.Send.Crowd > 0:
		r.crowd(t, c)
	default:
		n := r.exchange(t, c)
		if n.slow {
			r.release(t, held, before)
			return true
		}
		if r.metrics().keptBack() > counts.keptBack() {
			again = true
			n.want.Log = nil
		}
		r.noted = append(r.noted, n)
	}
	if c.Send.Away {
		r.back(t)
	}
	r.checkCounts(t, c.Want, counts, c.Send.H2 != "")
	if c.Send.Unread == "" {
		var after state
		if !until(t, "the state is as before", func() bool { after = r.state(); return after.same(before, c.Want.Grows) }) {
			t.Errorf("state\n%+v\nbefore\n%+v", after, before)
		}
	}
	r.flows(t)
	for _, x := range held {
		if x.eof {
			t.Error("a held stream was ended")
		}
	}
	r.release(t, held, before)
	return again
}

// release closes held streams and waits until no other than those that were open before are.
func (r *rig) release(t *testing.T, held []*exchange, before state) {
	t.Helper()
	for _, x := range held {
		x.conn.Close()
	}
	until(t, "held streams are gone", func() bool { return r.state().Streams == before.Streams-float64(len(held)) })
}

// request writes an HTTP/1 request with secrets where they do not belong.
func request(method, target, proto string, headers []string) string {
	lines := []string{method + " " + target + " " + proto}
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Host:") }) {
		lines = append(lines, "Host: localhost")
	}
	lines = append(lines, headers...)
	lines = append(lines, "X-Secret: "+canary+"-header", "Cookie: sid="+canary+"-cookie")
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// exchange sends one HTTP/1 case and checks its answer.
func (r *rig) exchange(t *testing.T, c Case) note {
	x := r.dial(t, c.Send.TLS)
	defer x.conn.Close()
	method := cmp.Or(c.Send.Method, "GET")
	switch {
	case c.Send.Raw != "":
		if c.Send.Method == "" {
			method, _, _ = strings.Cut(c.Send.Raw, " ")
		}
		x.send(r.expand(c.Send.Raw))
		if c.Send.Drip {
			stop := x.drip()
			defer stop()
		}
	case c.Send.Unread != "":
		return r.unread(t, c)
	default:
		headers, body := r.expandAll(c.Send.Headers), r.expand(c.Send.Body)
		if c.Send.Token != nil {
			headers = append(headers, r.expand("Authorization: Bearer ${token}"))
		}
		if body != "" {
			headers = append(headers, "Content-Length: "+strconv.Itoa(len(body)))
		}
		x.send(request(method, r.expand(c.Send.Get), cmp.Or(c.Send.Proto, "HTTP/1.1"), headers) + body)
	}
	return r.answer(t, c, x, method)
}

// drip sends a byte every 100 ms until it is told to stop.
func (x *exchange) drip() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				x.send("x")
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// answer reads and checks the answer to what was sent on x.
func (r *rig) answer(t *testing.T, c Case, x *exchange, method string) note {
	t.Helper()
	w := c.Want
	n := note{id: c.ID, want: w}
	resp := x.head(method)
	if w.Status == 0 { // no answer at all
		if resp != nil || !x.finish() {
			t.Errorf("answer %.300q, want a close without one", x.all.Bytes())
		}
		return n
	}
	if resp == nil {
		t.Fatalf("no answer, but %.300q (closed %v)", x.all.Bytes(), x.eof)
	}
	if resp.StatusCode != w.Status && slices.Contains(w.Slow, resp.StatusCode) {
		n.slow = true
		x.conn.Close()
		return n
	}
	n.request = resp.Header.Get("X-Request-Id")
	if resp.StatusCode != w.Status {
		t.Errorf("status %d, want %d: %.600q", resp.StatusCode, w.Status, x.all.Bytes())
		return n
	}
	stream := w.Status == 200 && w.Shed == "" && method == "GET"
	switch {
	case stream:
		n.stream = true
		if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
			t.Errorf("Content-Type %q", ct)
		}
		if !resp.Close {
			t.Error("a stream without Connection: close")
		}
		x.match(r.expand(`${retry}`)) // then the subscriber stands
		if c.Send.Emit != "" {
			r.market.Emit(c.Send.Emit, 1)
		} else {
			r.flows(t)
		}
		x.match(w.Body)
		x.conn.Close()
	case w.Closed:
		if !x.finish() {
			t.Error("the connection stays open")
		}
		x.whole(t, w.Body)
	default:
		if method != http.MethodHead {
			x.length(resp.ContentLength)
		}
		x.whole(t, w.Body)
	}
	if got := strings.Count(x.all.String(), "HTTP/1."); got != 1 {
		t.Errorf("%d answers: %.900q", got, x.all.Bytes())
	}
	noCanary(t, "the answer", x.all.String())
	r.checkHead(t, c, resp)
	if w.Type != "" {
		checkProblem(t, w, resp, x.body())
	}
	if w.Shed != "" {
		x.whole(t, r.expand(`${retry}event: gateway\.end\ndata: \{"reason":"`+w.Shed+`","retryable":true,"retryAfterMs":[0-9]+\}\n\n`))
	}
	r.alike(t, c, resp, x.body())
	return n
}

// whole wants all of the body to match, if there is a pattern.
func (x *exchange) whole(t *testing.T, pattern string) {
	t.Helper()
	if pattern != "" && !regexp.MustCompile(`(?s)\A(?:`+pattern+`)\z`).MatchString(x.body()) {
		t.Errorf("body %.800q\nwant %q", x.body(), pattern)
	}
}

// checkHead wants the headers of the case, and no Retry-After, Location or Set-Cookie that it does not name.
func (r *rig) checkHead(t *testing.T, c Case, resp *http.Response) {
	t.Helper()
	w := c.Want
	for k, v := range w.Header {
		if got := strings.Join(resp.Header.Values(k), ", "); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	if got := resp.Header.Get("Retry-After") != ""; got != (w.RetryAfter || w.Shed != "") {
		t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
	}
	if resp.Close != w.Closed && w.Status != 200 {
		t.Errorf("Connection: close is %v", resp.Close)
	}
	for _, k := range []string{"Location", "Set-Cookie", "Server"} {
		if v := resp.Header.Get(k); v != "" {
			t.Errorf("%s: %q", k, v)
		}
	}
}

// checkProblem wants an RFC 9457 body with exactly what the case says.
func checkProblem(t *testing.T, w Want, resp *http.Response, body string) {
	t.Helper()
	var p struct {
		Type, Title, Instance string
		Status                int
		Errors                []struct{ Parameter, Reason string }
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%v: %.300q", err, body)
		return
	}
	if resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", resp.Header)
	}
	if p.Type != w.Type || p.Status != w.Status || p.Title == "" || p.Instance == "" || p.Instance != resp.Header.Get("X-Request-Id") {
		t.Errorf("problem %+v, want %s", p, w.Type)
	}
	named := ""
	if len(p.Errors) > 0 {
		named = p.Errors[0].Parameter
	}
	if named != w.Parameter || len(p.Errors) > 1 {
		t.Errorf("errors %+v, want %q", p.Errors, w.Parameter)
	}
}

// alike keeps the answer's bytes, without what tells requests apart, and compares them with an earlier case's.
func (r *rig) alike(t *testing.T, c Case, resp *http.Response, body string) {
	t.Helper()
	h := resp.Header.Clone()
	id := h.Get("X-Request-Id")
	h.Del("X-Request-Id")
	h.Del("Date")
	text := fmt.Sprint(resp.Status, h)
	if id != "" {
		body = strings.ReplaceAll(body, id, "…")
	}
	r.answers[c.ID] = text + body
	if c.Want.Like == "" {
		return
	}
	first, ok := r.answers[c.Want.Like]
	if !ok {
		t.Fatalf("case %s comes later", c.Want.Like)
	}
	if r.answers[c.ID] != first {
		t.Errorf("answer\n%s\nwant that of %s\n%s", r.answers[c.ID], c.Want.Like, first)
	}
}

// unread opens a stream with a small receive buffer, never reads it, and lets events come until the gateway cuts it; then
// it reads what was sent, and wants the rest, exactly, under the last id.
func (r *rig) unread(t *testing.T, c Case) note {
	conn, err := (&net.Dialer{Control: smallBuffer}).Dial("tcp", r.gate.Addrs["edge-http"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, request("GET", c.Send.Unread, "HTTP/1.1", nil))
	until(t, "the stream is open", func() bool { return r.state().Streams == float64(len(r.watched)+1) })
	first := r.watched[0]
	slow := func(e gateway.Entry) bool { return e.Is("msg", "client.slow") }
	until(t, "the reader is cut", func() bool {
		r.market.Emit(first.Feed, 100)
		for range 100 {
			first.ids = append(first.ids, first.next(t))
		}
		return r.gate.Logged(slow) > 0
	})
	line := r.gate.WaitLog("client.slow", slow)
	x := &exchange{t: t, conn: conn}
	_ = conn.SetDeadline(time.Now().Add(deadline))
	if !x.finish() {
		t.Error("the slow reader's connection stays open")
	}
	all := regexp.MustCompile(`\nid: ([0-9a-z-]+)\n\n`).FindAllStringSubmatch(x.body(), -1)
	if len(all) == 0 {
		t.Fatalf("the slow reader got no event: %.300q", x.all.Bytes())
	}
	last := all[len(all)-1][1]
	at := slices.Index(first.ids, last)
	if at < 0 || at == len(first.ids)-1 {
		t.Fatalf("its last id %s is at %d of %d", last, at, len(first.ids))
	}
	y := dial(t, r.gate.Addrs["edge-http"])
	defer y.conn.Close()
	y.send(request("GET", c.Send.Unread, "HTTP/1.1", []string{"Last-Event-ID: " + last}))
	if resp := y.head("GET"); resp == nil || resp.StatusCode != 200 {
		t.Fatalf("resume: %.300q", y.all.Bytes())
	}
	y.passes("\nid: " + first.ids[len(first.ids)-1] + "\n\n")
	var got []string
	for _, m := range regexp.MustCompile(`\nid: ([0-9a-z-]+)\n\n`).FindAllStringSubmatch(y.body(), -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, first.ids[at+1:]) || strings.Contains(y.body(), "gateway.gap") {
		t.Errorf("the resume brought %d events, want the %d behind %s", len(got), len(first.ids)-at-1, last)
	}
	y.conn.Close()
	until(t, "both streams are gone", func() bool { return r.state().Streams == float64(len(r.watched)) })
	return note{id: c.ID, want: c.Want, request: fmt.Sprint(line["request_id"]), stream: true}
}

// drainCases begins every case's request, takes the gateway into its drain, and then completes the requests.
func (r *rig) drainCases(cases []Case) {
	begun := make([]*exchange, len(cases))
	rest := make([]string, len(cases))
	for i, c := range cases {
		begun[i] = dial(r.t, r.gate.Addrs["edge-http"])
		text := request("GET", c.Send.Get, "HTTP/1.1", c.Send.Headers)
		begun[i].send(text[:8])
		rest[i] = text[8:]
	}
	until(r.t, "the requests have begun", func() bool { return r.metrics().sum("edge_handshakes_pending") >= float64(len(cases)) })
	r.gate.Signal(syscall.SIGTERM)
	until(r.t, "the listener is closed", func() bool {
		conn, err := net.Dial("tcp", r.gate.Addrs["edge-http"])
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	for i, c := range cases {
		r.t.Run(c.ID, func(t *testing.T) {
			ran(t, c.ID)
			counts := r.metrics()
			begun[i].t = t
			begun[i].send(rest[i])
			r.noted = append(r.noted, r.answer(t, c, begun[i], "GET"))
			r.checkCounts(t, c.Want, counts, c.Send.H2 != "")
			r.flows(t)
		})
	}
}
