package edge

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker"
)

// paidAPIs need credentials.
const paidAPIs = `
apiVersion: sluice/v1
kind: API
metadata: {name: paid}
spec:
  context: /paid
  version: '1'
  endpoint: http://127.0.0.1:1
  state: PUBLISHED
  plans: [Gold]
  auth: {schemes: [jwt, apiKey, ticket, cookie]}
  cors: {origins: ['https://app.example.com'], credentials: true}
  scopes: [{name: read}, {name: all}]
  topics:
    - {name: /ticks}
    - {name: '/q/{s}', params: {s: '^[A-Z]+$'}}
    - {name: /scoped, scopes: [read, all]}
    - {name: /open, security: none}
---
apiVersion: sluice/v1
kind: API
metadata: {name: proto}
spec: {context: /proto, version: '1', endpoint: 'http://127.0.0.1:1', state: PROTOTYPED, topics: [{name: /t}]}
---
apiVersion: sluice/v1
kind: API
metadata: {name: own}
spec:
  context: /own
  version: '1'
  endpoint: http://127.0.0.1:1
  state: PROTOTYPED
  auth: {schemes: [jwt, apiKey], header: X-Auth, apiKeyHeader: X-Our-Key, issuers: [second]}
  topics: [{name: /t}]
---
apiVersion: sluice/v1
kind: API
metadata: {name: secure}
spec: {context: /secure, version: '1', endpoint: 'http://127.0.0.1:1', state: PUBLISHED, plans: [Gold], transports: [https], topics: [{name: /t}]}
`

// people is what is stored about who may read. It is a real snapshot, without a broker behind it.
type people struct {
	mu       sync.Mutex // guards all below
	records  access.Records
	snap     *access.Snapshot
	rev      uint64
	watchers map[chan *access.Snapshot]bool
	fresh    time.Time
}

func newPeople() *people {
	p := &people{watchers: map[chan *access.Snapshot]bool{}, snap: &access.Snapshot{}, fresh: time.Now()}
	p.change(func(r *access.Records) { r.Plans = append(r.Plans, &access.Plan{Name: "Gold"}) })
	return p
}

// Snapshot implements AccessStore.
func (p *people) Snapshot() *access.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snap
}

// Fresh implements AccessStore.
func (p *people) Fresh() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh
}

// Watch implements AccessStore.
func (p *people) Watch(ctx context.Context) <-chan *access.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := make(chan *access.Snapshot, 1)
	ch <- p.snap
	p.watchers[ch] = true
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, ch)
		close(ch)
	})
	return ch
}

// change shows changed records. f replaces what it changes.
func (p *people) change(f func(r *access.Records)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.records)
	p.rev++
	p.snap = access.NewSnapshot(p.rev, access.Records{Plans: slices.Clone(p.records.Plans), Applications: slices.Clone(p.records.Applications),
		Grants: slices.Clone(p.records.Grants), Keys: slices.Clone(p.records.Keys), Denies: slices.Clone(p.records.Denies),
		Revocations: slices.Clone(p.records.Revocations)})
	for ch := range p.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- p.snap
	}
}

// edit replaces the records that are meant by changed copies.
func edit[T any](list []*T, meant func(*T) bool, change func(*T)) {
	for i, r := range list {
		if meant(r) {
			n := *r
			change(&n)
			list[i] = &n
		}
	}
}

// app adds an application with a key and, unless api is "", a subscription; it returns the key's text.
func (p *people) app(id, api string, change ...func(k *access.Key, g *access.Grant)) string {
	text := access.MakeKey(access.APIKeySecret, keyID(id))
	hash, alg := access.HashKey(text, nil)
	k := &access.Key{ID: keyID(id), Application: id, Hash: hash, HashAlg: alg, State: access.KeyActive, CreatedAt: time.Now()}
	g := &access.Grant{ID: "grant-" + id + "-" + api, Application: id, API: api, Version: "1", Plan: "Gold", State: access.SubUnblocked}
	for _, f := range change {
		f(k, g)
	}
	p.change(func(r *access.Records) {
		r.Applications = append(r.Applications, &access.Application{ID: id, Name: id, State: access.AppActive,
			Clients: []access.ClientRef{{Issuer: firstIssuer, ID: id}, {Issuer: secondIssuer, ID: id}}})
		r.Keys = append(r.Keys, k)
		if api != "" {
			r.Grants = append(r.Grants, g)
		}
	})
	return text
}

// keyID is the id of an application's key: 12 letters.
func keyID(app string) string { return (app + strings.Repeat("a", 12))[:12] }

func ofApp(id string) func(*access.Application) bool {
	return func(a *access.Application) bool { return a.ID == id }
}
func ofKey(app string) func(*access.Key) bool {
	return func(k *access.Key) bool { return k.ID == keyID(app) }
}
func ofGrant(app string) func(*access.Grant) bool {
	return func(g *access.Grant) bool { return g.Application == app }
}

// Issuers of test tokens.
const (
	firstIssuer  = "https://first.example.com"
	secondIssuer = "https://second.example.com"
)

var issuerSecret = []byte(strings.Repeat("s", 32))

// jwt makes a token of the first issuer for an application's client. more replaces claims.
func jwt(app string, life time.Duration, more map[string]any) string {
	now := time.Now()
	claims := map[string]any{"iss": firstIssuer, "aud": "edge", "sub": "user-" + app, "client_id": app, "iat": now.Unix(), "jti": "id-" + app,
		"exp": now.Add(life).Unix()}
	maps.Copy(claims, more)
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, issuerSecret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func bearer(token string) string { return "Authorization: Bearer " + token }
func withKey(text string) string { return "ApiKey: " + text }

// withAccess makes the rig know p and serve paidAPIs too.
func withAccess(t testing.TB, p *people, tickets broker.Bucket) func(*setup) {
	v, err := token.New(token.Config{Tickets: tickets, Issuers: []token.ExternalIssuer{
		{Name: "first", Issuer: firstIssuer, Audiences: []string{"edge"}, Algorithms: []string{"HS256"}, Secret: issuerSecret},
		{Name: "second", Issuer: secondIssuer, Audiences: []string{"edge"}, Algorithms: []string{"HS256"}, Secret: issuerSecret},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return func(s *setup) {
		s.apis = testAPIs + "---" + paidAPIs
		s.access, s.verifier = p, v
		s.cfg.Issuers = map[string]string{"first": firstIssuer, "second": secondIssuer}
		s.cfg.Edge.TrustedProxies = prefixes("127.0.0.0/8")
	}
}

// transports open a stream in each of the ways that clients have.
var transports = []string{"shard", "tls", "h2"}

// open opens a stream by a transport. Nothing is read of its body.
func (r *rig) open(transport, target string, lines ...string) *answer {
	r.t.Helper()
	switch transport {
	case "shard":
		return r.get(target, lines...)
	case "tls":
		c, err := tls.Dial("tcp", r.tlsAddr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			r.t.Fatal(err)
		}
		return r.rawOn(c, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n"+headerLines(lines)+"\r\n")
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+r.tlsAddr+target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range lines {
		k, v, _ := strings.Cut(l, ": ")
		req.Header.Set(k, v)
	}
	if r.h2 == nil {
		r.h2 = r.tlsClient()
	}
	resp, err := r.h2.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		r.t.Fatalf("%s, want HTTP/2", resp.Proto)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return &answer{Response: resp, body: bufio.NewReader(resp.Body)}
}

func (r *rig) rawOn(c net.Conn, request string) *answer {
	r.t.Helper()
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	br := bufio.NewReader(c)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		r.t.Fatalf("%.60q: %v", request, err)
	}
	return &answer{Response: resp, body: bufio.NewReader(resp.Body), conn: c}
}

// close closes the client's side.
func (a *answer) close() {
	_ = a.Body.Close()
	if a.conn != nil {
		_ = a.conn.Close()
	}
}

// patience gives a stream over a socket of its own more time.
func (a *answer) patience() {
	if a.conn != nil {
		_ = a.conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
}

// allEngines makes a rig serve every transport: shards where there are some.
func allEngines(s *setup) {
	devTLS(s)
	s.shards = runtime.GOOS == "linux"
}

// kindOf is the type of a problem, "" for a stream.
func kindOf(t testing.TB, a *answer) string {
	t.Helper()
	if a.StatusCode == 200 {
		return ""
	}
	var p struct{ Type string }
	if err := json.Unmarshal([]byte(a.text(t)), &p); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(p.Type, "/problems/")
}
