package access

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// rig is a store over a broker of the test's own, with one application.
type rig struct {
	*Store
	t   *testing.T
	app *Application
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	n := brokertest.NewMemory(t)
	s, _ := start(t, n, change...)
	seeded(t, s)
	return &rig{s, t, must[*Application](t)(s.CreateApplication(t.Context(), ann, Application{Name: "shop", Owner: "ann"}))}
}

func (r *rig) grant(api string) *Grant {
	r.t.Helper()
	return must[*Grant](r.t)(r.CreateGrant(r.t.Context(), ann, Grant{Application: r.app.ID, API: api, Version: "1", Plan: "AsyncGold"}))
}

func (r *rig) key() *Key {
	r.t.Helper()
	k, _, err := r.CreateKey(r.t.Context(), ann, Key{Application: r.app.ID})
	noError(r.t, err)
	return k
}

// Every field is checked, and what is wrong is named by its pointer. Nothing of it is written.
func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, past := t.Context(), time.Now().Add(-time.Second)
	long := strings.Repeat("x", 3000)
	plan := func(change func(p *Plan)) error {
		p := Plan{Name: "p", Quota: Quota{Events: 1, Every: 1, Unit: Hour}, Rate: Rate{Per: time.Second}}
		change(&p)
		_, err := r.CreatePlan(ctx, ann, p)
		return err
	}
	app := func(change func(a *Application)) error {
		a := Application{Name: "a", Owner: "ann"}
		change(&a)
		_, err := r.CreateApplication(ctx, ann, a)
		return err
	}
	grant := func(change func(g *Grant)) error {
		g := Grant{Application: r.app.ID, API: "market", Version: "1", Plan: "AsyncGold"}
		change(&g)
		_, err := r.CreateGrant(ctx, ann, g)
		return err
	}
	key := func(change func(k *Key)) error {
		k := Key{Application: r.app.ID}
		change(&k)
		_, _, err := r.CreateKey(ctx, ann, k)
		return err
	}
	deny := func(kind DenyKind, value string) error {
		_, err := r.CreateDeny(ctx, ann, Deny{Kind: kind, Value: value})
		return err
	}
	revoke := func(kind RevokeKind, value string) error {
		_, err := r.Revoke(ctx, ann, Revocation{Kind: kind, Value: value})
		return err
	}
	before := r.Snapshot().Records()
	for i, c := range []struct {
		err      error
		kind     problem.Kind
		pointers string
	}{
		{plan(func(p *Plan) { p.Name = "" }), problem.InvalidName, "/name"},
		{plan(func(p *Plan) { p.Name = "-a" }), problem.InvalidName, "/name"},
		{plan(func(p *Plan) { p.Name = "a b" }), problem.InvalidName, "/name"},
		{plan(func(p *Plan) { p.Name = "ä" }), problem.InvalidName, "/name"},
		{plan(func(p *Plan) { p.Name = strings.Repeat("a", 61) }), problem.InvalidName, "/name"},
		{plan(func(p *Plan) { p.DisplayName = "a\nb" }), problem.InvalidValue, "/displayName"},
		{plan(func(p *Plan) { p.Description = long }), problem.InvalidValue, "/description"},
		{plan(func(p *Plan) { p.Description = "\xff" }), problem.InvalidValue, "/description"},
		{plan(func(p *Plan) { p.Quota.Events = -1 }), problem.InvalidValue, "/quota/events"},
		{plan(func(p *Plan) { p.Quota.Every = -1 }), problem.InvalidValue, "/quota/every"},
		{plan(func(p *Plan) { p.Quota.Every = 1001 }), problem.InvalidValue, "/quota/every"},
		{plan(func(p *Plan) { p.Quota.Unit = "" }), problem.InvalidValue, "/quota/unit"},
		{plan(func(p *Plan) { p.Quota = Quota{Unit: "second"} }), problem.InvalidValue, "/quota/unit"},
		{plan(func(p *Plan) { p.Rate.Events = -1 }), problem.InvalidValue, "/rate/events"},
		{plan(func(p *Plan) { p.Rate = Rate{Events: 1} }), problem.InvalidValue, "/rate/per"},
		{plan(func(p *Plan) { p.Connections.PerKey = -1 }), problem.InvalidValue, "/connections/perKey"},
		{plan(func(p *Plan) { p.Connections.PerSubscription = 1 << 30 }), problem.InvalidValue, "/connections/perSubscription"},
		{plan(func(p *Plan) { p.MaxDuration = time.Second }), problem.InvalidValue, "/maxDuration"},
		{plan(func(p *Plan) { p.OnQuotaEnd = "x" }), problem.InvalidValue, "/onQuotaEnd"},
		{plan(func(p *Plan) { p.WhenSourceDown = "x" }), problem.InvalidValue, "/whenSourceDown"},
		{plan(func(p *Plan) { p.Name, p.OnQuotaEnd = "", "x" }), problem.InvalidResource, "/name /onQuotaEnd"},
		{plan(func(p *Plan) { p.Name = "AsyncGold" }), problem.PlanExists, "/name"},

		{app(func(a *Application) { a.Name = "a/b" }), problem.InvalidName, "/name"},
		{app(func(a *Application) { a.Owner = "" }), problem.InvalidValue, "/owner"},
		{app(func(a *Application) { a.Owner = "a b" }), problem.InvalidValue, "/owner"},
		{app(func(a *Application) { a.State = "x" }), problem.InvalidValue, "/state"},
		{app(func(a *Application) { a.Clients = make([]ClientRef, 11) }), problem.InvalidValue, "/clients /clients/0/issuer /clients/0/id …"},
		{app(func(a *Application) { a.Clients = []ClientRef{{"i", "a"}, {"i", "a"}} }), problem.InvalidValue, "/clients/1"},
		{app(func(a *Application) { a.Labels = map[string]string{"a/b~": "\n"} }), problem.InvalidValue, "/labels/a~1b~0"},
		{app(func(a *Application) { a.Labels = map[string]string{"": "x"} }), problem.InvalidValue, "/labels/"},
		{app(func(a *Application) { a.Plan = "none" }), problem.UnknownPlan, "/plan"},
		{app(func(a *Application) { a.Name = "SHOP" }), problem.ApplicationExists, "/name"},

		{grant(func(g *Grant) { g.Application = "none" }), problem.UnknownApplication, "/application"},
		{grant(func(g *Grant) { g.API = "" }), problem.InvalidValue, "/api"},
		{grant(func(g *Grant) { g.Version = "a.>" }), problem.InvalidValue, "/version"},
		{grant(func(g *Grant) { g.Plan = "none" }), problem.UnknownPlan, "/plan"},
		{grant(func(g *Grant) { g.State = "x" }), problem.InvalidValue, "/state"},
		{grant(func(g *Grant) { g.Topics = []string{"/a", "b", "/a", "/c d"} }), problem.InvalidValue, "/topics/1 /topics/2 /topics/3"},
		{grant(func(g *Grant) { g.Topics = make([]string, 65) }), problem.InvalidValue, "/topics /topics/0 /topics/1 …"},
		{grant(func(g *Grant) { g.Expires = past }), problem.InvalidValue, "/expires"},

		{key(func(k *Key) { k.Application = "" }), problem.UnknownApplication, "/application"},
		{key(func(k *Key) { k.Name = "a\x00" }), problem.InvalidValue, "/name"},
		{key(func(k *Key) { k.Expires = past }), problem.InvalidValue, "/expires"},
		{key(func(k *Key) { k.AllowedIPs = make([]netip.Prefix, 1) }), problem.InvalidValue, "/allowedIPs/0"},
		{key(func(k *Key) {
			k.AllowedOrigins = []string{"https://a.b", "*", "null", "https://a.b/", "https://A.b", "ftp://a.b"}
		}), problem.InvalidValue,
			"/allowedOrigins/1 /allowedOrigins/2 /allowedOrigins/3 …"},
		{key(func(k *Key) { k.Topics = []string{""} }), problem.InvalidValue, "/topics/0"},

		{deny("x", "1"), problem.InvalidValue, "/kind"},
		{deny(DenyIP, "10.0.0.0/33"), problem.InvalidValue, "/value"},
		{deny(DenyIP, "fe80::1%eth0"), problem.InvalidValue, "/value"},
		{deny(DenyApplication, "shop"), problem.InvalidValue, "/value"},
		{deny(DenySubject, "bob"), problem.InvalidValue, "/value"},
		{deny(DenyAPI, "market"), problem.InvalidValue, "/value"},
		{deny(DenySubscription, ""), problem.InvalidValue, "/value"},
		{revoke("key", "x"), problem.InvalidValue, "/kind"},
		{revoke(RevokeToken, "x"), problem.InvalidValue, "/value"},
		{revoke(RevokeSubject, " x"), problem.InvalidValue, "/value"},
		{revoke(RevokeApplication, "x.y"), problem.InvalidValue, "/value"},
		{revoke(RevokeIssuer, ""), problem.InvalidValue, "/value"},
	} {
		var e *problem.Error
		if !errors.As(c.err, &e) {
			t.Errorf("%d: %v, want %s", i, c.err, c.kind)
			continue
		}
		var at []string
		for _, p := range e.Errors {
			if len(at) == 3 {
				at = append(at, "…")
				break
			}
			at = append(at, p.Pointer)
		}
		if e.Kind != c.kind || strings.Join(at, " ") != c.pointers || !e.Kind.Known() {
			t.Errorf("%d: %s at %q, want %s at %q", i, e.Kind, at, c.kind, c.pointers)
		}
	}
	if diff := cmp.Diff(before, r.Snapshot().Records()); diff != "" {
		t.Error("something was written: ", diff)
	}
}

// A change is made only on the revision that was asked for; without one on any.
func TestChangesExpectTheirRevision(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	grant, key := r.grant("market"), r.key()
	deny := must[*Deny](t)(r.CreateDeny(ctx, ann, Deny{Kind: DenyAPI, Value: "market@1"}))
	revoked := must[*Revocation](t)(r.Revoke(ctx, ann, Revocation{Kind: RevokeApplication, Value: r.app.ID}))
	plan := r.Snapshot().Plan("AsyncBronze")
	for name, c := range map[string]struct {
		rev          uint64
		change, gone func(w Write) error
	}{
		"plan": {plan.Rev, func(w Write) error { _, err := r.UpdatePlan(ctx, w, *plan); return err },
			func(w Write) error { return r.DeletePlan(ctx, w, plan.Name) }},
		"application": {r.app.Rev, func(w Write) error { _, err := r.UpdateApplication(ctx, w, *r.app); return err }, nil},
		"key": {key.Rev, func(w Write) error { _, err := r.UpdateKey(ctx, w, *key); return err },
			func(w Write) error { return r.DeleteKey(ctx, w, key.ID) }},
		"subscription": {grant.Rev, func(w Write) error { _, err := r.UpdateGrant(ctx, w, *grant); return err },
			func(w Write) error { return r.DeleteGrant(ctx, w, grant.ID) }},
		"deny": {deny.Rev, func(w Write) error { _, err := r.UpdateDeny(ctx, w, *deny); return err },
			func(w Write) error { return r.DeleteDeny(ctx, w, deny.ID) }},
		"revocation": {revoked.Rev, func(w Write) error { _, err := r.Revoke(ctx, w, *revoked); return err },
			func(w Write) error { return r.DeleteRevocation(ctx, w, revoked.Kind, revoked.Value) }},
	} {
		if err := c.change(Write{Expect: c.rev, DryRun: true}); err != nil || c.rev == 0 {
			t.Errorf("%s: dry: %v", name, err)
		}
		if err := c.change(Write{Expect: c.rev}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantKind(t, c.change(Write{Expect: c.rev}), problem.VersionMismatch)
		wantKind(t, c.change(Write{Expect: c.rev, DryRun: true}), problem.VersionMismatch)
		if err := c.change(Write{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.gone == nil {
			continue
		}
		wantKind(t, c.gone(Write{Expect: c.rev}), problem.VersionMismatch)
		noError(t, c.gone(Write{}))
		wantKind(t, c.gone(Write{}), problem.NotFound)
		if name != "revocation" {
			wantKind(t, c.change(Write{}), problem.NotFound)
		}
	}
	wantKind(t, r.DeleteApplication(ctx, Write{Expect: r.app.Rev}, r.app.ID), problem.VersionMismatch)
	noError(t, r.DeleteApplication(ctx, Write{Expect: r.Snapshot().Application(r.app.ID).Rev}, r.app.ID))
	wantKind(t, r.DeleteApplication(ctx, Write{}, r.app.ID), problem.NotFound)
	_, err := r.UpdateApplication(ctx, Write{}, *r.app)
	wantKind(t, err, problem.NotFound)
}

// What the store sets cannot be set, and what must stay stays.
func TestWhatIsTheStores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	app, secret, err := r.MakeSecret(ctx, ann, r.app.ID)
	noError(t, err)
	next := *app
	next.SecretHash, next.CreatedAt, next.DisplayName, next.State = "x", time.Time{}, "Shop", AppBlocked
	app = must[*Application](t)(r.UpdateApplication(ctx, ann, next))
	if !app.SecretMatches(secret) || !app.CreatedAt.Equal(r.app.CreatedAt) || app.DisplayName != "Shop" || app.State != AppBlocked {
		t.Errorf("%+v", app)
	}
	if app = must[*Application](t)(r.RemoveSecret(ctx, ann, app.ID)); app.SecretMatches(secret) {
		t.Error("the secret still counts")
	}
	grant := r.grant("market")
	for _, g := range []Grant{{ID: grant.ID, Plan: "AsyncGold", API: "other"}, {ID: grant.ID, Plan: "AsyncGold", Version: "2"}, {ID: grant.ID, Plan: "AsyncGold", Application: "x"}} {
		_, err := r.UpdateGrant(ctx, ann, g)
		wantKind(t, err, problem.ImmutableField)
	}
	grant = must[*Grant](t)(r.UpdateGrant(ctx, ann, Grant{ID: grant.ID, Plan: "AsyncSilver", Topics: []string{"/a"}}))
	if grant.State != SubUnblocked || grant.Plan != "AsyncSilver" || grant.CreatedBy != "ann" || grant.API != "market" {
		t.Errorf("%+v", grant)
	}
	key := r.key()
	revoked := must[*Key](t)(r.RevokeKey(ctx, ann, key.ID))
	if revoked.State != KeyRevoked || revoked.Hash != key.Hash || revoked.Active(time.Now()) {
		t.Errorf("%+v", revoked)
	}
	_, err = r.UpdateKey(ctx, ann, Key{ID: key.ID, State: KeyActive})
	wantKind(t, err, problem.ImmutableField)
	_, err = r.UpdateKey(ctx, ann, Key{ID: key.ID, Application: "x"})
	wantKind(t, err, problem.ImmutableField)
	must[*Plan](t)(r.CreatePlan(ctx, ann, Plan{Name: "v.1..2", RequiresApproval: true})) // a name that would be no key as it is
	held := must[*Grant](t)(r.CreateGrant(ctx, ann, Grant{Application: app.ID, API: "held", Version: "1", Plan: "v.1..2"}))
	if held.State != SubOnHold || held.Active(time.Now()) {
		t.Errorf("%+v", held)
	}
}

func TestAPlanInUseStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	grant := r.grant("market")
	wantKind(t, r.DeletePlan(t.Context(), ann, "AsyncGold"), problem.PlanInUse)
	noError(t, r.DeleteGrant(t.Context(), ann, grant.ID))
	next := *r.app
	next.Plan = "AsyncGold"
	must[*Application](t)(r.UpdateApplication(t.Context(), ann, next))
	wantKind(t, r.DeletePlan(t.Context(), ann, "AsyncGold"), problem.PlanInUse)
	noError(t, r.DeleteApplication(t.Context(), ann, r.app.ID))
	noError(t, r.DeletePlan(t.Context(), ann, "AsyncGold"))
}

// Who ends a subscription and makes it anew gets no new quota: it is the same one.
func TestASubscriptionMadeAnewIsTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, other := r.grant("market"), r.grant("news")
	noError(t, r.DeleteGrant(t.Context(), ann, first.ID))
	if again := r.grant("market"); again.ID != first.ID || other.ID == first.ID || !isID(first.ID) {
		t.Errorf("%q, then %q; another is %q", first.ID, again.ID, other.ID)
	}
}

// An application goes with all it has, also if that does not fit into one batch and the broker fails in between.
func TestDeletingAnApplication(t *testing.T) {
	t.Parallel()
	broken := 0 // batches until one fails; 0 = none does
	f := &faulty{}
	f.batch = func(ctx context.Context, b broker.Bucket, writes []broker.BucketWrite) (uint64, error) {
		if broken--; broken == 0 {
			return 0, broker.ErrUnavailable
		}
		return b.Batch(ctx, writes)
	}
	r := newRig(t, through(Bucket, f))
	ctx := t.Context()
	other := must[*Application](t)(r.CreateApplication(ctx, ann, Application{Name: "other", Owner: "ann"}))
	kept := must[*Grant](t)(r.CreateGrant(ctx, ann, Grant{Application: other.ID, API: "a0", Version: "1", Plan: "AsyncGold"}))
	for i := range 150 {
		r.grant("a" + strconv.Itoa(i))
	}
	key := r.key()
	broken = 3
	wantKind(t, r.DeleteApplication(ctx, ann, r.app.ID), problem.StoreUnavailable)
	snap := r.Snapshot()
	if a := snap.Application(r.app.ID); a == nil || a.State != AppBlocked || snap.Key(key.ID) != nil || snap.Counts()["subscription"] != 53 {
		t.Errorf("half-way: %+v, %v", a, snap.Counts())
	}
	noError(t, r.DeleteApplication(ctx, ann, r.app.ID))
	snap = r.Snapshot()
	if snap.Application(r.app.ID) != nil || snap.Counts()["subscription"] != 1 || snap.GrantByID(kept.ID) == nil || snap.Application(other.ID) == nil {
		t.Errorf("afterwards: %v", snap.Counts())
	}
	if n := must[int](t)(r.DeleteGrantsOf(ctx, ann, "a0", "1")); n != 1 || r.Snapshot().Counts()["subscription"] != 0 {
		t.Errorf("%d subscriptions of the API", n)
	}
}

// Whether a change was made is found out when the broker's answer is lost, and it is made once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			fail := 0
			f := &faulty{}
			f.batch = func(ctx context.Context, b broker.Bucket, writes []broker.BucketWrite) (uint64, error) {
				if fail--; fail < 0 {
					return b.Batch(ctx, writes)
				}
				if lost {
					_, err := b.Batch(ctx, writes)
					return 0, errors.Join(errLost, err)
				}
				return 0, errLost
			}
			r := newRig(t, through(Bucket, f), through(RevokeBucket, f2(f)))
			fail = 1
			grant := r.grant("market")
			if got := r.Snapshot().Grant(r.app.ID, "market", "1"); got == nil || got.ID != grant.ID || got.Rev != grant.Rev {
				t.Errorf("%+v, want %+v", got, grant)
			}
			fail = 1
			revoked := must[*Revocation](t)(r.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "x"}))
			if got := r.Snapshot().Revoked(&Principal{Issuer: "x"}); got == nil || got.Rev != revoked.Rev {
				t.Errorf("%+v, want %+v", got, revoked)
			}
		})
	}
}

// f2 is the same faults in front of another bucket.
func f2(f *faulty) *faulty { return &faulty{batch: f.batch} }

// A revocation covers what was issued in its very second, moves forward only, and goes when it is deleted.
func TestRevocations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	var clock atomic.Pointer[time.Time]
	clock.Store(&now)
	n := brokertest.NewMemory(t)
	s, _ := start(t, n, func(o *Options) { o.Now = func() time.Time { return *clock.Load() } })
	seeded(t, s)
	ctx := t.Context()
	for _, part := range []time.Duration{0, 999 * time.Millisecond} { // of the second
		then := now.Add(part)
		clock.Store(&then)
		testRevocations(t, s, then)
	}
	_, err := s.Revoke(ctx, ann, Revocation{Kind: RevokeIssuer, Value: "iss", Before: now.Add(time.Hour)})
	wantKind(t, err, problem.InvalidValue)
}

func testRevocations(t *testing.T, s *Store, now time.Time) {
	t.Helper()
	ctx, app := t.Context(), NewID()
	second := now.Truncate(time.Second) // what tokens of that second say
	p := Principal{App: app, Issuer: "iss", Subject: "bob", TokenID: "1", Issued: second}
	for kind, value := range map[RevokeKind]string{RevokeToken: "iss 1", RevokeSubject: "iss bob", RevokeApplication: app, RevokeIssuer: "iss"} {
		if got := s.Snapshot().Revoked(&p); got != nil {
			t.Fatalf("%s: revoked by %+v", kind, got)
		}
		r := must[*Revocation](t)(s.Revoke(ctx, ann, Revocation{Kind: kind, Value: value, Hard: true, Reason: "left"}))
		if got := s.Snapshot().Revoked(&p); got == nil || got.Kind != kind || !got.Hard || !got.Until.Equal(now.Add(31*24*time.Hour)) {
			t.Errorf("%s: %+v", kind, got)
		}
		later := p
		later.Issued = second.Add(time.Second)
		if s.Snapshot().Revoked(&later) != nil {
			t.Errorf("%s: covers what was issued afterwards", kind)
		}
		again := must[*Revocation](t)(s.Revoke(ctx, ann, Revocation{Kind: kind, Value: value, Before: second.Add(-time.Hour)}))
		if !again.Before.Equal(r.Before) || again.Rev <= r.Rev {
			t.Errorf("%s: moved back to %+v", kind, again)
		}
		noError(t, s.DeleteRevocation(ctx, ann, kind, value))
	}
}

// Denies that have ended stand in nobody's way, and go when there is a new one.
func TestEndedDenies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := brokertest.NewMemory(t)
		defer n.Close()
		s, end := start(t, n)
		defer end()
		seeded(t, s)
		ctx := t.Context()
		for i := range 60 {
			must[*Deny](t)(s.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "192.0.2." + strconv.Itoa(i), Until: time.Now().Add(time.Hour)}))
		}
		forever := must[*Deny](t)(s.CreateDeny(ctx, ann, Deny{Kind: DenyAPI, Value: "a@1"}))
		time.Sleep(time.Hour)
		again := must[*Deny](t)(s.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "192.0.2.7"}))
		if n := s.Snapshot().Counts()["deny"]; n != 2+60-1-mostEnded {
			t.Errorf("%d denies are left", n)
		}
		forever.Kind, forever.Value = DenyIP, "192.0.2.7"
		_, err := s.UpdateDeny(ctx, ann, *forever)
		wantKind(t, err, problem.DenyExists)
		last := must[*Deny](t)(s.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "192.0.2.8"}))
		var ids []string
		for _, d := range s.Snapshot().Records().Denies {
			ids = append(ids, d.ID)
		}
		want := []string{forever.ID, again.ID, last.ID}
		slices.Sort(want)
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Error(diff)
		}
	})
}

// Denies have one form each, so that there are no two of the same.
func TestDenies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	d := must[*Deny](t)(r.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "::ffff:192.0.2.7", Until: time.Now().Add(time.Hour)}))
	if d.Value != "192.0.2.7/32" || d.By != "ann" {
		t.Errorf("%+v", d)
	}
	_, err := r.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "192.0.2.7/32"})
	wantKind(t, err, problem.DenyExists)
	net := must[*Deny](t)(r.CreateDeny(ctx, ann, Deny{Kind: DenyIP, Value: "2001:db8::1/32"}))
	if net.Value != "2001:db8::/32" {
		t.Errorf("%+v", net)
	}
	net.Value = "192.0.2.7"
	_, err = r.UpdateDeny(ctx, ann, *net)
	wantKind(t, err, problem.DenyExists)
	if got := r.Snapshot().Denied(time.Now(), netip.MustParseAddr("192.0.2.7"), &Principal{}, "a", "1", nil); got == nil || got.ID != d.ID {
		t.Errorf("%+v", got)
	}
	if got := r.Snapshot().Denied(time.Now().Add(2*time.Hour), netip.MustParseAddr("192.0.2.7"), &Principal{}, "a", "1", nil); got != nil {
		t.Errorf("ended, but %+v", got)
	}
}
