package catalog

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

const published = openTicks + "  state: PUBLISHED\n"

func serves(s Store, path string) bool {
	_, err := s.Snapshot().Match(path, "")
	return err == nil
}

// A bucket that was wiped or made anew takes no API down, and nothing is written over what may come back.
func TestWipedBucketTakesNothingDown(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	var name atomic.Value
	name.Store(Bucket)
	other := func(o *ManagerOptions) {
		o.Open = func(ctx context.Context) (broker.Bucket, error) {
			return n.Admin().Bucket(ctx, name.Load().(string), 5)
		}
		o.Reconcile = 20 * time.Millisecond
	}
	m := startManager(t, n, other).loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
	must(t)(m.Create(t.Context(), ann, yamlAPI("b", "1", "/b", published)))
	must(t)(m.Delete(t.Context(), Write{By: Actor{Name: "root", Admin: true}}, "b@1", true)) // a deletion is believed
	name.Store("fresh")
	await(t, func() bool { return m.Status().Suspect != "" })
	if !serves(m.Group("default"), "/a/1/ticks") || serves(m.Group("default"), "/b/1/ticks") {
		t.Error("a wiped bucket changed what is served")
	}
	_, err := m.Create(t.Context(), ann, yamlAPI("c", "1", "/c", published))
	wantKind(t, err, StoreUnavailable)
	name.Store(Bucket)
	await(t, func() bool { return m.Status().Suspect == "" })
	must(t)(m.Create(t.Context(), ann, yamlAPI("c", "1", "/c", published)))
}

// A node that starts without its broker serves what it saw last, and takes up what changed meanwhile once the broker is back.
func TestLastGoodCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := brokertest.NewMemory(t)
	keep := func(o *ManagerOptions) { o.Dir = dir }
	m, end := startEnding(t, n, keep)
	m.loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
	end()
	peer := n.Peer()
	peer.Cut()
	m = startManager(t, peer, keep)
	if m.Snapshot().Revision() != 0 {
		t.Error("shown before the broker had its time")
	}
	await(t, func() bool { return m.Snapshot().Revision() > 0 })
	if !serves(m.Group("default"), "/a/1/ticks") || m.Status().Loaded {
		t.Errorf("status %+v", m.Status())
	}
	_, err := m.Delete(t.Context(), ann, "a@1", false)
	wantKind(t, err, StoreUnavailable)
	must(t)(startManager(t, n).loadedOrFail(t).Create(t.Context(), ann, yamlAPI("b", "1", "/b", published)))
	peer.Heal()
	await(t, func() bool { return m.Status().Loaded && serves(m.Group("default"), "/b/1/ticks") })
	if !serves(m.Group("default"), "/a/1/ticks") {
		t.Error("lost what the copy had")
	}
}

// What was written survives a restart of the broker, and the watch goes on behind it.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	m := startManager(t, n).loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
	n.Restart()
	other := startManager(t, n.Peer()).loadedOrFail(t)
	if !serves(other, "/a/1/ticks") {
		t.Error("lost by a restart")
	}
	await(t, func() bool {
		_, err := other.Lifecycle(t.Context(), ann, "a@1", Block, LifecycleOptions{})
		return err == nil || problem.KindOf(err) == TransitionNotAllowed
	})
	await(t, func() bool { rec, err := m.Get("a@1"); return err == nil && rec.API.Spec.State == StateBlocked })
}

// muted is a bucket whose watches end in silence: they send what is there and then nothing.
type muted struct{ broker.Bucket }

func (b muted) Watch(ctx context.Context, pattern string) (<-chan broker.Entry, error) {
	all, err := b.Bucket.Watch(ctx, pattern)
	if err != nil {
		return nil, err
	}
	out := make(chan broker.Entry)
	go func() { // ends with ctx
		for e := range all {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
			if e.Key == "" {
				break
			}
		}
		<-ctx.Done()
	}()
	return out, nil
}

func TestSilentWatchIsNoticed(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	m := startManager(t, n, func(o *ManagerOptions) {
		open := o.Open
		o.Open = func(ctx context.Context) (broker.Bucket, error) {
			b, err := open(ctx)
			return muted{b}, err
		}
		o.Reconcile = 30 * time.Millisecond
	}).loadedOrFail(t)
	must(t)(startManager(t, n).loadedOrFail(t).Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
	await(t, func() bool { return serves(m, "/a/1/ticks") })
}

// A record of a later release, or one that is broken, leaves its API as it was and is counted.
func TestBadRecordKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	m := startManager(t, n, func(o *ManagerOptions) { o.Reconcile = 50 * time.Millisecond }).loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
	b, err := n.Admin().Bucket(t.Context(), Bucket, 5)
	if err != nil {
		t.Fatal(err)
	}
	key := apiPrefix + apiToken("a", "1")
	for _, value := range []string{`{"schema":2}`, `not JSON`, `{"schema":1,"definition":{"kind":"API"}}`} {
		e, err := b.Last(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), key, []byte(value), e.Revision); err != nil {
			t.Fatal(err)
		}
		before := m.Status().Refused[apiToken("a", "1")]
		await(t, func() bool { return m.Status().Refused[apiToken("a", "1")] > before+3 }) // beyond the next reconciliation
		if !serves(m, "/a/1/ticks") {
			t.Errorf("%s took the API down", value)
		}
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	bundle := Source{Name: "all.yaml", Data: []byte(string(yamlAPI("a", "1.10", "/a", published).Data) + "---\n" +
		string(yamlAPI("a", "1.9", "/a", published).Data) + "---\n" + string(yamlAPI("b", "1", "/b", "").Data))}
	opt := ApplyOptions{Set: "demo"}
	outcomes := func(w Write, opt ApplyOptions, src ...Source) string {
		t.Helper()
		list, err := m.Apply(t.Context(), w, opt, src...)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range list {
			s := a.ID + " " + a.Outcome
			if a.Err != nil {
				s += " " + string(problem.KindOf(a.Err))
			}
			out = append(out, s)
		}
		return strings.Join(out, ", ")
	}
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	created := "a@1.9 created, a@1.10 created, b@1 created"
	expect(outcomes(Write{By: ann.By, DryRun: true}, opt, bundle), created)
	if len(m.List()) != 0 {
		t.Fatal("a dry run wrote")
	}
	expect(outcomes(ann, opt, bundle), created)
	expect(outcomes(ann, opt, bundle), "a@1.9 unchanged, a@1.10 unchanged, b@1 unchanged")
	edited := yamlAPI("b", "1", "/b", "  transports: [https]\n")
	expect(outcomes(ann, opt, edited), "b@1 configured")
	must(t)(m.AddTopic(t.Context(), ann, "b@1", Source{Name: "t.json", Data: []byte(`{"name":"/x"}`)}))
	expect(outcomes(ann, opt, edited), "b@1 refused changed-elsewhere")
	list, err := m.Apply(t.Context(), ann, opt, edited)
	var changed *ChangedError
	if err != nil || !errors.As(list[0].Err, &changed) || len(changed.Diff) == 0 {
		t.Errorf("%+v, %v", list, err)
	}
	expect(outcomes(ann, ApplyOptions{Set: "demo", Force: true}, edited), "b@1 configured")
	if rec, _ := m.Get("b@1"); rec.API.Topic("/x") == nil {
		t.Error("topics were absent, but did not stay")
	}
	must(t)(m.Create(t.Context(), ann, yamlAPI("mine", "1", "/mine", "")))
	expect(outcomes(ann, ApplyOptions{Set: "demo", Prune: true}, yamlAPI("a", "1.9", "/a", published)),
		"a@1.9 unchanged, a@1.10 refused api-live, b@1 pruned")
	if _, err := m.Get("mine@1"); err != nil {
		t.Error("pruned what is not of the set")
	}
	_, err = m.Apply(t.Context(), ann, ApplyOptions{}, yamlAPI("z", "1", "/z", ""), yamlAPI("y", "1", "/z", "  nonsense: 1\n"))
	wantKind(t, err, "unknown-field")
	if _, err := m.Get("z@1"); err == nil {
		t.Error("part of a wrong bundle was written")
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("have", "1", "/have", published)))
	json := func(text string) Source { return Source{Name: "b.json", Data: []byte(text)} }
	rev := m.Rev()
	for name, c := range map[string]struct {
		src     Source
		kind    problem.Kind
		pointer string
	}{
		"broken JSON":    {json(`{`), "invalid-json", ""},
		"trailing bytes": {json(`{"apiVersion":"sluice/v1","kind":"API"} x`), "invalid-json", ""},
		"broken YAML":    {Source{Name: "b.yaml", Data: []byte("a: [")}, "invalid-yaml", ""},
		"unknown field":  {yamlAPI("a", "1", "/a", "  endpiont: x\n"), "unknown-field", "/spec/endpiont"},
		"twice":          {json(`{"apiVersion":"sluice/v1","kind":"API","spec":{},"spec":{}}`), "duplicate-key", "/spec"},
		"deep":           {json(strings.Repeat("[", 1000)), "too-deep", ""},
		"name":           {yamlAPI("_a", "1", "/a", ""), "invalid-name", "/metadata/name"},
		"version":        {yamlAPI("a", "../1", "/a", ""), "invalid-version", "/spec/version"},
		"context":        {yamlAPI("a", "1", "/a//b", ""), "invalid-context", "/spec/context"},
		"reserved":       {yamlAPI("a", "1", "/API", ""), "reserved-context", "/spec/context"},
		"no transport":   {yamlAPI("a", "1", "/a", "  transports: []\n"), "no-transport", "/spec/transports"},
		"two topics":     {yamlAPI("a", "1", "/a", "  topics: [{name: /a}, {name: /%61}]\n"), TopicConflict, "/spec/topics/1/name"},
		"several":        {yamlAPI("_a", "../1", "/a", ""), InvalidResource, "/metadata/name"},
		"owner":          {Source{Name: "b.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: a, owner: bob}\nspec: {context: /a, version: '1'}\n")}, Forbidden, "/metadata/owner"},
		"insecure":       {yamlAPI("a", "1", "/a", "  upstream: {tls: {insecureSkipVerify: true}}\n"), Forbidden, "/spec/upstream/tls/insecureSkipVerify"},
		"no plan":        {yamlAPI("a", "1", "/a", "  state: PUBLISHED\n"), NotPublishable, "/spec/plans"},
		"two documents":  {Source{Name: "b.yaml", Data: []byte(string(yamlAPI("a", "1", "/a", "").Data) + "---\n" + string(yamlAPI("b", "1", "/b", "").Data))}, InvalidValue, ""},
	} {
		_, err := m.Create(t.Context(), ann, c.src)
		var p *problem.Error
		if problem.KindOf(err) != c.kind || !errors.As(err, &p) || c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: %+v, want %s at %q", name, err, c.kind, c.pointer)
		}
	}
	for name, c := range map[string]struct {
		src  Source
		kind problem.Kind
	}{
		"other name": {yamlAPI("other", "1", "/have", published), InvalidValue}, "other context": {yamlAPI("have", "1", "/other", published), InvalidValue},
		"no endpoint": {json(`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"have"},"spec":{"context":"/have","version":"1"}}`), NotPublishable},
	} {
		if _, err := m.Update(t.Context(), ann, "have@1", c.src); problem.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
		}
	}
	_, err := m.Delete(t.Context(), ann, "have@1", true)
	wantKind(t, err, APILive) // force is for administrators
	_, err = m.DeleteTopic(t.Context(), ann, "have@1", "/ticks")
	wantKind(t, err, NotPublishable)
	_, err = m.AddTopic(t.Context(), ann, "have@1", json(`{"name":"/ticks","security":"none"}`))
	wantKind(t, err, TopicConflict)
	_, err = m.SetTopics(t.Context(), ann, "have@1", json(`[{"name":"/a","nmae":1}]`))
	wantKind(t, err, "unknown-field")
	_, err = m.Get("HAVE@1")
	wantKind(t, err, problem.NotFound)
	_, err = m.Lifecycle(t.Context(), Write{By: ann.By, Comment: strings.Repeat("x", 501)}, "have@1", Block, LifecycleOptions{})
	wantKind(t, err, InvalidValue)
	if m.Rev() != rev {
		t.Error("something refused was written")
	}
}
