package access

import (
	"context"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// What control writes, others see; and what another control node wrote is what a write is decided on.
func TestTwoStoresConverge(t *testing.T) {
	t.Parallel()
	n := realBroker(t)
	one, _ := start(t, n)
	two, _ := start(t, n.Peer())
	edge, _ := start(t, n.Peer(), readOnly)
	seeded(t, one)

	app := must[*Application](t)(one.CreateApplication(t.Context(), ann, Application{Name: "shop", Owner: "ann", Plan: "AsyncGold",
		Clients: []ClientRef{{"https://id.example.com", "shop"}}, Labels: map[string]string{"team": "a/b"}}))
	grant := must[*Grant](t)(two.CreateGrant(t.Context(), ann, Grant{Application: app.ID, API: "market", Version: "1.0", Plan: "AsyncSilver", Topics: []string{"/ticks"}}))
	key, text, err := one.CreateKey(t.Context(), ann, Key{Application: app.ID, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		AllowedOrigins: []string{"https://app.example.com"}})
	noError(t, err)
	deny := must[*Deny](t)(two.CreateDeny(t.Context(), ann, Deny{Kind: DenyIP, Value: "192.0.2.7"}))
	rev := must[*Revocation](t)(one.Revoke(t.Context(), ann, Revocation{Kind: RevokeSubject, Value: "https://id.example.com bob"}))
	a, secret, err := two.MakeSecret(t.Context(), Write{By: "ann", Expect: app.Rev}, app.ID)
	noError(t, err)
	app = a

	for name, s := range map[string]*Store{"one": one, "two": two, "edge": edge} {
		await(t, s, func(snap *Snapshot) bool {
			return snap.Application(app.ID) != nil && snap.Application(app.ID).SecretHash != "" && len(snap.all.Denies) > 0 && len(snap.all.Revocations) > 0 &&
				len(snap.all.Keys) > 0
		})
		r := s.Snapshot().Records()
		want := Records{Plans: one.Snapshot().Records().Plans, Applications: []*Application{app}, Grants: []*Grant{grant}, Keys: []*Key{key},
			Denies: []*Deny{deny}, Revocations: []*Revocation{rev}}
		if diff := cmp.Diff(want, r, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	snap := edge.Snapshot()
	if got := snap.ApplicationOf(ClientRef{"https://id.example.com", "shop"}); got == nil || !got.SecretMatches(secret) {
		t.Errorf("application of the client: %+v", got)
	}
	if id, ok := ParseKey(APIKeySecret, text); !ok || !snap.Key(id).Matches(text, nil) || strings.Contains(key.Hash, text) {
		t.Errorf("key %q", text)
	}
	if snap.Grant(app.ID, "market", "1.0") == nil || snap.GrantByID(grant.ID) == nil || snap.Plan("AsyncGold").Quota.Events != 50_000 {
		t.Error("subscription or plan not found")
	}
	if _, err := edge.CreatePlan(t.Context(), ann, Plan{Name: "x"}); err == nil {
		t.Error("an edge wrote")
	}
}

// Whatever must be unique or bounded is, when 20 create it at once on two nodes.
func TestParallelCreates(t *testing.T) {
	t.Parallel()
	n := realBroker(t)
	one, _ := start(t, n)
	two, _ := start(t, n.Peer())
	stores := []*Store{seeded(t, one), seeded(t, two)}
	ctx := t.Context()
	wantOf(t, all20(func(i int) error {
		_, err := stores[i%2].CreateApplication(ctx, ann, Application{Name: []string{"shop", "Shop"}[i/10], Owner: "ann"})
		return err
	}), 1, problem.ApplicationExists)
	wantOf(t, all20(func(i int) error {
		_, err := stores[i%2].CreateApplication(ctx, ann, Application{Name: "a" + strconv.Itoa(i), Owner: "ann", Clients: []ClientRef{{"iss", "one"}}})
		return err
	}), 1, problem.ClientTaken)
	app := one.Snapshot().Records().Applications[0].ID
	wantOf(t, all20(func(i int) error {
		_, err := stores[i%2].CreateGrant(ctx, ann, Grant{Application: app, API: "market", Version: "1", Plan: "AsyncGold"})
		return err
	}), 1, problem.SubscriptionExists)
	wantOf(t, all20(func(i int) error {
		_, _, err := stores[i%2].CreateKey(ctx, ann, Key{Application: app})
		return err
	}), mostActiveKeys, problem.KeyLimit)
	wantOf(t, all20(func(i int) error {
		_, err := stores[i%2].CreatePlan(ctx, ann, Plan{Name: "mine"})
		return err
	}), 1, problem.PlanExists)
	plan := one.Snapshot().Plan("AsyncBronze")
	wantOf(t, all20(func(i int) error {
		next := *plan
		next.Description = strconv.Itoa(i)
		_, err := stores[i%2].UpdatePlan(ctx, Write{By: "ann", Expect: plan.Rev}, next)
		return err
	}), 1, problem.VersionMismatch)
}

// The first plans are made once per cluster, and one that was deleted stays away.
func TestFirstPlans(t *testing.T) {
	t.Parallel()
	n := realBroker(t)
	one, end := start(t, n)
	two, _ := start(t, n.Peer())
	seeded(t, one)
	seeded(t, two)
	var names []string
	revs := map[uint64]bool{}
	for _, p := range two.Snapshot().Records().Plans {
		names, revs[p.Rev] = append(names, p.Name), true
	}
	if diff := cmp.Diff([]string{"AsyncBronze", "AsyncGold", "AsyncSilver", "AsyncUnlimited"}, names); diff != "" || len(revs) != 4 {
		t.Errorf("%s, %v", diff, revs)
	}
	noError(t, one.DeletePlan(t.Context(), ann, "AsyncBronze"))
	end()
	again, _ := start(t, n.Peer())
	await(t, again, func(s *Snapshot) bool { return s.Plan("AsyncGold") != nil })
	must[*Plan](t)(again.CreatePlan(t.Context(), ann, Plan{Name: "later"})) // behind whatever the start did
	if again.Snapshot().Plan("AsyncBronze") != nil {
		t.Error("a deleted plan came back")
	}
}

// A bucket that was wiped or made anew takes nothing away, and nothing is written over what may come back.
func TestWipedBucketTakesNothingAway(t *testing.T) {
	t.Parallel()
	for _, wiped := range []string{Bucket, RevokeBucket} {
		t.Run(wiped, func(t *testing.T) {
			n := brokertest.NewMemory(t)
			var other atomic.Bool
			s, _ := start(t, n, func(o *Options) {
				o.Reconcile = 20 * time.Millisecond
				o.Open = func(ctx context.Context, name string) (broker.Bucket, error) {
					spec := Spec(name)
					if other.Load() && name == wiped {
						spec.Name = "fresh"
					}
					return n.Admin().EnsureBucket(ctx, spec)
				}
			})
			seeded(t, s)
			noError(t, s.DeletePlan(t.Context(), ann, "AsyncGold")) // a deletion is believed
			must[*Revocation](t)(s.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "x"}))
			noError(t, s.DeleteRevocation(t.Context(), ann, RevokeIssuer, "x"))
			must[*Revocation](t)(s.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "y"}))
			before := s.Snapshot().Records()
			other.Store(true)
			until(t, "suspect", func() bool { return s.Status().Suspect != "" })
			if diff := cmp.Diff(before, s.Snapshot().Records()); diff != "" {
				t.Error("a wiped bucket changed what is shown: ", diff)
			}
			var err error
			if wiped == Bucket {
				_, err = s.CreatePlan(t.Context(), ann, Plan{Name: "x"})
			} else {
				_, err = s.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "z"})
			}
			wantKind(t, err, problem.StoreUnavailable)
			other.Store(false)
			until(t, "believed again", func() bool { return s.Status().Suspect == "" })
			must[*Plan](t)(s.CreatePlan(t.Context(), ann, Plan{Name: "x"}))
		})
	}
}

// A store that went back to an earlier state is not believed either.
func TestRestoredBucketIsDoubted(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	s, _ := start(t, n, func(o *Options) { o.Reconcile = 20 * time.Millisecond })
	seeded(t, s)
	n.Save()
	noError(t, s.DeletePlan(t.Context(), ann, "AsyncGold"))
	n.RestoreOld()
	until(t, "suspect", func() bool { return strings.Contains(s.Status().Suspect, "earlier state") })
	if s.Snapshot().Plan("AsyncGold") != nil {
		t.Error("a deleted plan came back")
	}
}

// A node that starts without its broker works by what it saw last, and takes up what changed meanwhile once the broker is back. Nothing
// secret is in its copy.
func TestLastGoodCopy(t *testing.T) {
	t.Parallel()
	n, dir := brokertest.NewMemory(t), t.TempDir()
	keep := func(o *Options) { o.Dir = dir }
	s, end := start(t, n, keep)
	seeded(t, s)
	app := must[*Application](t)(s.CreateApplication(t.Context(), ann, Application{Name: "shop", Owner: "ann"}))
	key, text, err := s.CreateKey(t.Context(), ann, Key{Application: app.ID})
	noError(t, err)
	must[*Revocation](t)(s.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "x"}))
	end()
	for _, bucket := range []string{Bucket, RevokeBucket} {
		entries := must[[]broker.Entry](t)(broker.ReadCopy(filepath.Join(dir, bucket), schemaNow))
		if len(entries) == 0 {
			t.Errorf("no copy of bucket %s", bucket)
		}
		for _, e := range entries {
			if strings.Contains(string(e.Value), text[17:]) {
				t.Errorf("the key is in the copy: %s", e.Value)
			}
		}
	}
	peer := n.Peer()
	peer.Cut()
	s, _ = start(t, peer, keep)
	if s.Snapshot().Revision() != 0 {
		t.Error("shown before the broker had its time")
	}
	<-s.Ready()
	if s.Snapshot().Key(key.ID) == nil || s.Snapshot().Revoked(&Principal{Issuer: "x"}) == nil || s.Status().Loaded {
		t.Errorf("status %+v", s.Status())
	}
	_, err = s.RevokeKey(t.Context(), ann, key.ID)
	wantKind(t, err, problem.StoreUnavailable)
	other, _ := start(t, n)
	seeded(t, other)
	must[*Key](t)(other.RevokeKey(t.Context(), ann, key.ID))
	peer.Heal()
	await(t, s, func(snap *Snapshot) bool { return snap.Key(key.ID).State == KeyRevoked })
	until(t, "loaded", func() bool { return s.Status().Loaded })
}

// A watch that went silent without an error is found by control's beacon, long before everything is compared.
func TestSilentWatchIsHealedByTheBeacon(t *testing.T) {
	for _, silent := range []string{Bucket, RevokeBucket} {
		t.Run(silent, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := brokertest.NewMemory(t)
				defer n.Close()
				control, end := start(t, n)
				defer end()
				seeded(t, control)
				first := true
				edge, endEdge := start(t, n.Peer(), readOnly, through(silent, &faulty{watch: func(ctx context.Context, b broker.Bucket) (<-chan broker.Entry, error) {
					entries, err := b.Watch(ctx, ">")
					if err != nil || !first {
						return entries, err
					}
					first = false
					return onlyPresent(ctx, entries), nil
				}}))
				defer endEdge()
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				told := make(chan error, 1)
				buckets := map[string]broker.Bucket{}
				for _, name := range []string{Bucket, RevokeBucket} {
					buckets[name] = must[broker.Bucket](t)(n.Admin().EnsureBucket(ctx, Spec(name)))
				}
				go func() { told <- broker.TellRevisions(ctx, n.Bus(), "n", buckets) }()
				defer func() { cancel(); <-told }()
				time.Sleep(10 * time.Second)
				if s := edge.Status(); s.Resyncs != 0 || time.Since(s.Fresh) > time.Second {
					t.Fatalf("up to date: %+v", s)
				}
				must[*Revocation](t)(control.Revoke(t.Context(), ann, Revocation{Kind: RevokeIssuer, Value: "x"}))
				must[*Plan](t)(control.CreatePlan(t.Context(), ann, Plan{Name: "new"}))
				healed := func() bool {
					return edge.Snapshot().Plan("new") != nil && edge.Snapshot().Revoked(&Principal{Issuer: "x"}) != nil
				}
				time.Sleep(time.Second)
				if healed() {
					t.Fatal("the watch is not silent")
				}
				time.Sleep(2*time.Second + 100*time.Millisecond)
				if s := edge.Status(); !healed() || s.Resyncs != 1 {
					t.Errorf("not healed within 3 s: %+v", s)
				}
				time.Sleep(10 * time.Second)
				if s := edge.Status(); s.Resyncs != 1 || time.Since(s.Fresh) > time.Second {
					t.Errorf("healed: %+v", s)
				}
			})
		})
	}
}

// onlyPresent hands on what a watch begins with, and then nothing.
func onlyPresent(ctx context.Context, in <-chan broker.Entry) <-chan broker.Entry {
	out := make(chan broker.Entry)
	go func() {
		defer close(out)
		for e := range in {
			select {
			case out <- e:
			case <-ctx.Done():
			}
			if e.Key == "" {
				break
			}
		}
		for range in { // until ctx ends
		}
	}()
	return out
}

// Records that cannot be read leave those before them, and others alone.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	s, _ := start(t, n)
	seeded(t, s)
	b := must[broker.Bucket](t)(n.Admin().EnsureBucket(t.Context(), Spec(Bucket)))
	gold := s.Snapshot().Plan("AsyncGold")
	rev := must[uint64](t)(b.Put(t.Context(), planKey("AsyncGold"), []byte(`{"name":`), gold.Rev))
	must[uint64](t)(b.Put(t.Context(), planKey("other"), []byte(`{"name":"AsyncSilver"}`), 0)) // not that of its key
	must[uint64](t)(b.Put(t.Context(), "later.x", []byte(`?`), 0))
	last := must[uint64](t)(b.Put(t.Context(), "jwks", []byte(`?`), 0))
	noError(t, s.Updated(t.Context(), last, 0))
	if got := s.Status().Refused; got != 2 || s.Snapshot().Plan("AsyncGold") != gold || s.Snapshot().Plan("AsyncSilver").Quota.Events != 25_000 {
		t.Errorf("%d refused, plan %+v", got, s.Snapshot().Plan("AsyncGold"))
	}
	must[uint64](t)(b.Put(t.Context(), planKey("AsyncGold"), []byte(`{"name":"AsyncGold"}`), rev))
	await(t, s, func(snap *Snapshot) bool { return snap.Plan("AsyncGold").Quota.Events == 0 })
	if got := s.Status().Refused; got != 1 {
		t.Errorf("%d refused", got)
	}
}
