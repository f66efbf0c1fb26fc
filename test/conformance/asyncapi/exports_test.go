package asyncapi

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/config/asyncapi"
	"sluice/config/catalog"
	"sluice/internal/doc"
)

const fixtures = "../../../config/asyncapi/testdata/"

func apis(t *testing.T) []*catalog.API {
	t.Helper()
	data, err := os.ReadFile(fixtures + "apis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := catalog.ReadSource(catalog.Source{Name: "apis.yaml", Data: data}, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("%d APIs", len(list))
	}
	return list
}

func variants() []asyncapi.ExportOptions {
	servers := []asyncapi.Server{{URL: "https://edge.example.com"}, {Group: "west", URL: "http://west.example.com:8080/pre"}}
	var out []asyncapi.ExportOptions
	for _, token := range []string{"", "https://id.example.com/token"} {
		for _, o := range []asyncapi.ExportOptions{
			{Version: "3.1.0", Profile: asyncapi.ProfilePublic}, {Version: "2.6.0", Profile: asyncapi.ProfilePublic},
			{Version: "3.1.0", Profile: asyncapi.ProfileInternal, Endpoint: true}, {Version: "2.6.0", Profile: asyncapi.ProfileInternal, Endpoint: true},
			{Version: "3.0.0", Profile: asyncapi.ProfileWSO2}, {Version: "2.6.0", Profile: asyncapi.ProfileWSO2},
		} {
			o.Servers, o.TokenURL = servers, token
			out = append(out, o)
		}
	}
	return out
}

func export(t *testing.T, api *catalog.API, o asyncapi.ExportOptions) string {
	t.Helper()
	d, err := asyncapi.Export(api, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExportsPassTheOfficialTools(t *testing.T) {
	var docs, names, some, someNames []string
	for i, api := range apis(t) {
		for j, o := range variants() {
			docs = append(docs, export(t, api, o))
			names = append(names, api.ID()+" "+string(o.Profile)+" "+o.Version)
			if (i+j)%4 == 0 { // three of the twelve, others for the next API: the parser takes 0.7 s for a document
				some, someNames = append(some, docs[len(docs)-1]), append(someNames, names[len(names)-1])
			}
		}
	}
	judge(t, "schema", docs, names)
	judge(t, "parser", some, someNames)
}

// judge fails for each document in which the schema or the parser finds an error.
func judge(t *testing.T, ask string, docs, names []string) {
	t.Helper()
	for i, v := range official(t, ask, docs) {
		if len(v.Errors) > 0 {
			t.Errorf("%s: %s: %s", names[i], ask, strings.Join(v.Errors, "\n  "))
		}
	}
}

func TestForeignFixturesPassTheOfficialTools(t *testing.T) {
	files, err := filepath.Glob(fixtures + "foreign/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	var docs, names []string
	for _, file := range files {
		docs = append(docs, string(asJSON(t, read(t, file))))
		names = append(names, filepath.Base(file))
	}
	judge(t, "schema", docs, names)
	judge(t, "parser", docs, names)
}

// read returns the tree of a fixture.
func read(t *testing.T, file string) *doc.Node {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := doc.Parse(file, data)
	if err != nil || len(docs) != 1 {
		t.Fatalf("%s: %v", file, err)
	}
	return docs[0].Root
}

func asJSON(t *testing.T, n *doc.Node) []byte {
	t.Helper()
	text, err := doc.WriteJSON(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestConverterAgrees(t *testing.T) {
	var old, ours, names []string
	list := apis(t)
	for _, api := range list {
		// The converter writes $& of a channel's name as what it stands for in a replacement, so that the reference leads nowhere.
		api.Spec.Topics = slices.DeleteFunc(api.Spec.Topics, func(t catalog.Topic) bool { return strings.Contains(t.Name, "$&") })
		o := asyncapi.ExportOptions{Version: "2.6.0", Profile: asyncapi.ProfileInternal, Endpoint: true, TokenURL: "https://id.example.com/token"}
		old = append(old, export(t, api, o))
		o.Version = "3.1.0"
		ours = append(ours, export(t, api, o))
		names = append(names, api.ID())
	}
	for i, v := range official(t, "convert", old) {
		converted, report := asyncapi.Import([]byte(cured(v.Doc)), asyncapi.ImportOptions{})
		if converted == nil {
			t.Errorf("%s: converted: %v\n%s", names[i], report, v.Doc)
			continue
		}
		own, report := asyncapi.Import([]byte(ours[i]), asyncapi.ImportOptions{})
		if own == nil {
			t.Errorf("%s: %v", names[i], report)
			continue
		}
		if diff := cmp.Diff(meaning(t, own), meaning(t, converted)); diff != "" {
			t.Errorf("%s: %s", names[i], diff)
		}
	}
}

// refs are references in JSON.
var refs = regexp.MustCompile(`"\$ref":"[^"]*"`)

// cured makes the converter's document one of 3.0.0 as the official schema has it: it leaves the type of an http binding, which 3.x has not,
// and writes braces into references, which URIs have not.
func cured(text string) string {
	text = strings.ReplaceAll(text, `"http":{"type":"request",`, `"http":{`)
	return refs.ReplaceAllStringFunc(text, strings.NewReplacer("{", "%7B", "}", "%7D", "%", "%25").Replace)
}

// meaning is what an API says, but for the patterns of parameters: those of 3.x have none, and the converter knows no extension for them.
func meaning(t *testing.T, api *catalog.API) string {
	t.Helper()
	for _, topic := range api.Spec.Topics {
		for name, p := range topic.Params {
			p.Pattern = ""
			topic.Params[name] = p
		}
	}
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
