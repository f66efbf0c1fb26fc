package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/config"
)

const examplesDir = "../../deploy/examples/apis"

func TestShippedExamplesLoadWithoutWarningTogetherAndAlone(t *testing.T) {
	st, err := OpenDir(examplesDir, OptionsFrom(config.Default()))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range st.Snapshot().Warnings() {
		t.Errorf("warning: %v", w)
	}
	files, err := filepath.Glob(filepath.Join(examplesDir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewStatic(OptionsFrom(config.Default()), Source{f, data}); err != nil {
			t.Errorf("%s alone: %v", f, err)
		}
	}
}

func TestDemoAPIAnswersWhereTheReadmeSays(t *testing.T) {
	st, err := OpenDir(examplesDir, OptionsFrom(config.Default()))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range []string{"/market/1.0.0/ticks", "/market/1.0.0/quotes/ACME", "/orders/1.0.0/events", "/orders/1.0.0/customers/7"} {
		r, err := st.Snapshot().Match(p, "kind=paid&other=1")
		if err != nil || r.Topic.Security != SecurityNone || !r.API.Spec.State.Served() {
			t.Errorf("%s: %v, %+v", p, err, r.Topic)
			continue
		}
		got[p] = r.Upstream
	}
	want := map[string]string{
		"/market/1.0.0/ticks":       "http://127.0.0.1:8090/stream/ticks",
		"/market/1.0.0/quotes/ACME": "http://127.0.0.1:8090/stream/quotes?s=ACME",
		"/orders/1.0.0/events":      "http://127.0.0.1:9000/api/events/stream",
		"/orders/1.0.0/customers/7": "http://127.0.0.1:9000/api/customers/7/stream?kind=paid",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if on := st.Snapshot().AlwaysOn(); len(on) != 2 || on[0].FeedPath != "/ticks" || on[1].FeedPath != "/events" {
		t.Errorf("always on: %+v", on)
	}
}
