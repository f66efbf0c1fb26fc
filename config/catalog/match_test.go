package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/problem"
)

const matchAPIs = `
apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /m
  version: '1'
  default: true
  state: PUBLISHED
  endpoint: http://up:1/base/
  query: [{name: lang, pattern: '^[a-z]{2}$'}]
  topics:
    - {name: /ticks, backend: '/s/ticks?all=1', security: none}
    - {name: '/quotes/{symbol}', params: {symbol: '^[A-Z.]{1,8}$'}, backend: '/s/quotes?s={symbol}', security: none,
       query: [{name: depth, pattern: '^[0-9]{1,2}$', default: '5'}]}
    - {name: '/quotes/{symbol}/{side}', params: {side: {enum: [bid, ask]}}, backend: '/s/{side}.{symbol}'}
    - {name: /quotes/all}
    - {name: '/need', query: [{name: id, required: true}]}
    - {name: '/a$b'}
    - {name: '/files/*', backend: '/f/{*}/x'}
    - {name: '/lit/%2A'}
    - {name: /*}
---
apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec: {context: /m, version: '2', endpoint: 'http://up:2', state: CREATED}
---
apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec: {context: /m, version: '3', endpoint: 'http://up:3', state: RETIRED}
---
apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec: {context: /m, version: '4', endpoint: 'http://up:4', state: BLOCKED}
---
apiVersion: sluice/v1
kind: API
metadata: {name: place}
spec: {context: '/{version}/place/deep', version: '1', default: true, endpoint: 'http://up:5', state: PUBLISHED, topics: [{name: /}, {name: '/d/{x}', backend: '/d/.{x}'}]}
`

func matchSnapshot(t testing.TB) *Snapshot {
	t.Helper()
	st, err := NewStatic(defaults(), Source{"m.yaml", []byte(matchAPIs)})
	if err != nil {
		t.Fatal(err)
	}
	return st.Snapshot()
}

func TestMatch(t *testing.T) {
	s := matchSnapshot(t)
	long := "/m/1/" + strings.Repeat("x", maxPathBytes)
	cases := []struct{ name, path, query, topic, feed, upstream string }{
		{"exact", "/m/1/ticks", "", "/ticks", "/ticks", "http://up:1/base/s/ticks?all=1"},
		{"exact, own query first, listed behind", "/m/1/ticks", "lang=de&x=1", "/ticks", "/ticks?lang=de", "http://up:1/base/s/ticks?all=1&lang=de"},
		{"default version", "/m/ticks", "", "/ticks", "/ticks", "http://up:1/base/s/ticks?all=1"},
		{"template", "/m/1/quotes/BRK.A", "", "/quotes/{symbol}", "/quotes/BRK.A?depth=5", "http://up:1/base/s/quotes?s=BRK.A&depth=5"},
		{"template, escaped", "/m/1/quotes/%41CME", "depth=7", "/quotes/{symbol}", "/quotes/ACME?depth=7", "http://up:1/base/s/quotes?s=ACME&depth=7"},
		{"literal wins over parameter", "/m/1/quotes/all", "", "/quotes/all", "/quotes/all", "http://up:1/base/quotes/all"},
		{"longer template", "/m/1/quotes/x%26y/bid", "", "/quotes/{symbol}/{side}", "/quotes/x&y/bid", "http://up:1/base/s/bid.x&y"},
		{"query value in a query is escaped", "/m/1/need", "id=a%26b%3dc+d", "/need", "/need?id=a%26b%3Dc%20d", "http://up:1/base/need?id=a%26b%3Dc%20d"},
		{"query sorted by name", "/m/1/need", "lang=de&id=7", "/need", "/need?id=7&lang=de", "http://up:1/base/need?id=7&lang=de"},
		{"query name escaped", "/m/1/need", "%69d=7", "/need", "/need?id=7", "http://up:1/base/need?id=7"},
		{"unknown query with a broken escape is ignored", "/m/1/ticks", "%zz=%zz&y=%zz", "/ticks", "/ticks", "http://up:1/base/s/ticks?all=1"},
		{"case matters", "/m/1/Ticks", "", "/*", "/Ticks", "http://up:1/base/Ticks"},
		{"sub-delimiter raw", "/m/1/a$b", "", "/a$b", "/a$b", "http://up:1/base/a$b"},
		{"sub-delimiter escaped is the same feed", "/m/1/a%24b", "", "/a$b", "/a$b", "http://up:1/base/a$b"},
		{"literal star", "/m/1/lit/*", "", "/lit/%2A", "/lit/*", "http://up:1/base/lit/*"},
		{"wildcard below a literal", "/m/1/files/a/b%20c", "", "/files/*", "/files/a/b%20c", "http://up:1/base/f/a/b%20c/x"},
		{"wildcard", "/m/1/x/y", "", "/*", "/x/y", "http://up:1/base/x/y"},
		{"wildcard, not ASCII", "/m/1/%c3%a9", "", "/*", "/%C3%A9", "http://up:1/base/%C3%A9"},
		{"wildcard takes the bare base", "/m/1", "", "/*", "/", "http://up:1/base/"},
		{"bare base with a slash", "/m/1/", "", "/*", "/", "http://up:1/base/"},
		{"bare default base", "/m", "", "/*", "/", "http://up:1/base/"},
		{"double escape stays literal", "/m/1/%252e%252e", "", "/*", "/%252e%252e", "http://up:1/base/%252e%252e"},
		{"blocked API matches", "/m/4/x", "", "/*", "/x", "http://up:4/x"},
		{"version in place", "/1/place/deep", "", "/", "/", "http://up:5/"},
		{"default without version in place", "/place/deep/", "", "/", "/", "http://up:5/"},

		{"unknown API", "/nope/1/ticks", "", "no-such-api", "", ""},
		{"root", "/", "", "no-such-api", "", ""},
		{"half a base", "/1/place", "", "no-such-api", "", ""},
		{"base is case-sensitive", "/M/1/ticks", "", "no-such-api", "", ""},
		{"base is not a byte prefix", "/mm/1/ticks", "", "no-such-api", "", ""},
		{"CREATED, although the default version has /*", "/m/2/ticks", "", "no-such-api", "", ""},
		{"RETIRED", "/m/3/ticks", "", "no-such-api", "", ""},
		{"pattern fails beside /*", "/m/1/quotes/acme", "", "no-such-topic", "", ""},
		{"enum fails beside /*", "/m/1/quotes/ACME/mid", "", "no-such-topic", "", ""},
		{"no way back to /*", "/m/1/quotes/ACME/bid/more", "", "no-such-topic", "", ""},
		{"no way back to /* from a literal", "/m/1/quotes", "", "no-such-topic", "", ""},
		{"wildcard needs a segment", "/m/1/files", "", "no-such-topic", "", ""},
		{"no /*", "/1/place/deep/x", "", "no-such-topic", "", ""},
		{"value without a pattern must be printable", "/m/1/quotes/%E2%80%8B/bid", "", "no-such-topic", "", ""},
		{"value of 129 bytes", "/m/1/quotes/" + strings.Repeat("x", 129) + "/bid", "", "no-such-topic", "", ""},
		{"value that would make a dot segment upstream", "/1/place/deep/d/.", "", "invalid-path", "", ""},
		{"value that would make a dot segment upstream, by the template", "/1/place/deep/d/%2e", "", "invalid-path", "", ""},

		{"D5: encoded slash", "/m/1/..%2fx", "", "invalid-path", "", ""},
		{"D5: encoded dots", "/m/%2e%2e/x", "", "invalid-path", "", ""},
		{"D5: dots", "/m/1/../x", "", "invalid-path", "", ""},
		{"D5: dot", "/m/1/./x", "", "invalid-path", "", ""},
		{"D5: half-encoded dots", "/m/1/.%2E/x", "", "invalid-path", "", ""},
		{"D5: double slash first", "//m", "", "invalid-path", "", ""},
		{"D5: double slash inside", "/m/1//t", "", "invalid-path", "", ""},
		{"D5: two slashes last", "/m/1//", "", "invalid-path", "", ""},
		{"D5: only slashes", "//", "", "invalid-path", "", ""},
		{"D5: trailing slash", "/m/1/t/", "", "invalid-path", "", ""},
		{"D5: trailing slash, unknown API", "/nope/", "", "invalid-path", "", ""},
		{"D5: trailing slash, hidden API as unknown", "/m/2/", "", "invalid-path", "", ""},
		{"D5: semicolon", "/m;a=1/t", "", "invalid-path", "", ""},
		{"D5: encoded semicolon", "/m/1/t%3ba", "", "invalid-path", "", ""},
		{"D5: encoded backslash", "/m/1/a%5cb", "", "invalid-path", "", ""},
		{"D5: backslash", `/m/1/a\b`, "", "invalid-path", "", ""},
		{"D5: raw not ASCII", "/m/1/é", "", "invalid-path", "", ""},
		{"D5: not UTF-8", "/m/1/%ff", "", "invalid-path", "", ""},
		{"D5: overlong slash", "/m/1/%c0%af", "", "invalid-path", "", ""},
		{"D7: NUL", "/m/1/%00", "", "invalid-path", "", ""},
		{"D7: DEL", "/m/1/%7f", "", "invalid-path", "", ""},
		{"D7: line break", "/m/1/%0d%0a", "", "invalid-path", "", ""},
		{"D7: broken escape", "/m/1/%zz", "", "invalid-path", "", ""},
		{"D7: cut escape", "/m/1/%4", "", "invalid-path", "", ""},
		{"D7: tab", "/m/1/a\tb", "", "invalid-path", "", ""},
		{"space", "/m/1/a b", "", "invalid-path", "", ""},
		{"question mark", "/m/1/a?b", "", "invalid-path", "", ""},
		{"fragment", "/m/1/a#b", "", "invalid-path", "", ""},
		{"D36: asterisk form", "*", "", "invalid-path", "", ""},
		{"empty", "", "", "invalid-path", "", ""},
		{"no slash", "m/1/ticks", "", "invalid-path", "", ""},
		{"D35: path of 2,049 bytes", long[:maxPathBytes+1], "", "uri-too-long", "", ""},
		{"path of 2,048 bytes", long[:maxPathBytes], "", "/*", long[len("/m/1"):maxPathBytes], "http://up:1/base" + long[len("/m/1"):maxPathBytes]},
		{"query of 8,193 bytes", "/m/1/ticks", strings.Repeat("x", maxQueryBytes+1), "uri-too-long", "", ""},
		{"query of 8,192 bytes", "/m/1/ticks", strings.Repeat("x", maxQueryBytes), "/ticks", "/ticks", "http://up:1/base/s/ticks?all=1"},

		{"listed query repeated", "/m/1/ticks", "lang=de&lang=de", "invalid-query", "", ""},
		{"listed query repeated by escape", "/m/1/ticks", "lang=de&l%61ng=en", "invalid-query", "", ""},
		{"listed query malformed", "/m/1/ticks", "lang=DE", "invalid-query", "", ""},
		{"listed query empty", "/m/1/ticks", "lang=", "invalid-query", "", ""},
		{"listed query without value", "/m/1/ticks", "lang", "invalid-query", "", ""},
		{"listed query with a broken escape", "/m/1/ticks", "lang=%zz", "invalid-query", "", ""},
		{"listed query of 129 bytes", "/m/1/need", "id=" + strings.Repeat("x", 129), "invalid-query", "", ""},
		{"listed query with NUL", "/m/1/need", "id=%00", "invalid-query", "", ""},
		{"required query absent", "/m/1/need", "lang=de", "invalid-query", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := s.Match(c.path, c.query)
			if err != nil {
				kind := problem.KindOf(err)
				if string(kind) != c.topic {
					t.Fatalf("refused with %v, want %s", err, c.topic)
				}
				if wantAPI := kind == problem.NoSuchTopic || kind == problem.InvalidQuery; wantAPI != (r.API != nil) {
					t.Errorf("API in the route: %v", r.API != nil)
				}
				if (kind == problem.InvalidQuery) != (r.Topic != nil) {
					t.Errorf("topic in the route: %v", r.Topic != nil)
				}
				return
			}
			feed := r.FeedPath
			if r.FeedQuery != "" {
				feed += "?" + r.FeedQuery
			}
			if r.Topic.Name != c.topic || feed != c.feed || r.Upstream != c.upstream {
				t.Errorf("got %s %s %s\nwant %s %s %s", r.Topic.Name, feed, r.Upstream, c.topic, c.feed, c.upstream)
			}
			again, err := s.Feed(r.Ref())
			if err != nil || again.Upstream != r.Upstream || again.Topic != r.Topic || again.Ref() != r.Ref() {
				t.Errorf("Feed finds %+v, %v", again, err)
			}
		})
	}
}

func TestUnknownAPIsAnswerAlike(t *testing.T) {
	s := matchSnapshot(t)
	_, unknown := s.Match("/nope/1/x", "")
	for _, p := range []string{"/m/2/x", "/m/3/x", "/m/2", "/m/3/quotes/ACME"} {
		if _, err := s.Match(p, ""); err != unknown {
			t.Errorf("%s: %v, an unknown API: %v", p, err, unknown)
		}
	}
}

func TestRouteTellsParametersAndPath(t *testing.T) {
	r, err := matchSnapshot(t).Match("/m/quotes/%41B/ask", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ParamValue{{"symbol", "AB"}, {"side", "ask"}}, r.Params); diff != "" || r.Path != "/m/quotes/AB/ask" || !r.Default {
		t.Errorf("%s %+v", diff, r)
	}
	if got, want := r.Ref().ID().String(), r.Ref().ID(); got == "" || want.API != "market_v1" || want.Key != "quotes.AB.ask" {
		t.Errorf("feed id %+v", want)
	}
}

func TestFeedRefusesWhatIsNoFeedOfThisSnapshot(t *testing.T) {
	s := matchSnapshot(t)
	for ref, want := range map[FeedRef]problem.Kind{
		{"market", "9", "/ticks", ""}:                                   problem.NoSuchAPI,
		{"market", "2", "/ticks", ""}:                                   problem.NoSuchAPI,
		{"Market", "1", "/ticks", ""}:                                   problem.NoSuchAPI,
		{"market", "1", "/quotes/acme", ""}:                             problem.NoSuchTopic,
		{"market", "1", "/quotes/%41CME", "depth=5"}:                    problem.NoSuchFeed,
		{"market", "1", "/quotes/ACME", ""}:                             problem.NoSuchFeed,
		{"market", "1", "/quotes/ACME", "depth=5&x=1"}:                  problem.NoSuchFeed,
		{"market", "1", "/quotes/ACME", "lang=de&depth=5"}:              problem.NoSuchFeed,
		{"market", "1", "/quotes/ACME", "depth=500"}:                    problem.InvalidQuery,
		{"market", "1", "/../x", ""}:                                    problem.NoSuchFeed,
		{"market", "1", "/ticks/", ""}:                                  problem.NoSuchFeed,
		{"market", "1", "", ""}:                                         problem.NoSuchFeed,
		{"market", "1", "/ticks", strings.Repeat("x", maxQueryBytes+1)}: problem.NoSuchFeed,
	} {
		if _, err := s.Feed(ref); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %s", ref, err, want)
		}
	}
}

func TestAlwaysOnFeeds(t *testing.T) {
	var got []string
	for _, r := range matchSnapshot(t).AlwaysOn() {
		got = append(got, r.API.ID()+" "+r.FeedPath+" "+r.Upstream)
	}
	want := []string{
		"market@1 /ticks http://up:1/base/s/ticks?all=1", "market@1 /quotes/all http://up:1/base/quotes/all", "market@1 /a$b http://up:1/base/a$b",
		"market@1 /lit/* http://up:1/base/lit/*", "place@1 / http://up:5/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// No query value may reach the error: it goes to logs and clients.
func TestQueryErrorsNameTheParameterAndNotItsValue(t *testing.T) {
	_, err := matchSnapshot(t).Match("/m/1/ticks", "lang=hunter2")
	var pe *problem.Error
	if !errors.As(err, &pe) || len(pe.Errors) != 1 || pe.Errors[0].Parameter != "lang" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// Values are never dots by themselves, but a template may put dots around them; the last check is on what would be sent.
func TestNoValuesMakeADotSegmentUpstream(t *testing.T) {
	b, _, err := parseBackend("/a/.{x}{y}/b?q={x}", []string{"x", "y"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for values, want := range map[[2]string]bool{{"", "."}: false, {"", ""}: false, {".", "."}: true, {"a", "/"}: true} {
		path, _, ok := b.fill([]ParamValue{{"x", values[0]}, {"y", values[1]}}, nil)
		if ok != want || ok && strings.Count(path, "/") != 3 {
			t.Errorf("%q gives %q, %v", values, path, ok)
		}
	}
}

// Guards the cost of routing one request: a join storm routes thousands a second.
func BenchmarkMatch(b *testing.B) {
	s := matchSnapshot(b)
	for name, path := range map[string]string{"exact": "/m/1/ticks", "template": "/m/1/quotes/ACME", "wildcard": "/m/1/a/b/c"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Match(path, "since=2026-11-23T08:30:00Z&depth=7"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
