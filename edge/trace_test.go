package edge

import (
	"strings"
	"testing"

	"sluice/internal/broker/brokertest"
	"sluice/internal/trace"
	"sluice/internal/trace/tracetest"
)

const theirParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// traced makes a rig whose spans are kept.
func traced(kept *tracetest.Kept) func(*setup) {
	return func(s *setup) { s.tracer = trace.New(kept) }
}

// A stream is one span that ends with it, a return one below it; both are linked to the
// commit that stored what is sent. Nothing that a client or an upstream wrote is in them.
func TestStreamIsOneSpan(t *testing.T) {
	const canary = "canary-5d1e"
	engines(t, func(t *testing.T, engine func(*setup)) {
		kept := &tracetest.Kept{}
		r := newRig(t, engine, traced(kept), func(s *setup) { s.node = brokertest.Start(t) })
		ticks := feedOf("market", "1.0.0", "/ticks")
		r.span = trace.Context{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: true}
		one := r.publish(ticks, canary, canary)[0]
		a := r.get("/market/1.0.0/ticks?lastEventId="+eventID(one), "Authorization: Bearer "+canary, "Cookie: a="+canary, "Origin: http://"+canary,
			"User-Agent: "+canary, "traceparent: "+theirParent)
		a.takeRetry(t)
		a.take(t, frame(canary, r.written[ticks]))
		a.take(t, frame("last", r.publish(ticks, "last")[0]))
		if n := len(kept.Named("edge.connection")); n != 0 {
			t.Errorf("%d spans of streams that are open", n)
		}
		_ = a.conn.Close()
		wait(t, "the stream's span has ended", func() bool { return len(kept.Named("edge.connection")) == 1 })
		conn, resume := kept.Named("edge.connection")[0], kept.Named("edge.resume")[0]
		theirs, _ := trace.Parse(theirParent)
		engineName := "portable"
		if r.srv.adopter != nil {
			engineName = "shard"
		}
		for key, want := range map[string]any{"http.request.method": "GET", "http.response.status_code": int64(200), "url.scheme": "http",
			"network.protocol.version": "1.1", "sluice.api": "market@1.0.0", "sluice.topic": "/ticks", "sluice.engine": engineName,
			"sluice.listener": "edge-http", "sluice.start": "id", "sluice.resume": "exact", "sluice.end": "client", "sluice.events": int64(2),
			"sluice.gaps": int64(0)} {
			if got := tracetest.Attr(conn, key); got != want {
				t.Errorf("%s = %v, want %v", key, got, want)
			}
		}
		for key, want := range map[string]any{"sluice.resume": "exact", "sluice.behind": int64(1), "sluice.start": "id", "sluice.gap": nil} {
			if got := tracetest.Attr(resume, key); got != want {
				t.Errorf("resume: %s = %v, want %v", key, got, want)
			}
		}
		switch {
		case conn.Parent.Valid() || conn.Context.Trace == theirs.Trace || !tracetest.LinksTo(conn, theirs):
			t.Errorf("a client's traceparent is a link, no more: %+v", conn)
		case resume.Parent != conn.Context || resume.Began.Before(conn.Began) || resume.Ended.After(conn.Ended):
			t.Errorf("the return is not within its stream: %+v in %+v", resume, conn)
		case !tracetest.LinksTo(resume, r.span) || !tracetest.LinksTo(conn, r.span):
			t.Errorf("not linked to the commit: %v, %v", resume.Links, conn.Links)
		case conn.Failed != "" || resume.Failed != "":
			t.Errorf("failed: %q, %q", conn.Failed, resume.Failed)
		}
		wait(t, "the line is there", func() bool { return len(r.logs.events("conn.close")) == 1 })
		if line := r.logs.events("conn.close")[0]; line["trace_id"] != conn.Context.TraceID() || line["request_id"] != tracetest.Attr(conn, "sluice.request_id") {
			t.Errorf("the line %v does not lead to the span", line)
		}
		if said := kept.String(); strings.Contains(said, canary) || strings.Contains(said, eventID(one)) {
			t.Errorf("what clients or upstreams wrote is in a span: %s", said)
		}
		if n := len(r.srv.spans.open); n != 0 {
			t.Errorf("%d spans are left open", n)
		}
	})
}

// The traces of trusted proxies go on here.
func TestTrustedParentIsContinued(t *testing.T) {
	kept := &tracetest.Kept{}
	r := newRig(t, traced(kept), func(s *setup) { s.cfg.Edge.TrustedProxies = prefixes("127.0.0.0/8") })
	theirs, _ := trace.Parse(theirParent)
	for i, c := range []struct {
		name      string
		lines     []string
		continued bool
	}{
		{"one", []string{"traceparent: " + theirParent}, true},
		{"none", nil, false},
		{"two", []string{"traceparent: " + theirParent, "traceparent: " + theirParent}, false},
		{"unreadable", []string{"traceparent: " + strings.ToUpper(theirParent)}, false},
	} {
		_ = r.get("/market/1.0.0/quiet", c.lines...).conn.Close()
		wait(t, "the span has ended", func() bool { return len(kept.Named("edge.connection")) == i+1 })
		if d := kept.Named("edge.connection")[i]; (d.Parent == theirs && d.Remote && d.Context.Trace == theirs.Trace) != c.continued || len(d.Links) > 0 {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// A refusal ends its span with what it was. Requests for no stream make none.
func TestRefusalIsTold(t *testing.T) {
	kept := &tracetest.Kept{}
	r := newRig(t, traced(kept), func(s *setup) { s.cfg.Edge.ReadyPath = "/_ready" })
	for _, request := range []string{"GET /_ready", "OPTIONS /market/1.0.0/ticks", "POST /market/1.0.0/ticks", "GET //market"} {
		r.raw(request + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").text(t)
	}
	r.get("/mixed/1/secret").text(t)
	r.get("/blocked/1/t", "Accept: text/event-stream").text(t)
	r.verdicts.Store("/q/CAP", "refused:cap")
	r.get("/wild/1/q/CAP", "Accept: text/event-stream").text(t)
	wait(t, "all spans have ended", func() bool { return len(kept.Named("edge.connection")) == 3 })
	for i, want := range []struct {
		refused, failed string
		status          int64
		shed            bool
	}{{"missing-token", "", 401, false}, {"api-blocked", "api-blocked", 503, false}, {"too-many-feeds", "", 429, true}} {
		d := kept.Named("edge.connection")[i]
		if tracetest.Attr(d, "sluice.refused") != want.refused || tracetest.Attr(d, "http.response.status_code") != want.status ||
			tracetest.Attr(d, "sluice.shed") != want.shed || d.Failed != want.failed || tracetest.Attr(d, "sluice.api") == nil {
			t.Errorf("%+v, want %+v", d, want)
		}
	}
}

// What is not recorded is not kept, and off is nothing at all.
func TestSpansNotRecorded(t *testing.T) {
	kept := &tracetest.Kept{}
	kept.None()
	for name, change := range map[string]func(*setup){"not sampled": traced(kept), "off": func(*setup) {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			a := r.get("/market/1.0.0/quiet", "Last-Event-ID: no id")
			a.takeRetry(t)
			if n := len(r.srv.spans.open); n != 0 {
				t.Errorf("%d spans kept", n)
			}
			_ = a.conn.Close()
			wait(t, "the stream has ended", func() bool { return len(r.logs.events("conn.close")) == 1 })
			if _, there := r.logs.events("conn.close")[0]["trace_id"]; there || kept.String() != "[]" {
				t.Errorf("traced: %s", r.logs.text())
			}
		})
	}
}
