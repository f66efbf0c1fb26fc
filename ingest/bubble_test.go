package ingest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// bubble is a supervisor in a synctest bubble: broker in memory, upstream at the other end of pipes, time at will.
type bubble struct {
	t   *testing.T
	m   *brokertest.Memory
	cfg config.Config
	log *logLines
	s   *Supervisor

	send chan string // what scripted sends

	cat *catalog.StaticStore
	own broker.Bucket

	mu    sync.Mutex
	serve func(net.Conn, *http.Request)
	asked []time.Time         // of each request
	open  map[*pipeEnd]string // connections that we have not closed, and the path asked for on them
}

func (b *bubble) DialContext(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	end := &pipeEnd{Conn: ours, b: b}
	b.mu.Lock()
	b.open[end] = ""
	b.mu.Unlock()
	go func() {
		defer theirs.Close()
		req, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		b.mu.Lock()
		b.asked = append(b.asked, time.Now())
		if _, there := b.open[end]; there {
			b.open[end] = req.URL.Path
		}
		serve := b.serve
		b.mu.Unlock()
		serve(theirs, req)
	}()
	return end, nil
}

// pipeEnd is our end of a connection; the bubble knows which are open.
type pipeEnd struct {
	net.Conn
	b *bubble
}

func (p *pipeEnd) Close() error {
	p.b.mu.Lock()
	delete(p.b.open, p)
	p.b.mu.Unlock()
	return p.Conn.Close()
}

// connections counts the open ones by the path asked for.
func (b *bubble) connections() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[string]int{}
	for _, path := range b.open {
		n[path]++
	}
	return n
}

func (b *bubble) set(serve func(net.Conn, *http.Request)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve = serve
}

// requests counts those sent within the last d.
func (b *bubble) requests(d time.Duration) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, at := range b.asked {
		if time.Since(at) <= d {
			n++
		}
	}
	return n
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

// sends answers with a stream of text that stays open.
func sends(text string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) {
		fmt.Fprint(c, okHead, text)
		_, _ = c.Read(make([]byte, 1)) // until the other side closes
	}
}

func answers(line string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) { fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", line) }
}

// scripted answers with a stream of what comes from send, up to "cut".
func (b *bubble) scripted(c net.Conn, _ *http.Request) {
	fmt.Fprint(c, okHead)
	for text := range b.send {
		if text == "cut" {
			return
		}
		fmt.Fprint(c, text)
	}
}

// inBubble runs test with a supervisor for an API of these spec lines; serve is the upstream, nil the scripted one.
func inBubble(t *testing.T, spec string, serve func(net.Conn, *http.Request), test func(*bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, m: brokertest.NewMemory(t), cfg: config.Default(), log: &logLines{}, serve: serve,
			send: make(chan string), open: map[*pipeEnd]string{}}
		if serve == nil {
			b.serve = b.scripted
		}
		cat, err := catalog.NewStatic(catalog.OptionsFrom(b.cfg), bubbleAPI(spec))
		b.check(err)
		b.cat = cat
		b.check(b.m.Admin().EnsureStream(t.Context(), broker.StreamSpec{API: broker.APIToken("market", "1.0.0"),
			Name: "market", Durable: broker.ProfileMemory, MaxAge: 10 * time.Hour, MaxEvents: 1000, MaxBytes: 1 << 30}))
		own, err := b.m.Admin().Bucket(t.Context(), "own", 1)
		b.check(err)
		b.own = own
		b.s, err = New(b.cfg.Ingest, b.cfg.Upstream, Deps{Node: "n1", Catalog: cat, Writer: b.m.Writer(), Bus: b.m.Bus(),
			Own: own, Dialer: b, Log: slog.New(slog.NewTextHandler(b.log, nil))})
		b.check(err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.s.Run(ctx) }()
		synctest.Wait()
		test(b)
		cancel()
		b.check(<-done)
		close(b.send)
		b.after(time.Minute) // what upstreams still do
	})
}

// bubbleAPI is the definition with these spec lines.
func bubbleAPI(spec string) catalog.Source {
	return catalog.Source{Name: "market.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: market}\nspec:\n" +
		"  context: /market\n  version: 1.0.0\n  state: PUBLISHED\n  endpoint: http://up.test\n" + spec)}
}

func (b *bubble) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// after lets d pass.
func (b *bubble) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bubble) status(path string) FeedStatus {
	for _, f := range b.s.Feeds() {
		if f.Path == path {
			return f
		}
	}
	return FeedStatus{}
}

func (b *bubble) wantState(path, state string) {
	b.t.Helper()
	if got := b.status(path); got.State != state {
		b.t.Fatalf("state %q (%s), want %q\n%s", got.State, got.Why, state, b.log)
	}
}

func (b *bubble) publish(subject string, v any) {
	b.t.Helper()
	body, err := json.Marshal(v)
	b.check(err)
	b.check(b.m.Bus().Publish(subject, body))
	synctest.Wait()
}

func (b *bubble) want(edge, boot string, paths ...string) {
	b.t.Helper()
	l := broker.DemandList{V: 1, Edge: edge, Boot: boot, Parts: 1}
	for _, p := range paths {
		l.Feeds = append(l.Feeds, broker.Demand{API: "market", Version: "1.0.0", Path: p})
	}
	b.publish(broker.SubjectDemandList, l)
}

func TestInterestExpiresAndTheFeedLingers(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none, linger: 30s}\n", sends(""), func(b *bubble) {
		b.want("e1", "b1", "/q/A")
		b.wantState("/q/A", "up")
		b.after(14 * time.Second)
		b.want("e1", "b1", "/q/A")
		b.after(14 * time.Second)
		b.wantState("/q/A", "up")
		if st := b.status("/q/A"); st.Demand != 1 {
			t.Errorf("demand %d, repeated 14 s ago", st.Demand)
		}
		b.after(15*time.Second + 29*time.Second - 14*time.Second)
		b.wantState("/q/A", "up")
		b.after(2 * time.Second)
		if len(b.s.Feeds()) != 0 {
			t.Errorf("feeds 15 s + 31 s after the last word: %+v", b.s.Feeds())
		}
	})
}

// Feeds that have closed take no room: a node may run any number one after the other.
func TestClosedFeedsGiveTheirRoomBack(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none, linger: 0s}\n", sends(""), func(b *bubble) {
		for i := range 7 { // the node runs 5000 at most
			var paths []string
			for n := range 1000 {
				paths = append(paths, fmt.Sprintf("/q/%d-%d", i, n))
			}
			b.want("e1", "b1", paths...)
			b.after(2 * time.Second)
			if n := len(b.s.Feeds()); n != 1000 {
				b.t.Fatalf("round %d: %d feeds", i, n)
			}
			b.want("e1", "b1")
			b.after(2 * time.Second)
		}
	})
}

func TestLastClientLeavesClosesAfterLinger(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none, linger: 30s}\n", sends(""), func(b *bubble) {
		b.want("e1", "b1", "/q/A", "/q/B")
		b.want("e1", "b1", "/q/B")
		for range 5 {
			b.after(29 * time.Second / 5)
			b.want("e1", "b1", "/q/B")
		}
		b.wantState("/q/A", "up")
		b.after(2 * time.Second)
		if st := b.status("/q/A"); st.State != "" {
			t.Errorf("31 s after the last client left: %+v", st)
		}
		b.wantState("/q/B", "up")
	})
}

func TestNewBootReplacesInterest(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none, linger: 0s}\n", sends(""), func(b *bubble) {
		b.want("e1", "b1", "/q/A")
		b.publish(broker.SubjectDemandList, broker.DemandList{V: 1, Edge: "e1", Boot: "b2", Part: 0, Parts: 2,
			Feeds: []broker.Demand{{API: "market", Version: "1.0.0", Path: "/q/B"}}})
		b.after(time.Second)
		if st := b.status("/q/A"); st.State != "" {
			t.Errorf("wanted by an earlier boot only: %+v", st)
		}
		b.wantState("/q/B", "up")
	})
}

func TestParked(t *testing.T) {
	for _, c := range []struct {
		spec     string
		min, max int // requests within an hour
	}{{"", 6, 7}, {"  upstream: {on204: retry}\n", 50, 90}} {
		inBubble(t, c.spec+ticksOnly, answers("204 No Content"), func(b *bubble) {
			b.after(time.Hour)
			b.wantState("/ticks", "ended")
			if n := b.requests(time.Hour); n < c.min || n > c.max {
				t.Errorf("%q: %d requests in an hour, want %d to %d", c.spec, n, c.min, c.max)
			}
		})
	}
}

func TestBackoffInTheLongRun(t *testing.T) {
	for name, serve := range map[string]func(net.Conn, *http.Request){
		"U19 accepts, then closes": func(c net.Conn, _ *http.Request) { fmt.Fprint(c, okHead) },
		"500":                      answers("500 No"),
		"cut":                      func(net.Conn, *http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ticksOnly, serve, func(b *bubble) {
				b.after(10 * time.Minute)
				if n := b.requests(10 * time.Minute); n < 10 || n > 40 {
					t.Errorf("%d requests in the first 10 minutes", n)
				}
				b.after(time.Hour)
				if n := b.requests(time.Hour); n < 50 || n > 60 {
					t.Errorf("%d requests in the hour after", n)
				}
				b.set(sends("data: a\n\n"))
				b.after(72 * time.Second)
				b.wantState("/ticks", "up")
			})
		})
	}
}

func TestBackoffStartsAgainAfterGoodTime(t *testing.T) {
	up := 6 * time.Second
	serve := func(c net.Conn, _ *http.Request) {
		fmt.Fprint(c, okHead, "data: a\n\n")
		time.Sleep(up)
	}
	inBubble(t, ticksOnly, serve, func(b *bubble) {
		b.after(10 * time.Minute)
		if n := b.requests(10 * time.Minute); n < 90 {
			t.Errorf("%d requests in 10 minutes to an upstream that works 6 s at a time", n)
		}
	})
}

func TestMissingIsLeftAlone(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none}\n", answers("404 Not Found"), func(b *bubble) {
		b.want("e1", "b1", "/q/A")
		for range 5 {
			b.after(5800 * time.Millisecond)
			b.want("e1", "b1", "/q/A")
		}
		b.wantState("/q/A", "missing")
		if n := b.requests(time.Hour); n != 1 {
			t.Errorf("%d requests in 29 s", n)
		}
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	inBubble(t, ticksOnly, answers("503 Busy\r\nRetry-After: 120"), func(b *bubble) {
		b.after(119 * time.Second)
		if n := b.requests(time.Hour); n != 1 {
			t.Errorf("%d requests in 119 s", n)
		}
		b.after(26 * time.Second)
		if n := b.requests(time.Hour); n != 2 {
			t.Errorf("%d requests in 145 s", n)
		}
	})
}

func TestU12RetryOfTheUpstreamIsTheBase(t *testing.T) {
	// A base of 60 s, the most that is believed, makes early reconnects rarer than 0.5 s would.
	serve := func(c net.Conn, _ *http.Request) { fmt.Fprint(c, okHead, "retry: 99999999\n\n") }
	inBubble(t, ticksOnly, serve, func(b *bubble) {
		b.after(time.Minute)
		if n := b.requests(time.Hour); n > 20 {
			t.Errorf("%d requests in a minute", n)
		}
		b.after(4 * time.Minute)
		if n := b.requests(time.Hour); n < 5 {
			t.Errorf("%d requests in 5 minutes: longer waits than 60 s", n)
		}
	})
}

// beacons collects what is said about a feed.
func (b *bubble) beacons(f broker.FeedID) func() []broker.Beacon {
	b.t.Helper()
	var mu sync.Mutex
	var got []broker.Beacon
	_, err := b.m.Bus().Subscribe(f.BeaconSubject(), func(_ string, body []byte, _ func([]byte) error) {
		word, err := broker.DecodeBeacon(body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			b.t.Errorf("beacon %s: %v", body, err)
			return
		}
		got = append(got, word)
	})
	b.check(err)
	return func() []broker.Beacon {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		out := got
		got = nil
		return out
	}
}

func TestBeaconsOfAQuietFeed(t *testing.T) {
	inBubble(t, ticksOnly, nil, func(b *bubble) {
		heard := b.beacons(feedOf("/ticks"))
		b.send <- "data: a\n\n"
		b.after(0)
		heard()
		began := time.Now()
		var at []string
		for time.Since(began) < 40*time.Second {
			b.after(50 * time.Millisecond)
			for _, w := range heard() {
				at = append(at, time.Since(began).Truncate(50*time.Millisecond).String())
				if w.Seq == 0 || w.Micros == 0 || w.State != "up" || w.Node != "n1" || w.Epoch == 0 {
					t.Errorf("beacon %+v", w)
				}
			}
		}
		if got := strings.Join(at, " "); got != "250ms 1.25s 3.25s 8.25s 18.25s 28.25s 38.25s" {
			t.Errorf("beacons at %s", got)
		}
		b.send <- "data: b\n\n"
		b.after(250 * time.Millisecond)
		if w := heard(); len(w) != 1 || w[0].Seq != b.status("/ticks").Seq || w[0].Micros == 0 {
			t.Errorf("after another event: %+v", w)
		}
		b.send <- "cut"
		b.after(0)
		if w := heard(); len(w) == 0 || w[len(w)-1].State == "up" {
			t.Errorf("after the end of the connection: %+v", w)
		}
	})
}

func TestBeaconsOfABusyFeed(t *testing.T) {
	serve := func(c net.Conn, _ *http.Request) {
		fmt.Fprint(c, okHead)
		for {
			if _, err := fmt.Fprint(c, "data: a\n\n"); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	inBubble(t, ticksOnly, serve, func(b *bubble) {
		heard := b.beacons(feedOf("/ticks"))
		b.after(61 * time.Second)
		if n := len(heard()); n < 5 || n > 8 {
			t.Errorf("%d beacons in a minute, want one per 10 s", n)
		}
		b.set(func(net.Conn, *http.Request) {})
	})
}

func TestHoldEndsAfterHalfASecond(t *testing.T) {
	inBubble(t, ticksOnly, nil, func(b *bubble) {
		f := feedOf("/ticks")
		texts := func() string {
			var out []string
			tail, err := b.m.Writer().Tail(b.t.Context(), f, 100)
			b.check(err)
			for _, m := range tail {
				out = append(out, strings.TrimSpace(strings.TrimPrefix(string(m.Body), "data:")))
			}
			return strings.Join(out, " ")
		}
		b.send <- "id: 1\ndata: a\n\nid: 2\ndata: b\n\n"
		b.after(time.Second)
		b.send <- "cut"
		b.after(time.Minute)
		b.wantState("/ticks", "up")
		b.send <- "id: 9\ndata: x\n\n"
		b.after(400 * time.Millisecond)
		if got := texts(); got != "a b" {
			t.Errorf("after 400 ms: %s", got)
		}
		b.after(101 * time.Millisecond)
		if got := texts(); !strings.HasSuffix(got, `"possible":true} x`) {
			t.Errorf("after 501 ms: %s", got)
		}
		b.send <- "id: 10\ndata: y\n\n"
		b.after(0)
		if got := texts(); !strings.HasSuffix(got, " x y") {
			t.Errorf("after the hold: %s", got)
		}
	})
}

func TestConnectRateOfOneEndpoint(t *testing.T) {
	inBubble(t, "  topics:\n    - {name: '/q/{s}', security: none}\n", sends(""), func(b *bubble) {
		var paths []string
		for i := range 200 {
			paths = append(paths, fmt.Sprintf("/q/%d", i))
		}
		b.want("e1", "b1", paths...)
		b.after(time.Second)
		if n := b.requests(time.Hour); n < 90 || n > 110 {
			t.Errorf("%d connects in the first second, want a burst of 50 and 50 per second", n)
		}
		b.after(3 * time.Second)
		if n := b.requests(time.Hour); n != 200 {
			t.Errorf("%d connects after 4 s", n)
		}
	})
}

func TestOurEndLeavesWhatIsHeldToTheNextOwner(t *testing.T) {
	inBubble(t, ticksOnly, nil, func(b *bubble) {
		b.send <- "id: 1\ndata: a\n\nid: 2\ndata: b\n\n"
		b.after(time.Second)
		b.send <- "cut"
		b.after(time.Minute)
		b.send <- "id: 8\ndata: x\n\nid: 9\ndata: y\n\n" // held: nothing is decided yet
		b.after(100 * time.Millisecond)
		b.check(b.s.Drain(b.t.Context()))
		tail, err := b.m.Writer().Tail(b.t.Context(), feedOf("/ticks"), 100)
		b.check(err)
		if len(tail) != 2 {
			t.Errorf("%d events stored, want the two from before the seam", len(tail))
		}
	})
}

// Another node takes the feed again and again: this one tries again, but with rest.
func TestLostFeedIsTriedAgainWithRest(t *testing.T) {
	serve := func(c net.Conn, _ *http.Request) {
		fmt.Fprint(c, okHead)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(c, "data: %d\n\n", i); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	inBubble(t, ticksOnly, serve, func(b *bubble) {
		own, err := b.m.Admin().Bucket(b.t.Context(), "own", 1)
		b.check(err)
		f, tx := feedOf("/ticks"), uint64(0)
		for range 100 { // for 10 s
			e, err := own.Get(b.t.Context(), f.String())
			b.check(err)
			if !strings.Contains(string(e.Value), "n2") {
				rev, err := own.Put(b.t.Context(), f.String(), []byte(`{"node":"n2","boot":"x"}`), e.Revision)
				b.check(err)
				last, err := b.m.Writer().Last(b.t.Context(), f)
				b.check(err)
				tx++
				_, err = b.m.Writer().Commit(b.t.Context(), f, &broker.Commit{Epoch: rev, Tx: tx, Prev: last.Seq,
					Events: []broker.Event{{Body: []byte("data: n2\n")}}})
				b.check(err)
			}
			b.after(100 * time.Millisecond)
		}
		if n := strings.Count(b.log.String(), "feed taken"); n < 5 || n > 12 {
			t.Errorf("taken %d times in 10 s", n)
		}
		b.set(func(net.Conn, *http.Request) {})
	})
}
