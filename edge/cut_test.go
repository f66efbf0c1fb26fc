package edge

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
	"unique"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/problem"
)

// endOf is the form of a stream's last bytes for a reason.
func endOf(reason string, retryable bool) *regexp.Regexp {
	yes := "false"
	if retryable {
		yes = "true"
	}
	return regexp.MustCompile(`^retry: (\d+)\nevent: gateway\.end\ndata: \{"reason":"` + reason + `","retryable":` + yes + `,"retryAfterMs":(\d+)\}\n\n$`)
}

// Whatever forbids a stream ends it, on each transport, and says why; the streams of others are not touched.
func TestStreamsAreCut(t *testing.T) {
	p := newPeople()
	bystander := p.app("bystander", "paid")
	r := newRig(t, allEngines, withAccess(t, p, nil))
	type streams map[string]*answer
	open := func(target string, lines ...string) streams {
		list := streams{}
		for _, way := range transports {
			list[way] = r.open(way, target, lines...)
			if list[way].StatusCode != 200 {
				t.Fatalf("%s: %d %s", way, list[way].StatusCode, list[way].text(t))
			}
			list[way].takeRetry(t)
		}
		return list
	}
	others, anonymous := open("/paid/1/ticks", withKey(bystander)), open("/paid/1/open")
	deny := func(k access.DenyKind, value string) func(*access.Records) {
		return func(r *access.Records) {
			r.Denies = append(r.Denies, &access.Deny{ID: string(k), Kind: k, Value: value})
		}
	}
	revoke := func(k access.RevokeKind, value string) func(*access.Records) {
		return func(r *access.Records) {
			r.Revocations = append(r.Revocations, &access.Revocation{Kind: k, Value: value, Before: time.Now().Add(time.Minute)})
		}
	}
	key := func(change func(*access.Key)) func(*access.Records) {
		return func(r *access.Records) { edit(r.Keys, ofKey("victim"), change) }
	}
	grant := func(change func(*access.Grant)) func(*access.Records) {
		return func(r *access.Records) { edit(r.Grants, ofGrant("victim"), change) }
	}
	app := func(change func(*access.Application)) func(*access.Records) {
		return func(r *access.Records) { edit(r.Applications, ofApp("victim"), change) }
	}
	for _, c := range []struct {
		name, reason string
		token        bool
		change       func(*access.Records)
		api          string // replaces /ticks' line
	}{
		{name: "key revoked", reason: "revoked", change: key(func(k *access.Key) { k.State = access.KeyRevoked })},
		{name: "key gone", reason: "revoked", change: func(r *access.Records) { r.Keys = r.Keys[:1] }},
		{name: "token revoked", reason: "revoked", token: true, change: revoke(access.RevokeToken, firstIssuer+" id-victim")},
		{name: "subject revoked", reason: "revoked", token: true, change: revoke(access.RevokeSubject, firstIssuer+" user-victim")},
		{name: "issuer revoked", reason: "revoked", token: true, change: revoke(access.RevokeIssuer, firstIssuer)},
		{name: "application's credentials revoked", reason: "revoked", change: revoke(access.RevokeApplication, "victim")},
		{name: "application blocked", reason: "app-blocked", change: app(func(a *access.Application) { a.State = access.AppBlocked })},
		{name: "application gone", reason: "app-blocked", token: true, change: func(r *access.Records) { r.Applications = r.Applications[:1] }},
		{name: "subscription blocked", reason: "not-subscribed", change: grant(func(g *access.Grant) { g.State = access.SubBlocked })},
		{name: "subscription gone", reason: "not-subscribed", change: func(r *access.Records) { r.Grants = r.Grants[:1] }},
		{name: "plan gone", reason: "not-subscribed", change: grant(func(g *access.Grant) { g.Plan = "Platinum" })},
		{name: "application denied", reason: "denied", change: deny(access.DenyApplication, "victim")},
		{name: "subject denied", reason: "denied", token: true, change: deny(access.DenySubject, firstIssuer+" user-victim")},
		{name: "subscription denied", reason: "denied", change: deny(access.DenySubscription, "grant-victim-paid")},
		{name: "address denied", reason: "denied", change: deny(access.DenyIP, "192.0.2.0/24")},
		{name: "key bound to addresses", reason: "denied", change: key(func(k *access.Key) { k.AllowedIPs = prefixes("198.51.100.0/24") })},
		{name: "key bound to pages", reason: "denied", change: key(func(k *access.Key) { k.AllowedOrigins = []string{"https://app.example.com"} })},
		{name: "topics of the subscription", reason: "access-changed", change: grant(func(g *access.Grant) { g.Topics = []string{"/scoped"} })},
		{name: "topics of the key", reason: "access-changed", change: key(func(k *access.Key) { k.Topics = []string{"/scoped"} })},
		{name: "the key's end is now", reason: "token-expired", change: key(func(k *access.Key) { k.Expires = time.Now() })},
		{name: "the subscription's end is now", reason: "not-subscribed", change: grant(func(g *access.Grant) { g.Expires = time.Now() })},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := p.app("victim", "paid")
			line := withKey(text)
			if c.token {
				line = bearer(jwt("victim", time.Hour, nil))
			}
			victims := open("/paid/1/ticks", line, "X-Forwarded-For: 192.0.2.1")
			p.change(c.change)
			for way, a := range victims {
				if got := a.text(t); !endOf(c.reason, false).MatchString(got) {
					t.Errorf("%s: last bytes %q, want %s", way, got, c.reason)
				}
				a.close()
			}
			for _, a := range others {
				a.patience()
			}
			for _, a := range anonymous {
				a.patience()
			}
			at := r.publish(feedOf("paid", "1", "/ticks"), c.name)[0]
			free := r.publish(feedOf("paid", "1", "/open"), c.name)[0]
			for way := range victims {
				others[way].take(t, frame(c.name, at))
				anonymous[way].take(t, frame(c.name, free))
			}
			p.change(func(r *access.Records) { // as if there never was a victim
				r.Applications, r.Keys, r.Grants, r.Denies, r.Revocations = r.Applications[:1], r.Keys[:1], r.Grants[:1], nil, nil
			})
			wait(t, "their ends are counted", func() bool { return r.srv.Open() == len(others)+len(anonymous) })
			r.srv.metas.mu.Lock()
			defer r.srv.metas.mu.Unlock()
			if n := len(r.srv.metas.rights); n != 1 {
				t.Errorf("%d rights are left, want that of the bystander", n)
			}
		})
	}
}

// What a change of the API does to streams with a credential.
func TestCatalogChangesRights(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		reason         string // "" = they stay
	}{
		{"a scope is asked for", "    - {name: /ticks}", "    - {name: /ticks, scopes: [read]}", "access-changed"},
		{"keys are not taken any more", "schemes: [jwt, apiKey, ticket, cookie]", "schemes: [jwt, ticket, cookie]", "access-changed"},
		{"issuers are named", "schemes: [jwt, apiKey, ticket, cookie]", "schemes: [jwt, apiKey, ticket, cookie], issuers: [second]", ""},
		{"text", "metadata: {name: paid}", "metadata: {name: paid, description: other}", ""},
		{"open", "    - {name: /ticks}", "    - {name: /ticks, security: none}", ""},
		{"blocked", "  state: PUBLISHED\n  plans", "  state: BLOCKED\n  plans", "api-blocked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeople()
			key := p.app("a", "paid")
			r := newRig(t, allEngines, withAccess(t, p, nil))
			var list []*answer
			for _, way := range transports {
				a := r.open(way, "/paid/1/ticks", withKey(key))
				a.takeRetry(t)
				list = append(list, a)
			}
			next := strings.Replace(testAPIs+"---"+paidAPIs, c.old, c.new, 1)
			if next == testAPIs+"---"+paidAPIs {
				t.Fatal("the change changes nothing")
			}
			r.srv.judgedAll(t, func() { r.replace(next) })()
			if c.reason != "" {
				for i, a := range list {
					if got := a.text(t); !endOf(c.reason, false).MatchString(got) {
						t.Errorf("%s: %q", transports[i], got)
					}
				}
				return
			}
			if c.name == "open" { // what became of the credential does not matter any more
				r.srv.judgedAll(t, func() {
					p.change(func(r *access.Records) { edit(r.Keys, ofKey("a"), func(k *access.Key) { k.State = access.KeyRevoked }) })
				})()
			}
			at := r.publish(feedOf("paid", "1", "/ticks"), "x")[0]
			for _, a := range list {
				a.take(t, frame("x", at))
			}
		})
	}
}

// judgedAll makes a change and waits until the warden has judged everybody by it.
func (s *Server) judgedAll(t *testing.T, change func()) func() {
	before := s.judged.Load()
	change()
	return func() { wait(t, "everybody is judged", func() bool { return s.judged.Load() > before }) }
}

// What the kernel holds for the client is thrown away, and it is told nothing.
func TestHardRevocation(t *testing.T) {
	p := newPeople()
	key, other := p.app("a", "paid"), p.app("b", "paid")
	r := newRig(t, allEngines, withAccess(t, p, nil))
	stays := r.get("/paid/1/ticks", withKey(other))
	stays.takeRetry(t)
	for _, way := range transports {
		a := r.open(way, "/paid/1/ticks", withKey(key))
		a.takeRetry(t)
		p.change(func(r *access.Records) {
			r.Revocations = []*access.Revocation{{Kind: access.RevokeApplication, Value: "a", Before: time.Now().Add(time.Minute), Hard: true}}
		})
		got, err := io.ReadAll(a.body)
		if len(got) > 0 || err == nil {
			t.Errorf("%s: %q, %v, want a reset", way, got, err)
		}
		p.change(func(r *access.Records) { r.Revocations = nil })
	}
	at := r.publish(feedOf("paid", "1", "/ticks"), "x")[0]
	stays.take(t, frame("x", at))
	wait(t, "the ends are counted", func() bool {
		return r.count("sluice_edge_ends_total", "reason=revoked-hard") == float64(len(transports))
	})
}

// Ten seconds before the end of its credential a client is told, between two events; then it ends. Another's end changes nothing.
func TestExpiry(t *testing.T) {
	p := newPeople()
	key, other := p.app("a", "paid"), p.app("b", "paid")
	r := newRig(t, allEngines, withAccess(t, p, nil))
	ticks := feedOf("paid", "1", "/ticks")
	expires := func(at time.Time) {
		p.change(func(r *access.Records) { edit(r.Keys, ofKey("a"), func(k *access.Key) { k.Expires = at }) })
	}
	stays := r.get("/paid/1/ticks", withKey(other))
	stays.takeRetry(t)
	var list []*answer
	for _, way := range transports {
		for _, control := range []string{"", "?control=live,stale"} {
			a := r.open(way, "/paid/1/ticks"+control, withKey(key))
			a.takeRetry(t)
			list = append(list, a)
		}
	}
	before := r.publish(ticks, "before")[0]
	for i, a := range list {
		if i%2 == 1 {
			takeEvent(t, a, "gateway.live")
		}
		a.take(t, frame("before", before))
	}
	told := regexp.MustCompile(`^event: gateway\.reauth\ndata: \{"expiresAt":"[0-9TZ:-]+","inMs":\d+\}\n\n$`)
	expires(time.Now().Add(reauthAhead))
	for _, a := range list {
		if got := takeEvent(t, a, "gateway.reauth"); !told.MatchString(got) {
			t.Errorf("told %q", got)
		}
	}
	after := r.publish(ticks, "after")[0]
	for _, a := range list {
		a.take(t, frame("after", after))
	}
	if n := r.count("sluice_edge_gateway_events_total", "event=gateway.reauth"); n != float64(len(list)) {
		t.Errorf("%v were told, want %d", n, len(list))
	}
	late := r.get("/paid/1/ticks", withKey(key)) // what is about to end is told with the first bytes
	late.takeRetry(t)
	takeEvent(t, late, "gateway.reauth")
	list = append(list, late)
	at := time.Now().Add(time.Second)
	expires(at)
	for _, a := range list {
		if got := a.text(t); !endOf("token-expired", false).MatchString(got) {
			t.Errorf("last bytes %q", got)
		}
		a.close()
	}
	if early := at.Sub(time.Now()); early > mostEarly {
		t.Errorf("ended %v before their time", early)
	}
	seen := r.publish(ticks, "x")[0]
	for _, data := range []string{frame("before", before), frame("after", after), frame("x", seen)} {
		stays.take(t, data)
	}
}

// takeEvent reads one event of a name.
func takeEvent(t testing.TB, a *answer, name string) string {
	t.Helper()
	var text strings.Builder
	for !strings.HasSuffix(text.String(), "\n\n") {
		line, err := a.body.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			t.Fatalf("%q: %v", text.String(), err)
		}
	}
	if !strings.HasPrefix(text.String(), "event: "+name+"\n") {
		t.Fatalf("%q, want %s", text.String(), name)
	}
	return text.String()
}

// A plan's longest stream ends as such, and its client may come back.
func TestMaxDuration(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		key := p.app("a", "paid")
		p.change(func(r *access.Records) { r.Plans = []*access.Plan{{Name: "Gold", MaxDuration: 200 * time.Millisecond}} })
		r := newRig(t, engine, withAccess(t, p, nil))
		a := r.get("/paid/1/ticks", withKey(key))
		a.takeRetry(t)
		if got := a.text(t); !endOf("max-duration", true).MatchString(got) {
			t.Errorf("last bytes %q", got)
		}
	})
}

// A subscription that ends by its date ends its streams.
func TestSubscriptionEnds(t *testing.T) {
	p := newPeople()
	key := p.app("a", "paid")
	r := newRig(t, withAccess(t, p, nil))
	a := r.get("/paid/1/ticks", withKey(key))
	a.takeRetry(t)
	p.change(func(r *access.Records) {
		edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.Expires = time.Now().Add(300 * time.Millisecond) })
	})
	if got := a.text(t); !endOf("not-subscribed", false).MatchString(got) {
		t.Errorf("last bytes %q", got)
	}
}

// hold stops at a place until it is let go.
type hold struct{ reached, go_ chan struct{} }

func newHold() *hold { return &hold{make(chan struct{}), make(chan struct{})} }

func (h *hold) here() {
	h.reached <- struct{}{}
	<-h.go_
}

type heldJoiner struct {
	Joiner
	hold *hold
}

func (j heldJoiner) Join(ctx context.Context, w fanout.Want) (*fanout.Joined, error) {
	joined, err := j.Joiner.Join(ctx, w)
	j.hold.here()
	return joined, err
}

type heldAdopter struct {
	Adopter
	hold *hold
}

func (a heldAdopter) Adopt(c net.Conn, s fanout.Subscriber) error {
	a.hold.here()
	return a.Adopter.Adopt(c, s)
}

type heldPortable struct {
	Portable
	hold *hold
}

func (p heldPortable) Serve(ctx context.Context, to fanout.Sink, s fanout.Subscriber) fanout.End {
	p.hold.here()
	return p.Portable.Serve(ctx, to, s)
}

// Revoked while the feed was opened: nothing was written yet, so the answer is a status.
func TestRevokedBetweenCheckAndHead(t *testing.T) {
	p := newPeople()
	key := p.app("a", "paid")
	h := newHold()
	r := newRig(t, withAccess(t, p, nil), func(s *setup) { s.change = func(d *Deps) { d.Hub = heldJoiner{d.Hub, h} } })
	got := make(chan *answer)
	go func() { got <- r.get("/paid/1/ticks", withKey(key)) }()
	<-h.reached
	p.change(func(r *access.Records) { edit(r.Keys, ofKey("a"), func(k *access.Key) { k.State = access.KeyRevoked }) })
	close(h.go_)
	if a := <-got; kindOf(t, a) != string(problem.InvalidToken) {
		t.Errorf("%d", a.StatusCode)
	}
	wait(t, "the seat is free", func() bool { return r.srv.admit.open() == 0 })
}

// Revoked after the last check, cut before the engine had the stream: it ends with its first bytes all the same.
func TestRevokedBetweenCheckAndJoin(t *testing.T) {
	for _, way := range transports {
		for name, change := range map[string]func(r *rig, p *people){
			"key": func(_ *rig, p *people) {
				p.change(func(r *access.Records) { edit(r.Keys, ofKey("a"), func(k *access.Key) { k.State = access.KeyRevoked }) })
			},
			"api": func(r *rig, _ *people) {
				r.replace(strings.Replace(testAPIs+"---"+paidAPIs, "  state: PUBLISHED\n  plans", "  state: BLOCKED\n  plans", 1))
			},
		} {
			t.Run(way+" "+name, func(t *testing.T) {
				p := newPeople()
				key := p.app("a", "paid")
				h := newHold()
				r := newRig(t, allEngines, withAccess(t, p, nil), func(s *setup) {
					s.change = func(d *Deps) {
						d.Portable = heldPortable{d.Portable, h}
						if d.Adopter != nil {
							d.Adopter = heldAdopter{d.Adopter, h}
						}
					}
				})
				r.publish(feedOf("paid", "1", "/ticks"), "never")
				got := make(chan *answer)
				go func() { got <- r.open(way, "/paid/1/ticks?from=earliest", withKey(key)) }()
				<-h.reached
				r.srv.judgedAll(t, func() { change(r, p) })()
				close(h.go_)
				a := <-got
				a.takeRetry(t)
				if end := a.text(t); !strings.Contains(end, `"retryable":false`) || strings.Contains(end, "never") {
					t.Errorf("%q", end)
				}
			})
		}
	}
}

// A right is found by the streams that have it, whatever happens to their numbers meanwhile.
func TestRightsAreShared(t *testing.T) {
	tab := newMetaTable()
	api := &catalog.API{Metadata: catalog.Metadata{Name: "m"}, Spec: catalog.Spec{Version: "1"}}
	add := func(holder byte, topic string, due time.Time) uint32 {
		return tab.add(record{opened: int64(holder), from: unique.Make(sender{}), right: &right{due: due}}, newRequestID(), placeKey{topic: topic}, catalog.Route{API: api}, [16]byte{holder})
	}
	at := time.Now().Add(time.Hour)
	a, b, c := add(1, "/t", at), add(1, "/t", time.Time{}), add(1, "/u", time.Time{})
	d := add(2, "/t", at.Add(-time.Minute))
	if n := len(tab.rights); n != 3 {
		t.Fatalf("%d rights, want 3", n)
	}
	if tab.holderAt(a).right != tab.holderAt(b).right || tab.holderAt(a).right == tab.holderAt(c).right {
		t.Error("streams of one credential at one place share a right, others do not")
	}
	if next := tab.planDue(time.Time{}); !next.Equal(at.Add(-time.Minute)) {
		t.Errorf("due %v", next)
	}
	select {
	case <-tab.early:
	default:
		t.Error("nobody was told that a right is due earlier")
	}
	found := tab.find(func(r *record) fanout.Reason {
		if r.place.key.topic == "/t" {
			return "revoked"
		}
		return ""
	})
	if len(found) != 3 || found[c].why != "" {
		t.Errorf("found %v", found)
	}
	tab.take(d)
	add(3, "/t", time.Time{}) // takes its number
	if tab.still(d, found[d]) || !tab.still(a, found[a]) {
		t.Error("a number used again is taken for the stream that was found")
	}
	tab.take(a)
	tab.take(b)
	if n := len(tab.rightsInUse(nil)); n != 2 {
		t.Errorf("%d rights, want 2", n)
	}
}

// BenchmarkRecheck is what an engine pays per join when nothing changed.
func BenchmarkRecheck(b *testing.B) {
	p := newPeople()
	s := &Server{access: p, now: time.Now}
	store, err := catalog.NewStatic(catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s.catalog = store
	f := s.recheck(&request{snap: store.Snapshot()})
	b.ReportAllocs()
	for b.Loop() {
		if f(1) != "" {
			b.Fatal("ends")
		}
	}
}
