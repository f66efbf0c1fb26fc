package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/access"
	"sluice/internal/problem"
)

// Bounds of one token.
const (
	maxToken   = 8192
	maxKeyID   = 128
	maxScopes  = 100
	leeway     = 30 * time.Second    // of nbf and iat
	leastLife  = time.Second         // what is left of a token that is taken
	mostAhead  = 30 * 24 * time.Hour // of exp: a revocation lives for 31 days
	accessType = "at+jwt"
)

// issuer is one whose tokens are taken.
type issuer struct {
	ExternalIssuer
	own    bool
	parser *jwt.Parser
	set    *keySet         // nil with a secret
	keys   keyfunc.Keyfunc // reads set; nil with a secret
}

func newIssuer(c ExternalIssuer, own bool, set *keySet, now func() time.Time) (*issuer, error) {
	i := &issuer{ExternalIssuer: c, own: own, set: set, parser: jwt.NewParser(parserOptions(c, now)...)}
	if set == nil {
		return i, nil
	}
	var err error
	i.keys, err = keyfunc.New(keyfunc.Options{Storage: set})
	return i, err
}

// parserOptions are what golang-jwt is told to check. By itself it takes any algorithm, issuer and audience, tokens without an end, of the
// future, and base64 that can be written in several ways.
func parserOptions(c ExternalIssuer, now func() time.Time) []jwt.ParserOption {
	return []jwt.ParserOption{
		jwt.WithValidMethods(c.Algorithms),
		jwt.WithIssuer(c.Issuer),
		jwt.WithAudience(c.Audiences...),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithTimeFunc(now),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	}
}

// generation tells apart states of the issuer's keys: what was verified before a key was taken away is verified again.
func (i *issuer) generation() uint64 {
	if i.set == nil {
		return 0
	}
	return i.set.generation()
}

// key finds the key of a header that was walked and checked.
func (i *issuer) key(ctx context.Context, head map[string]any) (any, error) {
	if i.set == nil {
		return i.Secret, nil
	}
	alg, _ := head["alg"].(string)
	key, err := i.keys.KeyfuncCtx(withAlg(ctx, alg))(&jwt.Token{Header: head})
	switch {
	case errors.Is(err, errKeysUnavailable):
		return nil, &problem.Error{Kind: problem.KeysUnavailable, Err: errKeysUnavailable}
	case err != nil:
		return nil, refused(problem.InvalidToken, eventHeader, "unknown key")
	}
	return key, nil
}

// verified is a token that is what it says. Immutable.
type verified struct {
	principal    access.Principal // without App
	client       string
	issuer       *issuer
	generation   uint64
	since, until time.Time // as long as it need not be verified again
}

// verifyToken returns who a JWT belongs to.
func (v *Verifier) verifyToken(ctx context.Context, snap *access.Snapshot, text string) (*access.Principal, error) {
	if len(text) > maxToken || strings.Count(text, ".") != 2 {
		return nil, refused(problem.InvalidToken, "", "size or form")
	}
	now, sum := v.now(), sumOf(text)
	e := v.cache.get(sum, now)
	if e == nil {
		var err error
		if e, err = v.parseToken(ctx, text, now); err != nil {
			return nil, err
		}
		v.cache.add(sum, e, now)
	}
	return e.use(snap, now)
}

// use makes the principal as the snapshot has it: its application, and whether it was revoked.
func (e *verified) use(snap *access.Snapshot, now time.Time) (*access.Principal, error) {
	if e.principal.Expires.Sub(now) < leastLife {
		return nil, refused(problem.ExpiredToken, "", "exp")
	}
	p := e.principal
	switch {
	case e.client == "":
	case e.issuer.own:
		if snap.Application(e.client) != nil {
			p.App = e.client
		}
	default:
		if app := snap.ApplicationOf(access.ClientRef{Issuer: p.Issuer, ID: e.client}); app != nil {
			p.App = app.ID
		}
	}
	if snap.Revoked(&p) != nil {
		return nil, refused(problem.InvalidToken, "", "revoked")
	}
	return &p, nil
}

// parseToken checks a token. What of it decides anything was walked by us first: the library takes the last of two members and ignores crit.
func (v *Verifier) parseToken(ctx context.Context, text string, now time.Time) (*verified, error) {
	head, body, err := walkToken(text)
	if err != nil {
		return nil, err
	}
	iss, ok := body["iss"].(string)
	i := v.issuers[iss]
	if !ok || i == nil {
		return nil, refused(problem.InvalidToken, eventIssuer, "unknown iss")
	}
	if err := i.checkHeader(head); err != nil {
		return nil, err
	}
	if strings.HasSuffix(text, ".") {
		return nil, refused(problem.InvalidToken, eventAlg, "no signature")
	}
	c, err := readClaims(body, i.AppClaim)
	if err != nil {
		return nil, err
	}
	generation := i.generation()
	key, err := i.key(ctx, head) // first: who makes up key ids costs the least
	if err != nil {
		return nil, err
	}
	if _, err := i.parser.ParseWithClaims(text, c, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return nil, refusedByLibrary(err)
	}
	if c.expires.Sub(now) > mostAhead { // that it has not ended is asked at each use
		return nil, refused(problem.InvalidToken, "", "exp too far ahead")
	}
	e := &verified{issuer: i, generation: generation, client: c.client, since: now.Add(-leeway), until: now.Add(verifiedFor)}
	if c.expires.Before(e.until) {
		e.until = c.expires
	}
	e.principal = access.Principal{Kind: access.Token, Issuer: iss, Subject: c.subject, TokenID: c.id, Scopes: c.scopes, Issued: c.issued,
		Expires: c.expires}
	return e, nil
}

// walkToken decodes header and claims of a token, strictly.
func walkToken(text string) (head, body map[string]any, err error) {
	parts := strings.Split(text, ".")
	var out [2]map[string]any
	for n := range out {
		// The decoder skips line breaks, even when it is strict.
		raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[n])
		if err != nil || strings.ContainsAny(parts[n], "\r\n") {
			return nil, nil, refused(problem.InvalidToken, "", "base64")
		}
		if out[n], err = walk(raw); err != nil {
			event := ""
			if errors.Is(err, errDuplicate) {
				event = eventDuplicate
			}
			return nil, nil, refused(problem.InvalidToken, event, err.Error())
		}
	}
	return out[0], out[1], nil
}

// checkHeader checks what the library does not, or later. jku, x5u, x5c and jwk are not looked at.
func (i *issuer) checkHeader(head map[string]any) error {
	if _, there := head["crit"]; there {
		return refused(problem.InvalidToken, eventHeader, "crit")
	}
	if id, there := head["kid"]; there && !isKeyID(id) {
		return refused(problem.InvalidToken, eventHeader, "kid")
	}
	if alg, ok := head["alg"].(string); !ok || !slices.Contains(i.Algorithms, alg) {
		return refused(problem.InvalidToken, eventAlg, "alg")
	}
	typ, ok := text(head, "typ")
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if !ok || typ != accessType && (i.RequireTyp || typ != "" && typ != "jwt") {
		return refused(problem.InvalidToken, eventHeader, "typ")
	}
	return nil
}

// isKeyID takes 1 to 128 printable bytes.
func isKeyID(v any) bool {
	id, ok := v.(string)
	return ok && id != "" && len(id) <= maxKeyID && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// claims are a token's, as walked: the library validates them, and is not asked to read them again.
type claims struct {
	issuer, subject, id, client string
	audience, scopes            []string
	expires, issued, from       time.Time
	hasExpires, hasIssued, has  bool // has: from
}

// UnmarshalJSON keeps what was walked.
func (*claims) UnmarshalJSON([]byte) error { return nil }

func dateOf(at time.Time, there bool) (*jwt.NumericDate, error) {
	if !there {
		return nil, nil
	}
	return jwt.NewNumericDate(at), nil
}

// GetExpirationTime implements jwt.Claims; so do the next.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) {
	return dateOf(c.expires, c.hasExpires)
}

// GetIssuedAt is iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return dateOf(c.issued, c.hasIssued) }

// GetNotBefore is nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return dateOf(c.from, c.has) }

// GetIssuer is iss.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject is sub.
func (c *claims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience is aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }

// readClaims reads what is known of walked claims; a member of another type than it must have is an error.
func readClaims(body map[string]any, appClaim string) (*claims, error) {
	c := &claims{}
	var clients [3]string
	var bad error
	note := func(name string, ok bool) {
		if !ok && bad == nil {
			bad = refused(problem.InvalidToken, "", name)
		}
	}
	for name, to := range map[string]*string{"iss": &c.issuer, "sub": &c.subject, "jti": &c.id, "client_id": &clients[0], "azp": &clients[1]} {
		var ok bool
		*to, ok = text(body, name)
		note(name, ok)
	}
	if appClaim != "" {
		var ok bool
		clients[2], ok = text(body, appClaim)
		note(appClaim, ok)
	}
	for _, id := range clients {
		if id != "" {
			c.client = id
			break
		}
	}
	var ok bool
	c.expires, c.hasExpires, ok = numericDate(body, "exp")
	note("exp", ok)
	c.issued, c.hasIssued, ok = numericDate(body, "iat")
	note("iat", ok)
	c.from, c.has, ok = numericDate(body, "nbf")
	note("nbf", ok)
	c.audience, ok = texts(body, "aud")
	note("aud", ok)
	c.scopes, ok = scopesOf(body)
	note("scope", ok)
	return c, bad
}

// scopesOf reads scope, else scp: a list, or words with spaces between them.
func scopesOf(body map[string]any) ([]string, bool) {
	list, ok := texts(body, "scope")
	if ok && list == nil {
		list, ok = texts(body, "scp")
	}
	var out []string
	for _, s := range list {
		out = append(out, strings.Fields(s)...)
	}
	return out, ok && len(out) <= maxScopes
}

// refusedByLibrary tells apart what golang-jwt found. Only a token that is right but for its end is expired.
func refusedByLibrary(err error) error {
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	switch {
	case is(jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience):
		return refused(problem.InvalidToken, eventIssuer, "iss or aud")
	case is(jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued):
		return refused(problem.InvalidToken, "", "claims")
	case is(jwt.ErrTokenExpired):
		return refused(problem.ExpiredToken, "", "exp")
	}
	return refused(problem.InvalidToken, eventIssuer, "signature")
}

// Events of refusals in the log; others are only counted.
const (
	eventAlg       = "token.alg"
	eventHeader    = "token.header"
	eventIssuer    = "token.issuer"
	eventDuplicate = "token.duplicate"
)

// cause is why a credential was refused, for the log. It never holds any of the credential.
type cause struct{ event, why string }

func (c *cause) Error() string { return c.why }

// refused makes the error of a credential: all of one kind are the same to the client.
func refused(k problem.Kind, event, why string) error {
	return &problem.Error{Kind: k, Err: &cause{event, why}}
}

// CauseOf is the log event of a refusal, such as token.alg, and a word on why; "" for what is only counted.
func CauseOf(err error) (event, why string) {
	var c *cause
	if !errors.As(err, &c) {
		return "", ""
	}
	return c.event, c.why
}

// check says what is wrong with the settings of an issuer.
func (c ExternalIssuer) check() error {
	known := []string{"RS256", "PS256", "ES256", "EdDSA"}
	switch {
	case c.Issuer == "" || len(c.Audiences) == 0:
		return fmt.Errorf("issuer %s: issuer and audiences are needed", c.Name)
	case len(c.Secret) > 0:
		if len(c.Secret) < 32 || !slices.Equal(c.Algorithms, []string{"HS256"}) || c.JWKS != "" {
			return fmt.Errorf("issuer %s: a secret has 32 bytes or more, is for HS256 alone, and needs no jwks", c.Name)
		}
	case len(c.Algorithms) == 0 || slices.ContainsFunc(c.Algorithms, func(a string) bool { return !slices.Contains(known, a) }):
		return fmt.Errorf("issuer %s: algorithms must be of %s", c.Name, strings.Join(known, ", "))
	}
	return nil
}
