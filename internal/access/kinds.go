package access

import (
	"net/netip"
	"time"
)

// Unit is the length of a quota's window.
type Unit string

// The units. Windows are fixed and aligned in UTC; months and years by the calendar.
const (
	Minute Unit = "minute"
	Hour   Unit = "hour"
	Day    Unit = "day"
	Month  Unit = "month"
	Year   Unit = "year"
)

// Quota is how many events one subscription gets in a window of Every × Unit. Events 0 = not metered.
type Quota struct {
	Events int64 `json:"events"`
	Every  int   `json:"every,omitempty"`
	Unit   Unit  `json:"unit,omitempty"`
}

// Rate shapes each connection: Events per Per, what is more waits. Events 0 = off.
type Rate struct {
	Events int           `json:"events"`
	Per    time.Duration `json:"per,omitempty"`
}

// Connections are seats of all edges together; 0 = no limit.
type Connections struct {
	PerSubscription int `json:"perSubscription"`
	PerKey          int `json:"perKey"`
}

// QuotaEnd is what happens to open streams when the quota has ended.
type QuotaEnd string

// What happens when the quota has ended.
const (
	QuotaAuto  QuotaEnd = "auto"  // pause if the reset is at most 60 s away, else close
	QuotaPause QuotaEnd = "pause" // park with heartbeats, at most 15 min
	QuotaClose QuotaEnd = "close" // gateway.throttled
)

// FailPolicy is what happens while the shared counters cannot be reached.
type FailPolicy string

// The fail policies.
const (
	FailOpen   FailPolicy = "open"   // go on by local estimate
	FailClosed FailPolicy = "closed" // deliver nothing
)

// Plan is what a subscription may take.
type Plan struct {
	Name             string        `json:"name"`
	DisplayName      string        `json:"displayName,omitempty"`
	Description      string        `json:"description,omitempty"`
	Quota            Quota         `json:"quota"`
	Enforce          bool          `json:"enforce"` // false: only count
	Rate             Rate          `json:"rate"`
	Connections      Connections   `json:"connections"`
	MaxDuration      time.Duration `json:"maxDuration,omitempty"` // of one stream; 0 = no limit
	OnQuotaEnd       QuotaEnd      `json:"onQuotaEnd"`
	WhenSourceDown   FailPolicy    `json:"whenSourceDown"`
	RequiresApproval bool          `json:"requiresApproval,omitempty"` // new subscriptions are ON_HOLD until a publisher lets them in

	// Applied is the sum of what a bundle wrote last; "" = none did.
	Applied string `json:"applied,omitempty"`

	Rev uint64 `json:"-"` // the broker's revision
}

// AppState is whether an application may read.
type AppState string

// The states of an application.
const (
	AppActive  AppState = "ACTIVE"
	AppBlocked AppState = "BLOCKED"
)

// ClientRef names a client of an issuer: the application's tokens carry it.
type ClientRef struct {
	Issuer string `json:"issuer"`
	ID     string `json:"id"`
}

// Application is what subscribes: a program, or a group of them.
type Application struct {
	ID          string            `json:"id"` // made by the store: 12 characters of lower-case base32
	Name        string            `json:"name"`
	DisplayName string            `json:"displayName,omitempty"`
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner"`
	State       AppState          `json:"state"`
	Clients     []ClientRef       `json:"clients,omitempty"`    // at most 10
	SecretHash  string            `json:"secretHash,omitempty"` // of the built-in issuer's client; SHA-256, hex. Client id = ID
	Plan        string            `json:"plan,omitempty"`       // its own plan beside those of its subscriptions; "" = none
	Labels      map[string]string `json:"labels,omitempty"`
	CreatedAt   time.Time         `json:"createdAt"`
	// Applied is the sum of what a bundle wrote last; "" = none did.
	Applied string `json:"applied,omitempty"`

	Rev uint64 `json:"-"`
}

// SubState is whether a subscription counts.
type SubState string

// The states of a subscription; only UNBLOCKED lets anybody read.
const (
	SubUnblocked SubState = "UNBLOCKED"
	SubOnHold    SubState = "ON_HOLD"
	SubBlocked   SubState = "BLOCKED"
	SubRejected  SubState = "REJECTED"
)

// Grant is a subscription: an application's right to read one version of an API by a plan. "Subscription" to users.
type Grant struct {
	ID          string    `json:"id"` // made by the store; names its quota
	Application string    `json:"application"`
	API         string    `json:"api"`
	Version     string    `json:"version"`
	Plan        string    `json:"plan"`
	State       SubState  `json:"state"`
	Topics      []string  `json:"topics,omitempty"` // names of topics or concrete paths; empty = all
	Expires     time.Time `json:"expires,omitzero"` // zero = never
	CreatedAt   time.Time `json:"createdAt"`
	CreatedBy   string    `json:"createdBy,omitempty"`
	// Applied is the sum of what a bundle wrote last; "" = none did.
	Applied string `json:"applied,omitempty"`

	Rev uint64 `json:"-"`
}

// KeyState is whether a key counts.
type KeyState string

// The states of an API key.
const (
	KeyActive  KeyState = "ACTIVE"
	KeyRevoked KeyState = "REVOKED"
)

// Key is an API key as stored: never its secret.
type Key struct {
	ID             string         `json:"id"` // the 12 characters in the key
	Name           string         `json:"name,omitempty"`
	Application    string         `json:"application"`
	Hash           string         `json:"hash"`    // hex
	HashAlg        string         `json:"hashAlg"` // sha256, hmac-sha256
	State          KeyState       `json:"state"`
	Expires        time.Time      `json:"expires,omitzero"`
	AllowedIPs     []netip.Prefix `json:"allowedIPs,omitempty"`     // empty = all
	AllowedOrigins []string       `json:"allowedOrigins,omitempty"` // empty = all
	Topics         []string       `json:"topics,omitempty"`         // as Grant.Topics
	CreatedAt      time.Time      `json:"createdAt"`

	Rev uint64 `json:"-"`
}

// DenyKind is what a Deny is about.
type DenyKind string

// What can be denied.
const (
	DenyIP           DenyKind = "ip"          // Value: CIDR
	DenyApplication  DenyKind = "application" // id
	DenySubject      DenyKind = "subject"     // "issuer subject"
	DenyAPI          DenyKind = "api"         // name@version
	DenySubscription DenyKind = "subscription"
)

// Deny refuses, and cuts, what it names.
type Deny struct {
	ID     string    `json:"id"`
	Kind   DenyKind  `json:"kind"`
	Value  string    `json:"value"`
	Until  time.Time `json:"until,omitzero"` // zero = until deleted
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`

	Rev uint64 `json:"-"`
}

// RevokeKind is what a Revocation is about.
type RevokeKind string

// What can be revoked. Keys have a state instead.
const (
	RevokeToken       RevokeKind = "jti"     // Value: issuer, a space, jti
	RevokeSubject     RevokeKind = "subject" // issuer, a space, sub
	RevokeApplication RevokeKind = "app"     // id
	RevokeIssuer      RevokeKind = "issuer"
)

// Revocation ends every credential of what it names that was issued before Before. It is kept for 31 days, longer than any token lives.
type Revocation struct {
	Kind   RevokeKind `json:"kind"`
	Value  string     `json:"value"`
	Before time.Time  `json:"before"`
	Until  time.Time  `json:"until"`
	Reason string     `json:"reason,omitempty"`
	By     string     `json:"by,omitempty"`
	Hard   bool       `json:"hard,omitempty"` // cut without letting what the kernel holds drain

	Rev uint64 `json:"-"`
}
