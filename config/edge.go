package config

import (
	"net"
	"net/netip"
	"strings"
	"time"
)

// Edge is the data plane: what clients connect to and what one of them may take.
type Edge struct {
	// Group names the edges that serve the same deployments: 1 to 32 lower-case letters, digits or dashes. Default default.
	// With definitions from files it says nothing.
	Group string `json:"group"`
	// PublicURLs are the addresses under which clients reach the edges, before an API's path: `https://events.example.com`, or for
	// the edges of one group `eu=https://eu.example.com`. Role control writes them into AsyncAPI documents, the URLs of an API and
	// what developers see; no API may have one as its endpoint. At most 64, http or https. Default empty: with an embedded broker
	// the listeners of this process on localhost, else none.
	PublicURLs []string `json:"publicURLs"`
	// HTTP is the plaintext listener.
	HTTP EdgeHTTP `json:"http"`
	// HTTPS is the TLS listener.
	HTTPS EdgeHTTPS `json:"https"`
	// Hosts are the names clients may use in Host, without port; `*.example.com` covers one label. Others get 421. Default
	// empty: every name.
	Hosts []string `json:"hosts"`
	// TrustedProxies are the networks whose X-Forwarded-For, X-Forwarded-Proto, X-Request-ID and traceparent are believed.
	// Default empty: the client is who holds the socket.
	TrustedProxies []netip.Prefix `json:"trustedProxies"`
	// Framing of plaintext HTTP/1.1 bodies: identity ends with the connection and shares bytes as they are; chunked is for
	// proxies that buffer otherwise. Default identity. An API's client.framing wins.
	Framing Framing `json:"framing"`
	// Shed is how temporary refusals are told: sse answers 200 with `retry:` and closes, so that a browser's EventSource
	// comes back; status answers 429 or 503; auto sheds requests that spell out text/event-stream. Default auto. An API's
	// client.shed wins.
	Shed Shed `json:"shed"`
	// JoinRate is how many new streams per second this node takes up; more wait up to 5 s before their head. Default 2000.
	// 1–100000.
	JoinRate int `json:"joinRate"`
	// Resume bounds what one returning client is sent.
	Resume EdgeResume `json:"resume"`
	// Drain is what happens between SIGTERM and the first stream's end.
	Drain EdgeDrain `json:"drain"`
	// ReadyPath is a path on the edge listeners that answers a bare 204 or 503, for balancers that cannot reach the ops
	// listener. Starts with `/`, first segment starting with `_`. Default empty: none.
	ReadyPath string `json:"readyPath"`
	// PerIP bounds what one client address may take; IPv6 counts per /64; loopback is exempt.
	PerIP EdgePerIP `json:"perIP"`
	// MaxConnections is how many connections this node holds. Default 0: the smaller of 100000 and 90 % of the file
	// descriptor limit less 512.
	MaxConnections int `json:"maxConnections"`
	// MaxHandshakes is how many connections may be between accept and a complete request head; then accept waits. Default
	// 512. 1–100000.
	MaxHandshakes int `json:"maxHandshakes"`
}

// PublicURL is an address under which clients reach edges.
type PublicURL struct {
	// Group of the edges; "" = those of every group.
	Group string
	// URL is http or https with a host, perhaps a path, without a slash at the end.
	URL string
}

// Public returns PublicURLs, read.
func (e Edge) Public() []PublicURL {
	out := make([]PublicURL, len(e.PublicURLs))
	for i, text := range e.PublicURLs {
		group, address, named := strings.Cut(text, "=")
		if !named || !groupName.MatchString(group) {
			group, address = "", text
		}
		out[i] = PublicURL{Group: group, URL: strings.TrimRight(address, "/")}
	}
	return out
}

// Public returns the addresses under which clients reach the edges: as set, else with an embedded broker the listeners of this process
// on localhost, whose ports the settings name.
func (c Config) Public() []PublicURL {
	out := c.Edge.Public()
	if len(out) > 0 || !c.Broker.Embedded() || !c.Has(RoleEdge) {
		return out
	}
	local := func(scheme, addr string) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || port == "0" {
			return
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
			host = "localhost"
		}
		out = append(out, PublicURL{URL: scheme + "://" + net.JoinHostPort(host, port)})
	}
	local("http", c.Edge.HTTP.Addr)
	if c.Edge.HTTPS.Enabled() {
		local("https", c.Edge.HTTPS.Addr)
	}
	return out
}

// EdgeHTTP is the plaintext listener.
type EdgeHTTP struct {
	// Addr is host:port. Default :8080. Empty opens none.
	Addr string `json:"addr"`
	// H2C accepts HTTP/2 without TLS from clients that know it beforehand. Default false: such streams cost an order more
	// memory and CPU than HTTP/1.1.
	H2C bool `json:"h2c"`
}

// EdgeHTTPS is the TLS listener. It opens when it has a certificate: cert and key, or devTLS.
type EdgeHTTPS struct {
	// Addr is host:port. Default :8443. Empty opens none.
	Addr string `json:"addr"`
	// ALPN lists the protocols offered, best first: h2, http/1.1. Default both; [http/1.1] is for machine clients, which need
	// a third of the CPU that HTTP/2 does.
	ALPN []string `json:"alpn"`
	// Cert is a PEM file with the certificate chain. Read again when it changes and on SIGHUP; a bad pair keeps the old one.
	Cert string `json:"cert"`
	// Key is a PEM file with the private key of Cert.
	Key string `json:"key"`
	// DevTLS makes a self-signed certificate for localhost, kept in the data folder. Default false. Not for production.
	DevTLS bool `json:"devTLS"`
}

// Enabled tells whether the TLS listener opens.
func (h EdgeHTTPS) Enabled() bool {
	return h.Addr != "" && (h.DevTLS || h.Cert != "" && h.Key != "")
}

// EdgeResume bounds what one returning client is sent; beyond it the newest part that fits is sent after a told gap.
type EdgeResume struct {
	// MaxEvents is the most events one resume carries. Default 100000. 1–10000000.
	MaxEvents int `json:"maxEvents"`
	// MaxBytes is the most bytes one resume carries. Default 64MiB. 64KiB–16GiB.
	MaxBytes Bytes `json:"maxBytes"`
}

// EdgeDrain is what happens between SIGTERM and the first stream's end.
type EdgeDrain struct {
	// Delay is how long the listeners stay open after /readyz turned 503, so that the balancer stops routing here first.
	// Default 5s. 0–5m.
	Delay time.Duration `json:"delay"`
}

// EdgePerIP bounds what one client address may take.
type EdgePerIP struct {
	// Streams is how many open streams one address may hold. Default 256. 0 = no limit.
	Streams int `json:"streams"`
	// Connects is how many new streams per second one address may open. Default 20. 0 = no limit.
	Connects int `json:"connects"`
	// Burst is how many new streams one address may open at once. Default 200. At least Connects.
	Burst int `json:"burst"`
}

// Framing of a plaintext HTTP/1.1 body.
type Framing string

// The framings.
const (
	FramingIdentity Framing = "identity" // ends with the connection
	FramingChunked  Framing = "chunked"  // Transfer-Encoding: chunked
)

// Shed is how a temporary refusal is told.
type Shed string

// The ways to shed.
const (
	ShedAuto   Shed = "auto"   // SSE requests are shed, others get a status
	ShedSSE    Shed = "sse"    // always 200, retry, close
	ShedStatus Shed = "status" // always 429 or 503
)

func defaultEdge() Edge {
	return Edge{
		Group:         "default",
		HTTP:          EdgeHTTP{Addr: ":8080"},
		HTTPS:         EdgeHTTPS{Addr: ":8443", ALPN: []string{"h2", "http/1.1"}},
		Framing:       FramingIdentity,
		Shed:          ShedAuto,
		JoinRate:      2000,
		Resume:        EdgeResume{MaxEvents: 100_000, MaxBytes: 64 * MiB},
		Drain:         EdgeDrain{Delay: 5 * seconds},
		PerIP:         EdgePerIP{Streams: 256, Connects: 20, Burst: 200},
		MaxHandshakes: 512,
	}
}
