package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

const ownName = "https://stream.example"

// office is a rig with the built-in issuer of one control node; edges are peers of its broker.
type office struct {
	*rig
	i      *Issuer
	secret string

	mu      sync.Mutex
	revoked []access.Revocation // guarded by mu
}

func signingKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newOffice(t *testing.T) *office {
	t.Helper()
	memory := brokertest.NewMemory(t)
	keys, err := memory.Admin().Bucket(t.Context(), access.Bucket, 5)
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := memory.Admin().Bucket(t.Context(), access.TicketBucket, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{rig: newRig(t, func(c *Config) { c.Own, c.Access, c.Tickets = ownName, keys, tickets })}
	o.memory, o.access, o.ticket = memory, keys, tickets
	app := o.recs.Applications[0]
	o.secret = access.MakeKey(access.ClientSecret, app.ID)
	app.SecretHash, _ = access.HashKey(o.secret, nil)
	o.recs.Grants = []*access.Grant{{ID: access.NewID(), Application: app.ID, API: "paid", Version: "1", Plan: "p", State: access.SubUnblocked}}
	o.index()
	o.i = o.newIssuer("boot", signingKey(t))
	if err := o.i.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.run(o.i)
	o.settle() // the verifier may have looked before the keys were listed
	o.clock.advance(refreshLeast)
	return o
}

func (o *office) newIssuer(boot string, keys ...*ecdsa.PrivateKey) *Issuer {
	o.Helper()
	i, err := NewIssuer(IssuerConfig{
		Name: ownName, Keys: keys, Lifetime: time.Hour, Open: func(context.Context) (broker.Bucket, error) { return o.access, nil },
		Bus: o.memory.Peer().Bus(), Boot: boot, Snapshot: func() *access.Snapshot { return o.snap }, Verifier: o.v,
		Tickets: NewTickets(o.ticket, o.clock.now), Now: o.clock.now,
		Revoke: func(_ context.Context, r access.Revocation) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.revoked = append(o.revoked, r)
			return nil
		},
		MayRead: func(p *access.Principal, b access.Bound, _ Sender, _ access.Kind) error {
			if o.snap.Grant(p.App, b.API, b.Version) == nil {
				return problem.NotSubscribed
			}
			return nil
		},
		Scopes: func(string) []string { return []string{"read", "all"} },
	})
	if err != nil {
		o.Fatal(err)
	}
	return i
}

// run runs an issuer until the test ends, and waits until it hears.
func (o *office) run(i *Issuer) {
	o.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	o.Cleanup(func() { cancel(); <-done })
	for { // a barrier: nobody listens until it runs
		if _, err := o.memory.Bus().Request(o.Context(), SubjectOAuth+string(VerbKeys), []byte(`{"v":1}`)); err == nil {
			return
		} else if !errors.Is(err, broker.ErrUnavailable) {
			o.Fatal(err)
		}
	}
}

// ask asks as an edge does.
func (o *office) ask(verb Verb, a Ask) Answer {
	o.Helper()
	a.V = 1
	text, err := json.Marshal(a)
	if err != nil {
		o.Fatal(err)
	}
	out, err := o.memory.Bus().Request(o.Context(), SubjectOAuth+string(verb), text)
	if err != nil {
		o.Fatal(err)
	}
	var answer Answer
	if err := json.Unmarshal(out, &answer); err != nil {
		o.Fatal(err)
	}
	return answer
}

func form(pairs ...string) Ask {
	v := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		v.Add(pairs[n], pairs[n+1])
	}
	return Ask{ContentType: "application/x-www-form-urlencoded", Body: []byte(v.Encode())}
}

func (a Ask) basic(name, password string) Ask {
	a.Authorization = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(name)+":"+url.QueryEscape(password)))}
	return a
}

// newToken gets a token by client credentials.
func (o *office) newToken(scope string) string {
	o.Helper()
	a := o.ask(VerbToken, form("grant_type", "client_credentials", "scope", scope).basic(o.app(), o.secret))
	var out struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
		Life  int    `json:"expires_in"`
		Scope string
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 200 || out.Type != "Bearer" || out.Life != 3600 || out.Scope != scope || a.Header["Cache-Control"] != "no-store" {
		o.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
	return out.Token
}

// T22 and its neighbours: what the token endpoint answers, exact.
func TestTokenEndpoint(t *testing.T) {
	o := newOffice(t)
	grant := form("grant_type", "client_credentials")
	with := func(a Ask, f func(*Ask)) Ask { f(&a); return a }
	for _, c := range []struct {
		name   string
		ask    Ask
		status int
		body   string
	}{
		{"bad secret", grant.basic(o.app(), flip(o.secret, 30)), 401, `{"error":"invalid_client"}`},
		{"secret of another", grant.basic(o.app(), access.MakeKey(access.ClientSecret, access.NewID())), 401, `{"error":"invalid_client"}`},
		{"unknown client", grant.basic(access.NewID(), o.secret), 401, `{"error":"invalid_client"}`},
		{"no client", grant, 401, `{"error":"invalid_client"}`},
		{"broken Basic", with(grant, func(a *Ask) { a.Authorization = []string{"Basic !"} }), 401, `{"error":"invalid_client"}`},
		{"Bearer", with(grant, func(a *Ask) { a.Authorization = []string{"Bearer " + o.secret} }), 401, `{"error":"invalid_client"}`},
		{"both ways", form("grant_type", "client_credentials", "client_secret", o.secret).basic(o.app(), o.secret), 400, `{"error":"invalid_request"}`},
		{"another client_id", form("grant_type", "client_credentials", "client_id", "x").basic(o.app(), o.secret), 400, `{"error":"invalid_request"}`},
		{"no grant type", form().basic(o.app(), o.secret), 400, `{"error":"unsupported_grant_type"}`},
		{"password", form("grant_type", "password").basic(o.app(), o.secret), 400, `{"error":"unsupported_grant_type"}`},
		{"twice", form("grant_type", "client_credentials", "grant_type", "password").basic(o.app(), o.secret), 400, `{"error":"invalid_request"}`},
		{"JSON", with(grant.basic(o.app(), o.secret), func(a *Ask) { a.ContentType = "application/json" }), 400, `{"error":"invalid_request"}`},
		{"scope", form("grant_type", "client_credentials", "scope", "read admin").basic(o.app(), o.secret), 400, `{"error":"invalid_scope"}`},
	} {
		a := o.ask(VerbToken, c.ask)
		if a.Status != c.status || string(a.Body) != c.body {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.Status, a.Body, c.status, c.body)
		}
		if (a.Header["WWW-Authenticate"] != "") != (c.status == 401) {
			t.Errorf("%s: %v", c.name, a.Header)
		}
	}
	a := o.ask(VerbToken, form("grant_type", "client_credentials", "client_id", o.app(), "client_secret", o.secret))
	if a.Status != 200 {
		t.Errorf("by the form: %d %s", a.Status, a.Body)
	}
	if a := o.ask("other", Ask{}); a.Problem != problem.NotFound {
		t.Errorf("%+v", a)
	}
	if a := o.ask(VerbToken, Ask{Body: make([]byte, MaxBody+1)}); a.Problem != problem.Invalid {
		t.Errorf("%+v", a)
	}
	o.recs.Applications[0].State = access.AppBlocked
	o.index()
	if a := o.ask(VerbToken, grant.basic(o.app(), o.secret)); a.Status != 401 {
		t.Errorf("blocked: %d %s", a.Status, a.Body)
	}
}

// A token of the built-in issuer is one: typed, short, the application's, listed, and taken by a verifier that knows the bucket only.
func TestOwnTokens(t *testing.T) {
	o := newOffice(t)
	text := o.newToken("all read")
	head, body, err := walkToken(text)
	if err != nil || head["typ"] != "at+jwt" || head["alg"] != "ES256" || len(body["jti"].(string)) != 32 {
		t.Errorf("%v %v %v", head, body, err)
	}
	p, err := o.verify(Credential{Kind: access.Token, Value: text})
	if err != nil {
		t.Fatal(err)
	}
	if p.App != o.app() || p.Issuer != ownName || p.Subject != o.app() || strings.Join(p.Scopes, " ") != "all read" || p.Expires.Sub(o.clock.now()) != time.Hour {
		t.Errorf("%+v", p)
	}
	if other := o.newToken(""); other == text {
		t.Error("the same token twice")
	}
	var set struct{ Keys []map[string]any }
	a := o.ask(VerbKeys, Ask{})
	if err := json.Unmarshal(a.Body, &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["kid"] != head["kid"] || set.Keys[0]["d"] != nil || set.Keys[0]["since"] != nil {
		t.Errorf("%s", a.Body)
	}
	a = o.ask(VerbMetadata, Ask{From: Sender{Base: "http://evil.example"}})
	if !strings.Contains(string(a.Body), `"token_endpoint":"https://stream.example/oauth2/token"`) || strings.Contains(string(a.Body), "evil") {
		t.Errorf("%s", a.Body)
	}

	// Revoking: only by its client, and only what it made.
	if a := o.ask(VerbRevoke, form("token", text).basic(o.app(), flip(o.secret, 30))); a.Status != 401 {
		t.Errorf("revoked by a stranger: %d", a.Status)
	}
	for _, foreign := range []string{"x", o.token(nil)} {
		if a := o.ask(VerbRevoke, form("token", foreign).basic(o.app(), o.secret)); a.Status != 200 || len(o.revoked) != 0 {
			t.Errorf("foreign token: %d, %v", a.Status, o.revoked)
		}
	}
	if a := o.ask(VerbRevoke, form("token", text, "token_type_hint", "access_token").basic(o.app(), o.secret)); a.Status != 200 || len(o.revoked) != 1 {
		t.Fatalf("%d, %v", a.Status, o.revoked)
	}
	o.recs.Revocations = []*access.Revocation{&o.revoked[0]}
	o.index()
	if k := o.kind(text); k != problem.InvalidToken {
		t.Errorf("revoked: %q", k)
	}
	if k := o.kind(o.newToken("")); k != "" {
		t.Errorf("another: %q", k)
	}
}

func TestSellingTickets(t *testing.T) {
	o := newOffice(t)
	text := o.newToken("")
	ask := func(body string, f ...func(*Ask)) Ask {
		a := Ask{ContentType: "application/json", Body: []byte(body), Authorization: []string{"Bearer " + text}, From: Sender{TLS: true}}
		for _, f := range f {
			f(&a)
		}
		return a
	}
	const good = `{"api":"paid","version":"1","topic":"/q/ACME"}`
	for _, c := range []struct {
		name string
		verb Verb
		ask  Ask
		want problem.Kind
	}{
		{"nobody", VerbTicket, ask(good, func(a *Ask) { a.Authorization = nil }), problem.MissingToken},
		{"Basic", VerbTicket, ask(good, func(a *Ask) { a.Authorization = []string{"Basic x"} }), problem.MissingToken},
		{"token and key", VerbTicket, ask(good, func(a *Ask) { a.APIKey = []string{o.apiKey} }), problem.AmbiguousCredentials},
		{"two tokens", VerbTicket, ask(good, func(a *Ask) { a.Authorization = []string{"Bearer x", "Bearer y"} }), problem.DuplicateHeader},
		{"bad token", VerbTicket, ask(good, func(a *Ask) { a.Authorization = []string{"Bearer x"} }), problem.InvalidToken},
		{"a ticket buys none", VerbTicket, ask(good, func(a *Ask) { a.Authorization = []string{"Bearer " + o.buy(o.byKey(), paid, "")} }), problem.InvalidToken},
		{"not subscribed", VerbTicket, ask(`{"api":"other","version":"1"}`), problem.NotSubscribed},
		{"no version", VerbTicket, ask(`{"api":"paid"}`), problem.Invalid},
		{"more", VerbTicket, ask(`{"api":"paid","version":"1","x":1}`), problem.Invalid},
		{"twice", VerbTicket, ask(`{"api":"other","api":"paid","version":"1"}`), problem.Invalid},
		{"no JSON", VerbTicket, ask(`x`), problem.Invalid},
		{"a form", VerbTicket, ask(good, func(a *Ask) { a.ContentType = "application/x-www-form-urlencoded" }), problem.UnsupportedMediaType},
		{"cookie over http", VerbCookie, ask(good, func(a *Ask) { a.From.TLS = false }), problem.HTTPSRequired},
	} {
		if a := o.ask(c.verb, c.ask); a.Problem != c.want || a.Header["Set-Cookie"] != "" {
			t.Errorf("%s: %+v, want %q", c.name, a, c.want)
		}
	}
	a := o.ask(VerbTicket, ask(good))
	var out struct {
		Ticket string
		Life   int `json:"expires_in"`
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 201 || out.Life != 30 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if p, err := o.verify(ticketFor(out.Ticket)); err != nil || p.Bound.Topic != "/q/ACME" || p.App != o.app() {
		t.Errorf("%+v, %v", p, err)
	}
	byKey := ask(good, func(a *Ask) { a.Authorization, a.APIKey = nil, []string{o.apiKey} })
	if a := o.ask(VerbTicket, byKey); a.Status != 201 {
		t.Errorf("by key: %+v", a)
	}
	a = o.ask(VerbCookie, ask(good))
	name, rest, _ := strings.Cut(a.Header["Set-Cookie"], "=")
	value, _, _ := strings.Cut(rest, ";")
	if a.Status != 204 || name != CookieName || len(a.Body) > 0 {
		t.Fatalf("%+v", a)
	}
	c := ticketFor("")
	c.Kind, c.Value = access.Cookie, value
	if p, err := o.verify(c); err != nil || p.Kind != access.Cookie {
		t.Errorf("%+v, %v", p, err)
	}
}

// Keys are listed as long as a token may need them, the next one signs when all know it, and nobody signs with keys of his own.
func TestSigningKeys(t *testing.T) {
	o := newOffice(t)
	first := o.i.own[0].KID
	listed := func() string {
		e, err := o.access.Last(t.Context(), KeysKey)
		if err != nil {
			t.Fatal(err)
		}
		var keys listedKeys
		if err := json.Unmarshal(e.Value, &keys); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, k := range keys.Keys {
			out = append(out, map[bool]string{true: "-"}[!k.Retired.IsZero()]+k.KID)
		}
		return strings.Join(out, " ")
	}
	if got := listed(); got != first {
		t.Errorf("listed: %s", got)
	}
	other := o.newIssuer("other", signingKey(t))
	if err := other.Open(t.Context()); !errors.Is(err, ErrOtherKeys) {
		t.Fatalf("a node with keys of its own: %v", err)
	}
	if ok, why := other.Ready(); ok || !strings.Contains(why, "auth.issuer.keyFile") || listed() != first {
		t.Errorf("%v %s", ok, why)
	}
	if _, err := other.sign("app", nil); err == nil {
		t.Error("it signs")
	}

	// A rolling change: the new key behind the old one, then before it.
	next := signingKey(t)
	second := o.newIssuer("second", next, o.i.cfg.Keys[0])
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	nextID := second.own[0].KID
	if got := listed(); got != first+" "+nextID {
		t.Errorf("listed: %s", got)
	}
	o.clock.advance(listedBefore - time.Second)
	if _, id, _ := second.signer(); id != nextID && id != first {
		t.Error("signs with something else")
	}
	o.clock.advance(time.Second)
	if _, id, ok := second.signer(); id != nextID || !ok {
		t.Error("does not sign with the first key although it is known for 10 minutes")
	}

	// Alone with the new key: the old one is listed until its last token has ended.
	quiet := &office{rig: o.rig}
	quiet.memory = brokertest.NewMemory(t)
	third := quiet.newIssuer("third", next)
	if err := third.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := listed(); got != "-"+first+" "+nextID {
		t.Errorf("listed: %s", got)
	}
	o.clock.advance(time.Hour + listedAfter)
	if err := third.list(t.Context()); err != nil || listed() != "-"+first+" "+nextID {
		t.Errorf("listed: %s, %v", listed(), err)
	}
	o.clock.advance(time.Second)
	if err := third.list(t.Context()); err != nil || listed() != nextID {
		t.Errorf("listed: %s, %v", listed(), err)
	}
}

// The key that all have known for 10 minutes signs, although a newer one stands before it.
func TestTheKnownKeySigns(t *testing.T) {
	o := newOffice(t)
	o.clock.advance(listedBefore)
	second := o.newIssuer("second", signingKey(t), o.i.cfg.Keys[0])
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, id, ok := second.signer(); id != o.i.own[0].KID || !ok {
		t.Error("signs with a key that nobody knows yet")
	}
	o.clock.advance(listedBefore)
	if _, id, ok := second.signer(); id != second.own[0].KID || !ok {
		t.Error("goes on with the old key")
	}
}

// What comes over the bus is no more trusted than it needs to be.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{`{"v":1}`, `{"v":1,"authorization":["Basic eDp5"],"contentType":"application/x-www-form-urlencoded","body":"Z3JhbnRfdHlwZT14"}`, `{`} {
		f.Add(string(VerbToken), []byte(s))
		f.Add(string(VerbTicket), []byte(s))
	}
	r := newRig(f, func(c *Config) { c.Issuers = nil })
	o := &office{rig: r}
	i := o.newIssuer("fuzz", signingKey(f))
	f.Fuzz(func(t *testing.T, verb string, body []byte) {
		a := i.serve(t.Context(), Verb(verb), body)
		if a.Problem == "" && (a.Status < 200 || a.Status > 499) || a.Problem == problem.Internal {
			t.Fatalf("%+v", a)
		}
		if a.Status == 200 && (Verb(verb) == VerbToken || Verb(verb) == VerbRevoke) {
			t.Fatal(fmt.Sprint("let in: ", string(body)))
		}
	})
}
