package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/outbound"
)

// rig is a supervisor over a real broker and a real upstream server.
type rig struct {
	t    testing.TB
	b    *brokertest.Node
	up   *origin
	cat  *catalog.StaticStore
	cfg  config.Config
	own  broker.Bucket
	log  *logLines
	s    *Supervisor
	stop func()
	deps func(*Deps)
}

// newRig makes everything but the supervisor, which run starts.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, b: brokertest.Start(t), up: newOrigin(t), cfg: config.Default(), log: &logLines{}}
	r.cfg.Upstream.Backoff.Base = 10 * time.Millisecond
	r.cfg.Upstream.Backoff.Max = 2 * time.Second
	own, err := r.b.Admin().Bucket(t.Context(), "own", 1)
	r.check(err)
	r.own = own
	return r
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// define puts one API into the catalog: spec lines below spec, indented by two spaces, with topics last.
func (r *rig) define(spec string) {
	r.t.Helper()
	text := "apiVersion: sluice/v1\nkind: API\nmetadata: {name: market}\nspec:\n  context: /market\n  version: 1.0.0\n" +
		"  state: PUBLISHED\n  endpoint: " + r.up.URL + "\n" + spec
	src := catalog.Source{Name: "market.yaml", Data: []byte(text)}
	if r.cat == nil {
		cat, err := catalog.NewStatic(catalog.OptionsFrom(r.cfg), src)
		r.check(err)
		r.cat = cat
		r.check(r.b.Admin().EnsureStream(r.t.Context(), broker.StreamSpec{API: broker.APIToken("market", "1.0.0"),
			Name: "market", Durable: broker.ProfileProcess, MaxAge: time.Hour, MaxEvents: 1_000_000, MaxBytes: 1 << 30}))
		return
	}
	_, err := r.cat.Replace(src)
	r.check(err)
}

const ticksOnly = "  topics:\n    - {name: /ticks, security: none}\n"

func feedOf(path string) broker.FeedID { return broker.NewFeedID("market", "1.0.0", path, "") }

// run starts a supervisor; stop drains it and waits for Run.
func (r *rig) run() {
	r.t.Helper()
	d := Deps{Node: "n1", Catalog: r.cat, Writer: r.b.Writer(), Bus: r.b.Bus(), Own: r.own,
		Guard: outbound.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}),
		Log:   slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: prometheus.NewRegistry()}
	if r.deps != nil {
		r.deps(&d)
	}
	s, err := New(r.cfg.Ingest, r.cfg.Upstream, d)
	r.check(err)
	r.s = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			limit, end := context.WithTimeout(context.Background(), 10*time.Second)
			defer end()
			if err := s.Drain(limit); err != nil {
				r.t.Errorf("drain: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				r.t.Errorf("run: %v", err)
			}
		})
	}
	r.t.Cleanup(r.stop)
}

// until waits for a fact.
func (r *rig) until(what string, fact func() bool) {
	r.t.Helper()
	limit, poll := time.After(15*time.Second), time.NewTicker(2*time.Millisecond)
	defer poll.Stop()
	for !fact() {
		select {
		case <-limit:
			r.t.Fatalf("not in time: %s\nfeeds: %+v\nlog:\n%s", what, r.s.Feeds(), r.log)
		case <-poll.C:
		}
	}
}

// stored reads all that a feed holds.
func (r *rig) stored(f broker.FeedID) []broker.Message {
	r.t.Helper()
	var out []broker.Message
	from := uint64(1)
	for {
		var b broker.Block
		r.check(r.b.Direct().Read(r.t.Context(), f, broker.From{Seq: from}, &b))
		out = append(out, b.Messages...)
		if !b.More {
			return out
		}
		from = b.Next
	}
}

// texts are the data of a feed's events, markers as <reason>.
func (r *rig) texts(f broker.FeedID) []string {
	r.t.Helper()
	var out []string
	for _, m := range r.stored(f) {
		if m.Gap {
			out = append(out, "<"+gapReason(m.Body)+">")
			continue
		}
		_, data, _ := strings.Cut(string(m.Body), "data: ")
		out = append(out, strings.TrimSuffix(data, "\n"))
	}
	return out
}

// wantTexts waits until the feed holds exactly these.
func (r *rig) wantTexts(f broker.FeedID, want string) {
	r.t.Helper()
	got := ""
	r.until("feed "+f.String()+" holds "+want, func() bool {
		got = strings.Join(r.texts(f), " ")
		return len(got) >= len(want)
	})
	if got != want {
		r.t.Fatalf("feed holds\n%s\nwant\n%s\nlog:\n%s", got, want, r.log)
	}
	all := r.stored(f)
	r.until("acknowledged", func() bool {
		for _, st := range r.s.Feeds() {
			if st.Feed == f.String() {
				return st.Seq == all[len(all)-1].Seq
			}
		}
		return true
	})
}

func (r *rig) status(path string) FeedStatus {
	for _, f := range r.s.Feeds() {
		if f.Path == path {
			return f
		}
	}
	return FeedStatus{}
}

func (r *rig) wantState(path, state string) {
	r.t.Helper()
	r.until(path+" is "+state, func() bool { return r.status(path).State == state })
}

// origin is an upstream: one handler that tests replace, and what was asked.
type origin struct {
	*httptest.Server
	mu    sync.Mutex
	serve http.HandlerFunc
	asked []*http.Request
	cut   chan struct{} // closed to end all streams
}

func newOrigin(t testing.TB) *origin {
	o := &origin{cut: make(chan struct{})}
	o.Server = httptest.NewServer(o)
	return o.closing(t)
}

func newTLSOrigin(t testing.TB) *origin {
	o := &origin{cut: make(chan struct{})}
	o.Server = httptest.NewUnstartedServer(o)
	o.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.Server.StartTLS()
	return o.closing(t)
}

func (o *origin) closing(t testing.TB) *origin {
	t.Cleanup(func() {
		o.drop()
		o.Server.CloseClientConnections()
		o.Server.Close()
	})
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r)
	serve := o.serve
	o.mu.Unlock()
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	serve(w, r)
}

func (o *origin) set(h http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.serve = h
}

func (o *origin) requests() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*http.Request(nil), o.asked...)
}

// drop ends every open stream.
func (o *origin) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.cut)
	o.cut = make(chan struct{})
}

func (o *origin) cutter() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cut
}

// stream answers with an event stream of text, then holds the connection until it is dropped.
func (o *origin) stream(w http.ResponseWriter, r *http.Request, text string) {
	cut := o.cutter()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = w.Write([]byte(text))
	w.(http.Flusher).Flush()
	select {
	case <-cut:
	case <-r.Context().Done():
	}
}

// tape is an upstream that keeps events 1, 2, … and sends new ones as they are added.
type tape struct {
	o      *origin
	mu     sync.Mutex
	events []string // data; the id of events[i] is i+1
	more   chan struct{}
	ids    bool
	honour bool
	back   int // events sent again before those asked for
	refuse int // ids below are answered by 410
}

func newTape(o *origin, ids, honour bool) *tape {
	p := &tape{o: o, more: make(chan struct{}), ids: ids, honour: honour}
	o.set(p.serve)
	return p
}

// storedTwo is a rig whose feed /ticks is read from a tape and has stored its events a and b.
func storedTwo(t *testing.T, ids, honour bool) (*rig, *tape, broker.FeedID) {
	t.Helper()
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, ids, honour)
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "b")
	r.wantTexts(f, "a b")
	return r, p, f
}

func (p *tape) add(data ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, data...)
	close(p.more)
	p.more = make(chan struct{})
}

func (p *tape) serve(w http.ResponseWriter, r *http.Request) {
	cut := p.o.cutter()
	p.mu.Lock()
	next := len(p.events)
	if id := r.Header.Get("Last-Event-ID"); id != "" && p.honour {
		next, _ = strconv.Atoi(id)
		if next < p.refuse {
			p.mu.Unlock()
			w.WriteHeader(http.StatusGone)
			return
		}
		next = max(0, next-p.back)
	}
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for {
		p.mu.Lock()
		var out bytes.Buffer
		for ; next < len(p.events); next++ {
			if p.ids {
				fmt.Fprintf(&out, "id: %d\n", next+1)
			}
			fmt.Fprintf(&out, "data: %s\n\n", p.events[next])
		}
		more := p.more
		p.mu.Unlock()
		_, _ = w.Write(out.Bytes())
		w.(http.Flusher).Flush()
		select {
		case <-more:
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// logLines keeps what was logged.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
