package catalog

import (
	"os"
	"strings"
	"testing"

	"sluice/internal/doc"
)

// A definition written out is read back as the same API, and says nothing that goes without saying.
func TestDefinitionIsReadBack(t *testing.T) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"full": string(full), "bare": one("", ""), "named": one("displayName: a", "topics: [{name: /t, params: {}}]")} {
		apis, _, err := ReadSource(Source{Name: name, Data: []byte(text)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree, err := apis[0].Definition()
		if err != nil {
			t.Fatal(err)
		}
		written, err := doc.WriteYAML(tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, silent := range []string{"displayName: a\n", "protocol:", "-1ns", "type: sub", "status", "contentType: application/json", "{}"} {
			if strings.Contains(string(written), silent) {
				t.Errorf("%s: says %q:\n%s", name, silent, written)
			}
		}
		again, _, err := ReadSource(Source{Name: name, Data: written}, Options{})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, written)
		}
		direct, err := ReadDefinition(name, tree)
		if err != nil {
			t.Fatal(err)
		}
		want, err := doc.Marshal(named(apis[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, api := range []*API{again[0], direct} {
			if got, _ := doc.Marshal(named(api)); string(got) != string(want) {
				t.Errorf("%s:\n%s\nis read back as\n%s", name, want, got)
			}
		}
		if text, _ := doc.WriteYAML(tree); string(text) != string(written) {
			t.Errorf("%s: two texts of one tree", name)
		}
	}
}

// named takes out what means the same written or not.
func named(a *API) *API {
	out := *a
	if out.Metadata.DisplayName == out.Metadata.Name {
		out.Metadata.DisplayName = ""
	}
	out.Spec.Topics = append([]Topic(nil), a.Spec.Topics...)
	for i := range out.Spec.Topics {
		if len(out.Spec.Topics[i].Params) == 0 {
			out.Spec.Topics[i].Params = nil
		}
	}
	return &out
}

func TestExamineSaysWhatIsWrong(t *testing.T) {
	a := Blank()
	a.Metadata.Name, a.Spec.Version, a.Spec.Context, a.Spec.Endpoint = "a", "1", "x/", "ftp://h"
	var topic Topic
	topic.SetDefaults()
	topic.Name = "/{a}"
	topic.Backend = "/b"
	a.Spec.Topics = []Topic{topic}
	errs, warnings := a.Examine(Options{})
	if len(errs) != 1 || errs[0].Type != "endpoint-scheme" || errs[0].Pointer != "/spec/endpoint" {
		t.Errorf("errors %v", errs)
	}
	if len(warnings) != 1 || warnings[0].Type != "unused-param" || a.Spec.Context != "/x" {
		t.Errorf("warnings %v, context %s", warnings, a.Spec.Context)
	}
}

func TestReadSourceTellsEveryMistake(t *testing.T) {
	text := one("", "context: /api") + "---\n" + one("name: 'b c'", "")
	_, _, err := ReadSource(Source{Name: "x.yaml", Data: []byte(text)}, Options{})
	if err == nil || !strings.Contains(err.Error(), "/spec/context") || !strings.Contains(err.Error(), "/metadata/name") {
		t.Errorf("%v", err)
	}
}
