package quota

// Kind names a limit, closed list: in keys, metrics and logs.
type Kind string

// The limits.
const (
	PerSubscription Kind = "sub" // events and seats of one subscription
	PerApplication  Kind = "app" // events by its own plan, seats and connects of one application
	PerKey          Kind = "key" // seats of one API key
)

// Scope is what a limit is shared by: its kind and an id. Ids are made by us, so no id can hold a brace or a colon.
func (k Kind) Scope(id string) string { return string(k) + ":" + id }
