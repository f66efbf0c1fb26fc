package asyncapi

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixtures are the APIs of testdata/apis.yaml, as written.
func fixtures(t testing.TB) []*catalog.API {
	t.Helper()
	data, err := os.ReadFile("testdata/apis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apis, _, err := catalog.ReadSource(catalog.Source{Name: "apis.yaml", Data: data}, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(apis) < 20 {
		t.Fatalf("%d fixtures", len(apis))
	}
	return apis
}

// variants are the options of every kind of document.
func variants() []ExportOptions {
	servers := []Server{{"", "https://edge.example.com"}, {"west", "http://west.example.com:8080/pre/"}, {"west", "https://west.example.com"}}
	const token = "https://id.example.com/token"
	return []ExportOptions{
		{Version: "3.1.0", Profile: ProfilePublic, Servers: servers},
		{Version: "2.6.0", Profile: ProfilePublic, Servers: servers, TokenURL: token},
		{Version: "3.1.0", Profile: ProfileInternal, TokenURL: token},
		{Version: "2.6.0", Profile: ProfileInternal, Servers: servers},
		{Version: "2.6.0", Profile: ProfileWSO2, Servers: servers},
		{Version: "3.0.0", Profile: ProfileWSO2, TokenURL: token},
	}
}

func export(t testing.TB, api *catalog.API, o ExportOptions) *Document {
	t.Helper()
	d, err := Export(api, o)
	if err != nil {
		t.Fatalf("%s, %+v: %v", api.ID(), o, err)
	}
	return d
}

func yamlOf(t testing.TB, d *Document) []byte {
	t.Helper()
	text, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func jsonOf(t testing.TB, d *Document) []byte {
	t.Helper()
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// definition is the canonical form of an API: equal for APIs that mean the same.
func definition(t testing.TB, api *catalog.API) string {
	t.Helper()
	tree, err := api.Definition()
	if err != nil {
		t.Fatal(err)
	}
	text, err := doc.WriteYAML(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGoldenExports(t *testing.T) {
	for _, api := range fixtures(t) {
		var b bytes.Buffer
		for i, o := range variants() {
			d := export(t, api, o)
			text := yamlOf(t, d)
			if i == 1 {
				text = jsonOf(t, d)
			}
			fmt.Fprintf(&b, "=== %s %s\n%s", o.Profile, o.Version, text)
		}
		file := filepath.Join("testdata/golden", api.Name()+"-"+api.Version()+".txt")
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (go test -update writes it anew): %s", file, diff)
		}
	}
}

func TestExportsAreValidAndSayTheSameTwice(t *testing.T) {
	for _, api := range fixtures(t) {
		for _, o := range append(variants(), ExportOptions{Profile: ProfileInternal, Endpoint: true}) {
			d := export(t, api, o)
			if len(d.Warnings) > 0 {
				t.Errorf("%s, %s %s: %v", api.ID(), o.Profile, o.Version, d.Warnings)
			}
			for _, text := range [][]byte{jsonOf(t, d), yamlOf(t, d)} {
				if report := Check("", text); len(report) > 0 {
					t.Errorf("%s, %s %s: %v\n%s", api.ID(), o.Profile, o.Version, report, text)
				}
			}
			if again := export(t, api, o); !bytes.Equal(yamlOf(t, d), yamlOf(t, again)) || !bytes.Equal(jsonOf(t, d), jsonOf(t, again)) {
				t.Errorf("%s, %s %s: two exports differ", api.ID(), o.Profile, o.Version)
			}
		}
	}
}

// No document names the backend's host or a secret unless the endpoint is asked for; a public one has no backend path and no owner either.
func TestNoExportHoldsTheUpstreamsHost(t *testing.T) {
	for _, api := range fixtures(t) {
		full := definition(t, api)
		api.Metadata.Owner = "canary-owner"
		for _, o := range variants() {
			text := string(yamlOf(t, export(t, api, o)))
			if strings.Contains(text, "canary.example") || strings.Contains(text, "canary-client") || strings.Contains(text, "canary-c") {
				t.Errorf("%s, %s %s names the upstream:\n%s", api.ID(), o.Profile, o.Version, text)
			}
			if o.Profile == ProfilePublic && strings.Contains(text, "canary") {
				t.Errorf("%s, %s tells what only owners may know:\n%s", api.ID(), o.Version, text)
			}
		}
		if strings.Contains(full, "http://canary.example") {
			told := string(yamlOf(t, export(t, api, ExportOptions{Profile: ProfileInternal, Endpoint: true})))
			if !strings.Contains(told, "http://canary.example") {
				t.Errorf("%s: the canary is dead: a document with the endpoint lacks it", api.ID())
			}
		}
	}
}

func TestExportRefusesOptionsThatDoNotFit(t *testing.T) {
	api := fixtures(t)[0]
	for _, o := range []ExportOptions{{Version: "2.0.0"}, {Version: "3.0.0"}, {Version: "3.1.0", Profile: ProfileWSO2}, {Profile: "secret"},
		{Endpoint: true}, {Profile: ProfileWSO2, Endpoint: true}, {Version: "latest"}} {
		if d, err := Export(api, o); err == nil {
			t.Errorf("%+v gives version %s", o, d.Version)
		}
	}
}

// What a definition holds and no reader of AsyncAPI would take is left out, and told.
func TestExportLeavesOutWhatNoReaderTakes(t *testing.T) {
	api := fixtures(t)[0]
	api.AsyncAPI = &catalog.AsyncAPI{
		Info: map[string]any{"contact": "me", "license": map[string]any{}, "termsOfService": "no url", "colour": "red", "x-ok": true},
		Schemas: map[string]any{"Good": map[string]any{}, "Bad": map[string]any{"type": "thing"}, "a b": map[string]any{},
			"ViaBad": map[string]any{"$ref": "#/components/schemas/Bad"}},
	}
	api.Spec.Topics[0].Messages = []catalog.Message{
		{Name: "bad", Payload: map[string]any{"type": []any{}}},
		{Name: "lost", Payload: map[string]any{"$ref": "#/components/schemas/Bad"}},
		{Name: "far", Payload: map[string]any{"$ref": "https://example.com/schema.json"}},
		{Name: "good", Payload: map[string]any{"$ref": "#/components/schemas/Good"}},
	}
	for _, o := range variants() {
		d := export(t, api, o)
		var told []string
		for _, w := range d.Warnings {
			told = append(told, w.Pointer)
		}
		want := "/asyncapi/schemas/Bad /asyncapi/schemas/ViaBad /asyncapi/schemas/a b /spec/topics/0/messages/0/payload " +
			"/spec/topics/0/messages/1/payload /spec/topics/0/messages/2/payload /asyncapi/info/termsOfService /asyncapi/info/contact " +
			"/asyncapi/info/license /asyncapi/info/colour"
		if got := strings.Join(told, " "); got != want {
			t.Errorf("%s %s leaves out\n%s\nwant\n%s", o.Profile, o.Version, got, want)
		}
		if report := Check("", jsonOf(t, d)); len(report) > 0 {
			t.Errorf("%s %s: %v", o.Profile, o.Version, report)
		}
	}
}
