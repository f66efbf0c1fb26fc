package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/trace"
	"sluice/internal/trace/tracetest"
)

// A feed's spans through a real broker: its take-over, its connection, and now and then a
// commit, which is named in the first message that it stored. The upstream learns of its
// connection's.
func TestSpansOfAFeed(t *testing.T) {
	const canary = "canary-a01c"
	r := newRig(t)
	kept := &tracetest.Kept{}
	r.deps = func(d *Deps) { d.Tracer = trace.New(kept) }
	r.define("  topics:\n    - {name: /ticks, security: none, backend: '/ticks?key=" + canary + "'}\n")
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	p.add(canary, canary, canary)
	f := feedOf("/ticks")
	r.wantTexts(f, strings.Join([]string{canary, canary, canary}, " "))
	r.until("a commit's span has ended", func() bool { return len(kept.Named("ingest.commit")) == 1 })
	began := time.Now()
	for i := range 50 { // a commit each
		p.add(fmt.Sprint(i))
		r.until("it is stored", func() bool { return r.status("/ticks").Events == uint64(4+i) })
	}
	most := 2 + int(time.Since(began)/commitSpanEvery)
	if got := len(kept.Named("ingest.upstream")); got != 0 {
		t.Errorf("%d spans of a connection that is up", got)
	}
	r.stop()
	take, up, commit := kept.Named("ingest.take")[0], kept.Named("ingest.upstream")[0], kept.Named("ingest.commit")[0]
	for _, d := range []trace.Data{take, up, commit} {
		if tracetest.Attr(d, "sluice.api") != "market@1.0.0" || tracetest.Attr(d, "sluice.topic") != "/ticks" || d.Parent.Valid() || d.Failed != "" {
			t.Errorf("%+v", d)
		}
	}
	first := r.stored(f)[0]
	switch {
	case tracetest.Attr(take, "sluice.result") != "ok" || tracetest.Attr(take, "sluice.attempts") != int64(1) || tracetest.Attr(take, "sluice.epoch") == int64(0):
		t.Errorf("take-over: %+v", take)
	case !tracetest.LinksTo(up, take.Context) || tracetest.Attr(up, "server.address") != "127.0.0.1" || tracetest.Attr(up, "sluice.events") != int64(53) ||
		tracetest.Attr(up, "sluice.end") != "ours":
		t.Errorf("connection: %+v", up)
	case !tracetest.LinksTo(commit, up.Context) || tracetest.Attr(commit, "sluice.result") != "ok" || tracetest.Attr(commit, "sluice.attempts") != int64(1):
		t.Errorf("commit: %+v", commit)
	case first.Trace != commit.Context:
		t.Errorf("the first message names %s, want %s", first.Trace, commit.Context)
	}
	n := 0
	for _, m := range r.stored(f) {
		if m.Trace.Valid() {
			n++
		}
	}
	if spans := len(kept.Named("ingest.commit")); n != spans || n > most {
		t.Errorf("%d messages name a commit, %d commits are recorded of 51, want %d at most", n, spans, most)
	}
	if got := r.up.requests()[0].Header.Get("Traceparent"); got != up.Context.String() {
		t.Errorf("the upstream was told %q, want %s", got, up.Context)
	}
	if said := kept.String(); strings.Contains(said, canary) {
		t.Errorf("a query value or an event is in a span: %s", said)
	}
}

// Off leaves no trace: neither in what is stored nor in what upstreams are asked.
func TestNoSpansNoHeaders(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	p.add("a", "b")
	r.wantTexts(feedOf("/ticks"), "a b")
	for _, m := range r.stored(feedOf("/ticks")) {
		if m.Trace.Valid() {
			t.Errorf("message %d names %s", m.Seq, m.Trace)
		}
	}
	if got, there := r.up.requests()[0].Header["Traceparent"]; there {
		t.Errorf("the upstream was told %q", got)
	}
}

// A commit that does not work at once is one span that says how often it was tried; a
// connection that was refused says why.
func TestSpansOfTrouble(t *testing.T) {
	r := newRig(t)
	kept := &tracetest.Kept{}
	h := r.holdCommits()
	hold := r.deps
	r.deps = func(d *Deps) {
		hold(d)
		d.Tracer = trace.New(kept)
	}
	r.define("  topics:\n    - {name: /ticks, security: none}\n    - {name: /none, security: none}\n")
	away := error(broker.ErrUnavailable)
	h.err.Store(&away)
	p := newTape(r.up, true, true)
	r.up.set(notFoundAt("/none", p.serve))
	r.run()
	r.wantState("/ticks", "up")
	p.add("a")
	r.wantState("/ticks", "degraded")
	h.err.Store(nil)
	r.wantTexts(feedOf("/ticks"), "a")
	r.until("spans have ended", func() bool { return len(kept.Named("ingest.commit")) > 0 && len(kept.Named("ingest.upstream")) > 0 })
	d := kept.Named("ingest.commit")[0]
	if n, _ := tracetest.Attr(d, "sluice.attempts").(int64); n < 2 || tracetest.Attr(d, "sluice.result") != "ok" {
		t.Errorf("commit: %+v", d)
	}
	d = kept.Named("ingest.upstream")[0]
	if tracetest.Attr(d, "http.response.status_code") != int64(404) || d.Failed != "status 404" || tracetest.Attr(d, "sluice.end") != "missing" {
		t.Errorf("connection: %+v", d)
	}
}

// notFoundAt answers 404 at a path and leaves the others to serve.
func notFoundAt(path string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			http.NotFound(w, r)
			return
		}
		serve(w, r)
	}
}
