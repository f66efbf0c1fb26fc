package catalog

import (
	"strings"
	"testing"
)

const diffBase = `
apiVersion: sluice/v1
kind: API
metadata: {name: a}
spec:
  context: /a
  version: '1'
  state: PUBLISHED
  endpoint: http://up
  transports: [http, https]
  topics:
    - {name: /t, security: none}
    - {name: '/q/{x}', security: none}
    - {name: /*, security: none}
`

// The hot-apply table: what one edit means for three running feeds and for their clients on each listener.
func TestHotApply(t *testing.T) {
	feeds := map[string]FeedRef{"exact": {"a", "1", "/t", ""}, "template": {"a", "1", "/q/1", ""}, "wildcard": {"a", "1", "/w", ""}}
	all := func(v string) map[string]string { return map[string]string{"exact": v, "template": v, "wildcard": v} }
	only := func(feed, v string) map[string]string {
		m := all("keep -")
		m[feed] = v
		return m
	}
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(diffBase) }
	cases := []struct {
		name, text string
		want       map[string]string // feed → upstream action, reason for a plaintext client
		https      string            // reason for a client of the exact topic on https
	}{
		{"nothing", edit("kind: API", "kind: API   # comment"), all("keep -"), ""},
		{"texts and tags", edit("{name: a}", "{name: a, description: new, tags: [x]}"), all("keep -"), ""},
		{"plans, retention, CORS, client settings", edit("  topics:", "  plans: [Gold]\n  retention: {maxAge: 5m}\n  cors: {origins: ['*']}\n  client: {retry: 5s}\n  topics:"), all("keep -"), ""},
		{"unrelated new topic", edit("  topics:", "  topics:\n    - {name: /new, security: none}"), all("keep -"), ""},
		{"topic removed although /* takes its path", edit("    - {name: /t, security: none}\n", ""), only("exact", "close topic-deleted"), "topic-deleted"},
		{"wildcard removed", edit("    - {name: /*, security: none}\n", ""), only("wildcard", "close topic-deleted"), ""},
		{"pattern now refuses the value", edit("'/q/{x}'", "'/q/{x}', params: {x: '[a-z]'}"), only("template", "close topic-deleted"), ""},
		{"required query now", edit("name: /t,", "name: /t, query: [{name: id, required: true}],"), only("exact", "close topic-deleted"), "topic-deleted"},
		{"secured", edit("{name: /t, security: none}", "{name: /t}"), only("exact", "keep access-changed"), "access-changed"},
		{"new topic takes a path over, open", edit("  topics:", "  topics:\n    - {name: /w, security: none, backend: /other}"), only("wildcard", "reconnect -"), ""},
		{"new topic takes a path over, secured", edit("  topics:", "  topics:\n    - {name: /w}"), only("wildcard", "keep access-changed"), ""},
		{"endpoint", edit("http://up", "http://other"), all("reconnect -"), ""},
		{"upstream settings", edit("  topics:", "  upstream: {idle: 10s}\n  topics:"), all("reconnect -"), ""},
		{"backend of one topic", edit("{name: /t,", "{name: /t, backend: /x,"), only("exact", "reconnect -"), ""},
		{"transport narrowed", edit("[http, https]", "[https]"), all("keep transport-closed"), ""},
		{"blocked", edit("PUBLISHED", "BLOCKED"), all("keep api-blocked"), "api-blocked"},
		{"deprecated", edit("PUBLISHED", "DEPRECATED"), all("keep -"), ""},
		{"prototyped", edit("PUBLISHED", "PROTOTYPED"), all("keep -"), ""},
		{"demoted", edit("PUBLISHED", "CREATED"), all("close api-unpublished"), "api-unpublished"},
		{"retired", edit("PUBLISHED", "RETIRED"), all("close api-retired"), "api-retired"},
		{"deleted", "", all("close api-deleted"), "api-deleted"},
		{"another version instead", edit("'1'", "'2'"), all("close api-deleted"), "api-deleted"},
		{"moved to another context", edit("context: /a", "context: /b"), all("keep api-deleted"), "api-deleted"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			st, err := NewStatic(defaults(), Source{"a.yaml", []byte(diffBase)})
			if err != nil {
				t.Fatal(err)
			}
			var sources []Source
			if c.text != "" {
				sources = append(sources, Source{"a.yaml", []byte(c.text)})
			}
			d, err := st.Replace(sources...)
			if err != nil {
				t.Fatal(err)
			}
			for name, f := range feeds {
				reason := string(d.Client(f, TransportHTTP))
				if reason == "" {
					reason = "-"
				}
				got := [...]string{Keep: "keep", Reconnect: "reconnect", Close: "close"}[d.Upstream(f)] + " " + reason
				if got != c.want[name] {
					t.Errorf("%s feed: %s, want %s", name, got, c.want[name])
				}
			}
			if got := string(d.Client(feeds["exact"], TransportHTTPS)); got != c.https {
				t.Errorf("https client: %q, want %q", got, c.https)
			}
			if d.Touches("a", "1") == d.Empty() {
				t.Errorf("touches %v, empty %v", d.Touches("a", "1"), d.Empty())
			}
		})
	}
}

func TestDiffLeavesOtherAPIsAlone(t *testing.T) {
	other := strings.NewReplacer("{name: a}", "{name: b}", "/a", "/b").Replace(diffBase)
	st, err := NewStatic(defaults(), Source{"a.yaml", []byte(diffBase)}, Source{"b.yaml", []byte(other)})
	if err != nil {
		t.Fatal(err)
	}
	d, err := st.Replace(Source{"b.yaml", []byte(other)})
	if err != nil {
		t.Fatal(err)
	}
	f := FeedRef{"b", "1", "/t", ""}
	if d.Touches("b", "1") || d.Upstream(f) != Keep || d.Client(f, TransportHTTP) != EndNone {
		t.Error("an untouched API is told to change")
	}
	if !d.Touches("a", "1") || len(d.Removed) != 1 {
		t.Errorf("got %+v", d)
	}
}

func TestCompareFromNothing(t *testing.T) {
	st, err := NewStatic(defaults(), Source{"a.yaml", []byte(diffBase)})
	if err != nil {
		t.Fatal(err)
	}
	d := Compare(&Snapshot{}, st.Snapshot())
	f := FeedRef{"a", "1", "/t", ""}
	if len(d.Added) != 1 || d.Upstream(f) != Keep || d.Client(f, TransportHTTP) != EndNone {
		t.Errorf("got %+v", d)
	}
	var zero Diff
	if !zero.Empty() || zero.Touches("a", "1") || zero.Upstream(f) != Keep || zero.Client(f, TransportHTTP) != EndNone {
		t.Error("the zero Diff changes something")
	}
}
