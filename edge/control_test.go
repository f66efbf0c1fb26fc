package edge

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
)

// gateway.live stands where the replay ends, with the id of the last event sent.
func TestControlLive(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine)
		ticks := feedOf("market", "1.0.0", "/ticks")
		a := r.get("/market/1.0.0/ticks?control=live")
		a.takeRetry(t)
		a.take(t, "event: gateway.live\ndata: {\"id\":null,\"replayed\":0}\n\n")
		at := r.publish(ticks, "a", "b", "c")
		a.take(t, frame("a", at[0]))
		_ = a.conn.Close()

		b := r.get("/market/1.0.0/ticks?control=live&lastEventId=" + eventID(at[0]))
		b.takeRetry(t)
		b.take(t, frame("b", at[1])+frame("c", at[2])+
			"event: gateway.live\ndata: {\"id\":\""+eventID(at[2])+"\",\"replayed\":2}\nid: "+eventID(at[2])+"\n\n")
		d := r.publish(ticks, "d")[0]
		b.take(t, frame("d", d))

		c := r.get("/market/1.0.0/ticks?control=live") // a live start behind events
		c.takeRetry(t)
		c.take(t, "event: gateway.live\ndata: {\"id\":\""+eventID(d)+"\",\"replayed\":0}\nid: "+eventID(d)+"\n\n")
		if n := r.count("sluice_edge_gateway_events_total", "event=gateway.live"); n != 3 {
			t.Errorf("%v counted", n)
		}
	})
}

// A client without an id gets one at once from a feed that has events; one with an id
// gets none before a silence.
func TestControlBookmark(t *testing.T) {
	r := newRig(t)
	ticks := feedOf("market", "1.0.0", "/ticks")
	p := r.publish(ticks, "a")[0]
	a := r.get("/market/1.0.0/ticks?control=bookmark")
	a.takeRetry(t)
	a.take(t, "id: "+eventID(p)+"\n\n")
	next := r.publish(ticks, "b")[0]
	a.take(t, frame("b", next))
	_ = a.conn.Close()

	b := r.get("/market/1.0.0/ticks?control=bookmark", "Last-Event-ID: "+eventID(p))
	b.takeRetry(t)
	b.take(t, frame("b", next))
	c := r.publish(ticks, "c")[0]
	b.take(t, frame("c", c))
	if n := r.count("sluice_edge_bookmarks_total"); n != 1 {
		t.Errorf("%v bookmarks", n)
	}
}

// fakeSink collects what is written.
type fakeSink struct {
	mu   sync.Mutex
	text strings.Builder
}

func (f *fakeSink) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(p)
}
func (f *fakeSink) Flush() error                     { return nil }
func (f *fakeSink) SetWriteDeadline(time.Time) error { return nil }

func (f *fakeSink) taken() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.text.String()
	f.text.Reset()
	return s
}

// fakeFeed says what a test wants of an upstream.
type fakeFeed struct {
	mu     sync.Mutex
	beacon broker.Beacon
	at     time.Time
}

func (f *fakeFeed) State() (broker.Beacon, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beacon, f.at
}

func (f *fakeFeed) say(state string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beacon, f.at = broker.Beacon{State: state, Since: since.UnixMicro()}, time.Now()
}

func testNotifier(t *testing.T, want control, feed source, link func() broker.Link) (*notifier, *fakeSink) {
	sink := &fakeSink{}
	n := &notifier{Sink: sink, want: want, stall: time.Second, now: time.Now, log: fanout.NewLog(fanout.LogConfig{}), feed: feed,
		link: link, began: time.Now(), quiet: time.Now()}
	done := make(chan struct{})
	go func() { defer close(done); n.run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return n, sink
}

func write(t *testing.T, n *notifier, s string) {
	t.Helper()
	if _, err := n.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func TestControlStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &fakeFeed{}
		feed.say(broker.StateUp, time.Now())
		n, sink := testNotifier(t, controlStale, feed, nil)
		write(t, n, "retry: 2000\n")
		cut := time.Now()
		feed.say(broker.StateBackoff, cut)
		time.Sleep(9 * time.Second)
		feed.say(broker.StateBackoff, cut)
		if got := sink.taken(); got != "retry: 2000\n" {
			t.Fatalf("told within 10 s: %q", got)
		}
		write(t, n, "data: half an ev") // never inside an event
		time.Sleep(5 * time.Second)
		feed.say(broker.StateBackoff, cut)
		write(t, n, "ent\nid: a-z\n\n")
		time.Sleep(2 * time.Second)
		want := "data: half an event\nid: a-z\n\nevent: gateway.stale\ndata: {\"reason\":\"upstream\",\"since\":\"" +
			cut.UTC().Format(time.RFC3339) + "\"}\n\n"
		if got := sink.taken(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		feed.say(broker.StateUp, time.Now())
		time.Sleep(2 * time.Second)
		if got := sink.taken(); !strings.HasPrefix(got, "event: gateway.fresh\ndata: {\"staleMs\":") {
			t.Fatalf("%q", got)
		}
		time.Sleep(31 * time.Second) // no word of the owner
		if got := sink.taken(); !strings.Contains(got, `{"reason":"owner",`) {
			t.Fatalf("%q", got)
		}
		write(t, n, "retry: 7\nevent: gateway.end\ndata: {}\n\n")
		feed.say(broker.StateUp, time.Now())
		time.Sleep(5 * time.Second)
		if got := sink.taken(); !strings.HasSuffix(got, "data: {}\n\n") {
			t.Fatalf("something follows the end: %q", got)
		}
	})
}

func TestControlStaleByBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &fakeFeed{}
		feed.say(broker.StateUp, time.Now())
		down := time.Now()
		n, sink := testNotifier(t, controlStale, feed, func() broker.Link { return broker.Link{Since: down} })
		write(t, n, "retry: 2000\n")
		time.Sleep(12 * time.Second)
		if got := sink.taken(); !strings.Contains(got, `{"reason":"broker",`) {
			t.Errorf("%q", got)
		}
	})
}

// On an empty feed the bookmark is a time, and only after the owner confirmed that
// the feed was silent; then each minute of silence.
func TestBookmarkByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &fakeFeed{}
		n, sink := testNotifier(t, controlBookmark, feed, nil)
		write(t, n, "retry: 2000\n")
		for range 29 {
			time.Sleep(time.Second)
			feed.say(broker.StateUp, time.Now())
		}
		if got := sink.taken(); got != "retry: 2000\n" {
			t.Fatalf("too early: %q", got)
		}
		for range 3 {
			time.Sleep(time.Second)
			feed.say(broker.StateUp, time.Now())
		}
		id, ok := strings.CutPrefix(strings.TrimSuffix(sink.taken(), "\n\n"), "id: ")
		pos, valid := fanout.ParseID(id)
		if !ok || !valid || pos.Seq != 0 || time.Since(time.UnixMicro(pos.Micros)) < bookmarkFresh {
			t.Fatalf("bookmark %q", id)
		}
		write(t, n, ":\n") // a heartbeat is silence
		for range 61 {
			time.Sleep(time.Second)
			feed.say(broker.StateUp, time.Now())
		}
		if got := sink.taken(); strings.Count(got, "id: 0-") != 1 {
			t.Fatalf("after a minute: %q", got)
		}
	})
}

// Clients that opted in cost a handler, its connection's watch and a clock each, and
// nothing once they are gone: those that left, and those that stopped reading.
func TestControlClientsAreReleased(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		const leaving, stalling, each = 30, 3, 4
		r := newRig(t, engine, func(s *setup) {
			s.cfg.Fanout.Slow.Stall, s.cfg.Fanout.Slow.Lag, s.cfg.Fanout.Slow.SoftLag = 300*time.Millisecond, 64<<20, 64<<20
		})
		const path = "/market/1.0.0/ticks?control=live,stale,bookmark"
		first := r.get(path) // opens the feed, which lingers not
		runtime.GC()
		before := runtime.NumGoroutine()
		var all []*answer
		for range leaving + stalling {
			a := r.get(path)
			a.takeRetry(t)
			all = append(all, a)
		}
		if n := r.portable.Count(); n != leaving+stalling+1 {
			t.Errorf("%d clients of the portable engine, want %d", n, leaving+stalling+1)
		}
		if n := runtime.NumGoroutine() - before; n > each*(leaving+stalling) {
			t.Errorf("%d goroutines for %d clients, want at most %d each", n, leaving+stalling, each)
		}
		for _, a := range all[:leaving] {
			_ = a.conn.Close()
		}
		wait(t, "those that left are gone", func() bool { return r.srv.Open() == stalling+1 })
		_ = first.conn.Close()
		for i := range 120 { // the others never read
			r.publish(feedOf("market", "1.0.0", "/ticks"), strings.Repeat("x", 64<<10)+strconv.Itoa(i))
		}
		wait(t, "those that stopped are cut", func() bool { return r.srv.Open() == 0 })
		ends := map[any]int{}
		wait(t, "all lines", func() bool { return len(r.logs.events("conn.close")) == leaving+stalling+1 })
		for _, l := range r.logs.events("conn.close") {
			ends[l["end"]]++
		}
		if n := r.portable.Count(); n != 0 || ends["stall"]+ends["slow"] != stalling { // slow: overrun before the stall was over
			t.Errorf("%d clients left; ends %v, want %d stalled or slow", n, ends, stalling)
		}
		wait(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// However long a stream, its notifier keeps no more than the end of what was written.
func TestNotifierKeepsLittle(t *testing.T) {
	n := &notifier{Sink: &fakeSink{}, now: time.Now, live: true, held: true}
	for i := range 10_000 {
		if _, err := n.Write(append([]byte(strings.Repeat("data: x\n", 1+i%100)), "\n"...)); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.carry) > 64 || cap(n.carry) > 1024 {
		t.Errorf("%d bytes in %d are kept", len(n.carry), cap(n.carry))
	}
}
