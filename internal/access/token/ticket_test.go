package token

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

var paid = access.Bound{API: "paid", Version: "1"}

// buy sells a ticket to a credential of the rig.
func (r *rig) buy(c Credential, b access.Bound, origin string) string {
	r.Helper()
	p, err := r.verify(c)
	if err != nil {
		r.Fatal(err)
	}
	text, _, err := NewTickets(r.ticket, r.clock.now).SellTicket(r.Context(), p, b, origin)
	if err != nil {
		r.Fatal(err)
	}
	return text
}

func (r *rig) byKey() Credential { return Credential{Kind: access.APIKey, Value: r.apiKey} }

func ticketFor(text string) Credential {
	return Credential{Kind: access.Ticket, Value: text, TLS: true, For: access.Bound{API: "paid", Version: "1", Topic: "/q/{s}"}, Path: "/q/ACME"}
}

// T19: a ticket counts once, for what it was bought for, as long as it and its buyer do.
func TestTickets(t *testing.T) {
	for _, c := range []struct {
		name   string
		bound  access.Bound
		origin string
		before func(r *rig, c *Credential)
		want   problem.Kind
	}{
		{name: "good"},
		{name: "for its topic's name", bound: access.Bound{API: "paid", Version: "1", Topic: "/q/{s}"}},
		{name: "for its path", bound: access.Bound{API: "paid", Version: "1", Topic: "/q/ACME"}},
		{name: "of its page", origin: "https://p.example", before: func(_ *rig, c *Credential) { c.Origin = "https://p.example" }},
		{name: "of its page, which is of this site", origin: "https://p.example"},
		{name: "with 29 s gone", before: func(r *rig, _ *Credential) { r.clock.advance(29 * time.Second) }},
		{name: "expired", before: func(r *rig, _ *Credential) { r.clock.advance(30 * time.Second) }, want: problem.InvalidTicket},
		{name: "other API", bound: access.Bound{API: "other", Version: "1"}, want: problem.InvalidTicket},
		{name: "other version", bound: access.Bound{API: "paid", Version: "2"}, want: problem.InvalidTicket},
		{name: "other topic", bound: access.Bound{API: "paid", Version: "1", Topic: "/q/OTHER"}, want: problem.InvalidTicket},
		{name: "other page", origin: "https://p.example", before: func(_ *rig, c *Credential) { c.Origin = "https://x.example" }, want: problem.InvalidTicket},
		{name: "spent", before: func(r *rig, c *Credential) { _, _ = r.verify(*c) }, want: problem.InvalidTicket},
		{name: "one letter off", before: func(_ *rig, c *Credential) { c.Value = flip(c.Value, 30) }, want: problem.InvalidTicket},
		{name: "unknown", before: func(_ *rig, c *Credential) { c.Value = access.MakeKey(ticketSecret, access.NewID()) }, want: problem.InvalidTicket},
		{name: "a key", before: func(r *rig, c *Credential) { c.Value = r.apiKey }, want: problem.InvalidTicket},
		{name: "buyer's key revoked", want: problem.InvalidTicket, before: func(r *rig, _ *Credential) {
			r.recs.Keys[0].State = access.KeyRevoked
			r.index()
		}},
		{name: "buyer gone", want: problem.InvalidTicket, before: func(r *rig, _ *Credential) {
			r.recs.Applications, r.recs.Keys = nil, nil
			r.index()
		}},
		{name: "broker away", before: func(r *rig, _ *Credential) { r.memory.Cut() }, want: problem.BrokerUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.Issuers = nil })
			bound := c.bound
			if bound == (access.Bound{}) {
				bound = paid
			}
			cred := ticketFor(r.buy(r.byKey(), bound, c.origin))
			if c.before != nil {
				c.before(r, &cred)
			}
			p, err := r.verify(cred)
			if kindOf(err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && (p.Kind != access.Ticket || p.App != r.app() || p.Key != r.recs.Keys[0].ID || p.Bound != bound ||
				!p.Expires.Equal(r.clock.now().Add(CookieLife))) {
				t.Errorf("%+v", p)
			}
			if _, err := r.verify(cred); c.want == "" && kindOf(err) != problem.InvalidTicket {
				t.Errorf("twice: %v", err)
			}
		})
	}
}

// A ticket of a token ends with the token, and with its revocation.
func TestATicketEndsWithItsToken(t *testing.T) {
	r := newRig(t)
	r.settle()
	c := ticketFor(r.buy(Credential{Kind: access.Token, Value: r.token(nil)}, paid, ""))
	p, err := r.verify(c)
	if err != nil || p.Issuer != issA || p.Subject != "user" || p.TokenID != "1" || len(p.Scopes) != 2 || p.Expires.Sub(r.clock.now()) > 10*time.Minute {
		t.Errorf("%+v, %v", p, err)
	}
	c = ticketFor(r.buy(Credential{Kind: access.Token, Value: r.token(nil)}, paid, ""))
	r.recs.Revocations = []*access.Revocation{{Kind: access.RevokeToken, Value: issA + " 1", Before: r.clock.now().Add(time.Second)}}
	r.index()
	if _, err := r.verify(c); kindOf(err) != problem.InvalidTicket {
		t.Errorf("revoked: %v", err)
	}
	tickets := NewTickets(r.ticket, nil)
	for name, p := range map[string]*access.Principal{"a ticket": {Kind: access.Ticket, App: "a"}, "nobody": {Kind: access.Token}} {
		if _, _, err := tickets.SellTicket(t.Context(), p, paid, ""); err == nil {
			t.Errorf("%s bought one", name)
		}
	}
	if _, _, err := tickets.SellTicket(t.Context(), &access.Principal{Subject: "maker"}, access.Bound{API: "paid", Version: "1", Try: true}, ""); err != nil {
		t.Errorf("to try: %v", err)
	}
}

// T19: of 20 who redeem a ticket at once, on two nodes, exactly one is let in; also where the answer makes a cookie.
func TestOneOfTwentyWins(t *testing.T) {
	for name, open := range map[string]func() (a, b broker.Bucket){
		"memory": func() (a, b broker.Bucket) {
			m := brokertest.NewMemory(t)
			return bucketOf(t, m), bucketOf(t, m.Peer())
		},
		"NATS": func() (a, b broker.Bucket) {
			n := brokertest.Start(t)
			return bucketOf(t, n), bucketOf(t, n)
		},
	} {
		for _, cookie := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, func(cfg *Config) { cfg.Issuers = nil })
				one, two := open()
				r.ticket = one
				text := r.buy(r.byKey(), paid, "")
				var verifiers []*Verifier
				var seen sync.WaitGroup
				seen.Add(20)
				for _, b := range []broker.Bucket{one, two} {
					v, err := New(Config{Tickets: gathered{b, &seen}, Now: r.clock.now})
					if err != nil {
						t.Fatal(err)
					}
					v.within = time.Minute // all wait for the slowest
					verifiers = append(verifiers, v)
				}
				var won, lost atomic.Int32
				var all sync.WaitGroup
				for n := range 20 {
					all.Go(func() {
						got, err := verifiers[n%2].verify(t.Context(), r.snap, ticketFor(text), cookie)
						switch {
						case err == nil && (got.Cookie != "") == cookie:
							won.Add(1)
						case kindOf(err) == problem.InvalidTicket:
							lost.Add(1)
						default:
							t.Errorf("%+v, %v", got, err)
						}
					})
				}
				all.Wait()
				if won.Load() != 1 || lost.Load() != 19 {
					t.Errorf("%d won, %d lost", won.Load(), lost.Load())
				}
			})
		}
	}
}

// gathered lets nobody go on before all have read the ticket: then only the broker can say who wins.
type gathered struct {
	broker.Bucket
	seen *sync.WaitGroup
}

func (g gathered) Last(ctx context.Context, key string) (broker.Entry, error) {
	e, err := g.Bucket.Last(ctx, key)
	g.seen.Done()
	g.seen.Wait()
	return e, err
}

func bucketOf(t *testing.T, b interface{ Admin() broker.Admin }) broker.Bucket {
	t.Helper()
	bucket, err := b.Admin().EnsureBucket(t.Context(), broker.BucketSpec{Name: access.TicketBucket, MaxAge: time.Hour, MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// A page without a header to set comes back with a spent ticket and the cookie it was changed for.
func TestCookies(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Issuers = nil })
	redeem := func(c Credential) Redeemed {
		t.Helper()
		got, err := r.v.Redeem(t.Context(), r.snap, c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	plain := ticketFor(r.buy(r.byKey(), paid, ""))
	plain.TLS = false
	if got := redeem(plain); got.Cookie != "" {
		t.Error("a cookie without TLS")
	}
	first := ticketFor(r.buy(r.byKey(), paid, ""))
	got := redeem(first)
	if got.Cookie == "" || got.Cookie == first.Value {
		t.Fatalf("cookie %q", got.Cookie)
	}
	other := redeem(ticketFor(r.buy(r.byKey(), paid, ""))).Cookie
	again := first
	again.Cookie = got.Cookie
	for range 2 {
		p, err := r.verify(again)
		if err != nil || p.Kind != access.Cookie || p.App != r.app() || !p.Expires.Equal(got.Expires) {
			t.Errorf("spent ticket with its cookie: %+v, %v", p, err)
		}
	}
	with := func(c Credential, f func(*Credential)) Credential { f(&c); return c }
	alone := Credential{Kind: access.Cookie, Value: got.Cookie, TLS: true, For: first.For, Path: first.Path}
	for name, c := range map[string]struct {
		c    Credential
		want problem.Kind
	}{
		"cookie alone":                      {alone, ""},
		"spent ticket, cookie of another":   {with(again, func(c *Credential) { c.Cookie = other }), problem.InvalidTicket},
		"spent ticket, its cookie, http":    {with(again, func(c *Credential) { c.TLS = false }), problem.InvalidTicket},
		"spent ticket, no cookie":           {first, problem.InvalidTicket},
		"spent ticket, its cookie, any API": {with(again, func(c *Credential) { c.For.API = "other" }), problem.InvalidTicket},
		"cookie over http":                  {with(alone, func(c *Credential) { c.TLS = false }), problem.MissingToken},
		"cookie for another API":            {with(alone, func(c *Credential) { c.For.API = "other" }), problem.InvalidTicket},
		"cookie one letter off":             {with(alone, func(c *Credential) { c.Value = flip(c.Value, 40) }), problem.InvalidTicket},
		"a ticket as cookie":                {with(alone, func(c *Credential) { c.Value = r.buy(r.byKey(), paid, "") }), problem.InvalidTicket},
		"a cookie as ticket":                {with(first, func(c *Credential) { c.Value = got.Cookie }), problem.InvalidTicket},
	} {
		if _, err := r.verify(c.c); kindOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	r.clock.advance(CookieLife)
	for _, c := range []Credential{alone, again} {
		if _, err := r.verify(c); kindOf(err) != problem.InvalidTicket {
			t.Errorf("after an hour: %v", err)
		}
	}
	if s := StreamCookie("x", r.clock.now(), false).String(); !strings.HasPrefix(s, "__Host-sluice_stream=x; Path=/; ") || !strings.Contains(s, "; HttpOnly; Secure; SameSite=Strict") {
		t.Error(s)
	}
	if s := StreamCookie("x", r.clock.now(), true).String(); !strings.Contains(s, "; Secure; SameSite=None; Partitioned") {
		t.Error(s)
	}
}

// Nothing that is stored lets its reader in.
func TestOnlyHashesAreStored(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Issuers = nil })
	ticket := r.buy(r.byKey(), paid, "")
	got, err := r.v.Redeem(t.Context(), r.snap, ticketFor(ticket))
	if err != nil {
		t.Fatal(err)
	}
	unspent := r.buy(r.byKey(), paid, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	entries, err := r.ticket.Watch(ctx, ">")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e := range entries {
		if e.Revision == 0 {
			break
		}
		n++
		for _, secret := range []string{ticket, unspent, got.Cookie, r.apiKey} {
			if strings.Contains(e.Key+string(e.Value), secret[20:40]) {
				t.Errorf("stored: %s %s", e.Key, e.Value)
			}
		}
	}
	if n < 2 {
		t.Errorf("%d entries", n)
	}
}
