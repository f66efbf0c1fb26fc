package catalog

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/latest"
)

// shown writes changes as a line: what is, or what went.
func shown(list []Mutation) string {
	var out []string
	for _, c := range list {
		switch {
		case c.Record != nil:
			out = append(out, "+"+c.Record.ID())
		case c.Before != nil:
			out = append(out, "-"+c.Before.ID)
		default:
			out = append(out, "?")
		}
	}
	return strings.Join(out, " ")
}

// TestChangesSince compares what two nodes tell of changes: one that saw them happen, and one that came later.
func TestChangesSince(t *testing.T) {
	t.Parallel()
	n := brokertest.Start(t)
	m := startManager(t, n).loadedOrFail(t)
	for _, name := range []string{"a", "b", "c"} {
		must(t)(m.Create(t.Context(), ann, yamlAPI(name, "1", "/"+name, "")))
	}
	moved, start := m.Moved(), m.Rev()
	if list, until := m.ChangesSince(0); shown(list) != "+a@1 +b@1 +c@1" || until != start {
		t.Errorf("from the beginning: %s until %d, not %d", shown(list), until, start)
	}
	if list, _ := m.ChangesSince(start); len(list) != 0 {
		t.Errorf("nothing happened: %s", shown(list))
	}
	must(t)(m.Update(t.Context(), ann, "b@1", yamlAPI("b", "1", "/b", "  visibility: private\n")))
	select {
	case <-moved:
	default:
		t.Error("a change moves nothing")
	}
	must(t)(m.Delete(t.Context(), ann, "a@1", false))
	must(t)(m.Create(t.Context(), ann, yamlAPI("d", "1", "/d", "")))
	must(t)(m.Update(t.Context(), ann, "b@1", yamlAPI("b", "1", "/b", "  visibility: private\n  client: {retry: 5s}\n")))

	list, until := m.ChangesSince(start)
	if shown(list) != "-a@1 +d@1 +b@1" || until != m.Rev() {
		t.Fatalf("%s until %d of %d", shown(list), until, m.Rev())
	}
	for _, c := range list {
		switch {
		case !c.Known:
			t.Errorf("%+v is not known", c)
		case c.Record != nil && c.Record.ID() == "d@1" && c.Before != nil, c.Record != nil && c.Record.ID() == "b@1" && (c.Before == nil || c.Before.Visibility != VisibilityPublic):
			t.Errorf("before: %+v", c.Before)
		}
	}
	later := startManager(t, n).loadedOrFail(t)
	if list, _ := later.ChangesSince(start); shown(list) != "? +d@1 +b@1" || list[0].Known || list[1].Known {
		t.Errorf("a node that came later tells %s", shown(list))
	}
	if list, _ := later.ChangesSince(0); shown(list) != "+c@1 +d@1 +b@1" || !list[0].Known {
		t.Errorf("from the beginning: %s", shown(list))
	}
	if list, until := later.ChangesSince(until + 5); len(list) != 0 || until != m.Rev() {
		t.Errorf("of a reader who has seen more: %s until %d", shown(list), until)
	}
}

// TestWhatIsRemembered follows more changes than are kept: those that were forgotten are found by comparing, none is told wrong.
func TestWhatIsRemembered(t *testing.T) {
	t.Parallel()
	m := NewManager(ManagerOptions{})
	api := newAPI()
	api.APIVersion, api.Kind = APIVersion, KindAPI
	api.Metadata.Name, api.Spec.Context, api.Spec.Version = "x", "/x", "1"
	text, err := definitionOf(api)
	if err != nil {
		t.Fatal(err)
	}
	value := fmt.Appendf(nil, `{"schema":1,"uid":"u","state":"CREATED","next":1,"definition":%s}`, text)
	rev := uint64(0)
	step := func(e broker.Entry) {
		rev++
		e.Revision = rev
		m.apply([]broker.Entry{e})
	}
	for i := range latest.Kept + 100 {
		step(broker.Entry{Key: apiPrefix + apiToken("x", "1"), Value: value, Deleted: i%2 == 1})
	}
	if m.recent.Len() != latest.Kept || len(m.gone) != 1 {
		t.Errorf("%d changes and %d faces are remembered", m.recent.Len(), len(m.gone))
	}
	for _, from := range []uint64{0, 50, m.recent.Floor() - 1, m.recent.Floor(), m.recent.Floor() + 1, rev - 1} {
		want := "-x@1"
		if from == m.recent.Floor() || from == 0 { // it was not there then, nor is it now
			want = ""
		}
		if list, until := m.ChangesSince(from); shown(list) != want || until != rev || want != "" && list[0].Rev != rev {
			t.Errorf("since %d: %q until %d", from, shown(list), until)
		}
	}
	step(broker.Entry{Key: apiPrefix + apiToken("y", "1"), Value: []byte("nonsense")})
	if got := m.Behind("default"); len(got) != 1 || got[0] != apiToken("y", "1") {
		t.Errorf("behind: %v", got)
	}
}
