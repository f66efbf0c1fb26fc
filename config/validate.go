package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/doc"
)

// Validate tells everything that is wrong with c, as a doc.Errors without positions. A Config from Load or Default is valid.
func (c Config) Validate() error {
	v := validator{at: func(path, message, hint string) *doc.Error {
		return &doc.Error{Pointer: pointer(path), Type: doc.TypeInvalidValue, Message: message, Hint: hint}
	}}
	v.config(&c)
	return v.errs.Err()
}

var groupName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// validator collects what is wrong; at places one error.
type validator struct {
	at   func(path, message, hint string) *doc.Error
	errs doc.Errors
}

func (v *validator) config(c *Config) {
	if c.Data == "" {
		v.fail("data", "must name a folder")
	}
	v.node(c.Node)
	v.roles(c.Roles)
	v.edge(&c.Edge)
	v.fanout(&c.Fanout)
	v.ingest(&c.Ingest)
	v.upstream(&c.Upstream)
	v.broker(&c.Broker)
	v.auth(&c.Auth)
	v.control(&c.Control)
	v.addr("ops.addr", c.Ops.Addr)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "auto", "text", "json")
	v.listeners(c)
}

func (v *validator) control(c *Control) {
	v.addr("control.addr", c.Addr)
	h := &c.HTTPS
	if h.Cert != "" && h.Key == "" {
		v.fail("control.https.cert", "needs control.https.key")
	}
	if h.Key != "" && h.Cert == "" {
		v.fail("control.https.key", "needs control.https.cert")
	}
	v.duration("control.https.hsts", h.HSTS, 0, 2*365*24*time.Hour)
	if h.HSTS > 0 && h.Cert == "" {
		v.fail("control.https.hsts", "needs control.https.cert: only an answer over https may say so")
	}
}

func (v *validator) node(name string) {
	if len(name) > 63 || strings.ContainsFunc(name, func(r rune) bool { return r != '.' && notHostByte(r) }) {
		v.fail("node", "must be 1 to 63 letters, digits, -, _ or dots")
	}
}

func (v *validator) roles(roles []Role) {
	if len(roles) == 0 {
		v.fail("roles", "must have at least one of edge, ingest, control")
	}
	for i, r := range roles {
		path := fmt.Sprintf("roles[%d]", i)
		v.oneOf(path, string(r), string(RoleEdge), string(RoleIngest), string(RoleControl))
		if slices.Index(roles, r) < i {
			v.fail(path, "is listed twice")
		}
	}
}

func (v *validator) edge(e *Edge) {
	v.addr("edge.http.addr", e.HTTP.Addr)
	v.addr("edge.https.addr", e.HTTPS.Addr)
	if len(e.HTTPS.ALPN) == 0 {
		v.fail("edge.https.alpn", "must have at least one of h2, http/1.1")
	}
	for i, p := range e.HTTPS.ALPN {
		v.oneOf(fmt.Sprintf("edge.https.alpn[%d]", i), p, "h2", "http/1.1")
	}
	if e.HTTPS.Cert != "" && e.HTTPS.Key == "" {
		v.fail("edge.https.cert", "needs edge.https.key")
	}
	if e.HTTPS.Key != "" && e.HTTPS.Cert == "" {
		v.fail("edge.https.key", "needs edge.https.cert")
	}
	if e.HTTPS.DevTLS && e.HTTPS.Cert != "" {
		v.fail("edge.https.devTLS", "makes a certificate, but edge.https.cert names one")
	}
	for i, h := range e.Hosts {
		v.host(fmt.Sprintf("edge.hosts[%d]", i), h)
	}
	v.oneOf("edge.framing", string(e.Framing), string(FramingIdentity), string(FramingChunked))
	v.oneOf("edge.shed", string(e.Shed), string(ShedAuto), string(ShedSSE), string(ShedStatus))
	if !groupName.MatchString(e.Group) {
		v.fail("edge.group", "must be 1 to 32 lower-case letters, digits or dashes")
	}
	v.number("edge.joinRate", e.JoinRate, 1, 100_000)
	v.number("edge.resume.maxEvents", e.Resume.MaxEvents, 1, 10_000_000)
	v.bytes("edge.resume.maxBytes", e.Resume.MaxBytes, 64*KiB, 16*GiB)
	v.duration("edge.drain.delay", e.Drain.Delay, 0, 5*time.Minute)
	if p := e.ReadyPath; p != "" && (!strings.HasPrefix(p, "/_") || len(p) > 128 || strings.ContainsFunc(p, notPathByte)) {
		v.fail("edge.readyPath", "must be a path that starts with /_, such as /_ready, which no API can have")
	}
	v.number("edge.perIP.streams", e.PerIP.Streams, 0, 1_000_000)
	v.number("edge.perIP.connects", e.PerIP.Connects, 0, 100_000)
	v.number("edge.perIP.burst", e.PerIP.Burst, 0, 1_000_000)
	if e.PerIP.Burst < e.PerIP.Connects {
		v.fail("edge.perIP.burst", "must be at least edge.perIP.connects, %d", e.PerIP.Connects)
	}
	v.number("edge.maxConnections", e.MaxConnections, 0, 10_000_000)
	v.number("edge.maxHandshakes", e.MaxHandshakes, 1, 100_000)
}

func (v *validator) fanout(f *Fanout) {
	v.oneOf("fanout.engine", f.Engine, "auto", "portable")
	v.number("fanout.shards", f.Shards, 0, 64)
	if f.Memory < 0.01 || f.Memory > 0.8 {
		v.fail("fanout.memory", "must be between 1%% and 80%%, not %s", f.Memory)
	}
	v.duration("fanout.linger", f.Linger, 0, time.Hour)
	v.duration("fanout.heartbeat", f.Heartbeat, 5*seconds, 40*seconds)
	v.bytes("fanout.window.bytes", f.Window.Bytes, 256*KiB, GiB)
	v.duration("fanout.window.age", f.Window.Age, seconds, 24*time.Hour)
	v.bytes("fanout.blocks.bytes", f.Blocks.Bytes, MiB, 64*GiB)
	v.number("fanout.blocks.fetches", f.Blocks.Fetches, 1, 256)
	v.oneOf("fanout.slow.policy", string(f.Slow.Policy), string(SlowDrop), string(SlowBacklog), string(SlowLatest))
	v.duration("fanout.slow.stall", f.Slow.Stall, seconds, 5*time.Minute)
	v.bytes("fanout.slow.lag", f.Slow.Lag, 64*KiB, GiB)
	if f.Slow.SoftLag < 1 || f.Slow.SoftLag > f.Slow.Lag {
		v.fail("fanout.slow.softLag", "must be between 1 and fanout.slow.lag, %s, not %s", f.Slow.Lag, f.Slow.SoftLag)
	}
	v.duration("fanout.slow.softTime", f.Slow.SoftTime, 100*time.Millisecond, 5*time.Minute)
	v.duration("fanout.slow.maxAge", f.Slow.MaxAge, 0, time.Hour)
	v.durationOrZero("fanout.life.max", f.Life.Max, 10*seconds, 7*24*time.Hour)
	if f.Life.Jitter < 0 || f.Life.Jitter > 0.5 {
		v.fail("fanout.life.jitter", "must be at most 50%%, not %s", f.Life.Jitter)
	}
	v.duration("fanout.drain.over", f.Drain.Over, 0, 30*time.Minute)
	v.duration("fanout.coalesce.http1", f.Coalesce.HTTP1, 0, seconds)
}

func (v *validator) ingest(i *Ingest) {
	v.bytes("ingest.queue.bytes", i.Queue.Bytes, MiB, GiB)
	v.duration("ingest.queue.age", i.Queue.Age, seconds, 5*time.Minute)
	if i.Queue.NodeBytes < i.Queue.Bytes {
		v.fail("ingest.queue.nodeBytes", "must be at least ingest.queue.bytes, %s, not %s", i.Queue.Bytes, i.Queue.NodeBytes)
	}
	v.number("ingest.commit.events", i.Commit.Events, 1, 1000)
	v.bytes("ingest.commit.bytes", i.Commit.Bytes, 64*KiB, 16*MiB)
	v.duration("ingest.demand.linger", i.Demand.Linger, 0, time.Hour)
	v.number("ingest.demand.maxFeeds", i.Demand.MaxFeeds, 1, 100_000)
}

func (v *validator) upstream(u *Upstream) {
	v.duration("upstream.connectTimeout", u.ConnectTimeout, 100*time.Millisecond, 30*seconds)
	v.duration("upstream.tlsTimeout", u.TLSTimeout, 100*time.Millisecond, 30*seconds)
	v.duration("upstream.headerTimeout", u.HeaderTimeout, seconds, 5*time.Minute)
	v.durationOrZero("upstream.idle", u.Idle, 5*seconds, time.Hour)
	v.duration("upstream.assembly", u.Assembly, seconds, 10*time.Minute)
	v.bytes("upstream.maxEvent", u.MaxEvent, KiB, MiB)
	v.bytes("upstream.maxHeader", u.MaxHeader, 4*KiB, MiB)
	v.number("upstream.connectRate", u.ConnectRate, 1, 10_000)
	v.duration("upstream.backoff.base", u.Backoff.Base, 100*time.Millisecond, time.Minute)
	v.duration("upstream.backoff.max", u.Backoff.Max, seconds, time.Hour)
	if u.Backoff.Max < u.Backoff.Base {
		v.fail("upstream.backoff.max", "must be at least upstream.backoff.base, %s", doc.FormatDuration(u.Backoff.Base))
	}
	v.duration("upstream.backoff.reset", u.Backoff.Reset, seconds, time.Hour)
	v.duration("upstream.backoff.parked", u.Backoff.Parked, seconds, 24*time.Hour)
}

func (v *validator) broker(b *Broker) {
	for i, raw := range b.URLs {
		path := fmt.Sprintf("broker.urls[%d]", i)
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls":
			v.fail(path, "must be an address such as nats://host:4222 or tls://host:4222")
		case u.User != nil:
			v.fail(path, "must not hold a user or a password: use broker.credentials, or broker.user with broker.passwordFile")
		}
	}
	if b.Credentials != "" && b.User != "" {
		v.fail("broker.user", "cannot be used with broker.credentials: a server takes one of them")
	}
	switch hasPassword := b.Password != "" || b.PasswordFile != ""; {
	case b.User == "" && b.Password != "":
		v.fail("broker.password", "needs broker.user")
	case b.User == "" && b.PasswordFile != "":
		v.fail("broker.passwordFile", "needs broker.user")
	case b.User != "" && !hasPassword:
		v.fail("broker.user", "needs broker.passwordFile or broker.password")
	case b.Password != "" && b.PasswordFile != "":
		v.fail("broker.passwordFile", "cannot be used with broker.password")
	}
	if b.TLS.Cert != "" && b.TLS.Key == "" {
		v.fail("broker.tls.cert", "needs broker.tls.key")
	}
	if b.TLS.Key != "" && b.TLS.Cert == "" {
		v.fail("broker.tls.key", "needs broker.tls.cert")
	}
	v.oneOf("broker.tls.minVersion", string(b.TLS.MinVersion), string(TLS12), string(TLS13))
	v.oneOf("broker.durability", string(b.Durability), string(DurabilityMemory), string(DurabilityProcess), string(DurabilityPower),
		string(DurabilityCluster))
	if b.Durability == DurabilityCluster && b.Embedded() {
		v.fail("broker.durability", "cluster needs broker.urls of three NATS servers or more: the embedded one has no replicas")
	}
	v.bytes("broker.store.maxMemory", b.Store.MaxMemory, 16*MiB, doc.TiB)
	v.bytes("broker.store.maxBytes", b.Store.MaxBytes, 64*MiB, 1024*doc.TiB)
}

// listeners refuses two listeners on one address.
func (v *validator) listeners(c *Config) {
	seen := map[string]string{}
	for _, l := range []struct{ path, addr string }{
		{"edge.http.addr", c.Edge.HTTP.Addr}, {"edge.https.addr", c.Edge.HTTPS.Addr},
		{"control.addr", c.Control.Addr}, {"ops.addr", c.Ops.Addr},
	} {
		if l.addr == "" || strings.HasSuffix(l.addr, ":0") {
			continue
		}
		if other, taken := seen[l.addr]; taken {
			v.fail(l.path, "is the address of %s too", other)
			continue
		}
		seen[l.addr] = l.path
	}
}

func (v *validator) fail(path, format string, args ...any) {
	v.errs = append(v.errs, v.at(path, fmt.Sprintf(format, args...), ""))
}

func (v *validator) duration(path string, d, low, high time.Duration) {
	if d < low || d > high {
		v.fail(path, "must be between %s and %s, not %s", doc.FormatDuration(low), doc.FormatDuration(high), doc.FormatDuration(d))
	}
}

func (v *validator) durationOrZero(path string, d, low, high time.Duration) {
	if d != 0 && (d < low || d > high) {
		v.fail(path, "must be 0 or between %s and %s, not %s", doc.FormatDuration(low), doc.FormatDuration(high), doc.FormatDuration(d))
	}
}

func (v *validator) bytes(path string, b, low, high Bytes) {
	if b < low || b > high {
		v.fail(path, "must be between %s and %s, not %s", low, high, b)
	}
}

func (v *validator) number(path string, n, low, high int) {
	if n < low || n > high {
		v.fail(path, "must be between %d and %d, not %d", low, high, n)
	}
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	hint := ""
	if near := doc.Nearest(value, allowed); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	v.errs = append(v.errs, v.at(path, fmt.Sprintf("must be one of %s", strings.Join(allowed, ", ")), hint))
}

func (v *validator) addr(path, addr string) {
	if addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, "/ @") {
		v.fail(path, "must be host:port, such as :8080 or 127.0.0.1:8080")
	}
}

// host takes a DNS name or IP address, without port; a first label may be `*`.
func (v *validator) host(path, host string) {
	name := strings.TrimPrefix(host, "*.")
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return
	}
	bad := name == "" || len(name) > 253
	for label := range strings.SplitSeq(name, ".") {
		bad = bad || label == "" || len(label) > 63 || strings.ContainsFunc(label, notHostByte)
	}
	if bad {
		v.fail(path, "must be a host name without scheme, port or path, such as api.example.com or *.example.com")
	}
}

func notHostByte(r rune) bool {
	return !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}

func notPathByte(r rune) bool {
	return !strings.ContainsRune("/-._~", r) && notHostByte(r) || r > math.MaxInt8
}
