package token

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/problem"
)

// T9: whoever names unknown keys makes at most one fetch per 10 s, and nobody waits for a limiter.
func TestAFloodOfUnknownKeysFetchesOncePerTenSeconds(t *testing.T) {
	r := newRig(t)
	r.settle()
	body := "." + b64(fmt.Appendf(nil, `{"iss":%q,"aud":%q,"exp":%d}`, issA, aud, r.clock.now().Unix()+3600)) + "."
	flood := func(round int) {
		var all sync.WaitGroup
		for g := range 20 {
			all.Go(func() {
				for n := range 500 {
					head := fmt.Sprintf(`{"alg":"EdDSA","kid":"u%d-%d-%d"}`, round, g, n)
					text := b64([]byte(head)) + body + "c2ln"
					if k := r.kind(text); k != problem.InvalidToken {
						r.Errorf("unknown key: %q", k)
						return
					}
				}
			})
		}
		all.Wait()
	}
	flood(0)
	if n := r.a.fetches.Load(); n != 1 {
		t.Fatalf("%d fetches within 10 s of the first", n)
	}
	for round := 1; round <= 3; round++ {
		r.clock.advance(refreshLeast)
		if text := sign(r, "EdDSA", testKeys().ed, map[string]any{"kid": "first"}, r.claimsOf(nil)); r.kind(text) != problem.InvalidToken {
			t.Fatal("taken")
		}
		if n := r.a.fetches.Load(); n != int32(round+1) {
			t.Fatalf("%d fetches after %d times 10 s", n, round)
		}
	}
	if n := r.b.fetches.Load(); n != 1 {
		t.Errorf("issuer B was asked %d times", n)
	}
}

// T10: what an issuer answers that is no key set takes nothing away; without a first set tokens wait for better times.
func TestAnIssuerThatIsDown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"HTML":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>{}</html>") },
		"{}":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"null":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `null`) },
		"100 MB":   func(w http.ResponseWriter, _ *http.Request) { huge(w) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"hang-up":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"only keys of no use": func(w http.ResponseWriter, _ *http.Request) {
			k := testKeys()
			_, _ = io.WriteString(w, setOf(jwk(t, []byte("secretsecretsecretsecretsecretse"), "o", nil), jwk(t, k.weak, "w", nil),
				jwk(t, k.ec, "x", map[string]any{"use": "enc"}), jwk(t, k.ec, "y", map[string]any{"alg": "ES512"})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.settle()
			r.a.handle(answer)
			r.clock.advance(refreshLeast)
			if k := r.kind(sign(r, "EdDSA", testKeys().ed, map[string]any{"kid": "u"}, r.claimsOf(nil))); k != problem.KeysUnavailable {
				t.Errorf("unknown key: %q", k)
			}
			if n := r.a.fetches.Load(); n != 2 {
				t.Fatalf("%d fetches", n)
			}
			if k := r.kind(r.token(nil)); k != "" {
				t.Errorf("known key: %q", k)
			}
			r.clock.advance(keysLast - refreshLeast)
			if k := r.kind(r.token(nil)); k != "" {
				t.Errorf("known key after 24 h: %q", k)
			}
			last := r.token(nil)
			if k := r.kind(last); k != "" {
				t.Errorf("known key after 24 h: %q", k)
			}
			r.clock.advance(time.Second)
			if k := r.kind(r.token(nil)); k != problem.KeysUnavailable {
				t.Errorf("known key after more than 24 h: %q", k)
			}
			if k := r.kind(last); k != problem.KeysUnavailable {
				t.Errorf("verified token after more than 24 h: %q", k)
			}
		})
	}
	t.Run("from the start", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Issuers[0].JWKS = "http://127.0.0.1:1/keys" })
		r.settle()
		if k := r.kind(r.token(nil)); k != problem.KeysUnavailable {
			t.Errorf("%q", k)
		}
		if k := r.kind(sign(t, "ES256", testKeys().ec2, map[string]any{"kid": "e", "typ": "at+jwt"}, r.claimsOf(map[string]any{"iss": issB}))); k != "" {
			t.Errorf("another issuer's: %q", k)
		}
	})
}

// huge writes up to 100 MB of a set that could be one.
func huge(w io.Writer) {
	_, _ = io.WriteString(w, `{"keys":[],"pad":"`)
	block := strings.Repeat("x", 1<<20)
	for range 100 {
		if _, err := io.WriteString(w, block); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}

// T11: a token of a rotated key counts as long as the key is listed, and not from what was remembered either.
func TestRotation(t *testing.T) {
	r := newRig(t)
	r.settle()
	k := testKeys()
	old := r.token(nil)
	if got := r.kind(old); got != "" {
		t.Fatal(got)
	}
	next := func() string { return sign(t, "ES256", k.ec2, map[string]any{"kid": "new"}, r.claimsOf(nil)) }
	r.a.show(setOf(jwk(t, k.ec, "e", nil), jwk(t, k.ec2, "new", nil)))
	r.clock.advance(refreshLeast)
	if got := r.kind(next()); got != "" {
		t.Errorf("new key: %q", got)
	}
	if got := r.kind(old); got != "" {
		t.Errorf("old key, still listed: %q", got)
	}
	r.a.show(setOf(jwk(t, k.ec2, "new", nil)))
	r.clock.advance(refreshLeast)
	if got := r.kind(sign(t, "ES256", k.ec, map[string]any{"kid": "x"}, r.claimsOf(nil))); got != problem.InvalidToken {
		t.Errorf("unknown: %q", got)
	}
	if got := r.kind(old); got != problem.InvalidToken {
		t.Errorf("old key, no longer listed, remembered: %q", got)
	}
	if got := r.kind(r.token(nil)); got != problem.InvalidToken {
		t.Errorf("old key, no longer listed: %q", got)
	}
	if got := r.kind(next()); got != "" {
		t.Errorf("new key: %q", got)
	}
	// The same id for another key.
	r.a.show(setOf(jwk(t, k.ec, "new", nil)))
	r.clock.advance(refreshLeast)
	remembered := next()
	_ = r.kind(remembered)
	if got := r.kind(sign(t, "EdDSA", k.ed, map[string]any{"kid": "u"}, r.claimsOf(nil))); got != problem.InvalidToken {
		t.Errorf("unknown: %q", got)
	}
	if got := r.kind(remembered); got != problem.InvalidToken {
		t.Errorf("key replaced under its id: %q", got)
	}
}

// Keys that nothing may be checked with are left out, beside good ones.
func TestKeysOfNoUseAreLeftOut(t *testing.T) {
	r := newRig(t)
	r.settle()
	k := testKeys()
	secret := []byte("secretsecretsecretsecretsecretse")
	r.a.show(setOf(jwk(t, secret, "o", map[string]any{"alg": "HS256"}), jwk(t, k.weak, "w", nil), jwk(t, k.ec, "enc", map[string]any{"use": "enc"}),
		jwk(t, k.ec, "odd", map[string]any{"use": "tls"}), jwk(t, k.ec, "e", nil), map[string]any{"kty": "xyz", "kid": "z"}))
	r.clock.advance(refreshLeast)
	_ = r.kind(sign(t, "ES256", k.ec, map[string]any{"kid": "u"}, r.claimsOf(nil))) // fetches
	for name, text := range map[string]string{
		"oct":          sign(t, "HS256", secret, map[string]any{"kid": "o"}, r.claimsOf(nil)),
		"RSA of 1024":  sign(t, "RS256", k.weak, map[string]any{"kid": "w"}, r.claimsOf(nil)),
		"use enc":      sign(t, "ES256", k.ec, map[string]any{"kid": "enc"}, r.claimsOf(nil)),
		"use unheard":  sign(t, "ES256", k.ec, map[string]any{"kid": "odd"}, r.claimsOf(nil)),
		"no longer so": sign(t, "EdDSA", k.ed, map[string]any{"kid": "d"}, r.claimsOf(nil)),
	} {
		if got := r.kind(text); got != problem.InvalidToken {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := r.kind(r.token(nil)); got != "" {
		t.Errorf("good key beside them: %q", got)
	}
}

// Without a key id a token counts only where there is no choice.
func TestNoKeyID(t *testing.T) {
	r := newRig(t)
	r.settle()
	k := testKeys()
	text := sign(t, "ES256", k.ec, nil, r.claimsOf(nil))
	if got := r.kind(text); got != "" {
		t.Errorf("one key: %q", got)
	}
	r.a.show(setOf(jwk(t, k.ec, "e", nil), jwk(t, k.ec2, "f", nil)))
	r.clock.advance(refreshLeast)
	_ = r.kind(sign(t, "EdDSA", k.ed, map[string]any{"kid": "u"}, r.claimsOf(nil)))
	if got := r.kind(sign(t, "ES256", k.ec, nil, r.claimsOf(map[string]any{"jti": "2"}))); got != problem.InvalidToken {
		t.Errorf("two keys: %q", got)
	}
}

func TestWrongSettings(t *testing.T) {
	good := ExternalIssuer{Name: "a", Issuer: issA, JWKS: "http://a", Audiences: []string{aud}, Algorithms: []string{"ES256"}}
	for name, change := range map[string]func(*ExternalIssuer){
		"no audience":       func(c *ExternalIssuer) { c.Audiences = nil },
		"no issuer":         func(c *ExternalIssuer) { c.Issuer = "" },
		"no algorithm":      func(c *ExternalIssuer) { c.Algorithms = nil },
		"none":              func(c *ExternalIssuer) { c.Algorithms = []string{"none"} },
		"HS256 with keys":   func(c *ExternalIssuer) { c.Algorithms = []string{"HS256"} },
		"short secret":      func(c *ExternalIssuer) { c.JWKS, c.Secret, c.Algorithms = "", []byte("short"), []string{"HS256"} },
		"secret and more":   func(c *ExternalIssuer) { c.JWKS, c.Secret, c.Algorithms = "", hmacSecret, []string{"HS256", "RS256"} },
		"secret and a JWKS": func(c *ExternalIssuer) { c.Secret, c.Algorithms = hmacSecret, []string{"HS256"} },
	} {
		c := good
		change(&c)
		if _, err := New(Config{Issuers: []ExternalIssuer{c}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(Config{Issuers: []ExternalIssuer{good, good}}); err == nil {
		t.Error("one iss twice: taken")
	}
	v, err := New(Config{Issuers: []ExternalIssuer{good}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Credential{{}, {Kind: access.Token}, {Kind: access.Anonymous, Value: "x"}, {Kind: access.Cookie, Value: "x", TLS: true}} {
		if _, err := v.Verify(t.Context(), &access.Snapshot{}, c); kindOf(err) != problem.MissingToken {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
