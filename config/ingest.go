package config

import (
	"net/netip"
	"time"
)

// Ingest is how events get from upstreams into the broker.
type Ingest struct {
	// Queue bounds what waits between an upstream's socket and the broker; a full queue stops reading, never drops.
	Queue IngestQueue `json:"queue"`
	// Commit bounds what one publish to the broker carries.
	Commit IngestCommit `json:"commit"`
	// Demand is how feeds that run only while someone listens open and close.
	Demand IngestDemand `json:"demand"`
}

// IngestQueue bounds what waits between an upstream's socket and the broker.
type IngestQueue struct {
	// Bytes per feed. Default 16MiB. 1MiB–1GiB.
	Bytes Bytes `json:"bytes"`
	// Age of the oldest event waiting. Default 15s: elections of the broker take 4 to 9. 1s–5m.
	Age time.Duration `json:"age"`
	// NodeBytes of all feeds together; feeds above their fair share stop first. Default 512MiB. At least Bytes.
	NodeBytes Bytes `json:"nodeBytes"`
}

// IngestCommit bounds what one publish to the broker carries.
type IngestCommit struct {
	// Events per commit. Default 512. 1–1000, the broker's own limit.
	Events int `json:"events"`
	// Bytes per commit. Default 512KiB. 64KiB–16MiB.
	Bytes Bytes `json:"bytes"`
}

// IngestDemand is how feeds that run only while someone listens open and close.
type IngestDemand struct {
	// Linger keeps such a feed open after its last subscriber. Default 30s. 0 closes at once; at most 1h. A topic's linger
	// wins.
	Linger time.Duration `json:"linger"`
	// MaxFeeds is how many feeds this node runs. Default 5000. 1–100000. An API's own bound is limits.maxFeeds.
	MaxFeeds int `json:"maxFeeds"`
}

// Upstream is how this process connects to upstreams, and which addresses it may connect to.
type Upstream struct {
	// AllowCIDRs are the private, loopback or otherwise special networks that upstreams may live in; public addresses are
	// always allowed. Default with an embedded broker: loopback, RFC 1918 and fc00::/7, with an external one: none, so that
	// nobody who may define an API reads the internal network through it. 169.254.0.0/16 only if listed.
	AllowCIDRs []netip.Prefix `json:"allowCIDRs"`
	// ConnectTimeout bounds DNS and TCP together. Default 5s. 100ms–30s. An API's upstream.connectTimeout wins.
	ConnectTimeout time.Duration `json:"connectTimeout"`
	// TLSTimeout bounds the TLS handshake. Default 5s. 100ms–30s.
	TLSTimeout time.Duration `json:"tlsTimeout"`
	// HeaderTimeout bounds the wait for the response head. Default 15s. 1s–5m.
	HeaderTimeout time.Duration `json:"headerTimeout"`
	// Idle ends a connection without any byte for that long. Default 90s. 0 = never; else 5s–1h. An API's upstream.idle
	// wins.
	Idle time.Duration `json:"idle"`
	// Assembly is the longest time from an event's first byte to its blank line. Default 60s. 1s–10m.
	Assembly time.Duration `json:"assembly"`
	// MaxEvent is the largest event taken; larger ones are skipped and told as a gap. Default 1MiB. 1KiB–1MiB. An API may set
	// less.
	MaxEvent Bytes `json:"maxEvent"`
	// MaxHeader is the largest response head taken. Default 64KiB. 4KiB–1MiB.
	MaxHeader Bytes `json:"maxHeader"`
	// ConnectRate is how many connects per second one endpoint gets from this node. Default 50. 1–10000.
	ConnectRate int `json:"connectRate"`
	// Backoff is the wait between attempts.
	Backoff UpstreamBackoff `json:"backoff"`
}

// UpstreamBackoff is the wait between attempts: a random time below min(Max, Base·2ⁿ).
type UpstreamBackoff struct {
	// Base of the back-off before an upstream sent `retry:`. Default 500ms. 100ms–1m.
	Base time.Duration `json:"base"`
	// Max of the back-off. Default 60s. 1s–1h; at least Base.
	Max time.Duration `json:"max"`
	// Reset is how long a connection must be up for the count of failures to start again. Default 30s. 1s–1h.
	Reset time.Duration `json:"reset"`
	// Parked is how long an upstream that answered 204 is left alone. Default 10m. 1s–24h.
	Parked time.Duration `json:"parked"`
}

func defaultIngest() Ingest {
	return Ingest{
		Queue:  IngestQueue{Bytes: 16 * MiB, Age: 15 * seconds, NodeBytes: 512 * MiB},
		Commit: IngestCommit{Events: 512, Bytes: 512 * KiB},
		Demand: IngestDemand{Linger: 30 * seconds, MaxFeeds: 5000},
	}
}

func defaultUpstream() Upstream {
	return Upstream{
		ConnectTimeout: 5 * seconds,
		TLSTimeout:     5 * seconds,
		HeaderTimeout:  15 * seconds,
		Idle:           90 * seconds,
		Assembly:       60 * seconds,
		MaxEvent:       MiB,
		MaxHeader:      64 * KiB,
		ConnectRate:    50,
		Backoff: UpstreamBackoff{Base: 500 * time.Millisecond, Max: 60 * seconds, Reset: 30 * seconds,
			Parked: 10 * time.Minute},
	}
}
