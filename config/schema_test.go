package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"
	check "github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/doc"
)

var update = flag.Bool("update", false, "write the generated files in place of comparing them")

// The schemas are for editors: names, types, enumerations, comments. Bounds, and what fits together, are checked in Go, whose errors
// carry line and column.

func TestSettingsSchemaIsWhatTheTypesSay(t *testing.T) {
	golden(t, "schema.json", schemaOf(t, &config.Config{}, "sluice.yaml"))
}

func TestAPISchemaIsWhatTheTypesSay(t *testing.T) {
	golden(t, "catalog/schema.json", schemaOf(t, &catalog.API{}, "sluice/v1 API"))
}

func TestExampleIsWhatTheTypesSay(t *testing.T) {
	golden(t, "example.yaml", example(t))
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")), got) {
		t.Errorf("%s is not what the types say; run `go generate ./config`", file)
	}
}

// enum is the written form of a string type with fixed values.
func enum[T ~string](forms map[reflect.Type]string, values ...T) {
	text, err := json.Marshal(map[string]any{"type": "string", "enum": values})
	if err != nil {
		panic(err)
	}
	forms[reflect.TypeFor[T]()] = string(text)
}

// writtenForms are the schemas of types that documents write differently from what their Go type shows.
func writtenForms() map[reflect.Type]string {
	f := map[reflect.Type]string{
		reflect.TypeFor[time.Duration]():     `{"anyOf":[{"type":"string","pattern":"^[0-9].*$"},{"const":0}],"examples":["30s"]}`,
		reflect.TypeFor[doc.Bytes]():         `{"anyOf":[{"type":"string","pattern":"^[0-9]+ ?([kKMGT]i?B|B)?$"},{"type":"integer"}],"examples":["64KiB"]}`,
		reflect.TypeFor[doc.Ratio]():         `{"anyOf":[{"type":"string","pattern":"^[0-9.]+%?$"},{"type":"number"}],"examples":["20%"]}`,
		reflect.TypeFor[config.TLSVersion](): `{"enum":["1.2","1.3",1.2,1.3]}`,
		reflect.TypeFor[config.Secret]():     `{"type":"string"}`,
		reflect.TypeFor[netip.Prefix]():      `{"type":"string","examples":["10.0.0.0/8"]}`,
		reflect.TypeFor[catalog.Start](): `{"anyOf":[{"enum":["live","earliest"]},{"type":"object","properties":{"last":` +
			`{"type":"integer","minimum":1,"maximum":1000}},"required":["last"],"additionalProperties":false}]}`,
	}
	enum(f, config.RoleEdge, config.RoleIngest, config.RoleControl)
	enum(f, config.FramingIdentity, config.FramingChunked)
	enum(f, config.ShedAuto, config.ShedSSE, config.ShedStatus)
	enum(f, config.SlowDrop, config.SlowBacklog, config.SlowLatest)
	enum(f, config.DurabilityMemory, config.DurabilityProcess, config.DurabilityPower, config.DurabilityCluster)
	enum(f, catalog.StateCreated, catalog.StatePrototyped, catalog.StatePublished, catalog.StateBlocked, catalog.StateDeprecated,
		catalog.StateRetired)
	enum(f, catalog.TransportHTTP, catalog.TransportHTTPS)
	enum(f, catalog.VisibilityPublic, catalog.VisibilityPrivate, catalog.VisibilityRestricted)
	enum(f, catalog.DeployAuto, catalog.DeployManual)
	enum(f, catalog.ResumeProbe, catalog.ResumeTrust, catalog.ResumeOff)
	enum(f, catalog.On204Park, catalog.On204Retry)
	enum(f, catalog.SecurityRequired, catalog.SecurityNone)
	enum(f, catalog.DemandAuto, catalog.DemandAlways, catalog.DemandOnDemand)
	return f
}

func schemaOf(t *testing.T, v any, title string) []byte {
	t.Helper()
	forms := writtenForms()
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true}
	r.Mapper = func(rt reflect.Type) *jsonschema.Schema {
		text, ok := forms[rt]
		if !ok {
			return nil
		}
		s := &jsonschema.Schema{}
		if err := json.Unmarshal([]byte(text), s); err != nil {
			t.Fatalf("form of %s: %v", rt, err)
		}
		return s
	}
	r.CommentMap = comments(t)
	s := r.Reflect(v)
	s.Title = title
	for name, short := range map[string]string{"Param": "pattern", "QueryParam": "name"} {
		if def := s.Definitions[name]; def != nil {
			long := *def
			s.Definitions[name] = &jsonschema.Schema{Description: def.Description,
				AnyOf: []*jsonschema.Schema{{Type: "string", Description: "the " + short}, &long}}
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// comments are the doc comments of the types and fields, each on one line.
func comments(t *testing.T) map[string]string {
	t.Helper()
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments("sluice/config", "."); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for k, c := range r.CommentMap {
		out[k] = strings.Join(strings.Fields(c), " ")
	}
	return out
}

// example writes the default settings with their comments.
func example(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("# Every setting with its default. Delete what you do not change.\n" +
		"# Flags win over environment variables (named behind each key), those over this file.\n")
	exampleStruct(&b, reflect.ValueOf(config.Default()), comments(t), "", "")
	return b.Bytes()
}

func exampleStruct(b *bytes.Buffer, v reflect.Value, comments map[string]string, indent, prefix string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + doc.Key(f)
		b.WriteByte('\n')
		for _, line := range wrap(comments[v.Type().PkgPath()+"."+v.Type().Name()+"."+f.Name], 100) {
			b.WriteString(indent + "# " + line + "\n")
		}
		if f.Type.Kind() == reflect.Struct {
			b.WriteString(indent + doc.Key(f) + ":\n")
			exampleStruct(b, v.Field(i), comments, indent+"  ", path+".")
			continue
		}
		text, _ := doc.Marshal(v.Field(i).Interface())
		value := strings.ReplaceAll(string(text), `","`, `", "`)
		if !strings.ContainsAny(value, `,:[%`) && len(value) > 2 {
			value = strings.Trim(value, `"`)
		}
		if value == "null" {
			value = "[]"
		}
		env := "   # " + config.EnvName(path)
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem() == reflect.TypeFor[config.AuthIssuer]() {
			env = "" // an entry has several keys: no one text is it
		}
		b.WriteString(indent + doc.Key(f) + ": " + value + env + "\n")
	}
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func compileSchema(t *testing.T, schema []byte) *check.Schema {
	t.Helper()
	parsed, err := check.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := check.NewCompiler()
	if err := c.AddResource("mem:///schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refusedBy tells what a schema has against a document, nil for nothing.
func refusedBy(t *testing.T, s *check.Schema, file string, data []byte) error {
	t.Helper()
	docs, err := doc.Parse(file, data)
	if err != nil || len(docs) == 0 {
		t.Fatalf("%s: %d documents, %v", file, len(docs), err)
	}
	for _, d := range docs {
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := s.Validate(value); err != nil {
			return err
		}
	}
	return nil
}

func TestSchemasTakeWhatTheDecoderTakes(t *testing.T) {
	settings, api := compileSchema(t, config.Schema()), compileSchema(t, catalog.Schema())
	if err := refusedBy(t, settings, "example.yaml", config.Example()); err != nil {
		t.Errorf("example.yaml: %v", err)
	}
	files, err := filepath.Glob("../deploy/examples/apis/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range append(files, "catalog/testdata/full.yaml") {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := refusedBy(t, api, f, data); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := catalog.NewStatic(catalog.OptionsFrom(config.Default()), catalog.Source{Name: f, Data: data}); err != nil {
			t.Errorf("decoder: %v", err)
		}
	}
}

// What concerns names, types and enumerations both must refuse.
func TestSchemasRefuseWhatTheDecoderRefuses(t *testing.T) {
	settings, apis := compileSchema(t, config.Schema()), compileSchema(t, catalog.Schema())
	const api = "apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec: {context: /a, version: '1', %}\n"
	for _, spec := range []string{
		"stat: PUBLISHED", "state: published", "transports: [tcp]", "topics: {}", "topics: [{nam: /a}]", "topics: [{backend: /a}]",
		"upstream: {resume: maybe}", "client: {slow: latst}", "topics: [{name: /a, start: soon}]", "topics: [{name: /a, start: {last: 0}}]",
		"topics: [{name: /a, security: maybe}]", "default: sure", "endpoint: [a]", "retention: {maxEvents: many}",
		"topics: [{name: /a, query: [5]}]", "topics: [{name: '/{a}', params: {a: {patern: x}}}]", "upstream: {idle: soon}",
		"retention: {maxBytes: lots}", "upstream: {auth: {type: digest}}",
	} {
		data := []byte(strings.Replace(api, "%", spec, 1))
		_, decoder := catalog.NewStatic(catalog.Options{}, catalog.Source{Name: "a.yaml", Data: data})
		if schema := refusedBy(t, apis, "a.yaml", data); schema == nil || decoder == nil {
			t.Errorf("%s: schema says %v, decoder says %v", spec, schema, decoder)
		}
	}
	for _, text := range []string{"edg: {}", "edge: {http: {adr: ':1'}}", "edge: {framing: both}", "fanout: {shards: many}", "roles: edge",
		"roles: [boss]", "edge: {http: {h2c: 1}}", "fanout: {memory: lots}", "fanout: {linger: soon}", "upstream: {allowCIDRs: [5]}"} {
		file := filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, decoder := config.Load(file, nil, nil)
		if schema := refusedBy(t, settings, file, []byte(text)); schema == nil || decoder == nil {
			t.Errorf("%s: schema says %v, decoder says %v", text, schema, decoder)
		}
	}
}

func TestExampleLoadsAsTheDefaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, config.Example(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := doc.Marshal(config.Default())
	have, _ := doc.Marshal(got)
	if !bytes.Equal(want, have) {
		t.Errorf("example loads as\n%s\nwant\n%s", have, want)
	}
}
