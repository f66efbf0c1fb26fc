package catalog

import (
	"strings"
	"time"

	"sluice/config"
)

// The envelope every API definition carries.
const (
	APIVersion = "sluice/v1"
	KindAPI    = "API"
)

// API is one published SSE API, the resource `kind: API`, with defaults filled in. An API that came out of a Snapshot or a
// Route is shared and immutable: never change it.
type API struct {
	APIVersion string    `json:"apiVersion" jsonschema:"required,enum=sluice/v1"`
	Kind       string    `json:"kind" jsonschema:"required,enum=API"`
	Metadata   Metadata  `json:"metadata" jsonschema:"required"`
	Spec       Spec      `json:"spec" jsonschema:"required"`
	AsyncAPI   *AsyncAPI `json:"asyncapi,omitempty"`
	// Status is owned by the server: accepted and ignored when read from a file.
	Status map[string]any `json:"status,omitempty"`
}

// ID names an API version in logs, diffs and the management API: `<name>@<version>`.
func (a *API) ID() string { return a.Metadata.Name + "@" + a.Spec.Version }

// Name is the API's name; with Version it identifies the API and its stream.
func (a *API) Name() string { return a.Metadata.Name }

// Version is the API's public version.
func (a *API) Version() string { return a.Spec.Version }

// BasePath is where the API answers: `/market/1.0.0`. No trailing slash; never empty.
func (a *API) BasePath() string {
	if strings.Contains(a.Spec.Context, versionSegment) {
		return strings.Replace(a.Spec.Context, versionSegment, a.Spec.Version, 1)
	}
	return a.Spec.Context + "/" + a.Spec.Version
}

// DefaultPath is where the API answers too when it is the default version: its context without the version segment. Empty
// when it is not the default.
func (a *API) DefaultPath() string {
	if !a.Spec.Default {
		return ""
	}
	return strings.Replace(a.Spec.Context, "/"+versionSegment, "", 1)
}

// Open tells whether every topic streams without a credential. The edge asks before it answers no-such-topic: an unknown
// topic of an API with secured ones looks like a secured one.
func (a *API) Open() bool {
	for i := range a.Spec.Topics {
		if a.Spec.Topics[i].Security != SecurityNone {
			return false
		}
	}
	return true
}

// Allows tells whether the API answers on transport t.
func (a *API) Allows(t Transport) bool {
	for _, have := range a.Spec.Transports {
		if have == t {
			return true
		}
	}
	return false
}

// Topic returns the declared topic of that name, or nil.
func (a *API) Topic(name string) *Topic {
	for i := range a.Spec.Topics {
		if a.Spec.Topics[i].Name == name {
			return &a.Spec.Topics[i]
		}
	}
	return nil
}

// Retention is what the API's stream must keep: the maxima over its topics, in events per feed and age, and the bytes of the
// whole API.
func (a *API) Retention() Retention {
	r := a.Spec.Retention
	for i := range a.Spec.Topics {
		t := a.Spec.Topics[i].Retention
		r.MaxAge, r.MaxEvents = max(r.MaxAge, t.MaxAge), max(r.MaxEvents, t.MaxEvents)
	}
	return r
}

// Metadata names and describes an API.
type Metadata struct {
	// Name is 1–60 of [A-Za-z0-9._-], first a letter or digit. Unique with the version, ignoring case.
	Name string `json:"name" jsonschema:"required"`
	// DisplayName is what people read, at most 100 characters. Default: name.
	DisplayName string `json:"displayName,omitempty"`
	// Description is CommonMark, at most 8 KiB.
	Description string `json:"description,omitempty"`
	// Tags are at most 20 lower-case words.
	Tags []string `json:"tags,omitempty"`
	// Labels are at most 20 key and value pairs for selection.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are at most 32 KiB of text that sluice never interprets.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Owner is who may change the API, at most 100 characters. Default: whoever created it.
	Owner string `json:"owner,omitempty"`
}

// Spec is what an API does.
type Spec struct {
	// Context is the first part of the API's path: /market, or with the version in place, /{version}/market.
	Context string `json:"context" jsonschema:"required"`
	// Version is the public version, 1–30 of [A-Za-z0-9._-]; appended to a context without {version}.
	Version string `json:"version" jsonschema:"required"`
	// Default makes the API answer without its version too. At most one version of a name. Default false.
	Default bool `json:"default,omitempty"`
	// State is where the API is in its life. Default CREATED: not served yet.
	State State `json:"state,omitempty"`
	// Visibility is who sees the API in a portal: public, private (owner and administrators) or restricted (roles in
	// visibleTo). Default public.
	Visibility Visibility `json:"visibility,omitempty"`
	// VisibleTo are 1–20 roles that see a restricted API.
	VisibleTo []string `json:"visibleTo,omitempty"`
	// Protocol is sse, the only value.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=sse"`
	// Transports are the listeners the API answers on: http, https. Default both.
	Transports []Transport `json:"transports,omitempty"`
	// Endpoint is the backend's base URL, http or https, base path allowed; no query, fragment or user. Needed to publish.
	Endpoint string `json:"endpoint,omitempty"`
	// Upstream is how the backend is connected to.
	Upstream Upstream `json:"upstream,omitempty"`
	// Auth is which credentials the API takes.
	Auth Auth `json:"auth,omitempty"`
	// Scopes are at most 100 rights that topics can ask for.
	Scopes []Scope `json:"scopes,omitempty"`
	// Plans are at most 16 names of plans that applications can subscribe with.
	Plans []string `json:"plans,omitempty"`
	// CORS is which web origins may read the API.
	CORS CORS `json:"cors,omitempty"`
	// Client is how clients of the API are treated.
	Client Client `json:"client,omitempty"`
	// Retention is what the API keeps for returning clients.
	Retention Retention `json:"retention,omitempty"`
	// Durability names the faults that may lose what is kept: memory, process, power or cluster, as the process setting
	// broker.durability explains. Default: that setting. Between memory and the others it cannot be changed once events are
	// stored.
	Durability config.Durability `json:"durability,omitempty"`
	// Limits bound what the API may take.
	Limits Limits `json:"limits,omitempty"`
	// EdgeGroups are at most 16 names of edges that serve the API. Default [default].
	EdgeGroups []string `json:"edgeGroups,omitempty"`
	// Deploy is auto (a change is served at once) or manual. Default auto.
	Deploy Deploy `json:"deploy,omitempty"`
	// Query lists query parameters of all topics.
	Query []QueryParam `json:"query,omitempty"`
	// Topics are at most 500 channels of the API. Default: one, /*, everything below the endpoint.
	Topics []Topic `json:"topics"`
}

// State is where an API is in its life.
type State string

// The states of an API.
const (
	StateCreated    State = "CREATED"    // not served
	StatePrototyped State = "PROTOTYPED" // served, no subscription needed
	StatePublished  State = "PUBLISHED"  // served
	StateBlocked    State = "BLOCKED"    // 503; ingest goes on, so that nothing is missing afterwards
	StateDeprecated State = "DEPRECATED" // served, no new subscriptions
	StateRetired    State = "RETIRED"    // gone for clients, feeds stopped
)

// Served tells whether clients get streams.
func (s State) Served() bool {
	return s == StatePrototyped || s == StatePublished || s == StateDeprecated
}

// Runs tells whether ingest keeps the API's feeds going.
func (s State) Runs() bool { return s.Served() || s == StateBlocked }

// Transport is a listener an API answers on.
type Transport string

// The transports.
const (
	TransportHTTP  Transport = "http"
	TransportHTTPS Transport = "https"
)

// Visibility is who sees an API in a portal.
type Visibility string

// The visibilities.
const (
	VisibilityPublic     Visibility = "public"
	VisibilityPrivate    Visibility = "private"
	VisibilityRestricted Visibility = "restricted"
)

// Deploy is when a change is served.
type Deploy string

// The ways to deploy.
const (
	DeployAuto   Deploy = "auto"
	DeployManual Deploy = "manual"
)

// Upstream is how a backend is connected to.
type Upstream struct {
	// ConnectTimeout bounds DNS and TCP, 100ms–30s. Default: the process setting upstream.connectTimeout, 5s.
	ConnectTimeout time.Duration `json:"connectTimeout,omitempty"`
	// Idle ends a connection without any byte for that long: 0 = never, else 5s–1h. Default: the process setting
	// upstream.idle, 90s.
	Idle time.Duration `json:"idle"`
	// MaxEvent is the largest event taken, 1KiB–1MiB. Default, and upper bound: the process setting upstream.maxEvent, 1MiB.
	MaxEvent config.Bytes `json:"maxEvent,omitempty"`
	// Resume is how a reconnect proves that nothing was missed: probe (send an older id and look for the overlap), trust
	// (send the newest id and believe) or off. Default probe.
	Resume Resume `json:"resume,omitempty"`
	// On204 is what an answer 204 means: park (leave the upstream alone) or retry. Default park.
	On204 On204 `json:"on204,omitempty"`
	// Headers are at most 16 static request headers; not Host, Accept*, Cookie, Last-Event-ID or hop-by-hop ones.
	Headers map[string]string `json:"headers,omitempty"`
	// Auth is the credential sent to the backend.
	Auth UpstreamAuth `json:"auth,omitempty"`
	// TLS is how an https backend is checked.
	TLS UpstreamTLS `json:"tls,omitempty"`
}

// OmitField implements doc.Omitter: what is left to the process is not written.
func (u Upstream) OmitField(key string) bool { return key == "idle" && u.Idle == inherit }

// Resume is how a reconnect proves that nothing was missed.
type Resume string

// The ways to resume an upstream.
const (
	ResumeProbe Resume = "probe"
	ResumeTrust Resume = "trust"
	ResumeOff   Resume = "off"
)

// On204 is what an upstream's answer 204 means.
type On204 string

// The meanings of 204.
const (
	On204Park  On204 = "park"
	On204Retry On204 = "retry"
)

// UpstreamAuth is the credential sent to a backend. Secrets are names, resolved on ingest nodes only: the environment
// variable SLUICE_SECRET_<NAME> (upper case, `-` as `_`).
type UpstreamAuth struct {
	// Type is none, basic, bearer, apiKey or oauth2. Default none.
	Type string `json:"type,omitempty" jsonschema:"enum=none,enum=basic,enum=bearer,enum=apiKey,enum=oauth2"`
	// Username of basic.
	Username string `json:"username,omitempty"`
	// Secret is the name of the password, token, key or client secret.
	Secret string `json:"secret,omitempty"`
	// Header that carries an apiKey.
	Header string `json:"header,omitempty"`
	// TokenURL of oauth2.
	TokenURL string `json:"tokenURL,omitempty"`
	// ClientID of oauth2.
	ClientID string `json:"clientId,omitempty"`
	// Scopes asked for by oauth2.
	Scopes []string `json:"scopes,omitempty"`
}

// UpstreamTLS is how an https backend is checked.
type UpstreamTLS struct {
	// CA is the secret name of a PEM bundle. Default: the system's authorities.
	CA string `json:"ca,omitempty"`
	// ClientCert is the secret name of a PEM certificate and key.
	ClientCert string `json:"clientCert,omitempty"`
	// ServerName to check instead of the endpoint's host.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify checks nothing: anyone on the way can read and forge events. Default false.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// Auth is which credentials an API takes.
type Auth struct {
	// Schemes are jwt, apiKey, cookie, ticket, mtls. Default [jwt, apiKey]; empty only if all topics are open.
	Schemes []string `json:"schemes"`
	// Header that carries a bearer token. Default Authorization.
	Header string `json:"header,omitempty"`
	// APIKeyHeader that carries an API key. Default ApiKey.
	APIKeyHeader string `json:"apiKeyHeader,omitempty"`
	// Issuers whose tokens count. Default [all] configured ones.
	Issuers []string `json:"issuers,omitempty"`
}

// Scope is a right that topics can ask for.
type Scope struct {
	// Name is 1–64 of [A-Za-z0-9._:-], first a letter or digit.
	Name string `json:"name" jsonschema:"required"`
	// Description is for people, at most 1 KiB.
	Description string `json:"description,omitempty"`
	// Roles that have the right, at most 20.
	Roles []string `json:"roles,omitempty"`
}

// CORS is which web origins may read an API.
type CORS struct {
	// Origins are at most 50 exact origins, or `*` alone. Default none.
	Origins []string `json:"origins,omitempty"`
	// Credentials allows cookies and HTTP authentication; not together with `*`. Default false.
	Credentials bool `json:"credentials,omitempty"`
}

// Client is how clients of an API are treated.
type Client struct {
	// Retry is the base of the delay told to clients, 500ms–60s. Default 2s.
	Retry time.Duration `json:"retry,omitempty"`
	// Heartbeat is the silence after which a comment is sent, 5s–40s. Default: the process setting fanout.heartbeat, 15s.
	Heartbeat time.Duration `json:"heartbeat,omitempty"`
	// Shed is how temporary refusals are told: auto, sse, status. Default: the process setting edge.shed, auto.
	Shed config.Shed `json:"shed,omitempty"`
	// Slow is what happens to clients that are too slow: drop, backlog, latest. Default: the process setting
	// fanout.slow.policy, drop.
	Slow config.SlowPolicy `json:"slow,omitempty"`
	// Framing of plaintext HTTP/1.1 bodies: identity, chunked. Default: the process setting edge.framing, identity.
	Framing config.Framing `json:"framing,omitempty"`
}

// Retention is what is kept for returning clients, whichever bound comes first.
type Retention struct {
	// MaxAge of an event, 1s–30d. Default 1h.
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// MaxEvents per feed, 1–10000000. Default 10000.
	MaxEvents int `json:"maxEvents,omitempty"`
	// MaxBytes of the whole API, 1MiB–100GiB; not on a topic. Default 2GiB.
	MaxBytes config.Bytes `json:"maxBytes,omitempty"`
}

// Limits bound what an API may take.
type Limits struct {
	// MaxFeeds is how many on-demand feeds the API may have, 1–100000. Default 1000.
	MaxFeeds int `json:"maxFeeds,omitempty"`
	// MaxClients is how many open streams a node holds for the API. Default 0: the process limit.
	MaxClients int `json:"maxClients,omitempty"`
}

// AsyncAPI is what an imported AsyncAPI document said that has no other place; kept for export, never interpreted.
type AsyncAPI struct {
	// Info holds contact, license, termsOfService, externalDocs.
	Info map[string]any `json:"info,omitempty"`
	// Schemas are payload schemas, at most 128 KiB.
	Schemas map[string]any `json:"schemas,omitempty"`
}

// versionSegment in a context is replaced by the API's version.
const versionSegment = "{version}"
