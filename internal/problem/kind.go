package problem

// Kind is what went wrong, as a value to wrap: fmt.Errorf("api %q: %w", name, problem.NotFound). Its text is the slug of the
// problem's type, stable for clients.
type Kind string

// Error makes a Kind an error; it returns the slug.
func (k Kind) Error() string { return string(k) }

// General kinds, for code that knows what happened but not which answer of the contract it becomes. Their type is about:blank.
const (
	Invalid     Kind = "invalid"     // 400
	NotFound    Kind = "not-found"   // 404
	Conflict    Kind = "conflict"    // 409
	Unavailable Kind = "unavailable" // 503
)

// Kinds of the contract with stream clients.
const (
	InvalidPath          Kind = "invalid-path"
	URITooLong           Kind = "uri-too-long"
	InvalidQuery         Kind = "invalid-query"
	DuplicateHeader      Kind = "duplicate-header"
	InvalidLastEventID   Kind = "invalid-last-event-id"
	UnexpectedBody       Kind = "unexpected-body"
	AmbiguousCredentials Kind = "ambiguous-credentials"
	MissingToken         Kind = "missing-token"
	InvalidToken         Kind = "invalid-token"
	ExpiredToken         Kind = "expired-token"
	InvalidTicket        Kind = "invalid-ticket"
	TokenInQuery         Kind = "token-in-query"
	Denied               Kind = "denied"
	NotSubscribed        Kind = "not-subscribed"
	NotEntitled          Kind = "not-entitled"
	InsufficientScope    Kind = "insufficient-scope"
	HTTPSRequired        Kind = "https-required"
	TransportNotAllowed  Kind = "transport-not-allowed"
	CORSForbidden        Kind = "cors-forbidden"
	NoSuchAPI            Kind = "no-such-api"
	NoSuchTopic          Kind = "no-such-topic"
	NoSuchFeed           Kind = "no-such-feed"
	MethodNotAllowed     Kind = "method-not-allowed"
	NotAcceptable        Kind = "not-acceptable"
	Misdirected          Kind = "misdirected"
	TooManyConnections   Kind = "too-many-connections"
	TooManyFeeds         Kind = "too-many-feeds"
	QuotaExceeded        Kind = "quota-exceeded"
	QuotaUnavailable     Kind = "quota-unavailable"
	KeysUnavailable      Kind = "keys-unavailable"
	Overloaded           Kind = "overloaded"
	Draining             Kind = "draining"
	APIBlocked           Kind = "api-blocked"
	BrokerUnavailable    Kind = "broker-unavailable"
	ControlUnavailable   Kind = "control-unavailable"
	NotReady             Kind = "not-ready"
	Internal             Kind = "internal"
)

// entry is one row of the table.
type entry struct {
	status    int
	title     string
	general   bool // type about:blank
	closes    bool // the connection ends with the answer
	sheddable bool // temporary: may be told as a stream that ends at once
}

// table returns the row of a kind; unknown kinds are internal.
func table(k Kind) entry {
	if e, ok := rows[k]; ok {
		return e
	}
	if e, ok := managed[k]; ok {
		return e
	}
	return rows[Internal]
}

// rows is written once, here, and only read.
var rows = map[Kind]entry{
	Invalid:     {status: 400, title: "Bad request", general: true},
	NotFound:    {status: 404, title: "Not found", general: true},
	Conflict:    {status: 409, title: "Conflict", general: true},
	Unavailable: {status: 503, title: "Service unavailable", general: true},

	InvalidPath:          {status: 400, title: "Invalid path"},
	URITooLong:           {status: 414, title: "URI too long", closes: true},
	InvalidQuery:         {status: 400, title: "Invalid query"},
	DuplicateHeader:      {status: 400, title: "Duplicate header"},
	InvalidLastEventID:   {status: 400, title: "Invalid Last-Event-ID"},
	UnexpectedBody:       {status: 400, title: "Unexpected body", closes: true},
	AmbiguousCredentials: {status: 400, title: "Ambiguous credentials"},
	MissingToken:         {status: 401, title: "Missing token"},
	InvalidToken:         {status: 401, title: "Invalid token"},
	ExpiredToken:         {status: 401, title: "Expired token"},
	InvalidTicket:        {status: 401, title: "Invalid ticket"},
	TokenInQuery:         {status: 401, title: "Token in query"},
	Denied:               {status: 403, title: "Denied"},
	NotSubscribed:        {status: 403, title: "Not subscribed"},
	NotEntitled:          {status: 403, title: "Not entitled"},
	InsufficientScope:    {status: 403, title: "Insufficient scope"},
	HTTPSRequired:        {status: 403, title: "HTTPS required"},
	TransportNotAllowed:  {status: 403, title: "Transport not allowed"},
	CORSForbidden:        {status: 403, title: "Origin not allowed"},
	NoSuchAPI:            {status: 404, title: "No such API"},
	NoSuchTopic:          {status: 404, title: "No such topic"},
	NoSuchFeed:           {status: 404, title: "No such feed"},
	MethodNotAllowed:     {status: 405, title: "Method not allowed"},
	NotAcceptable:        {status: 406, title: "Not acceptable"},
	Misdirected:          {status: 421, title: "Misdirected request"},
	TooManyConnections:   {status: 429, title: "Too many connections", sheddable: true},
	TooManyFeeds:         {status: 429, title: "Too many feeds", sheddable: true},
	QuotaExceeded:        {status: 429, title: "Quota exceeded", sheddable: true},
	QuotaUnavailable:     {status: 503, title: "Quota unavailable", sheddable: true},
	KeysUnavailable:      {status: 503, title: "Keys unavailable", sheddable: true},
	Overloaded:           {status: 503, title: "Overloaded", sheddable: true},
	Draining:             {status: 503, title: "Draining", closes: true, sheddable: true},
	APIBlocked:           {status: 503, title: "API blocked"},
	BrokerUnavailable:    {status: 503, title: "Broker unavailable", sheddable: true},
	ControlUnavailable:   {status: 503, title: "Control unavailable"},
	NotReady:             {status: 503, title: "Not ready", sheddable: true},
	Internal:             {status: 500, title: "Internal error", closes: true},
}

// Status returns the kind's HTTP status.
func (k Kind) Status() int { return table(k).status }

// Title returns the kind's short text for people.
func (k Kind) Title() string { return table(k).title }

// Closes tells whether the answer ends the connection.
func (k Kind) Closes() bool { return table(k).closes }

// Sheddable tells whether the refusal is temporary, so that a stream client may get a stream that ends at once instead.
func (k Kind) Sheddable() bool { return table(k).sheddable }

// Type returns the `type` member: /problems/<slug>, or about:blank for general kinds.
func (k Kind) Type() string {
	if !k.Known() {
		k = Internal
	}
	if table(k).general {
		return "about:blank"
	}
	return "/problems/" + string(k)
}
