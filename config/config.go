package config

import (
	"net/netip"
	"time"

	"sluice/internal/doc"
)

// Bytes is a size in bytes, written `1500`, `64KiB`, `8MiB`, `2GiB`.
type Bytes = doc.Bytes

// Ratio is a share, written `20%` or `0.2`.
type Ratio = doc.Ratio

// Binary multiples of a byte.
const (
	KiB = doc.KiB
	MiB = doc.MiB
	GiB = doc.GiB
)

// Config is every setting of one process. It is the manual: each field says its unit, its default and why one would change it.
// A Config that Load or Default returned is complete (defaults filled in) and valid; treat it as read-only.
type Config struct {
	// Node names this process among all that share a broker: no two may have one name, and a name should outlive restarts.
	// Default empty: the host name, so it is needed where one host runs several. 1–63 letters, digits, - _ or dots.
	Node string `json:"node"`
	// Data is the folder for everything the process stores: the embedded broker's streams, the development certificate.
	// Created when missing. Default ./data. Must be a local disk, not NFS.
	Data string `json:"data"`
	// Roles is what this process does: any of edge, ingest, control. Default all three.
	Roles []Role `json:"roles"`
	// Catalog says where API definitions come from.
	Catalog Catalog `json:"catalog"`
	// Edge is the data plane: listeners, limits, resume bounds, drain.
	Edge Edge `json:"edge"`
	// Fanout is how events get from the broker to client sockets.
	Fanout Fanout `json:"fanout"`
	// Ingest is how events get from upstreams into the broker: queues, commits, demand.
	Ingest Ingest `json:"ingest"`
	// Upstream is how this process connects to upstreams, and which addresses it may connect to.
	Upstream Upstream `json:"upstream"`
	// Broker is NATS JetStream: in this process, or elsewhere.
	Broker Broker `json:"broker"`
	// Auth is how clients prove who they are.
	Auth Auth `json:"auth"`
	// Control is the management listener.
	Control Control `json:"control"`
	// Ops is the listener for health, metrics and profiles.
	Ops Ops `json:"ops"`
	// Log is the process log on standard error.
	Log Log `json:"log"`
}

// Role is one duty of a process.
type Role string

// The roles, any subset of which one process can have.
const (
	RoleEdge    Role = "edge"    // serve clients
	RoleIngest  Role = "ingest"  // read upstreams
	RoleControl Role = "control" // management API
)

// Has tells whether this process has role r.
func (c Config) Has(r Role) bool {
	for _, have := range c.Roles {
		if have == r {
			return true
		}
	}
	return false
}

// Default returns the settings of a process that was told nothing: all roles, embedded broker, data in ./data.
func Default() Config {
	c := unresolved()
	c.resolve()
	return c
}

// unresolved is Default before values that depend on other values are filled in.
func unresolved() Config {
	return Config{
		Data:     "./data",
		Roles:    []Role{RoleEdge, RoleIngest, RoleControl},
		Edge:     defaultEdge(),
		Fanout:   defaultFanout(),
		Ingest:   defaultIngest(),
		Upstream: defaultUpstream(),
		Broker:   defaultBroker(),
		Auth:     defaultAuth(),
		Control:  Control{Addr: "127.0.0.1:9080"},
		Ops:      Ops{Addr: "127.0.0.1:9090"},
		Log:      Log{Level: "info", Format: "auto"},
	}
}

// resolve fills in the values that depend on others. Idempotent.
func (c *Config) resolve() {
	if c.Upstream.AllowCIDRs == nil && c.Broker.Embedded() {
		c.Upstream.AllowCIDRs = localCIDRs()
	}
}

// localCIDRs is what a process with an embedded broker may dial by default: the developer's own machine and network.
func localCIDRs() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Catalog says where API definitions come from.
type Catalog struct {
	// APIs is a folder of API definition files (*.yaml, *.yml, *.json); SIGHUP reads it again. Default empty: the
	// catalog that the broker keeps, which the management API changes. Flag --apis.
	APIs string `json:"apis"`
}

// Control is the management listener.
type Control struct {
	// Addr is host:port of the management API, /docs and /openapi.yaml. Default 127.0.0.1:9080: without https it speaks plain HTTP, so
	// give it a certificate, or put TLS in front of it, before others reach it. Open only with a catalog in the broker, that is without
	// catalog.apis. Empty opens none.
	Addr string `json:"addr"`
	// HTTPS makes the listener speak TLS, and nothing else, as soon as it has a certificate.
	HTTPS ControlHTTPS `json:"https"`
	// AdminPasswordFile holds the password of the first administrator on its first line, read when there is no user yet. Default
	// empty: a password is made up, printed once and kept in the data folder (first-admin-password) until it is changed.
	AdminPasswordFile string `json:"adminPasswordFile"`
}

// ControlHTTPS is TLS of the management listener.
type ControlHTTPS struct {
	// Cert is a PEM file with the certificate chain. Read again when it changes and on SIGHUP; a bad pair keeps the old one. Default
	// empty: plain HTTP.
	Cert string `json:"cert"`
	// Key is a PEM file with the private key of Cert.
	Key string `json:"key"`
	// HSTS tells browsers for how long to use nothing but https for this host, other ports included. Default 0: not told; at
	// most 17520h, two years.
	HSTS time.Duration `json:"hsts"`
}

// Enabled tells whether the management listener speaks TLS.
func (h ControlHTTPS) Enabled() bool { return h.Cert != "" && h.Key != "" }

// Ops is the listener for health, metrics and profiles.
type Ops struct {
	// Addr is host:port of /livez, /readyz, /metrics, /feeds, /status, /version and /debug/pprof/. Default 127.0.0.1:9090: open it to
	// a scraper's network on purpose only. Empty opens none.
	Addr string `json:"addr"`
}

// Log is the process log on standard error.
type Log struct {
	// Level is the least severe level written: debug, info, warn or error. Default info.
	Level string `json:"level"`
	// Format is text, json, or auto: text on a terminal, json elsewhere. Default auto.
	Format string `json:"format"`
}

// seconds keeps the default tables readable.
const seconds = time.Second
