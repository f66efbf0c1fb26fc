package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Auth is how clients prove who they are.
type Auth struct {
	// Issuers are those whose tokens (JWT) are taken, beside the built-in one. Default none. Each has name (for logs), issuer (the token's
	// iss, compared byte by byte), jwks (http or https URL of its keys; private hosts are allowed), audiences (one of them must be in
	// aud), algorithms (of RS256, PS256, ES256, EdDSA; default all four), appClaim (the claim that names the client where client_id and
	// azp are missing), requireTyp (typ must be at+jwt), secretFile (for HS256 instead of jwks: at least 32 bytes).
	Issuers []AuthIssuer `json:"issuers"`
	// Issuer is the built-in issuer, which gives applications tokens for their client secret.
	Issuer AuthOwnIssuer `json:"issuer"`
	// PepperFile holds bytes that go into the hashes of API keys (HMAC-SHA-256), so that a copy of the broker's data is not enough to
	// guess with. Default empty: plain SHA-256, which 256-bit keys can do with. The same on all nodes; keys made with another one stop
	// working. At least 16 bytes.
	PepperFile string `json:"pepperFile"`
	// InsecureQueryToken takes ?access_token= from clients that can send nothing else. Default false: such tokens stand in the logs of
	// every proxy on the way. It warns at each start and shows in sluice_insecure_settings.
	InsecureQueryToken bool `json:"insecureQueryToken"`
	// MaxStale is how long an edge that hears nothing from control goes on to let clients in where a credential is needed: it cannot
	// know then what was revoked. Default 0: for ever, since open streams would go on all the same. Else 10s–24h.
	MaxStale time.Duration `json:"maxStale"`
}

// AuthIssuer is somebody whose tokens are taken.
type AuthIssuer struct {
	// Name is what logs call it: 1 to 32 lower-case letters, digits or dashes; not sluice, which is the built-in one.
	Name string `json:"name"`
	// Issuer is the token's iss, compared byte by byte.
	Issuer string `json:"issuer"`
	// JWKS is the http or https URL of its keys, fetched hourly and when a token names an unknown one, at most every 10 s.
	JWKS string `json:"jwks,omitempty"`
	// Audiences are what it calls this gateway: one of them must be in aud.
	Audiences []string `json:"audiences"`
	// Algorithms it signs with: RS256, PS256, ES256, EdDSA. Default all four; with SecretFile HS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// AppClaim is the claim that names the client where client_id and azp are missing. Default empty: none.
	AppClaim string `json:"appClaim,omitempty"`
	// RequireTyp refuses tokens whose typ is not at+jwt (RFC 9068), such as ID tokens. Default false.
	RequireTyp bool `json:"requireTyp,omitempty"`
	// SecretFile holds the secret of HS256, at least 32 bytes, in place of JWKS. Default empty.
	SecretFile string `json:"secretFile,omitempty"`
}

// AuthOwnIssuer is the built-in issuer, on control.
type AuthOwnIssuer struct {
	// Name is the iss and aud of its tokens: the gateway's public URL, or any other text; the same on all nodes. Default sluice.
	Name string `json:"name"`
	// KeyFile holds the private keys it signs with, P-256 in PEM; the first that edges have known for 10 minutes is used, so that a new
	// one is put behind the old one for that long. Default empty: one is made in the data folder (secrets/issuer.pem), which only one
	// control node can do: several need the same file.
	KeyFile string `json:"keyFile"`
	// Lifetime of its tokens. Default 1h. 1m–24h.
	Lifetime time.Duration `json:"lifetime"`
}

func defaultAuth() Auth {
	return Auth{Issuer: AuthOwnIssuer{Name: "sluice", Lifetime: time.Hour}}
}

// The algorithms of tokens.
var tokenAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}

const secretAlgorithm = "HS256"

// Signs are the algorithms that an issuer may sign with.
func (a AuthIssuer) Signs() []string {
	switch {
	case len(a.Algorithms) > 0:
		return a.Algorithms
	case a.SecretFile != "":
		return []string{secretAlgorithm}
	}
	return tokenAlgorithms
}

func (v *validator) auth(a *Auth) {
	for i := range a.Issuers {
		v.issuer(fmt.Sprintf("auth.issuers[%d]", i), a.Issuers[:i], &a.Issuers[i], a.Issuer.Name)
	}
	if len(a.Issuers) > 32 {
		v.fail("auth.issuers", "must be at most 32")
	}
	if n := a.Issuer.Name; n == "" || len(n) > 200 || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
		v.fail("auth.issuer.name", "must be 1 to 200 printable characters without spaces")
	}
	v.duration("auth.issuer.lifetime", a.Issuer.Lifetime, time.Minute, 24*time.Hour)
	v.durationOrZero("auth.maxStale", a.MaxStale, 10*seconds, 24*time.Hour)
}

func (v *validator) issuer(at string, before []AuthIssuer, a *AuthIssuer, own string) {
	if !groupName.MatchString(a.Name) || a.Name == "sluice" {
		v.fail(at+".name", "must be 1 to 32 lower-case letters, digits or dashes, and not sluice")
	}
	switch {
	case a.Issuer == "" || len(a.Issuer) > 1024 || strings.ContainsFunc(a.Issuer, func(r rune) bool { return r <= ' ' || r > '~' }):
		v.fail(at+".issuer", "must be the iss of its tokens: 1 to 1024 printable characters without spaces")
	case a.Issuer == own:
		v.fail(at+".issuer", "is auth.issuer.name, the built-in issuer's")
	}
	for _, b := range before {
		if b.Name == a.Name {
			v.fail(at+".name", "is used twice")
		}
		if b.Issuer == a.Issuer {
			v.fail(at+".issuer", "is the iss of %s too", b.Name)
		}
	}
	if len(a.Audiences) == 0 || slices.Contains(a.Audiences, "") {
		v.fail(at+".audiences", "must have at least one, none of them empty: without, tokens made for others would count here")
	}
	switch {
	case a.SecretFile != "" && a.JWKS != "":
		v.fail(at+".secretFile", "cannot be used with jwks: a public key could pass for the secret")
	case a.SecretFile == "" && !isHTTP(a.JWKS):
		v.fail(at+".jwks", "must be the http or https URL of its keys, without user or password")
	}
	allowed := tokenAlgorithms
	if a.SecretFile != "" {
		allowed = []string{secretAlgorithm}
	}
	for i, alg := range a.Algorithms {
		v.oneOf(fmt.Sprintf("%s.algorithms[%d]", at, i), alg, allowed...)
	}
}

func isHTTP(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// authFiles checks the secrets that the settings name, so that check-config finds a wrong one before a start does.
func (l *loader) authFiles() {
	a := l.cfg.Auth
	for i, issuer := range a.Issuers {
		if issuer.SecretFile == "" {
			continue
		}
		path := fmt.Sprintf("auth.issuers[%d].secretFile", i)
		if text, ok := l.read(path, issuer.SecretFile); ok && len(bytes.TrimSpace(text)) < 32 {
			l.errs = append(l.errs, l.at(path, issuer.SecretFile+" holds fewer than 32 bytes", ""))
		}
	}
	if a.PepperFile != "" {
		if text, ok := l.read("auth.pepperFile", a.PepperFile); ok && len(bytes.TrimSpace(text)) < 16 {
			l.errs = append(l.errs, l.at("auth.pepperFile", a.PepperFile+" holds fewer than 16 bytes", ""))
		}
	}
	if a.Issuer.KeyFile != "" && l.cfg.Has(RoleControl) {
		if text, ok := l.read("auth.issuer.keyFile", a.Issuer.KeyFile); ok {
			if _, err := SigningKeys(text); err != nil {
				l.errs = append(l.errs, l.at("auth.issuer.keyFile", a.Issuer.KeyFile+" "+err.Error(), ""))
			}
		}
	}
}

// SigningKeys reads the private keys of a PEM file, in order: at least one, all of them P-256.
func SigningKeys(text []byte) ([]*ecdsa.PrivateKey, error) {
	var keys []*ecdsa.PrivateKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue
		}
		var key *ecdsa.PrivateKey
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err == nil {
			key, _ = parsed.(*ecdsa.PrivateKey)
		} else {
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil || key == nil || key.Curve != elliptic.P256() {
			return nil, errors.New("holds something that is no private key of P-256")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > 8 {
		return nil, errors.New("must hold 1 to 8 private keys of P-256 in PEM")
	}
	return keys, nil
}
