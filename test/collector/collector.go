// Package collector is an OTLP/HTTP receiver for tests: it decodes what an exporter sends as a collector would, and keeps it.
//
// Read collector.go: New, Env (what points a gateway at it), Wait and Spans. Goroutines: those of its HTTP server, which ends
// with the test.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Patience is how long Wait waits; only a broken program uses it up.
const Patience = 60 * time.Second

// Span is one span as it was received.
type Span struct {
	Name, Kind        string
	Trace, ID, Parent string // hex digits; no parent is empty
	Links             []string
	Attrs             map[string]any // string, int64 or bool
	Failed            string         // message of a status that is an error
	Began, Ended      time.Time
	Resource          map[string]any
}

// Is says that the span has the attribute with that value, as text.
func (s Span) Is(key string, want any) bool {
	got, ok := s.Attrs[key]
	return ok && fmt.Sprint(got) == fmt.Sprint(want)
}

// LinksTo says that s is linked to o.
func (s Span) LinksTo(o Span) bool { return slices.Contains(s.Links, o.Trace+"/"+o.ID) }

// Collector receives spans at URL.
type Collector struct {
	URL string

	mu      sync.Mutex // guards below
	spans   []Span
	raw     []byte // of all requests, decompressed
	headers []http.Header
	answer  int           // status to refuse with; 0 = take
	say     []byte        // body of a response
	changed chan struct{} // closed and renewed with each request
}

// New starts a collector that ends with the test.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{changed: make(chan struct{})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.receive(w, r); err != nil {
			t.Errorf("collector: %s %s: %v", r.Method, r.URL, err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(srv.Close)
	c.URL = srv.URL
	return c
}

// Env are the variables that make a gateway export to c, soon.
func (c *Collector) Env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=100"}
}

// Refuse makes c answer with a status from now on, 0 = take again.
func (c *Collector) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = status
}

// Say makes c answer with a body.
func (c *Collector) Say(body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say = body
}

func (c *Collector) receive(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("no OTLP request: %s", r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil // the exporter gave up
	}
	var m tracepb.TracesData // what an ExportTraceServiceRequest is on the wire
	if err := proto.Unmarshal(raw, &m); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { close(c.changed); c.changed = make(chan struct{}) }()
	c.headers = append(c.headers, r.Header.Clone())
	if c.answer != 0 {
		w.WriteHeader(c.answer)
		return nil
	}
	c.raw = append(c.raw, raw...)
	for _, rs := range m.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, spanOf(s, attrsOf(rs.Resource.GetAttributes())))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, err = w.Write(c.say) // a response that holds nothing has no bytes
	return err
}

func spanOf(s *tracepb.Span, res map[string]any) Span {
	out := Span{Name: s.Name, Kind: strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")),
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Attrs: attrsOf(s.Attributes), Resource: res,
		Began: time.Unix(0, int64(s.StartTimeUnixNano)), Ended: time.Unix(0, int64(s.EndTimeUnixNano))}
	for _, l := range s.Links {
		out.Links = append(out.Links, hex.EncodeToString(l.TraceId)+"/"+hex.EncodeToString(l.SpanId))
	}
	if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		out.Failed = s.Status.Message
	}
	return out
}

func attrsOf(list []*commonpb.KeyValue) map[string]any {
	out := map[string]any{}
	for _, kv := range list {
		switch v := kv.Value.GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.Key] = v.IntValue
		case *commonpb.AnyValue_BoolValue:
			out[kv.Key] = v.BoolValue
		}
	}
	return out
}

// Spans are those received so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Raw is every byte of the spans received so far, for a search of what must not be in them.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw)
}

// Headers are those of the requests so far, refused ones too.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// WaitRequests returns once c has seen n requests.
func (c *Collector) WaitRequests(t testing.TB, n int) {
	t.Helper()
	c.until(t, fmt.Sprintf("%d requests", n), func() bool { return len(c.headers) >= n })
}

// Wait returns the first span for which is says yes.
func (c *Collector) Wait(t testing.TB, what string, is func(Span) bool) Span {
	t.Helper()
	var found Span
	c.until(t, what, func() bool {
		i := slices.IndexFunc(c.spans, is)
		if i >= 0 {
			found = c.spans[i]
		}
		return i >= 0
	})
	return found
}

// until waits for cond, which is called with the lock held.
func (c *Collector) until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	late := time.After(Patience)
	for {
		c.mu.Lock()
		ok, changed, n := cond(), c.changed, len(c.spans)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("collector: no %s in %s, %d spans", what, Patience, n)
		}
	}
}
