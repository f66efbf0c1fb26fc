package reader

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/sse"
	"sluice/test/feed"
	"sluice/test/oracle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relay is as little of a gateway as the reader needs: it passes the market's stream on with ids as the gateway's, and
// can be told to lose, repeat or forge.
type relay struct {
	market string
	mangle func(n int, body string) (string, bool)
}

func relayID(upstream []byte) string {
	n, _ := strconv.ParseUint(string(upstream), 10, 64)
	return strconv.FormatUint(10*n, 36) + "-" + strconv.FormatUint(1000*n, 36)
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	up, _ := http.NewRequestWithContext(req.Context(), http.MethodGet, r.market+"/stream/ticks", nil)
	if seq, _, ok := oracle.ParseID(req.Header.Get("Last-Event-ID")); ok {
		up.Header.Set("Last-Event-ID", strconv.FormatUint(seq/10, 10))
	}
	resp, err := http.DefaultTransport.RoundTrip(up)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	dec := sse.NewDecoder(resp.Body, sse.Options{})
	io.WriteString(w, "retry: 2345\n") //nolint:errcheck // seen by the reader
	for {
		if flush() != nil {
			return
		}
		ev, err := dec.Next()
		if err != nil {
			return
		}
		frame := fmt.Sprintf("data: %s\nid: %s\n\n", ev.Data, relayID(ev.ID))
		n, _ := strconv.Atoi(string(ev.ID))
		if r.mangle != nil {
			again, goOn := r.mangle(n, frame)
			frame = again
			if !goOn {
				io.WriteString(w, frame) //nolint:errcheck // it ends here
				return
			}
		}
		if _, err := io.WriteString(w, frame); err != nil {
			return
		}
	}
}

// runOnce reads events 2 to 301 through the relay with three clients and returns the verdict and the first client's state.
func runOnce(t *testing.T, r *relay, cutAfter func() int) (*oracle.Verdict, State) {
	t.Helper()
	m := feed.New(1, feed.Options{Manual: true})
	book := oracle.NewBook(nil, oracle.Run{Overlap: 3_600_000_000})
	facts := m.Facts()
	var taking sync.WaitGroup
	taking.Go(func() { book.Take(facts) })
	origin := httptest.NewServer(m)
	r.market = origin.URL
	gate := httptest.NewServer(r)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	m.Emit("/ticks", 1) // which nobody reads: all begin behind it, also those cut before their first event
	clients := make([]*Client, 3)
	for i := range clients {
		clients[i] = New(Options{
			Name: fmt.Sprint("c", i), URL: gate.URL, Feed: "/ticks", Tape: m.Tape(), Facts: book.Add, CutAfter: cutAfter,
			Pause: time.Millisecond, LastID: relayID([]byte("1")), From: 2,
		})
		running.Go(func() { clients[i].Run(ctx) })
		clients[i].Await(ctx, func(s State) bool { return s.Connects > 0 }) //nolint:errcheck // the next wait fails too
	}
	for k := range 30 {
		m.Emit("/ticks", 10)
		for i, c := range clients {
			if err := c.Await(ctx, func(s State) bool { return s.N >= uint64(10*k+1) }); err != nil {
				t.Fatalf("client %d after %d events: %v, %+v", i, 10*k+1, err, c.State())
			}
		}
		if cutAfter == nil && k%7 == 3 {
			clients[k%3].Cut()
		}
	}
	for i, c := range clients {
		if err := c.Await(ctx, func(s State) bool { return s.N == 301 }); err != nil {
			t.Fatalf("client %d: %v, %+v", i, err, c.State())
		}
		c.Quiesce()
	}
	cancel()
	running.Wait()
	m.Close()
	taking.Wait()
	gate.Close()
	origin.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	v, err := book.Verdict()
	if err != nil {
		t.Fatal(err)
	}
	return v, clients[0].State()
}

func TestACleanRelayIsOK(t *testing.T) {
	v, s := runOnce(t, &relay{}, nil)
	if !v.OK() || v.Deliveries != 900 || v.Resumes < 3 || v.Clients != 3 {
		t.Error(v)
	}
	if s.Events != 300 || s.N != 301 || s.ID != relayID([]byte("301")) || s.Retry != 2345*time.Millisecond || s.Odd != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCutsAtAnyByteLoseNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	v, _ := runOnce(t, &relay{}, func() int {
		mu.Lock()
		defer mu.Unlock()
		return 1 + rnd.IntN(3000)
	})
	if !v.OK() || v.Resumes < 10 {
		t.Errorf("seed %d: %v", seed, v)
	}
}

// TestBrokenRelaysAreFound is the proof that the reader sees what a gateway could do wrong.
func TestBrokenRelaysAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		mangle    func(n int, frame string) (string, bool)
		invariant string
	}{
		"loses":   {func(n int, f string) (string, bool) { return pick(n == 50, "", f), true }, "I3"},
		"repeats": {func(n int, f string) (string, bool) { return pick(n == 50, f+f, f), true }, "I2"},
		"corrupts": {func(n int, f string) (string, bool) {
			return pick(n == 50, "data: {\"f\":\"/ticks\",\"n\":50}\nid: dw-1\n\n"+f, f), true
		}, "I6"},
		"mixes": {func(n int, f string) (string, bool) {
			return pick(n == 50, "data: {\"f\":\"/tocks\",\"n\":50}\nid: dw-1\n\n"+f, f), true
		}, "I7"},
		"cries wolf": {func(n int, f string) (string, bool) {
			return pick(n == 50, "event: gateway.gap\ndata: {\"reason\":\"expired\",\"possible\":false}\n\n"+f, f), true
		}, "I8"},
		"has no id": {func(n int, f string) (string, bool) {
			return pick(n == 50, "data: {\"f\":\"/ticks\",\"n\":50}\n\n"+f, f), true
		}, "I6"},
		"moves time": {func(n int, f string) (string, bool) {
			if n != 50 {
				return f, true
			}
			return fmt.Sprintf("data: %s\nid: %s-%s\n\n", feed.NewTape(1, feed.Options{Manual: true}).Append(nil, "/ticks", 50),
				strconv.FormatUint(500, 36), strconv.FormatInt(time.Now().UnixNano(), 36)), false
		}, "I5"},
	} {
		t.Run(name, func(t *testing.T) {
			if v, _ := runOnce(t, &relay{mangle: c.mangle}, nil); v.Errors(c.invariant) == 0 {
				t.Errorf("%s is not broken: %v", c.invariant, v)
			}
		})
	}
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
