package catalog

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// wayTo lists the transitions that bring a new API into a state.
var wayTo = map[State][]Transition{
	StateCreated: nil, StatePrototyped: {Prototype}, StatePublished: {Publish}, StateBlocked: {Publish, Block},
	StateDeprecated: {Publish, Deprecate}, StateRetired: {Publish, Deprecate, Retire},
}

// lifecycleTable is the design's table, written down a second time: state and transition to the state that follows.
var lifecycleTable = map[State]map[Transition]State{
	StateCreated:    {Publish: StatePublished, Prototype: StatePrototyped},
	StatePrototyped: {Publish: StatePublished, Demote: StateCreated},
	StatePublished:  {Prototype: StatePrototyped, Demote: StateCreated, Block: StateBlocked, Deprecate: StateDeprecated},
	StateBlocked:    {Republish: StatePublished, Deprecate: StateDeprecated},
	StateDeprecated: {Retire: StateRetired},
	StateRetired:    {},
}

func TestLifecycleIsTheTable(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	for state, way := range wayTo {
		for i, tr := range []Transition{Publish, Prototype, Demote, Block, Republish, Deprecate, Retire} {
			name := fmt.Sprintf("%s-%d", state, i)
			id := name + "@1"
			must(t)(m.Create(t.Context(), ann, yamlAPI(name, "1", "/"+name, openTicks)))
			for _, step := range way {
				must(t)(m.Lifecycle(t.Context(), ann, id, step, LifecycleOptions{}))
			}
			before, err := m.Get(id)
			if err != nil || before.API.Spec.State != state {
				t.Fatalf("%s: %v, %v", id, before, err)
			}
			want, ok := lifecycleTable[state][tr]
			r, err := m.Lifecycle(t.Context(), ann, id, tr, LifecycleOptions{})
			after, getErr := m.Get(id)
			if getErr != nil {
				t.Fatal(getErr)
			}
			if !ok {
				var refused *TransitionError
				if problem.KindOf(err) != TransitionNotAllowed || !errors.As(err, &refused) || len(refused.Allowed) != len(lifecycleTable[state]) {
					t.Errorf("%s %s: %v", state, tr, err)
				}
				for _, a := range Allowed(state) {
					if _, known := lifecycleTable[state][a]; !known {
						t.Errorf("%s: %s is said to be allowed", state, a)
					}
				}
				if after.Rev != before.Rev {
					t.Errorf("%s %s: refused, but written", state, tr)
				}
				continue
			}
			if err != nil || r.Record.API.Spec.State != want || after.API.Spec.State != want || len(after.History) != len(before.History)+1 {
				t.Errorf("%s %s: %+v, %v; want %s", state, tr, r.Record, err, want)
				continue
			}
			if h := after.History[0]; h.Action != string(tr) || h.From != state || h.To != want || h.By != "ann" {
				t.Errorf("history %+v", h)
			}
		}
	}
}

func TestStateInADefinitionIsOneTransition(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	src := func(state State) Source { return yamlAPI("a", "1", "/a", openTicks+"  state: "+string(state)+"\n") }
	_, err := m.Create(t.Context(), ann, src(StateBlocked))
	wantKind(t, err, TransitionNotAllowed)
	must(t)(m.Create(t.Context(), ann, src(StatePublished)))
	r := must(t)(m.Update(t.Context(), ann, "a@1", src(StateBlocked)))
	if r.Record.API.Spec.State != StateBlocked || len(r.Impact.StreamsEnded) != 1 || r.Impact.StreamsEnded[0].Reason != EndAPIBlocked {
		t.Errorf("%+v", r)
	}
	_, err = m.Update(t.Context(), ann, "a@1", src(StateRetired))
	wantKind(t, err, TransitionNotAllowed)
	must(t)(m.Update(t.Context(), ann, "a@1", src(StateDeprecated)))
	must(t)(m.Update(t.Context(), ann, "a@1", src(StateRetired)))
	_, err = m.Update(t.Context(), ann, "a@1", yamlAPI("a", "1", "/a", "  topics: [{name: /other, security: none}]\n"))
	wantKind(t, err, APIRetired)
}

func TestNotPublishableHasTheWholeList(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	src := Source{Name: "a.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec: {context: /a, version: '1', topics: []}\n")}
	must(t)(m.Create(t.Context(), ann, src))
	must(t)(m.AddTopic(t.Context(), ann, "a@1", Source{Name: "t.yaml", Data: []byte("name: /x\n")}))
	_, err := m.Lifecycle(t.Context(), ann, "a@1", Publish, LifecycleOptions{})
	wantKind(t, err, NotPublishable)
	var p *problem.Error
	if !errors.As(err, &p) || len(p.Errors) != 2 || p.Errors[0].Pointer != "/spec/endpoint" || p.Errors[1].Pointer != "/spec/plans" {
		t.Errorf("errors %+v", p)
	}
	list, err := m.Checklist("a@1")
	if err != nil || len(list) != 4 || list[0].OK || !list[1].OK || !list[2].OK || list[3].OK {
		t.Errorf("checklist %+v, %v", list, err)
	}
	must(t)(m.DeleteTopic(t.Context(), ann, "a@1", "/x"))
	_, err = m.Lifecycle(t.Context(), ann, "a@1", Prototype, LifecycleOptions{})
	wantKind(t, err, NotPublishable)
	if errors.As(err, &p); len(p.Errors) != 2 || p.Errors[1].Pointer != "/spec/topics" {
		t.Errorf("errors %+v", p.Errors)
	}
}

// Of equal creates on two nodes exactly one is made, whichever was first; the others conflict.
func TestParallelCreates(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	ms := []*Manager{startManager(t, n).loadedOrFail(t), startManager(t, n.Peer()).loadedOrFail(t)}
	for name, source := range map[string]func(i int) Source{
		"same":    func(int) Source { return yamlAPI("same", "1", "/same", openTicks) },
		"context": func(i int) Source { return yamlAPI(fmt.Sprintf("name%d", i), "1", "/taken", openTicks) },
	} {
		kinds := make([]problem.Kind, 20)
		var wg sync.WaitGroup
		for i := range kinds {
			wg.Go(func() {
				_, err := ms[i%2].Create(t.Context(), ann, source(i))
				if err != nil {
					kinds[i] = problem.KindOf(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(kinds)
		want := VersionConflict
		if name == "context" {
			want = ContextConflict
		}
		if kinds[0] != "" || kinds[1] != want || kinds[19] != want {
			t.Errorf("%s: %v, want one success and 19 %s", name, kinds, want)
		}
	}
	for _, m := range ms {
		await(t, func() bool { return len(m.List()) == 2 })
	}
}

func TestExpectedRevision(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	a, b := startManager(t, n).loadedOrFail(t), startManager(t, n.Peer()).loadedOrFail(t)
	one := must(t)(a.Create(t.Context(), ann, yamlAPI("x", "1", "/x", openTicks))).Record.Rev
	put := func(m *Manager, rev uint64, topic string) (Result, error) {
		return m.Update(t.Context(), Write{By: ann.By, Expect: rev}, "x@1", yamlAPI("x", "1", "/x", "  topics: [{name: "+topic+", security: none}]\n"))
	}
	two := must(t)(put(b, one, "/two")).Record.Rev // b may not have seen it yet
	_, err := put(a, one, "/three")
	wantKind(t, err, VersionMismatch)
	three := must(t)(put(a, two, "/three")).Record.Rev
	if !(one < two && two < three) {
		t.Errorf("revisions %d, %d, %d", one, two, three)
	}
	// Of many with the same expectation one gets through.
	var mu sync.Mutex
	var made, refused int
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			_, err := put([]*Manager{a, b}[i%2], three, fmt.Sprintf("/n%d", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case problem.KindOf(err) == VersionMismatch:
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 || refused != 9 {
		t.Errorf("%d made, %d refused", made, refused)
	}
}

func TestFamiliesAndDefault(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	must(t)(m.Create(t.Context(), ann, yamlAPI("fam", "1.0", "/fam", openTicks+"  default: true\n  state: PUBLISHED\n")))
	for _, c := range []struct {
		src  Source
		kind problem.Kind
	}{
		{yamlAPI("fam", "1.0", "/fam", openTicks), VersionConflict},
		{yamlAPI("FAM", "1.0", "/fam", openTicks), VersionConflict},
		{yamlAPI("fam", "2.0", "/other", openTicks), ContextDiffers},
		{yamlAPI("other", "1.0", "/FAM/1.0", openTicks), ContextConflict},
		{yamlAPI("other", "1.0", "/fam", openTicks), ContextConflict},
		{yamlAPI("fam", "ticks", "/fam", openTicks), TopicConflict}, // the default version has a topic /ticks
	} {
		_, err := m.Create(t.Context(), ann, c.src)
		wantKind(t, err, c.kind)
	}
	r := must(t)(m.Copy(t.Context(), ann, "fam@1.0", "2.0", false))
	if r.Record.API.Spec.State != StateCreated || r.Record.API.Spec.Default || r.Record.History[0].Action != "copy" {
		t.Errorf("copy %+v", r.Record)
	}
	_, err := m.Copy(t.Context(), ann, "fam@1.0", "2.0", false)
	wantKind(t, err, VersionConflict)
	_, err = m.Copy(t.Context(), ann, "fam@1.0", "../1", false)
	wantKind(t, err, "invalid-version")
	must(t)(m.Lifecycle(t.Context(), ann, "fam@2.0", Publish, LifecycleOptions{DeprecateOlder: true}))
	if rec, _ := m.Get("fam@1.0"); rec.API.Spec.State != StateDeprecated {
		t.Errorf("older version is %s", rec.API.Spec.State)
	}
	by := func(path string) string {
		route, err := m.Snapshot().Match(path, "")
		if err != nil {
			return err.Error()
		}
		return route.API.Version()
	}
	if got := by("/fam/ticks"); got != "1.0" {
		t.Errorf("default answers %s", got)
	}
	must(t)(m.SetDefault(t.Context(), ann, "fam", "2.0", false))
	if got := by("/fam/ticks"); got != "2.0" || !m.Snapshot().KeepsClients("fam", "1.0") {
		t.Errorf("default answers %s", got)
	}
	if f, err := m.Family("FAM"); err != nil || f.DefaultVersion != "2.0" || len(f.Versions) != 2 || f.Context != "/fam" {
		t.Errorf("family %+v, %v", f, err)
	}
	must(t)(m.SetDefault(t.Context(), ann, "fam", "1.0", true))
	if m.Snapshot().KeepsClients("fam", "2.0") || m.Snapshot().KeepsClients("fam", "1.0") {
		t.Error("clients stay although they are to move")
	}
	must(t)(m.SetDefault(t.Context(), ann, "fam", "", true))
	if got := by("/fam/ticks"); got != string(problem.NoSuchAPI) {
		t.Errorf("without default: %s", got)
	}
	_, err = m.SetDefault(t.Context(), ann, "fam", "9", false)
	wantKind(t, err, problem.NotFound)
	a := m.Availability("fam", "/fam", "2.0")
	if a.Name.Status != "taken" || a.Version.Status != "taken" || a.BasePath != "/fam/2.0" {
		t.Errorf("availability %+v", a)
	}
	if a = m.Availability("new", "/fam", "1.0"); a.Name.Status != "free" || a.Context.Status != "taken" {
		t.Errorf("availability %+v", a)
	}
	if a = m.Availability("", "/api", ""); a.Context.Status != "invalid" {
		t.Errorf("availability %+v", a)
	}
}

func TestRevisionsAndDeployments(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t), func(o *ManagerOptions) { o.MaxRevisions = 3 }).loadedOrFail(t)
	id := "r@1"
	put := func(more string) Result {
		return must(t)(m.Update(t.Context(), ann, id, yamlAPI("r", "1", "/r", more)))
	}
	must(t)(m.Create(t.Context(), ann, yamlAPI("r", "1", "/r", openTicks+"  state: PUBLISHED\n")))
	r := put("  topics: [{name: /ticks, security: none}, {name: /b, security: none}]\n")
	if r.Revision != 2 || r.Record.Deployments["default"] != 2 || len(r.Impact.StreamsEnded) != 0 || len(r.Diff) != 1 || r.Diff[0].Pointer != "/spec/topics/~1b" {
		t.Errorf("update of a live API: %+v", r)
	}
	// A dry run tells the same and does nothing.
	dry, err := m.DeleteTopic(t.Context(), Write{By: ann.By, DryRun: true}, id, "/b")
	if err != nil || len(dry.Impact.StreamsEnded) != 1 || dry.Impact.StreamsEnded[0] != (Ended{Topic: "/b", Reason: EndTopicDeleted}) || !dry.Changed {
		t.Errorf("dry run %+v, %v", dry, err)
	}
	if rec, _ := m.Get(id); rec.Rev != r.Record.Rev {
		t.Error("a dry run wrote")
	}
	_, err = m.DeleteRevision(t.Context(), ann, id, 2)
	wantKind(t, err, RevisionDeployed)
	r = must(t)(m.Restore(t.Context(), ann, id, 1))
	if len(r.Record.API.Spec.Topics) != 1 || r.Record.API.Spec.State != StatePublished || r.Record.History[0].Action != "restore" {
		t.Errorf("restored %+v", r.Record.API.Spec)
	}
	if _, err := m.Snapshot().Match("/r/1/b", ""); !errors.Is(err, problem.NoSuchTopic) {
		t.Errorf("restored, but served: %v", err)
	}
	// Manual: changes wait for revisions and deployments.
	put("  topics: [{name: /ticks, security: none}]\n  deploy: manual\n")
	put("  topics: [{name: /ticks, security: none}, {name: /c, security: none}]\n  deploy: manual\n")
	if _, err := m.Snapshot().Match("/r/1/c", ""); !errors.Is(err, problem.NoSuchTopic) {
		t.Errorf("served without being deployed: %v", err)
	}
	cut := must(t)(m.Cut(t.Context(), ann, id, "with c")).Revision
	must(t)(m.Deploy(t.Context(), ann, id, map[string]int{"default": m.deployed(id, "default"), "eu": cut}))
	match := func(s Store, path string) error { _, err := s.Snapshot().Match(path, ""); return err }
	if err := match(m.Group("eu"), "/r/1/c"); err != nil {
		t.Errorf("eu: %v", err)
	}
	if err := match(m.Group("default"), "/r/1/c"); !errors.Is(err, problem.NoSuchTopic) {
		t.Errorf("default: %v", err)
	}
	if err := match(m, "/r/1/c"); err != nil {
		t.Errorf("ingest: %v", err)
	}
	rev, err := m.Revision(id, cut)
	if err != nil || rev.Description != "with c" || !slices.Equal(rev.Groups, []string{"eu"}) || len(rev.API.Spec.Topics) != 2 {
		t.Errorf("revision %+v, %v", rev, err)
	}
	// Another upstream for one topic in one group only.
	must(t)(m.Update(t.Context(), ann, id, Source{Name: "x.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: r}\n" +
		"spec: {context: /r, version: '1', endpoint: 'http://127.0.0.1:9', deploy: manual}\n")}))
	_, err = m.Cut(t.Context(), ann, id, "")
	for _, n := range m.removable(id) {
		if problem.KindOf(err) != RevisionLimit {
			break
		}
		must(t)(m.DeleteRevision(t.Context(), ann, id, n))
		_, err = m.Cut(t.Context(), ann, id, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := m.Get(id)
	newest := rec.Revisions[len(rec.Revisions)-1].N
	_, err = m.Deploy(t.Context(), ann, id, map[string]int{"default": newest, "eu": cut})
	wantKind(t, err, MappingDiffers)
	_, err = m.Deploy(t.Context(), ann, id, map[string]int{"default": 99})
	wantKind(t, err, problem.NotFound)
	_, err = m.Deploy(t.Context(), ann, id, map[string]int{"NO": newest})
	wantKind(t, err, InvalidValue)
	r = must(t)(m.Deploy(t.Context(), ann, id, map[string]int{"eu": cut}))
	if len(r.Impact.StreamsEnded) != 1 || r.Impact.StreamsEnded[0].Reason != EndUndeployed || m.Group("default").Snapshot().Absent("r", "1") != EndUndeployed {
		t.Errorf("undeployed: %+v", r.Impact)
	}
	diff, err := m.DiffRevision(id, 0, cut)
	if err != nil || !slices.ContainsFunc(diff, func(c Change) bool { return c.Pointer == "/spec/endpoint" && c.Op == "replace" }) {
		t.Errorf("diff %+v, %v", diff, err)
	}
}

func (m *Manager) deployed(id, group string) int {
	rec, _ := m.Get(id)
	return rec.Deployments[group]
}

// removable lists the revisions that nobody serves.
func (m *Manager) removable(id string) []int {
	var out []int
	rec, _ := m.Get(id)
	for _, r := range rec.Revisions {
		if !slices.Contains([]int{rec.Deployments["default"], rec.Deployments["eu"]}, r.N) {
			out = append(out, r.N)
		}
	}
	return out
}
