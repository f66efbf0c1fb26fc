package access

import (
	"slices"
	"time"
)

// Kind is how a client proved who it is.
type Kind uint8

// The kinds of credentials.
const (
	Anonymous Kind = iota // none was asked for
	Token                 // a JWT of a configured issuer
	APIKey
	Ticket // one use, in the query
	Cookie // the stream cookie
)

// String is the name in logs.
func (k Kind) String() string {
	return [...]string{"anonymous", "token", "key", "ticket", "cookie"}[k]
}

// Principal is a client once its credential was verified. Immutable; every kind of credential ends in one and walks the same ladder.
type Principal struct {
	Kind Kind
	// App is the id of its application; "" = none is known.
	App string
	// Issuer, Subject and TokenID are the token's iss, sub and jti, "" where it has none. A ticket or cookie has those of what bought it.
	Issuer, Subject, TokenID string
	// Key is the id of the API key, also of one that bought a ticket or cookie.
	Key string
	// Scopes are at most 100.
	Scopes []string
	// Issued is when the credential was made: a revocation covers what was issued before it.
	Issued time.Time
	// Expires is when the credential ends; zero = never.
	Expires time.Time
	// Bound is what a ticket or cookie is good for; zero = everything the application may read.
	Bound Bound
}

// Bound limits a credential to an API, and to one of its topics if Topic, its name or a concrete path, is set.
type Bound struct {
	API, Version, Topic string
	// Try is set on what a maker of the API got to try it out: it is good for an API in state CREATED, and needs no subscription.
	Try bool
}

// HasScope tells whether the credential carries one of want; true if want is empty.
func (p *Principal) HasScope(want []string) bool {
	return len(want) == 0 || slices.ContainsFunc(want, func(s string) bool { return slices.Contains(p.Scopes, s) })
}
