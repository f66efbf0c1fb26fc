package token

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/problem"
)

// Credential is what a client sent to prove who it is, as the edge read it from the request.
type Credential struct {
	Kind access.Kind
	// Value is the token, key, ticket or cookie itself, without its scheme.
	Value string
	// Cookie is the stream cookie that came along with a ticket, "" = none: a spent ticket counts together with the cookie it was
	// changed for, since EventSource comes back with the same URL.
	Cookie string
	// TLS says that the client's side is encrypted: only then stream cookies are taken, and made.
	TLS bool
	// Origin of the request, "" = none.
	Origin string
	// For is what is asked for. Tickets and cookies are good for one API, or for one of its topics.
	For access.Bound
}

// Config is what a Verifier works with.
type Config struct {
	Issuers []ExternalIssuer
	// Own is the iss of the built-in issuer, whose keys are in Access under KeysKey; "" = there is none.
	Own string
	// Access is the bucket with the built-in issuer's keys; Tickets the one of tickets and cookies. nil = none are taken.
	Access, Tickets broker.Bucket
	// Pepper is in the hashes of API keys with hashAlg hmac-sha256; empty = none.
	Pepper []byte
	// Observe counts refreshes of issuers' keys; nil = nobody counts. result is ok or failed.
	Observe func(issuer, result string)
	Logger  *slog.Logger     // nil = none
	Now     func() time.Time // nil = the system's
}

// ExternalIssuer is somebody whose tokens are taken.
type ExternalIssuer struct {
	Name       string   // in logs
	Issuer     string   // iss, compared byte by byte
	JWKS       string   // URL of its keys; "" with Secret
	Audiences  []string // one of them must be in aud
	Algorithms []string // of RS256, PS256, ES256, EdDSA; HS256 with Secret, then alone
	AppClaim   string   // names the client where client_id and azp are missing; "" = none
	RequireTyp bool     // typ must be at+jwt
	Secret     []byte   // of HS256, at least 32 bytes; nil = keys come from JWKS
}

// Verifier says who sent a credential. Safe for concurrent use. Make it with New; Run keeps the issuers' keys.
type Verifier struct{ cfg Config }

// New checks the settings. It starts and fetches nothing.
func New(cfg Config) (*Verifier, error) { return &Verifier{cfg}, errors.New("token: not yet") }

// Run fetches the issuers' keys, and again every hour and when a token names a key that is not known, until ctx ends.
func (v *Verifier) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Verify returns who c belongs to. A ticket is spent by it. The error's kind is missing-token, invalid-token (all that is wrong with a
// token or key, in the same bytes), expired-token, invalid-ticket (tickets and, of these, all that is wrong), keys-unavailable, or
// broker-unavailable (tickets and cookies); CauseOf has a word for the log. IP and origin lists of keys, denials and rights are the caller's.
func (v *Verifier) Verify(ctx context.Context, snap *access.Snapshot, c Credential) (*access.Principal, error) {
	r, err := v.Redeem(ctx, snap, c)
	return r.Principal, err
}

// Redeemed is who a credential belongs to, and what the answer gives the client.
type Redeemed struct {
	*access.Principal
	// Cookie is the stream cookie that a ticket was changed for, to be set with StreamCookie; "" = none. It ends with Expires.
	Cookie string
}

// Redeem is Verify for a client that may be given a stream cookie: whoever answers over TLS to a ticket.
func (v *Verifier) Redeem(context.Context, *access.Snapshot, Credential) (Redeemed, error) {
	return Redeemed{}, problem.InvalidToken
}

// CauseOf is the log event of a refusal, such as token.alg, and a word on why; "" for what is only counted.
func CauseOf(err error) (event, why string) { return "", "" }
