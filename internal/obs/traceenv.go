package obs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// TraceConfig is what the environment asks of tracing. The zero value is off. It holds
// credentials: do not print it.
type TraceConfig struct {
	on       bool
	endpoint *url.URL // of spans, with its path
	headers  map[string]string
	timeout  time.Duration // of one export
	gzip     bool
	tls      *tls.Config
	service  string
	resource map[string]string
	sampler  sampler

	queue, batch int           // spans
	delay, bound time.Duration // between two exports, and of one with its retries
}

// On reports whether spans are wanted.
func (c TraceConfig) On() bool { return c.on }

// What the environment may ask for, and what holds without it.
const (
	defaultEndpoint = "http://localhost:4318"
	tracesPath      = "/v1/traces"
	defaultService  = "sluice"

	defaultQueue = 2048 // spans
	defaultBatch = 512
	defaultDelay = 5 * time.Second
	defaultBound = 30 * time.Second

	maxQueue      = 65_536
	maxAttributes = 64 // of the resource
)

// ReadTraceEnv reads the standard OpenTelemetry variables. Tracing is on if an OTLP
// endpoint is set, or the exporter otlp, and OTEL_SDK_DISABLED is not true; otherwise
// nothing else is looked at. The error names everything that is wrong, each with its
// variable and what is allowed; it holds no header, no user and no query of an endpoint.
func ReadTraceEnv(lookup func(string) (string, bool)) (TraceConfig, error) {
	e := traceEnv{lookup: lookup}
	if e.oneOf("OTEL_SDK_DISABLED", "false", "true") == "true" {
		return TraceConfig{}, nil
	}
	exporter := e.oneOf("OTEL_TRACES_EXPORTER", "", "otlp", "none")
	name, endpoint := e.signal("ENDPOINT")
	if len(e.wrong) == 0 && (exporter == "none" || exporter == "" && endpoint == "") {
		return TraceConfig{}, nil
	}
	c := TraceConfig{on: true}
	c.endpoint = e.endpoint(name, endpoint)
	e.protocol()
	c.headers = e.headers()
	c.timeout = e.millis(e.either("TIMEOUT"), 10*time.Second)
	compression, value := e.signal("COMPRESSION")
	c.gzip = e.allowed(compression, value, "none", "gzip") == "gzip"
	c.tls = e.certificates()
	c.service, c.resource = e.identity()
	c.sampler = e.sampler()
	e.propagators()
	c.queue = e.count("OTEL_BSP_MAX_QUEUE_SIZE", defaultQueue, maxQueue)
	c.batch = e.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(defaultBatch, c.queue), c.queue)
	c.delay = e.millis("OTEL_BSP_SCHEDULE_DELAY", defaultDelay)
	c.bound = e.millis("OTEL_BSP_EXPORT_TIMEOUT", defaultBound)
	if len(e.wrong) > 0 {
		return TraceConfig{}, errors.Join(e.wrong...)
	}
	return c, nil
}

// traceEnv reads variables and gathers what is wrong with them.
type traceEnv struct {
	lookup func(string) (string, bool)
	wrong  []error
}

func (e *traceEnv) fail(name, format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
}

// get is a variable's value; empty is not set.
func (e *traceEnv) get(name string) string {
	v, _ := e.lookup(name)
	return strings.TrimSpace(v)
}

// either is the name of the variable that holds an OTLP setting: that for traces, if it
// is set, else that for all signals.
func (e *traceEnv) either(what string) string {
	if name := "OTEL_EXPORTER_OTLP_TRACES_" + what; e.get(name) != "" {
		return name
	}
	return "OTEL_EXPORTER_OTLP_" + what
}

// signal is that variable with its value.
func (e *traceEnv) signal(what string) (name, value string) {
	name = e.either(what)
	return name, e.get(name)
}

// oneOf reads a variable that has a few values; the first one is the default.
func (e *traceEnv) oneOf(name string, values ...string) string {
	return e.allowed(name, e.get(name), values...)
}

func (e *traceEnv) allowed(name, value string, values ...string) string {
	if value == "" {
		return values[0]
	}
	for _, v := range values {
		if v != "" && strings.EqualFold(v, value) {
			return v
		}
	}
	e.fail(name, "%q is not supported: allowed are %s", clip(value, 80), strings.TrimPrefix(strings.Join(values, ", "), ", "))
	return values[0]
}

// endpoint is where spans go: that for traces as it is, that for all signals with a path.
func (e *traceEnv) endpoint(name, value string) *url.URL {
	if value == "" {
		value = defaultEndpoint
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		e.fail(name, "is not an http or https URL such as %s", defaultEndpoint)
		return nil
	}
	if !strings.Contains(name, "_TRACES_") {
		u = u.JoinPath(tracesPath)
	}
	return u
}

func (e *traceEnv) protocol() {
	name, value := e.signal("PROTOCOL")
	e.allowed(name, value, "http/protobuf")
}

// headers reads key=value pairs with commas between them, both percent-encoded.
func (e *traceEnv) headers() map[string]string {
	name, value := e.signal("HEADERS")
	out := map[string]string{}
	for i, pair := range list(value) {
		k, v, ok := strings.Cut(pair, "=")
		k, err1 := url.PathUnescape(strings.TrimSpace(k))
		v, err2 := url.PathUnescape(strings.TrimSpace(v))
		if !ok || err1 != nil || err2 != nil || !isToken(k) || strings.ContainsAny(v, "\r\n\x00") {
			e.fail(name, "entry %d is not name=value with a header's name", i+1) // the value may be a credential
			continue
		}
		out[http.CanonicalHeaderKey(k)] = v
	}
	return out
}

// list splits at commas and leaves empty parts out.
func list(s string) (parts []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// isToken reports whether s can be the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func (e *traceEnv) millis(name string, def time.Duration) time.Duration {
	value := e.get(name)
	if value == "" {
		return def
	}
	ms, err := strconv.Atoi(value)
	if err != nil || ms < 1 || ms > 600_000 {
		e.fail(name, "%q is not within 1 and 600000 milliseconds", clip(value, 80))
		return def
	}
	return time.Duration(ms) * time.Millisecond
}

func (e *traceEnv) count(name string, def, most int) int {
	value := e.get(name)
	if value == "" {
		return def
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		e.fail(name, "%q is not within 1 and %d", clip(value, 80), most)
		return def
	}
	return n
}

// certificates reads the authorities of the collector and our own certificate.
func (e *traceEnv) certificates() *tls.Config {
	ca, caFile := e.signal("CERTIFICATE")
	cert, certFile := e.signal("CLIENT_CERTIFICATE")
	key, keyFile := e.signal("CLIENT_KEY")
	if caFile == "" && certFile == "" && keyFile == "" {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		conf.RootCAs = x509.NewCertPool()
		if err != nil {
			e.wrong = append(e.wrong, fmt.Errorf("%s: %w", ca, err))
		} else if !conf.RootCAs.AppendCertsFromPEM(pem) {
			e.fail(ca, "%s holds no certificate", caFile)
		}
	}
	switch {
	case certFile == "" && keyFile == "":
	case certFile == "":
		e.fail(key, "is set without %s", cert)
	case keyFile == "":
		e.fail(cert, "is set without %s", key)
	default:
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			e.wrong = append(e.wrong, fmt.Errorf("%s: cannot be used with %s: %w", cert, key, err))
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf
}

// identity is how this process is called in traces.
func (e *traceEnv) identity() (service string, attrs map[string]string) {
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	pairs := list(e.get(name))
	if len(pairs) > maxAttributes {
		e.fail(name, "has %d attributes: at most %d are allowed", len(pairs), maxAttributes)
		pairs = nil
	}
	service, attrs = defaultService, map[string]string{}
	for i, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		k = strings.TrimSpace(k)
		v, err := url.PathUnescape(strings.TrimSpace(v))
		switch {
		case !ok || k == "" || err != nil || !utf8.ValidString(k) || !utf8.ValidString(v):
			e.fail(name, "attribute %d is not key=value, percent-encoded", i+1)
		case k == "service.name":
			service = v
		default:
			attrs[k] = v
		}
	}
	if v := e.get("OTEL_SERVICE_NAME"); v != "" {
		service = strings.ToValidUTF8(v, "")
	}
	return service, attrs
}

// sampler reads which traces are recorded.
func (e *traceEnv) sampler() sampler {
	name := e.oneOf("OTEL_TRACES_SAMPLER", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
		"always_on", "always_off", "traceidratio")
	kind, parents := strings.CutPrefix(name, "parentbased_")
	switch kind {
	case "always_on":
		return sampler{parents, 1}
	case "always_off":
		return sampler{parents, 0}
	}
	return sampler{parents, e.ratio()}
}

func (e *traceEnv) ratio() float64 {
	const name = "OTEL_TRACES_SAMPLER_ARG"
	value := e.get(name)
	if value == "" {
		return 1
	}
	r, err := strconv.ParseFloat(value, 64)
	if err != nil || !(r >= 0 && r <= 1) {
		e.fail(name, "%q is not a share from 0 to 1", clip(value, 80))
		return 1
	}
	return r
}

// propagators refuses formats other than that of W3C. Baggage is allowed because it is
// in the standard's default; none is read or sent.
func (e *traceEnv) propagators() {
	const name = "OTEL_PROPAGATORS"
	value, w3c := e.get(name), false
	for _, p := range list(value) {
		w3c = w3c || p == "tracecontext"
		e.allowed(name, p, "tracecontext", "baggage")
	}
	if value != "" && !w3c {
		e.fail(name, "tracecontext is missing: it is the only format")
	}
}
