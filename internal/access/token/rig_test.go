package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// clock is a wall clock that moves when told.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// testKeys are made once: an RSA key takes a while.
var testKeys = sync.OnceValue(func() (k struct {
	ec, ec2 *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
	weak    *rsa.PrivateKey
	ed      ed25519.PrivateKey
}) {
	k.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ec2, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.weak, _ = rsa.GenerateKey(rand.Reader, 1024)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk describes a public key; more overrides members.
func jwk(t testing.TB, key any, kid string, more map[string]any) map[string]any {
	t.Helper()
	m := map[string]any{"kid": kid}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		raw, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		m["kty"], m["crv"], m["x"], m["y"] = "EC", "P-256", b64(raw[1:33]), b64(raw[33:])
	case *rsa.PrivateKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), "AQAB"
	case ed25519.PrivateKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k.Public().(ed25519.PublicKey))
	case []byte:
		m["kty"], m["k"] = "oct", b64(k)
	default:
		t.Fatalf("%T", key)
	}
	maps.Copy(m, more)
	return m
}

func setOf(keys ...map[string]any) string {
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

// keyServer serves a JWKS that can be changed.
type keyServer struct {
	*httptest.Server
	fetches atomic.Int32
	serve   atomic.Pointer[http.HandlerFunc]
}

func newKeyServer(t testing.TB, set string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.show(set)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.serve.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) show(set string) {
	s.handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
}

func (s *keyServer) handle(h http.HandlerFunc) { s.serve.Store(&h) }

const (
	issA = "https://a.example"
	issB = "https://b.example"
	issH = "https://h.example"
	aud  = "https://stream.example"
)

// rig is a verifier of issuers A (all algorithms), B (same key ids, another key) and H (HS256), with an application and a key.
type rig struct {
	testing.TB
	clock  *clock
	a, b   *keyServer
	memory *brokertest.Memory
	ticket broker.Bucket
	access broker.Bucket
	v      *Verifier
	snap   *access.Snapshot
	recs   access.Records
	apiKey string
}

var hmacSecret = []byte("0123456789abcdef0123456789abcdef")

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	k := testKeys()
	r := &rig{TB: t, clock: newClock(), memory: brokertest.NewMemory(t)}
	r.a = newKeyServer(t, setOf(jwk(t, k.ec, "e", nil), jwk(t, k.rsa, "r", map[string]any{"use": "sig"}), jwk(t, k.ed, "d", map[string]any{"alg": "EdDSA"})))
	r.b = newKeyServer(t, setOf(jwk(t, k.ec2, "e", nil)))
	var err error
	if r.ticket, err = r.memory.Admin().Bucket(t.Context(), access.TicketBucket, 1); err != nil {
		t.Fatal(err)
	}
	if r.access, err = r.memory.Admin().Bucket(t.Context(), access.Bucket, 5); err != nil {
		t.Fatal(err)
	}
	all := []string{"RS256", "PS256", "ES256", "EdDSA"}
	cfg := Config{
		Issuers: []ExternalIssuer{
			{Name: "a", Issuer: issA, JWKS: r.a.URL + "/keys", Audiences: []string{aud, "other"}, Algorithms: all, AppClaim: "app"},
			{Name: "b", Issuer: issB, JWKS: r.b.URL + "/keys", Audiences: []string{aud}, Algorithms: all, RequireTyp: true},
			{Name: "h", Issuer: issH, Audiences: []string{aud}, Algorithms: []string{"HS256"}, Secret: hmacSecret},
		},
		Tickets: r.ticket, Now: r.clock.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.v, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	app := access.NewID()
	r.recs.Applications = []*access.Application{{ID: app, Name: "one", State: access.AppActive, Clients: []access.ClientRef{{Issuer: issA, ID: "client"}, {Issuer: issB, ID: "client"}}}}
	id := access.NewID()
	r.apiKey = access.MakeKey(access.APIKeySecret, id)
	hash, alg := access.HashKey(r.apiKey, nil)
	r.recs.Keys = []*access.Key{{ID: id, Application: app, Hash: hash, HashAlg: alg, State: access.KeyActive, CreatedAt: r.clock.now().Add(-time.Hour)}}
	r.index()
	return r
}

func (r *rig) index()      { r.snap = access.NewSnapshot(1, r.recs) }
func (r *rig) app() string { return r.recs.Applications[0].ID }

// claimsOf are those of a good token for issuer A.
func (r *rig) claimsOf(more map[string]any) map[string]any {
	now := r.clock.now().Unix()
	m := map[string]any{"iss": issA, "aud": aud, "sub": "user", "client_id": "client", "iat": now, "nbf": now, "exp": now + 600, "jti": "1", "scope": "x y"}
	maps.Copy(m, more)
	for k, v := range m {
		if v == nil {
			delete(m, k)
		}
	}
	return m
}

// sign makes a token of any JSON, right or wrong.
func sign(t testing.TB, alg string, key any, header map[string]any, claims any) string {
	t.Helper()
	h := map[string]any{"alg": alg}
	maps.Copy(h, header)
	head, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	body, ok := claims.(string)
	if !ok {
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
	}
	return signText(t, alg, key, string(head), body)
}

func signText(t testing.TB, alg string, key any, head, body string) string {
	t.Helper()
	text := b64([]byte(head)) + "." + b64([]byte(body))
	if key == nil {
		return text + "."
	}
	if secret, ok := key.([]byte); ok {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64(mac.Sum(nil))
	}
	sig, err := jwt.GetSigningMethod(alg).Sign(text, key.(crypto.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

func (r *rig) token(more map[string]any) string {
	return sign(r, "ES256", testKeys().ec, map[string]any{"kid": "e"}, r.claimsOf(more))
}

func (r *rig) verify(c Credential) (*access.Principal, error) {
	return r.v.Verify(r.Context(), r.snap, c)
}

// kind is what a token is answered with; "" = it is taken.
func (r *rig) kind(text string) problem.Kind {
	_, err := r.verify(Credential{Kind: access.Token, Value: text})
	return kindOf(err)
}

func kindOf(err error) problem.Kind {
	if err == nil {
		return ""
	}
	return problem.KindOf(err)
}

// settle waits until the rig's issuers have their first keys.
func (r *rig) settle() {
	r.Helper()
	for _, i := range r.v.issuers {
		if i.set == nil {
			continue
		}
		i.set.mu.Lock()
		wait := i.set.flight
		i.set.mu.Unlock()
		if wait != nil {
			<-wait
		}
	}
}
