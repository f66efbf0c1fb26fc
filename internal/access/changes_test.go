package access

import (
	"fmt"
	"slices"
	"testing"

	"sluice/internal/broker/brokertest"
)

// told is what a reader is told after a revision: kind of change, record and owner before.
func told(t *testing.T, s *Store, rev uint64) (list []string, until uint64) {
	t.Helper()
	changes, until, ok := s.ChangesSince(rev)
	if !ok {
		return []string{"reset"}, until
	}
	last := uint64(0)
	for _, c := range changes {
		if c.Rev <= last || c.Rev > until {
			t.Errorf("revision %d after %d, all until %d", c.Rev, last, until)
		}
		last = c.Rev
		what := "changed"
		record := c.Record
		switch {
		case c.Record == nil:
			what, record = "deleted", c.Before
		case c.Before == nil:
			what = "new"
		}
		name := ""
		switch r := record.(type) {
		case *Plan:
			name = "plan " + r.Name
		case *Application:
			name = "app " + r.Name
		case *Grant:
			name = "grant " + r.API
		case *Key:
			name = "key " + r.Name
		}
		list = append(list, fmt.Sprintf("%s %s %s", what, name, c.Owner))
	}
	return list, until
}

func TestChangesSince(t *testing.T) {
	t.Parallel()
	n := brokertest.NewMemory(t)
	s, _ := start(t, n)
	r := &rig{seeded(t, s), t, must[*Application](t)(s.CreateApplication(t.Context(), ann, Application{Name: "shop", Owner: "ann"}))}
	ctx := t.Context()
	want := func(rev uint64, want ...string) uint64 {
		t.Helper()
		got, until := told(t, r.Store, rev)
		if !slices.Equal(got, want) {
			t.Errorf("since %d: %q, want %q", rev, got, want)
		}
		return until
	}
	begin := want(r.Status().Access)
	must[*Plan](t)(r.CreatePlan(ctx, ann, Plan{Name: "Trial"}))
	first := want(begin, "new plan Trial ")
	g := r.grant("market")
	k, _, err := r.CreateKey(ctx, ann, Key{Application: r.app.ID, Name: "desk"})
	noError(t, err)
	want(first, "new grant market ", "new key desk ")
	g.State = SubBlocked
	must[*Grant](t)(r.UpdateGrant(ctx, ann, *g))
	noError(t, r.DeleteKey(ctx, Write{}, k.ID))
	second := want(begin, "new plan Trial ", "new grant market ") // of each how it is now; what came and went is nothing
	must[*Application](t)(r.UpdateApplication(ctx, ann, Application{ID: r.app.ID, Name: "shop", Owner: "kim", State: AppActive}))
	noError(t, r.DeleteApplication(ctx, Write{}, r.app.ID))
	want(second, "deleted grant market kim", "deleted app shop ")
	want(begin, "new plan Trial ", "deleted app shop ")
	late, _ := start(t, n.Peer())
	if got, _ := told(t, seeded(t, late), 1); !slices.Equal(got, []string{"reset"}) { // nobody remembers what was before this node began
		t.Errorf("long ago: %q", got)
	}
	if all, _ := told(t, r.Store, 0); !slices.Contains(all, "new plan AsyncGold ") || !slices.Contains(all, "new plan Trial ") || len(all) != 5 {
		t.Errorf("all: %q", all)
	}
}
