package feed

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/internal/sse"
	"sluice/test/oracle"
)

// serve starts a market and returns it with its URL.
func serve(t *testing.T, o Options, script ...Step) (*Market, string) {
	t.Helper()
	m := New(1, o, script...)
	s := httptest.NewServer(m)
	t.Cleanup(func() {
		m.Close()
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return m, s.URL
}

// client reads one stream.
type client struct {
	t    *testing.T
	resp *http.Response
	dec  *sse.Decoder
}

// get opens a stream; it is given up after a minute.
func get(t *testing.T, url string, header ...string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 4 << 20}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &client{t: t, resp: resp, dec: sse.NewDecoder(resp.Body, sse.Options{})}
}

// next returns the next event's id and data.
func (c *client) next() (id, data string) {
	c.t.Helper()
	ev, err := c.dec.Next()
	if err != nil {
		c.t.Fatalf("next event: %v", err)
	}
	return string(ev.ID), string(ev.Data)
}

// wants reads events from n to last and compares them with the tape.
func (c *client) wants(m *Market, feed string, n, last uint64) {
	c.t.Helper()
	for ; n <= last; n++ {
		if _, data := c.next(); data != string(m.Tape().Append(nil, feed, n)) {
			c.t.Fatalf("got %s, want event %d of %s", data, n, feed)
		}
	}
}

func wait(t *testing.T, m *Market, feed string, ok func(Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Wait(ctx, feed, ok); err != nil {
		t.Fatalf("%v; state of %s: %+v", err, feed, m.Stats(feed))
	}
}

func TestTimetableAndResume(t *testing.T) {
	m, url := serve(t, Options{Rate: 500})
	c := get(t, url+"/stream/ticks")
	if ct := c.resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	_, first := c.next()
	_, n, _ := Identify([]byte(first))
	c.wants(m, "/ticks", n+1, n+50)
	c.resp.Body.Close()
	wait(t, m, "/ticks", func(s Stats) bool { return s.Open == 0 })
	get(t, url+"/stream/ticks", "Last-Event-ID", itoa(n+10)).wants(m, "/ticks", n+11, n+100)
	r := m.Requests("/ticks")
	if len(r) != 2 || r[0].LastEventID != "" || r[1].LastEventID != itoa(n+10) {
		t.Errorf("requests noted: %+v", r)
	}
}

func itoa(n uint64) string {
	b, _ := (&Tape{}).appendID(nil, "", n)
	return string(b)
}

func TestRoutes(t *testing.T) {
	m, url := serve(t, Options{Manual: true})
	for path, want := range map[string]int{
		"/": 404, "/stream": 404, "/stream/quotes": 404, "/stream/quotes?s=NOBODY": 404, "/stream/ticks?fault=boom": 400,
	} {
		if c := get(t, url+path); c.resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, c.resp.StatusCode, want)
		}
	}
	for path, feed := range map[string]string{
		"/stream/ticks": "/ticks", "/stream/quotes?s=ACME": "/quotes/ACME", "/stream/any/a%2Fb/c": "/any/a%2Fb/c",
	} {
		c := get(t, url+path)
		m.Emit(feed, 3)
		c.wants(m, feed, 1, 3)
	}
}

func TestFixedStartGoesOnAfterARestart(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	o := Options{Start: start, Rate: 100, Keep: 1_000_000}
	m, url := serve(t, o)
	c := get(t, url+"/stream/ticks")
	_, data := c.next()
	_, n, _ := Identify([]byte(data))
	if n < 359_000 {
		t.Fatalf("event %d an hour after the start", n)
	}
	m.Close()
	again, url := serve(t, o)
	get(t, url+"/stream/ticks", "Last-Event-ID", itoa(n)).wants(again, "/ticks", n+1, n+5)
}

func TestResumeModes(t *testing.T) {
	for name, c := range map[string]struct {
		o     Options
		last  string
		first uint64 // 0 = status 410
	}{
		"no id is live":                         {Options{}, "", 101},
		"honour goes on behind the id":          {Options{}, "40", 41},
		"an id from the future is live":         {Options{}, "4000", 101},
		"an unknown id is live":                 {Options{}, "banana", 101},
		"ignore is live":                        {Options{Resume: ResumeIgnore}, "40", 101},
		"overlap repeats":                       {Options{Overlap: 3}, "40", 38},
		"overlap stops at the first event":      {Options{Overlap: 3}, "2", 1},
		"keep starts at the oldest kept":        {Options{Keep: 10}, "40", 91},
		"keep leaves newer ids alone":           {Options{Keep: 10}, "95", 96},
		"refuse answers 410":                    {Options{Keep: 10, Resume: ResumeRefuse}, "40", 0},
		"refuse leaves newer ids alone":         {Options{Keep: 10, Resume: ResumeRefuse}, "95", 96},
		"constant ids lead to the newest event": {Options{IDs: IDSame}, "same", 101},
		"without ids nothing can be resumed":    {Options{IDs: IDNone}, "40", 101},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Manual = true
			m, url := serve(t, c.o)
			m.Emit("/ticks", 100)
			got := get(t, url+"/stream/ticks", "Last-Event-ID", c.last)
			if c.first == 0 {
				if got.resp.StatusCode != http.StatusGone {
					t.Fatalf("status %d", got.resp.StatusCode)
				}
				return
			}
			m.Emit("/ticks", 2)
			got.wants(m, "/ticks", c.first, 102)
		})
	}
}

func TestFormatsReadTheSame(t *testing.T) {
	for name, o := range map[string]Options{
		"plain": {}, "lines": {Lines: 4}, "utf8 padded": {UTF8: true, Size: 700}, "event and comments": {Event: "tick", CommentEvery: 2},
		"close delimited": {CloseDelimited: true}, "retry": {Retry: time.Second}, "heartbeat": {Heartbeat: time.Millisecond},
	} {
		for _, fault := range []string{"", "cr", "mixed", "bom", "bom-split", "cookie", "headers:100KiB", "late:1ms", "drip:10us", "retry:abc"} {
			t.Run(name+"/"+fault, func(t *testing.T) {
				o.Manual = true
				m, url := serve(t, o)
				target := url + "/stream/ticks"
				if fault != "" {
					target += "?fault=" + fault
				}
				c := get(t, target)
				m.Emit("/ticks", 3)
				c.wants(m, "/ticks", 1, 3)
			})
		}
	}
}

func TestCutsInsideAnEvent(t *testing.T) {
	for _, o := range []Options{{}, {CloseDelimited: true}, {UTF8: true, Lines: 2}} {
		for _, fault := range []string{"fin", "fin:id", "fin:line", "rst", "rst:crlf", "eof:rune", "eof:1", "fin:-1"} {
			o.Manual = true
			m, url := serve(t, o)
			c := get(t, url+"/stream/ticks?fault="+fault)
			m.Emit("/ticks", 2)
			if fault == "fin:-1" { // behind the whole event
				c.wants(m, "/ticks", 1, 1)
			}
			_, err := c.dec.Next()
			ordered := errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
			if err == nil || ordered != (strings.HasPrefix(fault, "eof") || o.CloseDelimited && strings.HasPrefix(fault, "fin")) {
				t.Errorf("%+v %s: %v", o, fault, err)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	m, url := serve(t, Options{Manual: true})
	for fault, check := range map[string]func(*http.Response) bool{
		"status:204":         func(r *http.Response) bool { return r.StatusCode == 204 },
		"status:429/30":      func(r *http.Response) bool { return r.StatusCode == 429 && r.Header.Get("Retry-After") == "30" },
		"redirect:/x":        func(r *http.Response) bool { return r.StatusCode == 302 && r.Header.Get("Location") == "/x" },
		"redirect-loop":      func(r *http.Response) bool { return strings.Contains(r.Header.Get("Location"), "/stream/ticks?fault=") },
		"redirect-forbidden": func(r *http.Response) bool { return strings.Contains(r.Header.Get("Location"), "169.254.169.254") },
		"html":               func(r *http.Response) bool { return strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") },
		"gzip":               func(r *http.Response) bool { return r.Header.Get("Content-Encoding") == "gzip" },
		"br":                 func(r *http.Response) bool { return r.Header.Get("Content-Encoding") == "br" },
		"cookie":             func(r *http.Response) bool { return r.Header.Get("Set-Cookie") != "" },
	} {
		if c := get(t, url+"/stream/ticks?fault="+fault); !check(c.resp) {
			t.Errorf("%s: %s %v", fault, c.resp.Status, c.resp.Header)
		}
	}
	resp, err := http.Get(url + "/stream/ticks?fault=accept-close")
	if err == nil {
		resp.Body.Close()
		t.Errorf("accept-close was answered %s", resp.Status)
	}
	wait(t, m, "/ticks", func(s Stats) bool { return s.Requests >= 10 })
}

func TestJunkEventsAreNoTicks(t *testing.T) {
	for _, fault := range []string{"nul", "utf8", "line:3MiB", "gateway-name"} {
		m, url := serve(t, Options{Manual: true})
		c := get(t, url+"/stream/ticks?fault="+fault)
		m.Emit("/ticks", 1)
		if fault != "line:3MiB" { // which the decoder skips
			if _, data := c.next(); !strings.HasPrefix(data, `{"junk":`) {
				t.Errorf("%s: %q", fault, data)
			}
		}
		c.wants(m, "/ticks", 1, 1)
	}
}

func TestEndlessAndStallEndWithTheClient(t *testing.T) {
	for _, fault := range []string{"endless", "stall", "drip", "silence", "late:1h"} {
		m, url := serve(t, Options{Manual: true})
		m.Emit("/ticks", 1)
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/stream/ticks?fault="+fault, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				bufio.NewReader(resp.Body).ReadBytes('\x00') //nolint:errcheck // it ends with the context
				resp.Body.Close()
			}
		}()
		wait(t, m, "/ticks", func(s Stats) bool { return s.Requests == 1 && (s.Open == 1 || fault == "late:1h") })
		cancel()
		<-done
		wait(t, m, "/ticks", func(s Stats) bool { return s.Open == 0 })
		m.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestScriptAtEvents(t *testing.T) {
	m, url := serve(t, Options{Manual: true},
		Step{AtN: 3, Do: Fault{Kind: FIN, Byte: 10}},
		Step{AtN: 5, Do: Fault{Kind: Status, Code: 500, Times: 2}},
	)
	c := get(t, url+"/stream/ticks")
	m.Emit("/ticks", 6)
	c.wants(m, "/ticks", 1, 2)
	if _, err := c.dec.Next(); err == nil {
		t.Fatal("event 3 was not cut")
	}
	c = get(t, url+"/stream/ticks", "Last-Event-ID", "2")
	c.wants(m, "/ticks", 3, 4)
	if _, err := c.dec.Next(); err == nil {
		t.Fatal("the stream went on at event 5")
	}
	for range 2 {
		if c := get(t, url+"/stream/ticks"); c.resp.StatusCode != 500 {
			t.Fatalf("status %s", c.resp.Status)
		}
	}
	get(t, url+"/stream/ticks", "Last-Event-ID", "4").wants(m, "/ticks", 5, 6)
}

func TestScriptAtTimes(t *testing.T) {
	_, url := serve(t, Options{Manual: true}, Step{After: 20 * time.Millisecond, Do: Fault{Kind: RST}})
	if _, err := get(t, url+"/stream/ticks").dec.Next(); err == nil {
		t.Fatal("no reset")
	}
}

func TestInject(t *testing.T) {
	m, url := serve(t, Options{Manual: true})
	a, b := get(t, url+"/stream/ticks"), get(t, url+"/stream/quotes?s=ACME")
	wait(t, m, "/ticks", func(s Stats) bool { return s.Open == 1 })
	m.Inject(Fault{Kind: RST, Feed: "/ticks"})
	if _, err := a.dec.Next(); err == nil {
		t.Fatal("no reset")
	}
	m.Emit("/quotes/ACME", 1)
	b.wants(m, "/quotes/ACME", 1, 1)

	m.Inject(Fault{Kind: Status, Code: 503, Times: -1})
	if _, err := b.dec.Next(); err == nil {
		t.Fatal("a fault for requests left a connection open")
	}
	for range 3 {
		if c := get(t, url+"/stream/ticks"); c.resp.StatusCode != 503 {
			t.Fatalf("status %s", c.resp.Status)
		}
	}
	m.Clear()
	m.Inject(Fault{Kind: Burst, Feed: "/ticks", Size: 5000})
	c := get(t, url+"/stream/ticks", "Last-Event-ID", "1")
	c.wants(m, "/ticks", 2, 5000)
	m.Cut("", false)
	if _, err := c.dec.Next(); err == nil {
		t.Fatal("Cut left a connection open")
	}
}

func TestPauseStopsTheTimetable(t *testing.T) {
	m, url := serve(t, Options{Rate: 1000})
	c := get(t, url+"/stream/ticks")
	c.next()
	m.Pause()
	head := m.Stats("/ticks").Head
	m.Emit("/ticks", 10)
	wait(t, m, "/ticks", func(s Stats) bool { return s.Sent == head+10 })
	if got := m.Stats("/ticks").Head; got != head+10 {
		t.Errorf("head moved from %d to %d while paused", head+10, got)
	}
	m.Resume()
	wait(t, m, "/ticks", func(s Stats) bool { return s.Sent > head+20 })
}

func TestFactsAndPeak(t *testing.T) {
	m := New(1, Options{Manual: true})
	facts := make(chan []oracle.Fact)
	ch := m.Facts()
	go func() {
		var all []oracle.Fact
		for f := range ch {
			all = append(all, f)
		}
		facts <- all
	}()
	s := httptest.NewServer(m)
	defer s.Close()
	m.Emit("/ticks", 2)
	a := get(t, s.URL+"/stream/ticks", "Last-Event-ID", "1")
	a.wants(m, "/ticks", 2, 2)
	b := get(t, s.URL+"/stream/ticks?fault=cr")
	wait(t, m, "/ticks", func(s Stats) bool { return s.Open == 2 && s.Peak == 2 })
	m.Emit("/ticks", 3)
	b.wants(m, "/ticks", 3, 3) // its fault has begun by then
	m.Settle()
	m.Close()
	var produced uint64
	kinds := map[string]int{}
	for _, f := range <-facts {
		kinds[f.Kind+" "+f.Edge]++
		if f.Kind == oracle.KindProduced {
			if f.N0 != produced+1 {
				t.Errorf("produced %d to %d after %d", f.N0, f.N1, produced)
			}
			produced = f.N1
		}
		if f.At == 0 {
			t.Errorf("%+v has no time", f)
		}
	}
	if produced != 5 || kinds["conn open"] != 2 || kinds["conn close"] != 2 || kinds["fault begin"] != 1 {
		t.Errorf("produced %d, facts %v", produced, kinds)
	}
}

// TestCloseIsDatedWhenTheClientLeft holds the handler up in the channel of facts: two connections that did not overlap must
// not look as if they had.
func TestCloseIsDatedWhenTheClientLeft(t *testing.T) {
	m := New(1, Options{Manual: true})
	defer m.Close()
	facts := m.Facts()
	s := httptest.NewServer(m)
	defer s.Close()
	a := get(t, s.URL+"/stream/ticks")
	until := func(what string, ok func(*resource) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
			m.mu.Lock()
			yes := ok(m.resources["/ticks"])
			m.mu.Unlock()
			if yes {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s", what)
			}
		}
	}
	for n := len(facts); n < cap(facts); n++ { // nobody receives
		m.Emit("/ticks", 1)
		until("a fact more", func(*resource) bool { return len(facts) > n })
	}
	m.Emit("/ticks", 1)
	until("held up with the next fact", func(r *resource) bool { return r.announced == m.head(r, time.Now()) })
	a.resp.Body.Close()
	until("the client's end is seen", func(r *resource) bool {
		for c := range r.open {
			return c.over()
		}
		return false
	})
	seen := time.Now().UnixMicro()
	for f := range facts {
		if f.Kind == oracle.KindConn && f.Edge == oracle.Close {
			if f.At > seen || f.Peer == "" {
				t.Errorf("closed %d µs after it was seen, peer %q", f.At-seen, f.Peer)
			}
			return
		}
	}
}

func TestTooManyFeeds(t *testing.T) {
	_, url := serve(t, Options{Manual: true, MaxFeeds: 1})
	get(t, url+"/stream/ticks")
	if c := get(t, url+"/stream/any/x"); c.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %s", c.resp.Status)
	}
}
