package wso2

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

var update = flag.Bool("update", false, "write the goldens anew")

// shapes are the projects below testdata, by name.
func shapes(t *testing.T) map[string]*Project {
	t.Helper()
	out := map[string]*Project{}
	dirs, err := filepath.Glob("testdata/*/in")
	if err != nil || len(dirs) < 6 {
		t.Fatalf("shapes: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		name := filepath.Base(filepath.Dir(dir))
		var p *Project
		if data, err := os.ReadFile(filepath.Join(dir, "payload.json")); err == nil {
			p, err = Single("payload.json", data)
			if err != nil {
				t.Fatal(err)
			}
		} else if p, err = ReadFolder(dir); err != nil {
			t.Fatal(err)
		}
		out[name] = p
	}
	return out
}

func read1(t *testing.T, p *Project, opt Options) *Import {
	t.Helper()
	in, err := Read(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// yamlOf is the definition as one would write it.
func yamlOf(t *testing.T, api *catalog.API) string {
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

func write1(t *testing.T, api *catalog.API) *Project {
	t.Helper()
	p, _, err := Write(api, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func (r Report) text() string {
	var b strings.Builder
	for _, f := range r {
		fmt.Fprintf(&b, "%s %s %s\n", f.Level, f.Code, f)
	}
	return b.String()
}

// Each shape becomes its definition with its report, and goes back to an api.yaml; no password of it is left anywhere.
func TestShapes(t *testing.T) {
	for name, p := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			in := read1(t, p, Options{})
			dir := filepath.Join("testdata", name)
			definition, report := yamlOf(t, in.API), in.Report.text()
			golden(t, filepath.Join(dir, "definition.yaml"), definition)
			golden(t, filepath.Join(dir, "report.txt"), report)
			out, told, err := Write(in.API, nil)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "api.yaml"), string(out.File(apiYAML)))
			all := definition + report + told.text()
			for _, f := range out.Files() {
				all += string(out.File(f))
			}
			if strings.Contains(all, "hunter2") {
				t.Error("a password is left")
			}
			for _, f := range in.Report {
				if f.Code == "" || f.File == "" || f.Line == 0 && f.Code != "unread-file" || f.Message == "" {
					t.Errorf("poor finding %+v", f)
				}
			}
		})
	}
}

// Import, export and import again give the same definition without the help of sluice.yaml, and what was written in the project is
// written again, but for secrets.
func TestShapesComeBack(t *testing.T) {
	for name, p := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			first := read1(t, p, Options{})
			out := write1(t, first.API)
			delete(out.files, nativeYAML)
			if async := p.File(asyncYAML); async != nil {
				out.files[asyncYAML] = async
			}
			second := read1(t, out, Options{})
			if diff := cmp.Diff(withoutExtra(t, first.API), withoutExtra(t, second.API)); diff != "" {
				t.Errorf("definition (-first +second):\n%s", diff)
			}
			main := p.Files()[0]
			if p.File(apiYAML) != nil {
				main = apiYAML
			}
			before := parse1(t, main, p.File(main))
			if d := before.Get("data"); d != nil {
				before = d
			}
			missing(t, "", clean(before, "", func(*doc.Node) {}), parse1(t, apiYAML, out.File(apiYAML)).Get("data"))
			again := write1(t, second.API)
			if diff := cmp.Diff(string(out.File(apiYAML)), string(again.File(apiYAML))); diff != "" {
				t.Errorf("api.yaml (-first +second):\n%s", diff)
			}
		})
	}
}

// withoutExtra is the definition without the annotation: what is carried along grows by what an export adds.
func withoutExtra(t *testing.T, api *catalog.API) string {
	t.Helper()
	bare := *api
	bare.Metadata.Annotations = nil
	return yamlOf(t, &bare)
}

func parse1(t *testing.T, file string, data []byte) *doc.Node {
	t.Helper()
	docs, err := doc.Parse(file, data)
	if err != nil || len(docs) != 1 {
		t.Fatalf("%s: %v, %d documents", file, err, len(docs))
	}
	return docs[0].Root
}

// missing tells values of a that are not in b.
func missing(t *testing.T, at string, a, b *doc.Node) {
	t.Helper()
	if empty(a) {
		return
	}
	b = orNull(b)
	switch a.Kind {
	case doc.Map:
		for _, f := range a.Fields {
			missing(t, at+"/"+f.Key, f.Value, b.Get(f.Key))
		}
	case doc.List:
		for i, item := range a.Items {
			if i >= len(b.Items) {
				t.Errorf("%s/%d is lost", at, i)
				return
			}
			missing(t, fmt.Sprintf("%s/%d", at, i), item, b.Items[i])
		}
	default:
		if a.Text != b.Text {
			t.Errorf("%s: %q becomes %q", at, a.Text, b.Text)
		}
	}
}

// nativeAPIs are definitions that WSO2 has no words for, and the shipped examples.
func nativeAPIs(t *testing.T) []*catalog.API {
	t.Helper()
	files, err := filepath.Glob("../../deploy/examples/apis/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	files = append(files, "testdata/native.yaml")
	var out []*catalog.API
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := doc.ParseYAML(f, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			api, err := catalog.ReadDefinition(f, d.Root)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, api)
		}
	}
	return out
}

// A definition goes through a zip without any loss, and the same project comes out of what came in.
func TestNativeComesBackThroughAZip(t *testing.T) {
	for _, api := range nativeAPIs(t) {
		t.Run(api.ID(), func(t *testing.T) {
			p := write1(t, api)
			packed, err := p.Zip(api.Name() + "-" + api.Version())
			if err != nil {
				t.Fatal(err)
			}
			unpacked, err := ReadZip("project.zip", packed)
			if err != nil {
				t.Fatal(err)
			}
			in := read1(t, unpacked, Options{})
			if diff := cmp.Diff(yamlOf(t, api), yamlOf(t, in.API)); diff != "" {
				t.Errorf("definition (-before +after):\n%s", diff)
			}
			again, err := write1(t, in.API).Zip(api.Name() + "-" + api.Version())
			if err != nil || !bytes.Equal(packed, again) {
				t.Errorf("the second export differs (%v)", err)
			}
		})
	}
}

// api.yaml wins over a sluice.yaml that was written for another one.
func TestStaleNativeIsLeftAside(t *testing.T) {
	p := write1(t, nativeAPIs(t)[0])
	p.files[apiYAML] = bytes.Replace(p.files[apiYAML], []byte("lifeCycleStatus: PUBLISHED"), []byte("lifeCycleStatus: CREATED"), 1)
	in := read1(t, p, Options{})
	if in.API.Spec.State != catalog.StateCreated {
		t.Errorf("state %s", in.API.Spec.State)
	}
	if !slices.ContainsFunc(in.Report, func(f Finding) bool { return f.Code == "native-stale" && f.File == nativeYAML }) {
		t.Errorf("not told:\n%s", in.Report.text())
	}
}

// What is changed here is written as it is now; what is beside it stays.
func TestChangedAPIIsWrittenAsItIs(t *testing.T) {
	api := read1(t, shapes(t)["full"], Options{}).API
	api.Spec.Endpoint = "https://new.plant.example/v3"
	api.Spec.Topics[1].Name = "/alerts"
	api.Metadata.Tags = []string{"other"}
	out, report, err := Write(api, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := parse1(t, apiYAML, out.File(apiYAML)).Get("data")
	if got := get(data, "endpointConfig", "production_endpoints", "url"); got == nil || got.Text != "https://new.plant.example/v3" {
		t.Errorf("endpoint %+v", got)
	}
	if got := get(data, "endpointConfig", "sandbox_endpoints", "url"); got == nil {
		t.Error("the sandbox is lost")
	}
	ops := data.Get("operations").Items
	if len(ops) != 2 || ops[1].Get("target").Text != "/alerts" || ops[0].Get("operationPolicies") == nil || ops[1].Get("operationPolicies") != nil {
		t.Errorf("operations\n%s", out.File(apiYAML))
	}
	if tags := data.Get("tags").Items; len(tags) != 1 || tags[0].Text != "other" {
		t.Errorf("tags %v", tags)
	}
	_ = report
}

// An annotation that somebody wrote by hand does no harm.
func TestExtraIsNotTrusted(t *testing.T) {
	for _, note := range []string{"{", "[]", `{"data":[]}`, `{"data":{"type":"HTTP","name":"other","endpointConfig":{"production_endpoints":{"url":"http://x"}},"apiSecret":"hunter2"}}`,
		`{"version":{"a":1},"environments":{"x":1}}`} {
		api := nativeAPIs(t)[0]
		api.Metadata.Annotations = map[string]string{extraAnnotation: note}
		out := write1(t, api)
		delete(out.files, nativeYAML)
		data := parse1(t, apiYAML, out.File(apiYAML)).Get("data")
		if data.Get("type").Text != "SSE" || data.Get("name").Text != api.Name() || data.Get("endpointConfig").Get("production_endpoints").Get("url").Text != api.Spec.Endpoint {
			t.Errorf("%s:\n%s", note, out.File(apiYAML))
		}
		if bytes.Contains(out.File(apiYAML), []byte("hunter2")) {
			t.Errorf("%s: a secret is written", note)
		}
	}
}

func TestKnownPlansAndGroups(t *testing.T) {
	in := read1(t, shapes(t)["full"], Options{Plans: []string{"AsyncGold"}, Groups: []string{"default", "hall-7"}})
	if diff := cmp.Diff([]string{"AsyncGold"}, in.API.Spec.Plans); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"default", "hall-7"}, in.API.Spec.EdgeGroups); diff != "" {
		t.Error(diff)
	}
	in = read1(t, shapes(t)["full"], Options{Plans: []string{"Other"}})
	if diff := cmp.Diff([]string{anyPlan}, in.API.Spec.Plans); diff != "" {
		t.Error(diff)
	}
}

// What cannot be imported says where and why; nothing of a secret is in the answer.
func TestRefusals(t *testing.T) {
	good := "type: api\nversion: v4\ndata:\n  name: A\n  context: /a\n  version: '1'\n  type: SSE\n"
	for _, c := range []struct{ name, text, code, at string }{
		{"another type", strings.Replace(good, "SSE", "HTTP", 1), "not-sse", "api.yaml:7:9: /data/type"},
		{"no type", strings.Replace(good, "  type: SSE\n", "", 1), "not-sse", "api.yaml:4:3: /data"},
		{"API Manager 3", "id: {apiName: A, providerName: admin, version: '1'}\ncontext: /a\n", "unsupported-version", "api.yaml:1:5: /id"},
		{"a product", strings.Replace(good, "type: api", "type: api_product", 1), "invalid-document", "api.yaml:1:7: /type"},
		{"no data", "type: api\nversion: v4\n", "invalid-document", "api.yaml:1:1"},
		{"data is a list", "type: api\ndata: [1]\n", "invalid-document", "api.yaml:1:1"},
		{"a list", "- 1\n", "invalid-document", "api.yaml:1:1"},
		{"nothing", "", "invalid-document", "api.yaml:1:1"},
		{"two documents", good + "---\n" + good, "invalid-document", "api.yaml:1:1"},
		{"broken YAML", "data: [", "invalid-yaml", "api.yaml:2:1"},
		{"broken JSON", `{"name": }`, "invalid-json", "api.yaml:1:10"},
		{"a key twice", good + "  name: B\n", "duplicate-key", "api.yaml:8:3: /data/name"},
		{"a tag", good + "  description: !!python/object x\n", "invalid-yaml", "api.yaml:8:16: /data/description"},
		{"no name", strings.Replace(good, "  name: A\n", "", 1), "invalid-name", "api.yaml:4:3: /data"},
		{"bad name", strings.Replace(good, "name: A", "name: ../A", 1), "invalid-name", "api.yaml:4:9: /data/name"},
		{"name is a map", strings.Replace(good, "name: A", "name: {a: 1}", 1), "invalid-value", "api.yaml:4:9: /data/name"},
		{"bad version", strings.Replace(good, "'1'", "'1/2'", 1), "invalid-version", "api.yaml:6:12: /data/version"},
		{"bad context", strings.Replace(good, "/a", "/a//b", 1), "invalid-context", "api.yaml:5:12: /data/context"},
		{"reserved context", strings.Replace(good, "/a", "/admin", 1), "reserved-context", "api.yaml:5:12: /data/context"},
		{"endpoint is a file", good + "  endpointConfig: {production_endpoints: {url: 'file:///etc/passwd'}}\n", "endpoint-scheme", "api.yaml:8:48: /data/endpointConfig/production_endpoints/url"},
		{"endpoint is a web socket", good + "  endpointConfig: {production_endpoints: {url: 'ws://x/'}}\n", "endpoint-scheme", "api.yaml:8:48: /data/endpointConfig/production_endpoints/url"},
		{"endpoint with a password", good + "  endpointConfig: {production_endpoints: {url: 'http://u:hunter2@x/'}}\n", "endpoint-userinfo", "api.yaml:8:48: /data/endpointConfig/production_endpoints/url"},
		{"published without an endpoint", good + "  lifeCycleStatus: PUBLISHED\n", "not-publishable", "api.yaml:4:3: /data"},
		{"partial parameter", good + "  operations: [{target: '/a{b}', verb: SUBSCRIBE}]\n", "invalid-topic", "api.yaml:8:25: /data/operations/0/target"},
		{"no target", good + "  operations: [{verb: SUBSCRIBE}]\n", "invalid-topic", "api.yaml:8:16: /data/operations/0"},
		{"operation is a text", good + "  operations: [x]\n", "invalid-value", "api.yaml:8:16: /data/operations/0"},
		{"two of one target", good + "  operations: [{target: /x, verb: SUBSCRIBE}, {target: /%78, verb: SUBSCRIBE}]\n", "topic-conflict", "api.yaml:8:56: /data/operations/1/target"},
		{"unknown scope", good + "  operations: [{target: /x, verb: SUBSCRIBE, scopes: [s]}]\n", "unknown-scope", "api.yaml:8:55: /data/operations/0/scopes/0"},
		{"mapping to another host", good + "  operations: [{target: /x, verb: SUBSCRIBE, uriMapping: '//evil/x'}]\n", "invalid-backend-path", "api.yaml:8:58: /data/operations/0/uriMapping"},
		{"mapping of an unknown parameter", good + "  operations: [{target: /x, verb: SUBSCRIBE, uriMapping: '/{uri.var.y}'}]\n", "unknown-param", "api.yaml:8:58: /data/operations/0/uriMapping"},
		{"restricted to nobody", good + "  visibility: RESTRICTED\n", "invalid-value", "api.yaml:4:3: /data"},
		{"neither yes nor no", good + "  isDefaultVersion: maybe\n", "invalid-value", "api.yaml:8:21: /data/isDefaultVersion"},
		{"501 operations", good + "  operations:\n" + operations(501), "invalid-value", "api.yaml:9:5: /data/operations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Single("api.yaml", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			in, err := Read(p, Options{})
			var errs doc.Errors
			if !errors.As(err, &errs) || in != nil {
				t.Fatalf("answered %v, %v", in, err)
			}
			if errs[0].Type != c.code || !strings.HasPrefix(errs[0].Error(), c.at) {
				t.Errorf("told %s: %v\nwant %s: %s", errs[0].Type, errs[0], c.code, c.at)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("tells the password: %v", err)
			}
		})
	}
}

func operations(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "    - {target: /t%d, verb: SUBSCRIBE}\n", i)
	}
	return b.String()
}
