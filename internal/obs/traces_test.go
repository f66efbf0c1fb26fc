package obs_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/obs"
	"sluice/internal/trace"
	"sluice/test/collector"
)

// environ looks variables up in pairs of a name and a value.
func environ(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

func TestTraceEnvOff(t *testing.T) {
	for name, env := range map[string][]string{
		"nothing":                       nil,
		"empty values":                  {"OTEL_EXPORTER_OTLP_ENDPOINT=", "OTEL_TRACES_EXPORTER="},
		"disabled, whatever else":       {"OTEL_SDK_DISABLED=TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a", "OTEL_TRACES_SAMPLER=x"},
		"no exporter":                   {"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a"},
		"names and samplers ask little": {"OTEL_SERVICE_NAME=a", "OTEL_TRACES_SAMPLER=always_on"},
		"an endpoint of other signals":  {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://a"},
	} {
		c, err := obs.ReadTraceEnv(environ(env...))
		if err != nil || c.On() {
			t.Errorf("%s: on %v, %v", name, c.On(), err)
		}
		if tr := obs.NewTraces(c, obs.TraceDeps{}); tr != nil || tr.Tracer() != nil {
			t.Errorf("%s: %v is made", name, tr)
		}
	}
}

func TestTraceEnvOn(t *testing.T) {
	for _, env := range [][]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:4318"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://a/b"},
		{"OTEL_TRACES_EXPORTER=otlp"},
		{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"},
		{"OTEL_TRACES_EXPORTER=otlp", "OTEL_PROPAGATORS=tracecontext,baggage", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25"},
	} {
		if c, err := obs.ReadTraceEnv(environ(env...)); err != nil || !c.On() {
			t.Errorf("%v: on %v, %v", env, c.On(), err)
		}
	}
}

func TestTraceEnvRefused(t *testing.T) {
	const canary = "canary-7f3a"
	for env, want := range map[string]string{
		"OTEL_SDK_DISABLED=yes":                                  `OTEL_SDK_DISABLED: "yes" is not supported: allowed are false, true`,
		"OTEL_TRACES_EXPORTER=zipkin":                            `OTEL_TRACES_EXPORTER: "zipkin" is not supported: allowed are otlp, none`,
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc":                       `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not supported: allowed are http/protobuf`,
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json":           `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json" is not supported: allowed are http/protobuf`,
		"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318":             `OTEL_EXPORTER_OTLP_ENDPOINT: is not an http or https URL such as http://localhost:4318`,
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://u:" + canary:   `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: is not an http or https URL such as http://localhost:4318`,
		"OTEL_EXPORTER_OTLP_HEADERS=a=b,authorization " + canary: `OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not name=value with a header's name`,
		"OTEL_EXPORTER_OTLP_HEADERS=a=%0d%0a" + canary:           `OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not name=value with a header's name`,
		"OTEL_EXPORTER_OTLP_COMPRESSION=zstd":                    `OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" is not supported: allowed are none, gzip`,
		"OTEL_EXPORTER_OTLP_TIMEOUT=10s":                         `OTEL_EXPORTER_OTLP_TIMEOUT: "10s" is not within 1 and 600000 milliseconds`,
		"OTEL_EXPORTER_OTLP_CLIENT_KEY=k.pem":                    `OTEL_EXPORTER_OTLP_CLIENT_KEY: is set without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`,
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/no/such.pem":            `OTEL_EXPORTER_OTLP_CERTIFICATE: open /no/such.pem: `,
		"OTEL_RESOURCE_ATTRIBUTES=a=b,c":                         `OTEL_RESOURCE_ATTRIBUTES: attribute 2 is not key=value, percent-encoded`,
		"OTEL_TRACES_SAMPLER=jaeger_remote": `OTEL_TRACES_SAMPLER: "jaeger_remote" is not supported: allowed are parentbased_always_on, ` +
			`parentbased_always_off, parentbased_traceidratio, always_on, always_off, traceidratio`,
		"OTEL_PROPAGATORS=b3":                   `OTEL_PROPAGATORS: "b3" is not supported: allowed are tracecontext, baggage`,
		"OTEL_PROPAGATORS=baggage":              `OTEL_PROPAGATORS: tracecontext is missing: it is the only format`,
		"OTEL_BSP_MAX_QUEUE_SIZE=70000":         `OTEL_BSP_MAX_QUEUE_SIZE: "70000" is not within 1 and 65536`,
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100000": `OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "100000" is not within 1 and 2048`,
		"OTEL_BSP_SCHEDULE_DELAY=0":             `OTEL_BSP_SCHEDULE_DELAY: "0" is not within 1 and 600000 milliseconds`,
	} {
		_, err := obs.ReadTraceEnv(environ(env, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a"))
		if strings.Contains(env, "ENDPOINT") {
			_, err = obs.ReadTraceEnv(environ(env))
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v\nwant %s", env, err, want)
		}
	}
	_, err := obs.ReadTraceEnv(environ("OTEL_TRACES_EXPORTER=otlp", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=2", "OTEL_BSP_SCHEDULE_DELAY=x"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), `OTEL_TRACES_SAMPLER_ARG: "2" is not a share from 0 to 1`) {
		t.Errorf("%v: want both mistakes, one a line", err)
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// started is tracing with a log and metrics of its own.
type started struct {
	*obs.Traces
	log lines
	reg *prometheus.Registry
	// end ends Run and waits for it.
	end func()
}

func start(t *testing.T, env ...string) *started {
	t.Helper()
	c, err := obs.ReadTraceEnv(environ(env...))
	if err != nil {
		t.Fatal(err)
	}
	s := &started{reg: prometheus.NewRegistry()}
	s.Traces = obs.NewTraces(c, obs.TraceDeps{Node: "n1", Version: "1.2.3", Registerer: s.reg, Log: slog.New(slog.NewTextHandler(&s.log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	s.end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(s.end)
	return s
}

// counted is how many spans came to an end of each kind.
func (s *started) counted(t *testing.T) (exported, failed, dropped int) {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, m := range families[0].Metric {
		n[m.Label[0].GetValue()] = int(m.Counter.GetValue())
	}
	return n["exported"], n["failed"], n["dropped"]
}

func TestExport(t *testing.T) {
	col := collector.New(t)
	s := start(t, append(col.Env(), "OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"OTEL_SERVICE_NAME=gate", "OTEL_RESOURCE_ATTRIBUTES=service.name=other,deployment.environment=te%3Dst")...)
	theirs, _ := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	began := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
	root := s.Tracer().Continue(theirs, "root", trace.Server, began)
	child := root.Child("child", trace.Producer)
	other := s.Tracer().Start("other", trace.Client, time.Time{})
	child.Set(trace.Str("text", "a\xff"), trace.Int("n", 7), trace.Bool("yes", true))
	child.Fail("why")
	root.Link(other.Context())
	child.End()
	root.End()
	other.End()
	s.end()
	byName := map[string]collector.Span{}
	for _, sp := range col.Spans() {
		byName[sp.Name] = sp
	}
	r, c, o := byName["root"], byName["child"], byName["other"]
	switch {
	case len(byName) != 3:
		t.Fatalf("%v", byName)
	case r.Trace != theirs.TraceID() || r.Parent != "b7ad6b7169203331" || r.Kind != "server" || !r.Began.Equal(began) || r.Ended.Before(began):
		t.Errorf("root %+v", r)
	case r.Trace+"/"+r.ID != root.Context().TraceID()+"/"+root.Context().String()[36:52]:
		t.Errorf("root %+v is not known by the name it gave itself, %s", r, root.Context())
	case c.Trace != r.Trace || c.Parent != r.ID || c.Kind != "producer" || c.Failed != "why":
		t.Errorf("child %+v", c)
	case c.Attrs["text"] != "a\uFFFD" || c.Attrs["n"] != int64(7) || c.Attrs["yes"] != true:
		t.Errorf("attributes %v", c.Attrs)
	case o.Parent != "" || o.Trace == r.Trace || o.Kind != "client" || o.Failed != "" || !r.LinksTo(o):
		t.Errorf("other %+v, links of root %v", o, r.Links)
	case r.Resource["service.name"] != "gate" || r.Resource["deployment.environment"] != "te=st" || r.Resource["service.version"] != "1.2.3" ||
		r.Resource["service.instance.id"] != "n1":
		t.Errorf("resource %v", r.Resource)
	}
	if h := col.Headers(); len(h) != 1 || h[0].Get("X-Key") != "a b" || h[0].Get("Content-Encoding") != "gzip" {
		t.Errorf("headers %v", h)
	}
	if exported, failed, dropped := s.counted(t); exported != 3 || failed+dropped != 0 {
		t.Errorf("%d exported, %d failed, %d dropped, want 3 exported", exported, failed, dropped)
	}
}

func TestSamplers(t *testing.T) {
	yes, _ := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	no, _ := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	for _, c := range []struct {
		sampler       string
		root, of, not bool // recorded: a root, below a recorded span, below one that is not
	}{
		{"", true, true, false},
		{"parentbased_always_off", false, true, false},
		{"always_on", true, true, true},
		{"always_off", false, false, false},
	} {
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_SAMPLER="+c.sampler)
		tr := s.Tracer()
		root, of, not := tr.Start("a", 0, time.Time{}), tr.Continue(yes, "a", 0, time.Time{}), tr.Continue(no, "a", 0, time.Time{})
		if (root != nil) != c.root || (of != nil) != c.of || (not != nil) != c.not {
			t.Errorf("%q: root %v, below a recorded one %v, below another %v", c.sampler, root != nil, of != nil, not != nil)
		}
		s.end()
	}
	s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01")
	n := 0
	for range 20_000 {
		if s.Tracer().Start("a", 0, time.Time{}) != nil {
			n++
		}
	}
	if n < 100 || n > 400 {
		t.Errorf("%d of 20,000 are recorded, want about one in a hundred", n)
	}
}

// A collector that is down costs one line, and the spans; once it is back that is told.
func TestExporterDown(t *testing.T) {
	const canary = "canary-91bc"
	col := collector.New(t)
	col.Refuse(http.StatusBadRequest) // not worth another try
	url := strings.Replace(col.URL, "http://", "http://user:"+canary+"@", 1) + "/v1/traces?key=" + canary
	s := start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+url, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+canary, "OTEL_BSP_SCHEDULE_DELAY=1")
	for i := range 3 {
		s.Tracer().Start("a", 0, time.Time{}).End()
		col.WaitRequests(t, i+1)
	}
	col.Refuse(0)
	s.Tracer().Start("b", 0, time.Time{}).End()
	col.Wait(t, "span after the outage", func(sp collector.Span) bool { return sp.Name == "b" })
	s.end()
	log := s.log.String()
	if n := strings.Count(log, "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, log)
	}
	if !strings.Contains(log, "traces are exported again") || !strings.Contains(log, "lost=3") {
		t.Errorf("the end of the outage is not told:\n%s", log)
	}
	if strings.Contains(log, canary) {
		t.Errorf("a credential is in the log:\n%s", log)
	}
	if exported, failed, dropped := s.counted(t); exported != 1 || failed != 3 || dropped != 0 {
		t.Errorf("%d exported, %d failed, %d dropped, want 1 and 3", exported, failed, dropped)
	}
}

// What a collector rejects of a request that it takes is not exported.
func TestPartialSuccess(t *testing.T) {
	col := collector.New(t)
	col.Say([]byte{0x0a, 0x0d, 0x08, 0x02, 0x12, 0x09, 't', 'o', 'o', ' ', 'l', 'a', 'r', 'g', 'e'}) // partial_success {2, "too large"}
	s := start(t, col.Env()...)
	for range 5 {
		s.Tracer().Start("a", 0, time.Time{}).End()
	}
	s.end()
	if exported, failed, _ := s.counted(t); exported != 3 || failed != 2 || !strings.Contains(s.log.String(), "rejected spans") {
		t.Errorf("%d exported, %d failed:\n%s", exported, failed, s.log.String())
	}
}

// A collector that is busy gets the same spans again.
func TestRetry(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+srv.URL, "OTEL_BSP_SCHEDULE_DELAY=1")
	s.Tracer().Start("a", 0, time.Time{}).End()
	for late := time.Now().Add(collector.Patience); asked.Load() < 2 && time.Now().Before(late); {
		runtime.Gosched()
	}
	s.end()
	if exported, failed, _ := s.counted(t); exported != 1 || failed != 0 {
		t.Errorf("%d exported, %d failed", exported, failed)
	}
}

// Nobody listens: the same, with an error of the network.
func TestExporterUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+addr, "OTEL_BSP_EXPORT_TIMEOUT=50")
	s.Tracer().Start("a", 0, time.Time{}).End()
	s.end()
	if log := s.log.String(); strings.Count(log, "level=WARN") != 1 {
		t.Errorf("%s", log)
	}
}

// A collector that takes requests and never answers stops neither who ends spans nor the end
// of Run, and the queue does not grow.
func TestExporterHangs(t *testing.T) {
	asked, release := make(chan struct{}, 100), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+srv.URL, "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_MAX_QUEUE_SIZE=10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=5",
		"OTEL_EXPORTER_OTLP_TIMEOUT=600000", "OTEL_BSP_EXPORT_TIMEOUT=600000")
	s.Tracer().Start("first", 0, time.Time{}).End()
	<-asked // the exporter waits
	for range 10_000 {
		s.Tracer().Start("a", 0, time.Time{}).End() // would block for ever if anything waited
	}
	s.end()
	exported, failed, dropped := s.counted(t)
	if most := 10 + 2*5; exported != 0 || failed < 1 || failed > most || failed+dropped != 10_001 {
		t.Errorf("%d exported, %d failed, %d dropped: at most %d fit into the queue and a batch", exported, failed, dropped, most)
	}
}
