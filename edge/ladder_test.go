package edge

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/config"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// Every step answers before the later ones: each request below has been put right up to one step, and is wrong in all that follow.
func TestLadderOrder(t *testing.T) {
	p := newPeople()
	none := p.app("none", "")
	denied := p.app("denied", "")
	narrow := p.app("narrow", "paid", func(_ *access.Key, g *access.Grant) { g.Topics = []string{"/q/ABC", "/scoped"} })
	narrowKey := p.app("narrowkey", "paid", func(k *access.Key, _ *access.Grant) { k.Topics = []string{"/q/{s}", "/scoped"} })
	full := p.app("full", "paid")
	p.app("tls", "secure")
	p.change(func(r *access.Records) {
		r.Denies = append(r.Denies, &access.Deny{ID: "d", Kind: access.DenyApplication, Value: "denied"})
	})
	r := newRig(t, withAccess(t, p, nil))
	plain, invalid := `Bearer realm="sluice"`, `Bearer realm="sluice", error="invalid_token"`
	for _, c := range []struct {
		name, target string
		lines        []string
		status       int
		kind         problem.Kind
		challenge    string
		log          string
	}{
		{name: "2 the API", target: "/nothing/1/none?from=x", lines: []string{"Accept: a/b"}, status: 404, kind: problem.NoSuchAPI},
		{name: "3 transport", target: "/secure/1/none?from=x", lines: []string{"Accept: a/b"}, status: 403, kind: problem.HTTPSRequired, log: "transport.reject"},
		{name: "accept", target: "/paid/1/none?from=x", lines: []string{"Accept: a/b"}, status: 406, kind: problem.NotAcceptable},
		{name: "query", target: "/paid/1/none?from=x", status: 400, kind: problem.InvalidQuery, log: "request.reject"},
		{name: "4 none", target: "/paid/1/none", status: 401, kind: problem.MissingToken, challenge: plain},
		{name: "4 bare Bearer", target: "/paid/1/none", lines: []string{"Authorization: Bearer"}, status: 401, kind: problem.MissingToken, challenge: plain},
		{name: "4 another scheme", target: "/paid/1/none", lines: []string{"Authorization: Basic eDp5"}, status: 401, kind: problem.MissingToken, challenge: plain},
		{name: "4 two tokens", target: "/paid/1/none", lines: []string{bearer("a"), bearer("b")}, status: 400, kind: problem.DuplicateHeader, log: "request.reject"},
		{name: "4 two keys", target: "/paid/1/none", lines: []string{withKey("a"), withKey("b")}, status: 400, kind: problem.DuplicateHeader, log: "request.reject"},
		{name: "4 token and key", target: "/paid/1/none", lines: []string{bearer("a"), withKey("b")}, status: 400, kind: problem.AmbiguousCredentials, log: "request.reject"},
		{name: "4 key by both names", target: "/paid/1/none", lines: []string{withKey(full), "X-API-Key: " + full}, status: 400, kind: problem.AmbiguousCredentials, log: "request.reject"},
		{name: "4 token and ticket", target: "/paid/1/none?ticket=x", lines: []string{bearer("a")}, status: 400, kind: problem.AmbiguousCredentials, log: "request.reject"},
		{name: "4 two tickets", target: "/paid/1/none?ticket=x&ticket=y", status: 400, kind: problem.InvalidQuery, log: "request.reject"},
		{name: "4 token in the query", target: "/paid/1/none?access_token=x", lines: []string{bearer("a"), "ApiKey: b"}, status: 401, kind: problem.TokenInQuery, challenge: plain, log: "token.query"},
		{name: "5 no token", target: "/paid/1/none", lines: []string{bearer("a")}, status: 401, kind: problem.InvalidToken, challenge: invalid},
		{name: "5 no key", target: "/paid/1/none", lines: []string{withKey("slk_x")}, status: 401, kind: problem.InvalidToken, challenge: invalid},
		{name: "5 expired", target: "/paid/1/none", lines: []string{bearer(jwt("denied", -time.Hour, nil))}, status: 401, kind: problem.ExpiredToken, challenge: invalid},
		{name: "5 no ticket", target: "/paid/1/none?ticket=x", status: 401, kind: problem.InvalidTicket, challenge: invalid},
		{name: "6 denied", target: "/paid/1/none", lines: []string{withKey(denied)}, status: 403, kind: problem.Denied, log: "authz.denied"},
		{name: "7 not subscribed", target: "/paid/1/none", lines: []string{withKey(none)}, status: 403, kind: problem.NotSubscribed, log: "authz.denied"},
		{name: "7 nobody's token", target: "/paid/1/none", lines: []string{bearer(jwt("stranger", time.Hour, nil))}, status: 403, kind: problem.NotSubscribed, log: "authz.denied"},
		{name: "8 topic", target: "/paid/1/none", lines: []string{withKey(narrow)}, status: 404, kind: problem.NoSuchTopic},
		{name: "8 parameter", target: "/paid/1/q/lower", lines: []string{withKey(narrow)}, status: 404, kind: problem.NoSuchTopic},
		{name: "9 the subscription's topics", target: "/paid/1/ticks", lines: []string{withKey(narrow)}, status: 403, kind: problem.NotEntitled, log: "authz.denied"},
		{name: "9 the subscription's path", target: "/paid/1/q/ABD", lines: []string{withKey(narrow)}, status: 403, kind: problem.NotEntitled, log: "authz.denied"},
		{name: "9 the key's topics", target: "/paid/1/ticks", lines: []string{withKey(narrowKey)}, status: 403, kind: problem.NotEntitled, log: "authz.denied"},
		{name: "9 scope", target: "/paid/1/scoped", lines: []string{withKey(full)}, status: 403, kind: problem.InsufficientScope,
			challenge: `Bearer realm="sluice", error="insufficient_scope", scope="read all"`},
		{name: "9 another scope", target: "/paid/1/scoped", lines: []string{bearer(jwt("full", time.Hour, map[string]any{"scope": "write"}))}, status: 403,
			kind: problem.InsufficientScope, challenge: `Bearer realm="sluice", error="insufficient_scope", scope="read all"`},
		{name: "any scope", target: "/paid/1/scoped", lines: []string{bearer(jwt("full", time.Hour, map[string]any{"scope": "write all"}))}, status: 200},
		{name: "key", target: "/paid/1/ticks", lines: []string{withKey(full)}, status: 200},
		{name: "key by its other name", target: "/paid/1/ticks", lines: []string{"x-api-key: " + full}, status: 200},
		{name: "token", target: "/paid/1/ticks", lines: []string{"authorization: bearer " + jwt("full", time.Hour, nil)}, status: 200},
		{name: "a path of the subscription", target: "/paid/1/q/ABC", lines: []string{withKey(narrow)}, status: 200},
		{name: "a template of the key", target: "/paid/1/q/XYZ", lines: []string{withKey(narrowKey)}, status: 200},
		{name: "an open topic reads no credential", target: "/paid/1/open?ticket=x", lines: []string{bearer("stale"), withKey("broken")}, status: 200},
		{name: "a prototype needs no subscription", target: "/proto/1/t", lines: []string{withKey(none)}, status: 200},
		{name: "but a credential", target: "/proto/1/t", status: 401, kind: problem.MissingToken, challenge: plain},
		{name: "a scheme that is not taken", target: "/proto/1/t?ticket=x", status: 401, kind: problem.MissingToken, challenge: plain},
		{name: "own headers", target: "/own/1/t", lines: []string{"X-Our-Key: " + none}, status: 200},
		{name: "own header, bare token", target: "/own/1/t", lines: []string{"X-Auth: " + jwt("x", time.Hour, map[string]any{"iss": secondIssuer})}, status: 200},
		{name: "the usual header is not read", target: "/own/1/t", lines: []string{bearer(jwt("x", time.Hour, map[string]any{"iss": secondIssuer}))}, status: 401,
			kind: problem.MissingToken, challenge: plain},
		{name: "an issuer that is not listed", target: "/own/1/t", lines: []string{"X-Auth: Bearer " + jwt("x", time.Hour, nil)}, status: 401,
			kind: problem.InvalidToken, challenge: invalid, log: "token.issuer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged, refused := len(r.logs.events(c.log)), r.count("sluice_edge_refused_total", "type="+string(c.kind))
			a := r.get(c.target, c.lines...)
			if c.status == 200 {
				if a.StatusCode != 200 {
					t.Fatalf("%d: %s", a.StatusCode, a.text(t))
				}
				a.takeRetry(t)
				return
			}
			if kind := kindOf(t, a); a.StatusCode != c.status || kind != string(c.kind) {
				t.Fatalf("%d %s, want %d %s", a.StatusCode, kind, c.status, c.kind)
			}
			if got := a.Header.Get("WWW-Authenticate"); got != c.challenge {
				t.Errorf("challenge %q, want %q", got, c.challenge)
			}
			if n := r.count("sluice_edge_refused_total", "type="+string(c.kind)) - refused; n != 1 {
				t.Errorf("counted %v times", n)
			}
			if n := len(r.logs.events(c.log)) - logged; c.log != "" && n != 1 && !suppressed(r, c.log) {
				t.Errorf("%d lines %q, want 1", n, c.log)
			}
		})
	}
	for _, secret := range []string{full, none, narrow, "access_token=x"} {
		if strings.Contains(r.logs.text(), secret) {
			t.Error("the log holds a credential")
		}
	}
}

// Who is not subscribed learns nothing of topics: known, unknown, scoped and malformed ones are answered in the same bytes.
func TestNotSubscribedTellsNothing(t *testing.T) {
	p := newPeople()
	key := p.app("none", "")
	r := newRig(t, withAccess(t, p, nil))
	id := regexp.MustCompile(`"instance":"[^"]+"`)
	var first string
	for _, target := range []string{"/paid/1/ticks", "/paid/1/none", "/paid/1/scoped", "/paid/1/q/lower", "/paid/1"} {
		a := r.get(target, withKey(key))
		h := a.Header.Clone()
		h.Del("Date")
		h.Del("X-Request-Id")
		head, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		got := a.Status + string(head) + id.ReplaceAllString(a.text(t), "")
		if first == "" {
			first = got
		}
		if got != first || a.StatusCode != 403 {
			t.Errorf("%s: %s\nwant %s", target, got, first)
		}
	}
}

// Why an application is let in no more, at the door.
func TestSubscriptionThatDoesNotCount(t *testing.T) {
	for name, spoil := range map[string]func(r *access.Records){
		"application blocked": func(r *access.Records) {
			edit(r.Applications, ofApp("a"), func(a *access.Application) { a.State = access.AppBlocked })
		},
		"subscription blocked": func(r *access.Records) {
			edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.State = access.SubBlocked })
		},
		"subscription on hold": func(r *access.Records) {
			edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.State = access.SubOnHold })
		},
		"subscription rejected": func(r *access.Records) {
			edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.State = access.SubRejected })
		},
		"subscription expired": func(r *access.Records) {
			edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.Expires = time.Now() })
		},
		"subscription of another version": func(r *access.Records) {
			edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.Version = "2" })
		},
		"no plan": func(r *access.Records) { r.Plans = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople()
			key := p.app("a", "paid")
			r := newRig(t, withAccess(t, p, nil))
			if a := r.get("/paid/1/ticks", withKey(key)); a.StatusCode != 200 {
				t.Fatalf("before: %d", a.StatusCode)
			}
			p.change(spoil)
			if a := r.get("/paid/1/ticks", withKey(key)); kindOf(t, a) != string(problem.NotSubscribed) || a.StatusCode != 403 {
				t.Errorf("%d", a.StatusCode)
			}
		})
	}
}

// Where a key counts, and what is denied to addresses.
func TestPlaces(t *testing.T) {
	p := newPeople()
	home := p.app("home", "paid", func(k *access.Key, _ *access.Grant) { k.AllowedIPs = prefixes("192.0.2.0/24", "2001:db8::/32") })
	page := p.app("page", "paid", func(k *access.Key, _ *access.Grant) { k.AllowedOrigins = []string{"https://app.example.com"} })
	everywhere := p.app("any", "paid")
	p.change(func(r *access.Records) {
		r.Denies = append(r.Denies, &access.Deny{ID: "net", Kind: access.DenyIP, Value: "198.51.100.0/24"},
			&access.Deny{ID: "old", Kind: access.DenyIP, Value: "203.0.113.0/24", Until: time.Now().Add(-time.Second)})
	})
	r := newRig(t, withAccess(t, p, nil))
	for _, c := range []struct{ key, ip, origin, kind string }{
		{home, "192.0.2.7", "", ""}, {home, "2001:db8::9", "", ""}, {home, "192.0.3.7", "", "denied"}, {home, "198.51.100.1", "", "denied"},
		{page, "192.0.2.7", "https://app.example.com", ""}, {page, "192.0.2.7", "", "denied"}, {page, "192.0.2.7", "null", "denied"},
		{page, "192.0.2.7", "https://app.example.com.evil.org", "denied"},
		{everywhere, "198.51.100.1", "", "denied"}, {everywhere, "203.0.113.9", "", ""}, {everywhere, "192.0.2.7", "", ""},
	} {
		lines := []string{withKey(c.key), "X-Forwarded-For: " + c.ip}
		if c.origin != "" {
			lines = append(lines, "Origin: "+c.origin)
		}
		if kind := kindOf(t, r.get("/paid/1/ticks", lines...)); kind != c.kind {
			t.Errorf("%s from %s %s: %q, want %q", c.key[:8], c.ip, c.origin, kind, c.kind)
		}
	}
	if a := r.get("/paid/1/open", "X-Forwarded-For: 198.51.100.1"); a.StatusCode != 200 {
		t.Errorf("an open topic asks for denials: %d", a.StatusCode)
	}
	if n := len(r.logs.events("key.origin")); n == 0 {
		t.Error("no line key.origin")
	}
}

// After sixty credentials that do not count an address is not listened to, but for tokens that were verified before. Others are.
func TestFailedCredentials(t *testing.T) {
	at := time.Now()
	var seconds atomic.Int64
	p := newPeople()
	key := p.app("a", "paid")
	r := newRig(t, withAccess(t, p, nil), func(s *setup) {
		s.cfg.Edge.PerIP.Connects = 0
		s.change = func(d *Deps) {
			d.Clock = func() time.Time { return at.Add(time.Duration(seconds.Load()) * time.Second) }
		}
	})
	from := "X-Forwarded-For: 192.0.2.1"
	known := bearer(jwt("a", time.Hour, nil))
	if a := r.get("/paid/1/ticks", known, from); a.StatusCode != 200 {
		t.Fatalf("a token: %d", a.StatusCode)
	}
	for n := range vainTries {
		if kind := kindOf(t, r.get("/paid/1/ticks", withKey("slk_guess"), from)); kind != string(problem.InvalidToken) {
			t.Fatalf("guess %d: %s", n+1, kind)
		}
	}
	if a := r.get("/paid/1/ticks", withKey(key), from); a.StatusCode != 429 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a good key after the guesses: %d, %v", a.StatusCode, a.Header)
	}
	for name, lines := range map[string][]string{
		"a token known before": {known, from}, "another address": {withKey(key), "X-Forwarded-For: 192.0.2.2"}, "this machine": {withKey(key)},
	} {
		if a := r.get("/paid/1/ticks", lines...); a.StatusCode != 200 {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	seconds.Add(1)
	if a := r.get("/paid/1/ticks", withKey(key), from); a.StatusCode != 200 {
		t.Errorf("a second later: %d", a.StatusCode)
	}
}

// Until it is known who may read, or when that is too old, nobody new is let in where it matters.
func TestNotKnownWhoMayRead(t *testing.T) {
	p := newPeople()
	key := p.app("a", "paid")
	p.fresh = time.Now().Add(-time.Minute)
	r := newRig(t, withAccess(t, p, nil), func(s *setup) { s.cfg.MaxStale = 30 * time.Second })
	if kind := kindOf(t, r.get("/paid/1/ticks", withKey(key))); kind != string(problem.NotReady) {
		t.Errorf("too old: %s", kind)
	}
	if a := r.get("/paid/1/open"); a.StatusCode != 200 {
		t.Errorf("an open topic: %d", a.StatusCode)
	}
	p.mu.Lock()
	p.fresh = time.Now()
	p.mu.Unlock()
	if a := r.get("/paid/1/ticks", withKey(key)); a.StatusCode != 200 {
		t.Errorf("fresh: %d", a.StatusCode)
	}
	p.mu.Lock()
	p.snap = &access.Snapshot{}
	p.mu.Unlock()
	if kind := kindOf(t, r.get("/paid/1/ticks", withKey(key))); kind != string(problem.NotReady) {
		t.Errorf("not loaded: %s", kind)
	}
}

// A ticket opens one stream. Over TLS it is changed for a cookie, with which the same URL opens more.
func TestTicketAndCookie(t *testing.T) {
	p := newPeople()
	p.app("a", "paid")
	var bucket broker.Bucket
	var sell *token.Tickets
	r := newRig(t, allEngines, func(s *setup) {
		s.node = brokertest.NewMemory(t)
		var err error
		if bucket, err = s.node.Admin().Bucket(t.Context(), access.TicketBucket, 1); err != nil {
			t.Fatal(err)
		}
		sell = token.NewTickets(bucket, nil)
		withAccess(t, p, bucket)(s)
	})
	buyer := &access.Principal{Kind: access.APIKey, App: "a", Key: keyID("a"), Issued: time.Now()}
	ticket := func(topic string) string {
		text, _, err := sell.SellTicket(t.Context(), buyer, access.Bound{API: "paid", Version: "1", Topic: topic}, "")
		if err != nil {
			t.Fatal(err)
		}
		return "?ticket=" + text
	}
	once := ticket("")
	for range 2 { // looking spends nothing
		if a := r.raw("HEAD /paid/1/ticks" + once + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 200 || len(a.Cookies()) != 0 {
			t.Fatalf("HEAD: %d, cookies %v", a.StatusCode, a.Cookies())
		}
	}
	plain := r.get("/paid/1/ticks" + once)
	if plain.takeRetry(t); len(plain.Cookies()) != 0 {
		t.Errorf("a cookie without TLS: %v", plain.Cookies())
	}
	if kind := kindOf(t, r.get("/paid/1/ticks"+once)); kind != string(problem.InvalidTicket) {
		t.Errorf("spent: %q", kind)
	}
	if kind := kindOf(t, r.get("/paid/1/ticks"+ticket("/q/{s}"))); kind != string(problem.InvalidTicket) {
		t.Errorf("of another topic: %q", kind)
	}

	if a := r.raw("HEAD /paid/1/ticks" + once + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 401 {
		t.Errorf("HEAD with a spent one: %d", a.StatusCode)
	}

	over := ticket("/ticks")
	first := r.open("tls", "/paid/1/ticks"+over, "Sec-Fetch-Site: same-origin")
	first.takeRetry(t)
	cookies := first.Cookies()
	if len(cookies) != 1 || cookies[0].Name != token.CookieName || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].Path != "/" ||
		!strings.Contains(first.Header.Get("Set-Cookie"), "SameSite=Strict") {
		t.Fatalf("cookie %v", first.Header["Set-Cookie"])
	}
	cookie := "Cookie: " + token.CookieName + "=" + cookies[0].Value
	listed := r.open("h2", "/paid/1/ticks"+ticket(""), "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site")
	listed.takeRetry(t)
	if set := listed.Header.Get("Set-Cookie"); !strings.Contains(set, "SameSite=None") || !strings.Contains(set, "Partitioned") {
		t.Errorf("cookie for a listed page of another site: %q", set)
	}
	for _, c := range []struct {
		name, transport, target, kind string
		lines                         []string
	}{
		{"spent ticket and its cookie", "tls", "/paid/1/ticks" + over, "", []string{cookie, "Sec-Fetch-Site: same-origin"}},
		{"cookie", "h2", "/paid/1/ticks", "", []string{cookie, "Sec-Fetch-Site: same-site"}},
		{"cookie, listed origin", "tls", "/paid/1/ticks", "", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: https://app.example.com"}},
		{"cookie, foreign page", "tls", "/paid/1/ticks", "missing-token", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: https://evil.org"}},
		{"cookie, no page", "tls", "/paid/1/ticks", "missing-token", []string{cookie}},
		{"cookie in plain", "shard", "/paid/1/ticks", "missing-token", []string{cookie, "Sec-Fetch-Site: same-origin"}},
		{"cookie of another topic", "tls", "/paid/1/q/ABC", "invalid-ticket", []string{cookie, "Sec-Fetch-Site: same-origin"}},
		{"a bad token does not fall back", "tls", "/paid/1/ticks", "invalid-token", []string{cookie, "Sec-Fetch-Site: same-origin", bearer("x")}},
		{"another spent ticket with that cookie", "tls", "/paid/1/ticks" + once, "invalid-ticket", []string{cookie, "Sec-Fetch-Site: same-origin"}},
	} {
		if kind := kindOf(t, r.open(c.transport, c.target, c.lines...)); kind != c.kind {
			t.Errorf("%s: %q, want %q", c.name, kind, c.kind)
		}
	}
	p.change(func(r *access.Records) { edit(r.Keys, ofKey("a"), func(k *access.Key) { k.State = access.KeyRevoked }) })
	for name, a := range map[string]*answer{"by ticket": plain, "by a ticket over TLS": first, "by a ticket over HTTP/2": listed} {
		if got := a.text(t); !strings.Contains(got, `{"reason":"revoked","retryable":false,`) {
			t.Errorf("%s, after the key that bought it was revoked: %q", name, got)
		}
	}
	if strings.Contains(r.logs.text(), over[len("?ticket="):]) || strings.Contains(r.logs.text(), cookies[0].Value) {
		t.Error("the log holds a ticket or cookie")
	}
}

// An id is read only after all of it: it changes no refusal.
func TestIDIsReadLast(t *testing.T) {
	p := newPeople()
	none := p.app("none", "")
	r := newRig(t, withAccess(t, p, nil))
	at := r.publish(feedOf("paid", "1", "/ticks"), "x")[0]
	for _, id := range []string{eventID(at), "banana", "zzzz-1"} {
		if a := r.get("/paid/1/ticks", "Last-Event-ID: "+id); kindOf(t, a) != string(problem.MissingToken) {
			t.Errorf("%s without a credential: %d", id, a.StatusCode)
		}
		if a := r.get("/paid/1/ticks", withKey(none), "Last-Event-ID: "+id); kindOf(t, a) != string(problem.NotSubscribed) {
			t.Errorf("%s without a subscription: %d", id, a.StatusCode)
		}
	}
	if n := r.count("sluice_edge_bad_ids_total"); n != 0 {
		t.Errorf("%v ids were looked at", n)
	}
}

func TestAccessLine(t *testing.T) {
	p := newPeople()
	key := p.app("a", "paid")
	r := newRig(t, withAccess(t, p, nil))
	for _, c := range []struct{ line, principal, app, target string }{
		{withKey(key), "key:" + keyID("a"), "a", "/paid/1/ticks"},
		{bearer(jwt("a", time.Hour, nil)), "token:user-a", "a", "/paid/1/ticks"},
		{withKey(key), "anonymous", "", "/paid/1/open"},
	} {
		before := len(r.logs.events("conn.close"))
		a := r.get(c.target, c.line)
		a.takeRetry(t)
		_ = a.conn.Close()
		wait(t, "the line is written", func() bool { return len(r.logs.events("conn.close")) > before })
		if l := r.logs.events("conn.close")[before]; l["principal"] != c.principal || l["app"] != c.app {
			t.Errorf("principal %v, app %v, want %s, %s", l["principal"], l["app"], c.principal, c.app)
		}
	}
}

func TestReauthEvent(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 59, 50, 0, time.UTC)
	want := "event: gateway.reauth\ndata: {\"expiresAt\":\"2026-11-23T09:00:00Z\",\"inMs\":10000}\n\n"
	if got := string(appendReauth(nil, now.Add(10*time.Second), now)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Credentials that differ in anything that counts have rights of their own.
func TestHolder(t *testing.T) {
	base := access.Principal{Kind: access.Token, App: "a", Issuer: "i", Subject: "s", TokenID: "t", Scopes: []string{"x", "y"},
		Issued: time.Unix(1, 0), Expires: time.Unix(2, 0)}
	seen := map[[16]byte]int{holderOf(&base, nil, deal{}): -1}
	for n, change := range []func(*access.Principal){
		func(p *access.Principal) { p.Kind = access.Ticket }, func(p *access.Principal) { p.App = "b" }, func(p *access.Principal) { p.Issuer = "is"; p.Subject = "" },
		func(p *access.Principal) { p.TokenID = "" }, func(p *access.Principal) { p.Key = "k" }, func(p *access.Principal) { p.Scopes = []string{"xy"} },
		func(p *access.Principal) { p.Scopes = []string{"x"} }, func(p *access.Principal) { p.Issued = time.Unix(1, 1) },
		func(p *access.Principal) { p.Expires = time.Time{} }, func(p *access.Principal) { p.Bound.Topic = "/t" }, func(p *access.Principal) { p.Bound.Try = true },
	} {
		p := base
		change(&p)
		if was, known := seen[holderOf(&p, nil, deal{})]; known {
			t.Errorf("change %d is like %d", n, was)
		}
		seen[holderOf(&p, nil, deal{})] = n
	}
	if _, known := seen[holderOf(&base, &access.Grant{ID: "g"}, deal{})]; known {
		t.Error("the subscription makes no difference")
	}
	for n, d := range []deal{{grant: "g"}, {app: true}, {rate: access.Rate{Events: 1, Per: time.Second}}, {rate: access.Rate{Events: 1, Per: time.Minute}}, {longest: time.Hour}} {
		id := holderOf(&base, nil, d)
		if was, known := seen[id]; known {
			t.Errorf("deal %d is like %d", n, was)
		}
		seen[id] = 100 + n
	}
	same := base
	if holderOf(&same, nil, deal{}) != holderOf(&base, nil, deal{}) {
		t.Error("the same credential has two rights")
	}
}

func TestMayTryForgets(t *testing.T) {
	now := time.Unix(1000, 0)
	a := testAdmission(config.Edge{})
	a.now = func() time.Time { return now }
	ip := netip.MustParseAddr("192.0.2.1")
	if _, err := a.enter(ip); err != nil {
		t.Fatal(err)
	}
	for range 3 * vainTries {
		a.triedInVain(ip)
	}
	now = now.Add(2*time.Minute - time.Millisecond)
	if a.mayTry(ip) {
		t.Error("tried three minutes' worth, listened to after less than two")
	}
	now = now.Add(2 * time.Second)
	if !a.mayTry(ip) {
		t.Error("not listened to after two minutes and two seconds")
	}
}

// A preflight allows the headers in which the API takes credentials.
func TestPreflightAllowsOwnHeaders(t *testing.T) {
	p := newPeople()
	r := newRig(t, withAccess(t, p, nil), func(s *setup) {
		s.apis = strings.Replace(s.apis, "  auth: {schemes: [jwt, apiKey], header: X-Auth,", "  cors: {origins: ['https://a.example.com']}\n  auth: {schemes: [jwt, apiKey], header: X-Auth,", 1)
	})
	a := r.raw("OPTIONS /own/1/t HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example.com\r\nAccess-Control-Request-Method: GET\r\n\r\n")
	if got := a.Header.Get("Access-Control-Allow-Headers"); a.StatusCode != 204 || got != corsHeaders+", X-Auth, X-Our-Key" {
		t.Errorf("%d, %q", a.StatusCode, got)
	}
}
