package catalog

import (
	"encoding/json"
	"slices"
	"testing"

	"sluice/config"
	"sluice/internal/broker/brokertest"
)

// The status of a record names where clients reach what is deployed, while it is.
func TestStatusNamesTheURLs(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t), func(o *ManagerOptions) {
		o.Options.Public = []config.PublicURL{{URL: "http://e.example.com"}, {Group: "eu", URL: "https://eu.example.com/sse"}, {Group: "us", URL: "https://us.example.com"}}
	}).loadedOrFail(t)
	look := func(r Result, want ...string) {
		t.Helper()
		var shown struct{ Status struct{ URLs []string } }
		if err := json.Unmarshal(r.Record.Definition, &shown); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(shown.Status.URLs, want) {
			t.Errorf("urls %v, want %v", shown.Status.URLs, want)
		}
	}
	look(must(t)(m.Create(t.Context(), ann, yamlAPI("a", "1", "/{version}/a", openTicks+"  edgeGroups: [default, eu]\n"))))
	both := []string{"http://e.example.com/1/a", "https://eu.example.com/sse/1/a"}
	look(must(t)(m.Lifecycle(t.Context(), ann, "a@1", Publish, LifecycleOptions{})), both...)
	look(must(t)(m.SetDefault(t.Context(), ann, "a", "1", false)), append(both, "http://e.example.com/a", "https://eu.example.com/sse/a")...)
	look(must(t)(m.Deploy(t.Context(), ann, "a@1", map[string]int{"default": 1})), "http://e.example.com/1/a", "http://e.example.com/a")
	look(must(t)(m.Lifecycle(t.Context(), ann, "a@1", Demote, LifecycleOptions{})))
}

// Topics that a change takes out of service are remembered with the time, until they are back.
func TestGoneTopicsAreRemembered(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.NewMemory(t)).loadedOrFail(t)
	topics := func(names ...string) Source {
		text := "  state: PUBLISHED\n  topics:\n"
		for _, n := range names {
			text += "    - {name: '" + n + "', security: none}\n"
		}
		return yamlAPI("a", "1", "/a", text)
	}
	must(t)(m.Create(t.Context(), ann, topics("/a", "/b", "/c")))
	r := must(t)(m.Update(t.Context(), ann, "a@1", topics("/a", "/x")))
	if len(r.Record.Gone) != 2 || !r.Record.Gone["/b"].Equal(r.Record.UpdatedAt) || r.Record.Gone["/c"].IsZero() {
		t.Errorf("gone %v", r.Record.Gone)
	}
	since := r.Record.Gone["/c"]
	r = must(t)(m.Update(t.Context(), ann, "a@1", topics("/a", "/b")))
	if len(r.Record.Gone) != 2 || !r.Record.Gone["/c"].Equal(since) || r.Record.Gone["/x"].IsZero() {
		t.Errorf("gone %v", r.Record.Gone)
	}
	if _, due := r.Record.Past(since); due {
		t.Error("past before its time")
	}
	past, due := r.Record.Past(since.Add(1))
	if !due || past.Whole || !past.Has("/c") || past.Has("/x") || past.Has("/a") || past.Has("/c/d") {
		t.Errorf("past %v, %v", past, due)
	}
}
