package catalog

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"sluice/config"
	"sluice/internal/doc"
)

const (
	maxTopics      = 500
	maxQueryParams = 16
	maxResource    = 256 << 10
)

// check tells everything that is wrong with the meaning of the definition by itself. It runs before complete.
func (c *checker) check() {
	c.metadata()
	c.context()
	c.endpoint()
	c.lists()
	c.upstream()
	c.access()
	c.client()
	c.topics()
	c.publishable()
	if text, err := doc.Marshal(c.api); err != nil {
		c.value("", "cannot be stored: %v", err)
	} else if len(text) > maxResource {
		c.fail(doc.TypeTooLarge, "", "is larger than %d KiB", maxResource>>10)
	}
}

func (c *checker) metadata() {
	m := &c.api.Metadata
	if m.Name == "" {
		c.fail("invalid-name", "/metadata/name", "is required")
	} else if !isName(m.Name) {
		c.fail("invalid-name", "/metadata/name", "must be 1 to 60 letters, digits, dots, underscores or dashes, a letter or digit first")
	}
	c.text("/metadata/displayName", m.DisplayName, 100)
	if len(m.Description) > 8<<10 {
		c.value("/metadata/description", "must be at most 8 KiB")
	}
	c.list("/metadata/tags", m.Tags, 20, isTag, "1 to 32 lower-case letters, digits or dashes")
	c.count("/metadata/labels", len(m.Labels), 20)
	for k, v := range m.Labels {
		if !isLabel(k) || v != "" && !isLabel(v) {
			c.value(doc.Join("/metadata/labels", k), "key and value must be at most 63 letters, digits, dots, underscores, slashes or dashes")
		}
	}
	size := 0
	for k, v := range m.Annotations {
		size += len(k) + len(v)
	}
	if size > 32<<10 {
		c.value("/metadata/annotations", "must be at most 32 KiB in all")
	}
	c.text("/metadata/owner", m.Owner, 100)
	if a := c.api.AsyncAPI; a != nil {
		if text, err := doc.Marshal(a.Schemas); err == nil && len(text) > 128<<10 {
			c.value("/asyncapi/schemas", "must be at most 128 KiB")
		}
	}
}

// context checks and normalises spec.context: a leading slash is added, a trailing one removed.
func (c *checker) context() {
	s := &c.api.Spec
	if s.Version == "" {
		c.fail("invalid-version", "/spec/version", "is required")
	} else if !isVersion(s.Version) {
		c.fail("invalid-version", "/spec/version", "must be 1 to 30 letters, digits, dots, underscores or dashes, a letter or digit first")
	}
	const at = "/spec/context"
	if s.Context == "" {
		c.fail("invalid-context", at, "is required")
		return
	}
	s.Context = strings.TrimSuffix("/"+strings.TrimPrefix(s.Context, "/"), "/")
	if s.Context == "" || len(s.Context) > 232 {
		c.fail("invalid-context", at, "must be 1 to 232 bytes, such as /market or /{version}/market")
		return
	}
	segments := strings.Split(s.Context[1:], "/")
	versions := 0
	for _, seg := range segments {
		if seg == versionSegment {
			versions++
			continue
		}
		if seg == "." || seg == ".." || !word(64, isUnreserved, isUnreserved)(seg) {
			c.fail("invalid-context", at, "has the segment %q; a segment is 1 to 64 letters, digits, dots, underscores, tildes or dashes, or {version}", clip(seg))
			return
		}
	}
	if versions > 1 {
		c.fail("invalid-context", at, "has {version} twice")
	}
	if first := segments[0]; first != versionSegment && reservedSegment(first) {
		c.fail("reserved-context", at, "starts with %q, which sluice keeps for itself", clip(first))
	} else if first == versionSegment && reservedSegment(s.Version) {
		c.fail("reserved-context", at, "starts with the version %q, which sluice keeps for itself", clip(s.Version))
	}
	if s.Default && s.Context == "/"+versionSegment {
		c.value("/spec/default", "cannot be: without its version the context would be empty")
	}
}

func reservedSegment(s string) bool {
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "_") || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".ico") || strings.HasSuffix(s, ".txt") ||
		slices.Contains([]string{"api", "admin", "portal", "dev", "metrics", "healthz", "livez", "readyz", "version", "problems", "oauth2", "t"}, s)
}

func (c *checker) endpoint() {
	const at = "/spec/endpoint"
	raw := c.api.Spec.Endpoint
	if raw == "" {
		return
	}
	if len(raw) > 2048 {
		c.value(at, "must be at most 2048 bytes")
		return
	}
	u, err := url.Parse(raw)
	if err != nil || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.value(at, "must be an absolute http or https URL in ASCII")
		return
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		c.fail("endpoint-scheme", at, "must start with http:// or https://")
		return
	}
	if u.User != nil {
		c.fail("endpoint-userinfo", at, "must not hold a user or password; use spec.upstream.auth")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#") {
		c.value(at, "must not have a query or fragment; put a query into a topic's backend")
	}
	if c.endpointHost(at, u) && u.User == nil {
		c.endpointReach(at, u)
	}
	if p := strings.TrimRight(u.EscapedPath(), "/"); p != "" {
		if _, trailing, err := splitPath(p); err != nil || trailing {
			c.value(at, "has a path with an empty, dot or ambiguous segment")
		}
	}
}

// endpointHost checks host and port as they are written; true if nothing is wrong with them.
func (c *checker) endpointHost(at string, u *url.URL) (ok bool) {
	host := u.Hostname()
	if host == "" {
		c.value(at, "must name a host")
		return false
	}
	before := len(c.errs)
	if port := u.Port(); port == "0" || len(port) > 5 || strings.HasSuffix(u.Host, ":") {
		c.value(at, "has no usable port")
	} else if port != "" {
		if _, err := net.LookupPort("tcp", port); err != nil {
			c.value(at, "has no usable port")
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Is4In6() || addr.Zone() != "" {
			c.fail("endpoint-forbidden", at, "must write its address in the usual form")
		}
		return len(c.errs) == before
	}
	// 2130706433, 0x7f.1 and the like are addresses to some programs and names to others.
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' || strings.Contains(host, ":") {
		c.fail("endpoint-forbidden", at, "must write its address in the usual form")
		return false
	}
	if len(host) > 253 || strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	}) {
		c.value(at, "has no usable host name")
	}
	return len(c.errs) == before
}

// endpointReach checks that the endpoint is not this process, as each event of a feed that reads itself comes back as a new one, and that
// it may be connected to.
func (c *checker) endpointReach(at string, u *url.URL) {
	if c.loops != nil && c.loops(u) {
		c.fail("endpoint-loop", at, "belongs to a listener of this process (edge, control or ops): the feeds would read themselves; name the backend's own address")
		return
	}
	if c.forbidden == nil {
		return
	}
	if why := c.forbidden(u); why != "" {
		c.fail("endpoint-forbidden", at, "leads to an address that no API may read from (%s); upstream.allowCIDRs of the process names those that it may", why)
	}
}

func (c *checker) lists() {
	s := &c.api.Spec
	oneOf(c, "/spec/state", s.State, StateCreated, StatePrototyped, StatePublished, StateBlocked, StateDeprecated, StateRetired)
	oneOf(c, "/spec/visibility", s.Visibility, VisibilityPublic, VisibilityPrivate, VisibilityRestricted)
	oneOf(c, "/spec/protocol", s.Protocol, "sse")
	oneOf(c, "/spec/deploy", s.Deploy, DeployAuto, DeployManual)
	c.list("/spec/visibleTo", s.VisibleTo, 20, isRole, "a role name")
	if s.Visibility == VisibilityRestricted && len(s.VisibleTo) == 0 {
		c.value("/spec/visibleTo", "must have at least one role when the API is restricted")
	}
	if s.Visibility != VisibilityRestricted && len(s.VisibleTo) > 0 {
		c.value("/spec/visibleTo", "is for visibility: restricted")
	}
	if len(s.Transports) == 0 {
		c.fail("no-transport", "/spec/transports", "must have at least one of http, https")
	}
	for i, t := range s.Transports {
		at := doc.Join("/spec/transports", i)
		oneOf(c, at, t, TransportHTTP, TransportHTTPS)
		if slices.Index(s.Transports, t) < i {
			c.value(at, "is listed twice")
		}
	}
	c.list("/spec/plans", s.Plans, 16, isName, "the name of a plan")
	c.list("/spec/edgeGroups", s.EdgeGroups, 16, isGroup, "1 to 32 lower-case letters, digits or dashes")
	if len(s.EdgeGroups) == 0 {
		c.value("/spec/edgeGroups", "must have at least one group")
	}
	c.retention("/spec/retention", s.Retention)
	c.bytes("/spec/retention/maxBytes", s.Retention.MaxBytes, config.MiB, 100*config.GiB)
	if s.Durability != "" {
		oneOf(c, "/spec/durability", s.Durability, config.DurabilityMemory, config.DurabilityProcess, config.DurabilityPower, config.DurabilityCluster)
	}
	c.number("/spec/limits/maxFeeds", s.Limits.MaxFeeds, 1, 100_000)
	if s.Limits.MaxClients < 0 || s.Limits.MaxClients > 10_000_000 {
		c.value("/spec/limits/maxClients", "must be between 0 and 10000000")
	}
}

func (c *checker) retention(at string, r Retention) {
	c.duration(at+"/maxAge", r.MaxAge, time.Second, 30*24*time.Hour)
	c.number(at+"/maxEvents", r.MaxEvents, 1, 10_000_000)
}

func (c *checker) upstream() {
	u := &c.api.Spec.Upstream
	const at = "/spec/upstream"
	c.duration(at+"/connectTimeout", u.ConnectTimeout, 100*time.Millisecond, 30*time.Second)
	c.durationOrZero(at+"/idle", u.Idle, 5*time.Second, time.Hour)
	c.bytes(at+"/maxEvent", u.MaxEvent, config.KiB, config.MiB)
	oneOf(c, at+"/resume", u.Resume, ResumeProbe, ResumeTrust, ResumeOff)
	oneOf(c, at+"/on204", u.On204, On204Park, On204Retry)
	c.count(at+"/headers", len(u.Headers), 16)
	for name, value := range u.Headers {
		p := doc.Join(at+"/headers", name)
		switch {
		case !isHeaderName(name):
			c.value(p, "is not a header name")
		case ownHeader(name):
			c.value(p, "is a header that sluice sets itself")
		case len(value) > 4096 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.value(p, "has a value with control characters or more than 4096 bytes")
		}
	}
	c.upstreamAuth(at+"/auth", &u.Auth)
	for _, s := range []struct{ at, name string }{{at + "/tls/ca", u.TLS.CA}, {at + "/tls/clientCert", u.TLS.ClientCert}} {
		if s.name != "" {
			c.secret(s.at, s.name)
		}
	}
	if n := u.TLS.ServerName; len(n) > 253 || strings.ContainsAny(n, "/:@ ") {
		c.value(at+"/tls/serverName", "must be a host name")
	}
	if u.TLS.InsecureSkipVerify {
		c.warn("insecure", at+"/tls/insecureSkipVerify", "lets anyone on the way read and forge this API's events")
	}
}

// ownHeader tells headers that a definition cannot set.
func ownHeader(name string) bool {
	h := http.CanonicalHeaderKey(name)
	return strings.HasPrefix(h, "Accept") || strings.HasPrefix(h, "Proxy-") || slices.Contains([]string{
		"Host", "Cookie", "Last-Event-Id", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Content-Length", "Cache-Control", "User-Agent", "Expect",
	}, h)
}

func (c *checker) secret(at, name string) {
	if !isSecretName(name) {
		c.value(at, "must be the name of a secret, 1 to 63 lower-case letters, digits or dashes; never the secret itself")
	}
}

func (c *checker) upstreamAuth(at string, a *UpstreamAuth) {
	oneOf(c, at+"/type", a.Type, "none", "basic", "bearer", "apiKey", "oauth2")
	needs := map[string][]string{"basic": {"username", "secret"}, "bearer": {"secret"}, "apiKey": {"header", "secret"},
		"oauth2": {"tokenURL", "clientId", "secret"}}
	fields := []struct {
		key string
		set bool
	}{{"username", a.Username != ""}, {"secret", a.Secret != ""}, {"header", a.Header != ""}, {"tokenURL", a.TokenURL != ""},
		{"clientId", a.ClientID != ""}}
	for _, f := range fields {
		needed := slices.Contains(needs[a.Type], f.key)
		if needed && !f.set {
			c.value(at+"/"+f.key, "is needed for type %s", a.Type)
		}
		if !needed && f.set {
			c.value(at+"/"+f.key, "is not for type %s", clip(a.Type))
		}
	}
	if a.Secret != "" {
		c.secret(at+"/secret", a.Secret)
	}
	if a.Header != "" && (!isHeaderName(a.Header) || ownHeader(a.Header)) {
		c.value(at+"/header", "must be the name of a header that sluice does not set itself")
	}
	if strings.ContainsAny(a.Username, ":\r\n\x00") || len(a.Username) > 255 {
		c.value(at+"/username", "must be at most 255 bytes without a colon or line break")
	}
	if a.TokenURL != "" {
		if u, err := url.Parse(a.TokenURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			c.value(at+"/tokenURL", "must be an absolute http or https URL without a user")
		}
	}
	if len(a.Scopes) > 0 && a.Type != "oauth2" {
		c.value(at+"/scopes", "is not for type %s", clip(a.Type))
	}
	c.count(at+"/scopes", len(a.Scopes), 32)
}

func (c *checker) access() {
	s := &c.api.Spec
	schemes := []string{"jwt", "apiKey", "cookie", "ticket", "mtls"}
	c.list("/spec/auth/schemes", s.Auth.Schemes, 5, func(v string) bool { return slices.Contains(schemes, v) },
		"one of "+strings.Join(schemes, ", "))
	if len(s.Auth.Schemes) == 0 && !c.api.Open() {
		c.value("/spec/auth/schemes", "can be empty only when every topic has security: none")
	}
	for _, h := range []struct{ at, name string }{{"/spec/auth/header", s.Auth.Header}, {"/spec/auth/apiKeyHeader", s.Auth.APIKeyHeader}} {
		if !isHeaderName(h.name) || ownHeader(h.name) {
			c.value(h.at, "must be the name of a header that sluice does not set itself")
		}
	}
	if strings.EqualFold(s.Auth.Header, s.Auth.APIKeyHeader) {
		c.value("/spec/auth/apiKeyHeader", "is the header of tokens too")
	}
	c.list("/spec/auth/issuers", s.Auth.Issuers, 32, func(v string) bool { return v != "" && len(v) <= 256 }, "the name of an issuer, or all")
	c.count("/spec/scopes", len(s.Scopes), 100)
	seen := map[string]bool{}
	for i, scope := range s.Scopes {
		at := doc.Join("/spec/scopes", i)
		if !isScopeName(scope.Name) {
			c.value(at+"/name", "must be 1 to 64 letters, digits, dots, underscores, colons or dashes, a letter or digit first")
		} else if seen[scope.Name] {
			c.value(at+"/name", "is defined twice")
		}
		seen[scope.Name] = true
		c.text(at+"/description", scope.Description, 1024)
		c.list(at+"/roles", scope.Roles, 20, isRole, "a role name")
	}
}

func (c *checker) client() {
	s := &c.api.Spec
	c.count("/spec/cors/origins", len(s.CORS.Origins), 50)
	for i, o := range s.CORS.Origins {
		at := doc.Join("/spec/cors/origins", i)
		if o == "*" {
			if s.CORS.Credentials {
				c.value(at, "cannot be * together with credentials: every site could read as the user")
			}
			if len(s.CORS.Origins) > 1 {
				c.value(at, "must stand alone when it is *")
			}
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || o != u.Scheme+"://"+u.Host ||
			strings.ContainsFunc(u.Host, notOriginByte) {
			c.value(at, "must be an origin as browsers send it, such as https://app.example.com, without path; or *")
		}
	}
	c.duration("/spec/client/retry", s.Client.Retry, 500*time.Millisecond, time.Minute)
	c.duration("/spec/client/heartbeat", s.Client.Heartbeat, 5*time.Second, 40*time.Second)
	oneOf(c, "/spec/client/shed", s.Client.Shed, config.ShedAuto, config.ShedSSE, config.ShedStatus)
	oneOf(c, "/spec/client/slow", s.Client.Slow, config.SlowDrop, config.SlowBacklog, config.SlowLatest)
	oneOf(c, "/spec/client/framing", s.Client.Framing, config.FramingIdentity, config.FramingChunked)
}

// notOriginByte tells characters that browsers never send in an origin's host: capitals and `*` among them.
func notOriginByte(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:[]", r))
}

// publishable checks what only an API that clients can reach needs.
func (c *checker) publishable() {
	s := &c.api.Spec
	if !s.State.Runs() {
		return
	}
	if s.Endpoint == "" {
		c.fail("not-publishable", "/spec/endpoint", "is needed in state %s", s.State)
	}
	if len(s.Topics) == 0 {
		c.fail("not-publishable", "/spec/topics", "must have at least one topic in state %s", s.State)
	}
}

// clip shows at most 64 bytes of outside text.
func clip(s string) string {
	if len(s) > 64 {
		return s[:61] + "..."
	}
	return s
}
