package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"sluice/internal/broker/brokertest"
)

// Whatever changes, one after the other or much at once, a snapshot is the one that is made of everything anew.
func TestSuccessorsAreAsMadeAnew(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	root := Write{By: Actor{Name: "root", Admin: true}}
	states := []State{StateCreated, StatePublished, StatePrototyped}
	for i := range 80 {
		name, version := fmt.Sprintf("n%d", r.IntN(6)), fmt.Sprint(r.IntN(3))
		if r.IntN(8) == 0 {
			name = "N" + name[1:] // the same in the catalog
		}
		id := name + "@" + version
		var err error
		switch r.IntN(7) {
		case 0, 1:
			_, err = m.Create(t.Context(), root, yamlAPI(name, version, "/"+name+[]string{"", "/{version}", "/sub"}[r.IntN(3)], openTicks+
				"  state: "+string(states[r.IntN(3)])+"\n  edgeGroups: ["+[]string{"default", "eu", "default, eu"}[r.IntN(3)]+"]\n"))
		case 2:
			_, err = m.Delete(t.Context(), root, id, true)
		case 3:
			_, err = m.SetDefault(t.Context(), root, name, []string{"", version}[r.IntN(2)], r.IntN(2) == 0)
		case 4:
			all := []Transition{Publish, Prototype, Demote, Block, Republish, Deprecate, Retire}
			_, err = m.Lifecycle(t.Context(), root, id, all[r.IntN(len(all))], LifecycleOptions{})
		case 5:
			_, err = m.AddTopic(t.Context(), root, id, Source{Name: "t.json", Data: fmt.Appendf(nil, `{"name":"/t%d","security":"none"}`, i)})
		case 6:
			_, err = m.Deploy(t.Context(), root, id, []map[string]int{{}, {"default": 1}, {"eu": 1}, {"eu": 1, "default": 1}}[r.IntN(4)])
		}
		if err != nil {
			continue // not possible now
		}
		sameAsAnew(t, m)
	}
	if len(m.List()) == 0 {
		t.Error("nothing was made")
	}
}

// sameAsAnew compares each view of a manager with one that is made of nothing.
func sameAsAnew(t *testing.T, m *Manager) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for group, v := range m.views {
		anew := &view{group: group}
		anew.rebuild(m.seen, m.opt.Options, map[string]*record{}, func(key string, err error) { t.Errorf("%s: %v", key, err) })
		is, want := v.Snapshot(), anew.Snapshot()
		if !slices.EqualFunc(is.apis, want.apis, func(a, b *API) bool { return a.ID() == b.ID() }) ||
			!maps.EqualFunc(is.records, want.records, func(a, b *record) bool { return a.sum == b.sum }) ||
			!maps.Equal(is.absent, want.absent) || !maps.Equal(is.keeps, want.keeps) {
			t.Fatalf("group %q: %v, absent %v, keeps %v; anew %v, %v, %v", group, ids(is), is.absent, is.keeps, ids(want), want.absent, want.keeps)
		}
		for _, a := range is.apis {
			if is.records[apiKey(a.Name(), a.Version())].api != a {
				t.Fatalf("group %q lists another %s than it serves", group, a.ID())
			}
		}
		if got, want := bases("", &is.bases), bases("", &want.bases); !slices.Equal(got, want) {
			t.Fatalf("group %q routes %v, anew %v", group, got, want)
		}
	}
}

// bases lists all base paths with what they lead to, sorted.
func bases(at string, n *baseNode) (out []string) {
	if n.entry != nil {
		out = append(out, fmt.Sprint(at, " ", n.entry.rec.api.ID(), " ", n.entry.byDefault))
	}
	if n.entry == nil && len(n.next) == 0 && at != "" {
		out = append(out, at+" leads nowhere")
	}
	for _, seg := range slices.Sorted(maps.Keys(n.next)) {
		out = append(out, bases(at+"/"+seg, n.next[seg])...)
	}
	return out
}
