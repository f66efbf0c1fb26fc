package presence

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// edge is a Teller whose word can be changed.
type edge struct {
	mu     sync.Mutex
	says   Edge
	moved  chan struct{}
	feeds  []Feed
	counts Figures
	stop   func()
}

func (e *edge) say() Edge {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.says
}

func (e *edge) changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moved
}

// change changes what is said and wakes the Teller.
func (e *edge) change(f func(*Edge)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.says)
	close(e.moved)
	e.moved = make(chan struct{})
}

// run starts f and returns what stops it and waits.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop
}

func startEdge(t *testing.T, bus broker.Bus, name string, rev uint64) *edge {
	t.Helper()
	e := &edge{says: Edge{Node: name, Boot: "b1", Group: "default", Rev: rev}, moved: make(chan struct{})}
	teller, err := NewTeller(TellerConfig{Bus: bus, Node: name, Say: e.say, Moved: e.changed, Clients: func(string, string, bool) []Feed { return e.feeds },
		Figures: func() Figures { return e.counts }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e.stop = run(t, teller.Run)
	return e
}

func startRoster(t *testing.T, bus broker.Bus) *Roster {
	t.Helper()
	r := NewRoster(bus, slog.New(slog.DiscardHandler))
	run(t, r.Run)
	return r
}

func names(edges []Edge) string {
	var out []string
	for _, e := range edges {
		out = append(out, e.Node)
	}
	return strings.Join(out, " ")
}

func TestWhoLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		r := startRoster(t, m.Peer().Bus())
		synctest.Wait()
		a, b := startEdge(t, m.Peer().Bus(), "a", 5), startEdge(t, m.Peer().Bus(), "b", 5)
		synctest.Wait()
		if got := names(r.Edges()); got != "a b" {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(10 * time.Second)
		if got := names(r.Edges()); got != "a b" {
			t.Errorf("after ten seconds: %q", got)
		}
		a.stop()
		synctest.Wait()
		if got := names(r.Edges()); got != "b" {
			t.Errorf("after a goodbye: %q", got)
		}
		b.change(func(e *Edge) { e.Node = "" }) // what it says now is no beat
		time.Sleep(deadAfter - beatEvery - scanEvery)
		if got := names(r.Edges()); got != "b" {
			t.Errorf("silent for a moment: %q", got)
		}
		time.Sleep(beatEvery + 2*scanEvery)
		if got := names(r.Edges()); got != "" {
			t.Errorf("silent: %q", got)
		}
	})
}

func TestNoMoreEdgesThanMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		r := startRoster(t, m.Bus())
		synctest.Wait()
		for i := range maxEdges + 10 {
			text, err := beat{Edge: Edge{Node: fmt.Sprint(i), Boot: "b"}}.encode()
			if err != nil {
				t.Fatal(err)
			}
			r.hear(text)
		}
		if n := len(r.Edges()); n != maxEdges {
			t.Errorf("%d edges", n)
		}
	})
}

func TestBeatsFit(t *testing.T) {
	long := strings.Repeat("x", 300)
	e := Edge{Node: "n", Boot: "b"}
	for range 100 {
		e.URLs, e.Refused = append(e.URLs, "http://"+long), append(e.Refused, long)
	}
	text, err := beat{Edge: e}.encode()
	if err != nil || len(text) > maxBeat {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	got, ok := decode(text)
	if !ok || len(got.URLs) != maxURLs || len(got.Refused) == 0 {
		t.Errorf("%v, %d URLs, %d refused", ok, len(got.URLs), len(got.Refused))
	}
	for _, bad := range []string{``, `{}`, `{"v":2,"node":"n","boot":"b"}`, `{"v":1,"boot":"b"}`, `{"v":1,"node":"n"}`, strings.Repeat(" ", maxBeat) + string(text)} {
		if _, ok := decode([]byte(bad)); ok {
			t.Errorf("%.60q is a beat", bad)
		}
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		a := startEdge(t, m.Peer().Bus(), "a", 5)
		b := startEdge(t, m.Peer().Bus(), "b", 3)
		r := startRoster(t, m.Peer().Bus())
		await := func(rev uint64, id string, most time.Duration) (Progress, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), most)
			defer cancel()
			began := time.Now()
			p := r.Await(ctx, rev, id)
			return p, time.Since(began)
		}
		// A roster that has just begun does not take silence for an answer.
		if p, took := await(3, "", 10*time.Second); p.Live != 2 || p.Done != 2 || took < listenTime-scanEvery {
			t.Errorf("at the start: %+v in %s", p, took)
		}
		if p, took := await(3, "", 10*time.Second); p.Done != 2 || took > 0 {
			t.Errorf("all are there: %+v in %s", p, took)
		}
		// One is behind, then not any more.
		time.AfterFunc(2*time.Second, func() { b.change(func(e *Edge) { e.Rev = 6 }) })
		if p, took := await(5, "", 10*time.Second); p.Done != 2 || took != 2*time.Second {
			t.Errorf("one comes later: %+v in %s", p, took)
		}
		// One never comes.
		if p, took := await(6, "", 10*time.Second); p.Live != 2 || p.Done != 1 || len(p.Failed) != 1 || p.Failed[0] != (Failure{Node: "a", Rev: 5}) || took != 10*time.Second {
			t.Errorf("one never comes: %+v in %s", p, took)
		}
		// One refuses the API: there is nothing to wait for.
		a.change(func(e *Edge) { e.Rev, e.Refused = 7, []string{"x@1"} })
		b.change(func(e *Edge) { e.Rev = 7 })
		if p, took := await(7, "x@1", 10*time.Second); p.Done != 1 || len(p.Failed) != 1 || !p.Failed[0].Refused || took > time.Second {
			t.Errorf("one refuses: %+v in %s", p, took)
		}
		if p, _ := await(7, "y@1", 10*time.Second); p.Done != 2 {
			t.Errorf("another API: %+v", p)
		}
		// One dies while it is waited for.
		time.AfterFunc(time.Second, b.stop)
		a.change(func(e *Edge) { e.Rev, e.Refused = 8, nil })
		if p, took := await(8, "", 10*time.Second); p.Live != 1 || p.Done != 1 || took != time.Second {
			t.Errorf("one dies: %+v in %s", p, took)
		}
	})
}

func TestClientsAreAskedInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := brokertest.NewMemory(t)
		e := startEdge(t, m.Peer().Bus(), "a", 1)
		for i := range 5000 {
			e.feeds = append(e.feeds, Feed{Feed: fmt.Sprint("f.", i), Path: "/" + strings.Repeat("p", 200), Clients: i})
		}
		synctest.Wait()
		bus := m.Peer().Bus()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got, err := AskClients(ctx, bus, "a", "market", "1.0.0")
		if err != nil || len(got) != len(e.feeds) || !reflect.DeepEqual(got[4999], e.feeds[4999]) {
			t.Errorf("%d feeds, %v", len(got), err)
		}
		if first := pageOf(e.feeds, 0); first.Next == 0 || first.Next == len(e.feeds) {
			t.Errorf("one page has them all: next %d", first.Next)
		}
		if _, err := AskClients(ctx, bus, "nobody", "market", "1.0.0"); err == nil {
			t.Error("nobody answers")
		}

		// All that an edge counts comes with the first page; of too many counters some are left out.
		e.counts = Figures{Boot: "b1", Clock: 5, Deliveries: 7, Ages: []Age{{Le: .01, N: 3}, {N: 1}}, Counts: make([]Count, mostCounts+1)}
		figures, got, err := AskFigures(ctx, bus, "a")
		if err != nil || len(got) != len(e.feeds) || !reflect.DeepEqual(got[4999], e.feeds[4999]) || figures.Deliveries != 7 || len(figures.Ages) != 2 || len(figures.Counts) != mostCounts {
			t.Errorf("%d feeds, %+v, %v", len(got), figures, err)
		}
		// A build that does not know the question answers as if it was asked for an API without a name.
		stop, err := m.Peer().Bus().Subscribe(broker.ClientsSubject("old"), func(_ string, _ []byte, reply func([]byte) error) {
			_ = reply([]byte(`{"v":1,"feeds":[]}`))
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if _, _, err := AskFigures(ctx, bus, "old"); err == nil {
			t.Error("an edge without figures tells them")
		}
	})
}
