package token

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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
	// Look is for who asks, but opens nothing: a ticket is not spent, nor changed for a cookie.
	Look bool
	// For is what is asked for, Topic its declared name and Path the concrete path below the API: tickets and cookies are good for one
	// API, or one of its topics.
	For  access.Bound
	Path string
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
type Verifier struct {
	cfg     Config
	now     func() time.Time
	issuers map[string]*issuer // by iss; never changed
	cache   cache
	within  time.Duration // of all round trips to the broker of one redemption
}

// New checks the settings. It starts and fetches nothing.
func New(cfg Config) (*Verifier, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string) {}
	}
	v := &Verifier{cfg: cfg, now: cfg.Now, issuers: map[string]*issuer{}, within: brokerTime}
	if cfg.Own != "" && cfg.Access != nil {
		set := newKeySet(OwnName, refreshOwn, fetchBucket(cfg.Access), cfg)
		if err := v.add(ownIssuer(cfg.Own), true, set); err != nil {
			return nil, err
		}
	}
	client := newClient()
	for _, c := range cfg.Issuers {
		if err := c.check(); err != nil {
			return nil, err
		}
		var set *keySet
		if len(c.Secret) == 0 {
			set = newKeySet(c.Name, refreshEvery, fetchURL(client, c.JWKS), cfg)
		}
		if err := v.add(c, false, set); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *Verifier) add(c ExternalIssuer, own bool, set *keySet) error {
	if v.issuers[c.Issuer] != nil {
		return fmt.Errorf("issuer %s: there are two of the same iss", c.Name)
	}
	i, err := newIssuer(c, own, set, v.now)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", c.Name, err)
	}
	v.issuers[c.Issuer] = i
	return nil
}

// OwnName is what logs call the built-in issuer.
const OwnName = "sluice"

// ownIssuer are the tokens that the built-in issuer makes.
func ownIssuer(iss string) ExternalIssuer {
	return ExternalIssuer{Name: OwnName, Issuer: iss, Audiences: []string{iss}, Algorithms: []string{"ES256"}, RequireTyp: true}
}

// Run fetches the issuers' keys, and again every hour and when a token names a key that is not known, until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, i := range v.issuers {
		if i.set != nil {
			all.Go(func() { i.set.run(ctx) })
		}
	}
	all.Wait()
	<-ctx.Done()
	return nil
}

// Verify returns who c belongs to. A ticket is spent by it, unless c.Look. The error's kind is missing-token, invalid-token (all that is wrong with a
// token or key, in the same bytes), expired-token (a token that is right but for its end), invalid-ticket (all that is wrong with a ticket
// or cookie), keys-unavailable, or broker-unavailable (tickets and cookies); CauseOf has a word for the log. IP and origin lists of keys,
// denials and rights are the caller's to check.
func (v *Verifier) Verify(ctx context.Context, snap *access.Snapshot, c Credential) (*access.Principal, error) {
	r, err := v.verify(ctx, snap, c, false)
	return r.Principal, err
}

// Redeemed is who a credential belongs to, and what the answer gives the client.
type Redeemed struct {
	*access.Principal
	// Cookie is the stream cookie that a ticket was changed for, to be set with StreamCookie; "" = none. It ends with Expires.
	Cookie string
}

// Redeem is Verify for a client that may be given a stream cookie: whoever answers over TLS to a ticket.
func (v *Verifier) Redeem(ctx context.Context, snap *access.Snapshot, c Credential) (Redeemed, error) {
	return v.verify(ctx, snap, c, true)
}

func (v *Verifier) verify(ctx context.Context, snap *access.Snapshot, c Credential, cookie bool) (r Redeemed, err error) {
	if c.Value == "" {
		return Redeemed{}, problem.MissingToken
	}
	switch c.Kind {
	case access.Token:
		r.Principal, err = v.verifyToken(ctx, snap, c.Value)
	case access.APIKey:
		r.Principal, err = v.verifyKey(snap, c.Value)
	case access.Ticket:
		r, err = v.redeemTicket(ctx, snap, c, cookie)
	case access.Cookie:
		r.Principal, err = v.verifyCookie(ctx, snap, c, "")
	default:
		err = problem.MissingToken
	}
	if err != nil {
		return Redeemed{}, err
	}
	return r, nil
}

// Cached tells whether a token was verified and need not be again: such clients pass where failed credentials are limited.
func (v *Verifier) Cached(c Credential) bool {
	return c.Kind == access.Token && len(c.Value) <= maxToken && v.cache.get(sumOf(c.Value), v.now()) != nil
}
