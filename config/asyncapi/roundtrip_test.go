package asyncapi

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/config"
	"sluice/config/catalog"
)

// same fails unless each kind of document gives the API back: an internal one by itself, the others over the API they update. pick chooses
// of a document's texts, YAML and JSON, those that are read.
func same(t rapid.TB, api *catalog.API, pick func(yaml, json []byte) [][]byte) {
	t.Helper()
	want := def(t, api)
	check := func(o ExportOptions, text []byte, in ImportOptions) {
		t.Helper()
		got, report := Import(text, in)
		if report.Failed() {
			t.Fatalf("%s %s is refused: %v\n%s", o.Profile, o.Version, report, text)
		}
		if diff := cmp.Diff(want, def(t, got)); diff != "" {
			t.Fatalf("%s %s, base %v: %s\n%s", o.Profile, o.Version, in.Base != nil, diff, text)
		}
	}
	options := []ExportOptions{}
	for _, o := range variants() {
		options = append(options, o)
		if o.Profile == ProfileInternal {
			o.Endpoint = true
			options = append(options, o)
		}
	}
	for _, o := range options {
		d, err := Export(api, o)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if len(d.Warnings) > 0 {
			t.Fatalf("%v", d.Warnings)
		}
		asYAML, err := d.YAML()
		if err != nil {
			t.Fatalf("%v", err)
		}
		asJSON, err := d.JSON()
		if err != nil {
			t.Fatalf("%v", err)
		}
		for _, text := range pick(asYAML, asJSON) {
			if o.Endpoint {
				check(o, text, ImportOptions{})
			}
			check(o, text, ImportOptions{Base: api})
		}
	}
}

func both(yaml, json []byte) [][]byte { return [][]byte{yaml, json} }

func def(t rapid.TB, api *catalog.API) string {
	t.Helper()
	tree, err := api.Definition()
	if err != nil {
		t.Fatalf("%v", err)
	}
	text, err := writeJSON(tree)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(text)
}

func TestFixturesComeBackFromEveryDocument(t *testing.T) {
	for _, api := range fixtures(t) {
		t.Run(api.ID(), func(t *testing.T) {
			t.Parallel()
			same(t, api, both)
		})
	}
}

// The same for APIs that a process has completed with its settings.
func TestCompletedFixturesComeBack(t *testing.T) {
	s, err := catalog.NewStatic(catalog.OptionsFrom(config.Default()), catalog.Source{Name: "apis.yaml", Data: mustRead(t, "testdata/apis.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range s.Snapshot().APIs() {
		t.Run(api.ID(), func(t *testing.T) {
			t.Parallel()
			same(t, api, both)
		})
	}
}

func TestGeneratedAPIsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		api := genAPI(t)
		if errs, _ := api.Examine(catalog.Options{}); len(errs) > 0 {
			t.Fatalf("the generator makes a wrong API: %v", errs)
		}
		same(t, api, func(yaml, json []byte) [][]byte { // both of them would take twice as long
			return rapid.SampledFrom([][][]byte{{yaml}, {json}}).Draw(t, "text")
		})
	})
}

// A public document by itself gives what it shows, and nothing of what it hides.
func TestPublicDocumentAlone(t *testing.T) {
	for _, api := range fixtures(t) {
		for _, o := range variants()[:2] {
			got, report := Import(yamlOf(t, export(t, api, o)), ImportOptions{})
			if report.Failed() {
				t.Fatalf("%s: %v", api.ID(), report)
			}
			if got.ID() != api.ID() || got.BasePath() != api.BasePath() || len(got.Spec.Topics) != len(api.Spec.Topics) ||
				got.Spec.Endpoint != "" || got.Metadata.Owner != "" || got.Spec.State != catalog.StateCreated {
				t.Errorf("%s becomes %s", definition(t, api), definition(t, got))
			}
			for i := range api.Spec.Topics {
				want, have := api.Spec.Topics[i], got.Spec.Topics[i]
				if want.Name != have.Name || want.Security != have.Security || want.Start != have.Start || want.Retention != have.Retention ||
					fmt.Sprint(want.Scopes) != fmt.Sprint(have.Scopes) || fmt.Sprint(want.Params) != fmt.Sprint(have.Params) || have.Backend != "" {
					t.Errorf("%s: topic %+v becomes %+v", api.ID(), want, have)
				}
			}
		}
	}
}

// genAPI draws an API that the catalog takes.
func genAPI(t *rapid.T) *catalog.API {
	text := rapid.StringMatching(`[ -~éß☃\n]{0,40}`)
	word := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,12}`)
	api := catalog.Blank()
	m, s := &api.Metadata, &api.Spec
	m.Name, s.Version = word.Draw(t, "name"), word.Draw(t, "version")
	m.DisplayName = strings.TrimSpace(text.Draw(t, "displayName"))
	m.Description = text.Draw(t, "description")
	m.Tags = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,8}`), 0, 3, rapid.ID[string]).Draw(t, "tags")
	for i, tag := range m.Tags {
		m.Tags[i] = strings.TrimRight(tag, "-") + fmt.Sprint(i)
	}
	if rapid.Bool().Draw(t, "labelled") {
		m.Labels = map[string]string{word.Draw(t, "key"): word.Draw(t, "value")}
		m.Annotations = map[string]string{text.Draw(t, "note"): text.Draw(t, "text")}
		m.Owner = text.Draw(t, "owner")
	}
	s.Context = "/x" + rapid.StringMatching(`[a-z]{0,5}(/[A-Za-z][A-Za-z0-9._~-]{1,5})?`).Draw(t, "context")
	if rapid.Bool().Draw(t, "in place") {
		s.Context = "/x/{version}" + s.Context
	}
	s.Default = rapid.Bool().Draw(t, "default")
	s.Endpoint = rapid.SampledFrom([]string{"http://canary.example", "https://canary.example:8443/base"}).Draw(t, "endpoint")
	s.State = rapid.SampledFrom([]catalog.State{catalog.StateCreated, catalog.StatePublished, catalog.StateBlocked}).Draw(t, "state")
	s.Transports = rapid.SampledFrom([][]catalog.Transport{{"http"}, {"https"}, {"http", "https"}, {"https", "http"}}).Draw(t, "transports")
	s.Upstream.Idle = rapid.SampledFrom([]time.Duration{-1, 0, time.Minute}).Draw(t, "idle")
	s.Upstream.ConnectTimeout = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "connectTimeout")
	s.Retention.MaxAge = rapid.SampledFrom([]time.Duration{0, 90 * time.Second, 48 * time.Hour}).Draw(t, "maxAge")
	s.Retention.MaxBytes = rapid.SampledFrom([]config.Bytes{0, config.GiB}).Draw(t, "maxBytes")
	s.Auth.Schemes = rapid.SampledFrom([][]string{{"jwt"}, {"jwt", "apiKey"}, {"apiKey", "cookie"}, {"ticket", "mtls", "jwt"}}).Draw(t, "schemes")
	s.Query = genQuery(t, "api", 2)
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:-]{0,6}`), 0, 4, rapid.ID[string]).Draw(t, "scopes") {
		scope := catalog.Scope{Name: name, Description: text.Draw(t, "scope's text")}
		scope.Roles = rapid.SliceOfNDistinct(word, 0, 2, rapid.ID[string]).Draw(t, "roles")
		s.Scopes = append(s.Scopes, scope)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "topics") {
		s.Topics = append(s.Topics, genTopic(t, i, s.Scopes, text))
	}
	if rapid.Bool().Draw(t, "schemas") {
		api.AsyncAPI = &catalog.AsyncAPI{Schemas: map[string]any{"One": map[string]any{"type": "string", "description": text.Draw(t, "schema")}},
			Info: map[string]any{"contact": map[string]any{"name": text.Draw(t, "contact")}, "x-a": []any{int64(1), nil, true, 1.5, ""}}}
	}
	return api
}

func genQuery(t *rapid.T, where string, most int) []catalog.QueryParam {
	var out []catalog.QueryParam
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`q[A-Za-z0-9._~-]{0,3}`), 0, most, rapid.ID[string]).Draw(t, where+" query") {
		q := catalog.QueryParam{Name: name, Pattern: rapid.SampledFrom(patterns).Draw(t, "pattern")}
		if q.Required = rapid.Bool().Draw(t, "required"); !q.Required && q.Pattern == "" {
			q.Default = rapid.StringMatching(`[a-z0-9=&%]{0,4}`).Draw(t, "default")
		}
		out = append(out, q)
	}
	return out
}

// patterns are RE2 expressions of which JSON schema has some, some in another form, and some not at all.
var patterns = []string{"", "^[A-Z.]{1,8}$", "[a-z]+", "a|b", "^a$|^b$", "^(?:a|b)$", "(?i)abc", `\d+`, `\pL+`, `^a\\`, `a\$`, `^a\$`, `\Aabc\z`,
	"[[:alpha:]]", `\x{41}`, "(?P<n>a)", `a\-b`, "a{", "a{2}", "]", "^(?:a)(?:b)$", "(a)|(b)", "é+", "^(?:a)$|b", `(?:a\\)`}

func genTopic(t *rapid.T, i int, scopes []catalog.Scope, text *rapid.Generator[string]) catalog.Topic {
	var topic catalog.Topic
	topic.SetDefaults()
	form := rapid.SampledFrom([]string{"/t%d", "/t%d/{a}", "/t%d/{a}/x/{b}", "/t%d/*", "/t%d/{a}/*", "/t%d's", "/t%d/%%C3%%A9"}).Draw(t, "topic")
	topic.Name = fmt.Sprintf(form, i)
	topic.Description = text.Draw(t, "topic's text")
	for _, name := range templateNames(topic.Name) {
		p := catalog.Param{Pattern: rapid.SampledFrom(patterns).Draw(t, "pattern"), Description: text.Draw(t, "param's text")}
		if p.Pattern == "" {
			p.Enum = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]{1,3}`), 0, 3, rapid.ID[string]).Draw(t, "enum")
			p.Examples = rapid.SliceOfN(text, 0, 2).Draw(t, "examples")
		}
		if len(p.Enum) == 0 {
			p.Enum = nil
		}
		if topic.Params == nil {
			topic.Params = map[string]catalog.Param{}
		}
		topic.Params[name] = p
	}
	topic.Backend = rapid.SampledFrom([]string{"", "/canary/x", "/canary?x=1"}).Draw(t, "backend")
	if strings.Contains(topic.Name, "{a}") && rapid.Bool().Draw(t, "mapped") {
		topic.Backend = "/canary/{a}?x={a}"
	}
	topic.Query = genQuery(t, "topic", 2)
	topic.Start = rapid.SampledFrom([]catalog.Start{{At: catalog.StartLive}, {At: catalog.StartEarliest}, {At: catalog.StartLast, Last: 7}}).Draw(t, "start")
	topic.Linger = rapid.SampledFrom([]time.Duration{-1, 0, time.Minute}).Draw(t, "linger")
	topic.Demand = rapid.SampledFrom([]catalog.Demand{catalog.DemandAuto, catalog.DemandOnDemand}).Draw(t, "demand")
	topic.Retention.MaxEvents = rapid.SampledFrom([]int{0, 5}).Draw(t, "maxEvents")
	if rapid.Bool().Draw(t, "open") {
		topic.Security = catalog.SecurityNone
	} else if len(scopes) > 0 {
		for _, at := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(scopes)-1), 0, 2, rapid.ID[int]).Draw(t, "asked") {
			topic.Scopes = append(topic.Scopes, scopes[at].Name)
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "messages") {
		var msg catalog.Message
		msg.SetDefaults()
		msg.Name = rapid.StringMatching(`[ -~é]{1,10}`).Draw(t, "message")
		if rapid.Bool().Draw(t, "payload") {
			msg.Payload = map[string]any{"type": "object", "properties": map[string]any{"p": map[string]any{"const": genValue(t, 2)}}}
		}
		if rapid.Bool().Draw(t, "example") {
			msg.Examples = []any{map[string]any{"v": genValue(t, 2)}, "text", int64(1)}
		}
		topic.Messages = append(topic.Messages, msg)
	}
	return topic
}

// genValue draws any JSON value.
func genValue(t *rapid.T, depth int) any {
	most := 6
	if depth == 0 {
		most = 4
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		return rapid.Float64Range(-1e300, 1e300).Draw(t, "float") + 0 // no -0: it is written as 0
	case 4:
		return rapid.String().Draw(t, "string")
	case 5:
		return []any{genValue(t, depth-1)}
	}
	return map[string]any{rapid.StringMatching(`[a-z$ ~/]{0,4}`).Draw(t, "key"): genValue(t, depth-1)}
}

// Whatever pattern a definition has, a document gives the same back, and what JSON schema is shown takes the same values.
func TestPatternsComeBack(t *testing.T) {
	values := []string{"", "a", "b", "ab", "abc", "ABC", "A", "aa", "a$", `a\`, "a-b", "x", "1", "xay", "ACME"}
	for _, p := range patterns {
		shown := toSchemaPattern(p)
		if shown == "" {
			continue
		}
		if back, whole := fromSchemaPattern(shown); back != p || !whole {
			t.Errorf("%q is shown as %q, which is read as %q", p, shown, back)
		}
		for _, v := range values {
			if regexp.MustCompile(`\A(?:`+p+`)\z`).MatchString(v) != regexp.MustCompile(shown).MatchString(v) {
				t.Errorf("%q and %q differ about %q", p, shown, v)
			}
		}
	}
}
