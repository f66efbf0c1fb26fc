package catalog

import (
	"time"

	"sluice/config"
)

// Topic is a declared subscribe-only channel of an API: exact (/ticks), template (/ticks/{symbol}) or wildcard (/*).
type Topic struct {
	// Name is the topic's path below the API's base path.
	Name string `json:"name" jsonschema:"required"`
	// Description is for people, at most 2 KiB.
	Description string `json:"description,omitempty"`
	// Type is sub, the only value.
	Type string `json:"type,omitempty" jsonschema:"enum=sub"`
	// Backend is the upstream path below the endpoint, `{param}` and `{*}` filled in from the match. Default: the topic's own
	// path.
	Backend string `json:"backend,omitempty"`
	// Params say what each `{param}` of the name may be; a bare string is a pattern. Without one: 1–128 printable characters.
	Params map[string]Param `json:"params,omitempty"`
	// Query lists the query parameters that are part of a feed's identity and go upstream, at most 16; others are ignored.
	Query []QueryParam `json:"query,omitempty"`
	// Security is required (401 without a credential) or none. Default required.
	Security Security `json:"security,omitempty"`
	// Scopes are at most 32 names of spec.scopes; any one suffices.
	Scopes []string `json:"scopes,omitempty"`
	// Retention of this topic's feeds; what is left out comes from spec.retention. No maxBytes.
	Retention Retention `json:"retention,omitempty"`
	// Start is where a client without Last-Event-ID begins: live, earliest or {last: N}. Default live.
	Start Start `json:"start,omitempty"`
	// Demand is when feeds run: always, onDemand, or auto: always for exact topics (that
	// need no query parameter), on demand for others. Default auto.
	Demand Demand `json:"demand,omitempty"`
	// Linger keeps an on-demand feed open after its last client, 0–1h. Default: the process setting ingest.demand.linger, 30s.
	Linger time.Duration `json:"linger"`
	// Slow is what happens to clients that are too slow. Default: client.slow.
	Slow config.SlowPolicy `json:"slow,omitempty"`
	// Messages document the topic's events, at most 16.
	Messages []Message `json:"messages,omitempty"`
}

// Shape is which of the three forms a topic has.
type Shape int

// The shapes of a topic, in the order in which they win a match.
const (
	Exact Shape = iota
	Template
	Wildcard
)

// OmitField implements doc.Omitter: what is left to the process is not written.
func (t Topic) OmitField(key string) bool { return key == "linger" && t.Linger == inherit }

// AlwaysOn tells whether the topic's feed runs with nobody listening. Only exact topics can: they are one feed.
func (t *Topic) AlwaysOn() bool { return t.Demand == DemandAlways }

// Security is whether a topic needs a credential.
type Security string

// The securities.
const (
	SecurityRequired Security = "required"
	SecurityNone     Security = "none"
)

// Demand is when a topic's feeds run. In a Snapshot it is always or onDemand.
type Demand string

// The demands.
const (
	DemandAuto     Demand = "auto"     // in a definition only: always for exact topics, else onDemand
	DemandAlways   Demand = "always"   // backlog accumulates with nobody listening
	DemandOnDemand Demand = "onDemand" // from the first client until linger after the last
)

// StartAt is where a client without Last-Event-ID begins.
type StartAt string

// The starts.
const (
	StartLive     StartAt = "live"
	StartEarliest StartAt = "earliest"
	StartLast     StartAt = "last"
)

// Start is where a client without Last-Event-ID begins: `live`, `earliest` or `{last: N}`.
type Start struct {
	At StartAt `json:"at"`
	// Last is how many events StartLast begins with, 1–1000; 0 otherwise.
	Last int `json:"last,omitempty"`
}

// Param says what one `{param}` of a topic may be. A bare string in a definition is its pattern.
type Param struct {
	// Pattern is an RE2 expression of at most 200 bytes that must match the whole value.
	Pattern string `json:"pattern,omitempty"`
	// Description is for people, at most 1 KiB.
	Description string `json:"description,omitempty"`
	// Enum lists the values allowed, at most 100. Both pattern and enum must hold.
	Enum []string `json:"enum,omitempty"`
	// Examples are at most 10 values for documentation.
	Examples []string `json:"examples,omitempty"`
}

// QueryParam is a query parameter that is part of a feed's identity. A bare string in a definition is its name.
type QueryParam struct {
	// Name is 1–64 of [A-Za-z0-9._~-]; not one that sluice itself reads.
	Name string `json:"name" jsonschema:"required"`
	// Pattern is an RE2 expression of at most 200 bytes that must match the whole value. Without one: 1–128 printable
	// characters.
	Pattern string `json:"pattern,omitempty"`
	// Required refuses requests without the parameter. Default false.
	Required bool `json:"required,omitempty"`
	// Default is the value of requests without the parameter. Default none: the parameter is left out.
	Default string `json:"default,omitempty"`
}

// Message documents one kind of event of a topic.
type Message struct {
	// Name is the event's type.
	Name string `json:"name" jsonschema:"required"`
	// ContentType of the data. Default application/json.
	ContentType string `json:"contentType,omitempty"`
	// Payload is a JSON schema of the data.
	Payload map[string]any `json:"payload,omitempty"`
	// Examples are at most 10 data values.
	Examples []any `json:"examples,omitempty"`
}
