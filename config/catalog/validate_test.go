package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/config"
	"sluice/internal/doc"
)

func defaults() Options { return OptionsFrom(config.Default()) }

// one makes a definition of a published API with one line of spec, and of metadata, in place.
func one(meta, spec string) string {
	base := map[string]string{"context": "/a", "version": "'1'", "state": "PUBLISHED", "endpoint": "http://h", "topics": "[{name: /t}]"}
	name := "name: a"
	if strings.HasPrefix(meta, "name:") {
		name = meta
	} else if meta != "" {
		name += ", " + meta
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: sluice/v1\nkind: API\nmetadata: {%s}\nspec:\n", name)
	if spec != "" && spec[0] != '-' {
		b.WriteString("  " + spec + "\n")
	}
	key, _, _ := strings.Cut(spec, ":")
	for _, k := range []string{"context", "version", "state", "endpoint", "topics"} {
		if k != strings.TrimPrefix(key, "-") {
			fmt.Fprintf(&b, "  %s: %s\n", k, base[k])
		}
	}
	return b.String()
}

func topic(fields string) string { return "topics: [{name: /t, " + fields + "}]" }

// Where the position is of interest it is in the table of package doc; here the line tells that the value itself is pointed at.
func TestEachBadValueHasItsPointerTypeAndMessage(t *testing.T) {
	long := strings.Repeat("x", 70)
	cases := []struct{ meta, spec, slug, pointer, message string }{
		{"name: ''", "", "invalid-name", "/metadata/name", "is required"},
		{"name: ../1", "", "invalid-name", "/metadata/name", "must be 1 to 60 letters"},
		{"name: " + long, "", "invalid-name", "/metadata/name", "must be 1 to 60 letters"},
		{"name: 'a b'", "", "invalid-name", "/metadata/name", "must be 1 to 60 letters"},
		{"displayName: " + strings.Repeat("x", 101), "", "invalid-value", "/metadata/displayName", "must be at most 100 characters"},
		{"tags: [Big]", "", "invalid-value", "/metadata/tags/0", "must be 1 to 32 lower-case"},
		{"tags: [a, a]", "", "invalid-value", "/metadata/tags/1", "is listed twice"},
		{"labels: {a: 'b c'}", "", "invalid-value", "/metadata/labels/a", "key and value must be"},
		{"annotations: {a: " + strings.Repeat("x", 33<<10) + "}", "", "invalid-value", "/metadata/annotations", "must be at most 32 KiB"},
		{"", "version: ''", "invalid-version", "/spec/version", "is required"},
		{"", "version: ../1", "invalid-version", "/spec/version", "must be 1 to 30 letters"},
		{"", "version: " + long, "invalid-version", "/spec/version", "must be 1 to 30 letters"},

		{"", "context: ''", "invalid-context", "/spec/context", "is required"},
		{"", "context: /", "invalid-context", "/spec/context", "must be 1 to 232 bytes"},
		{"", "context: 'echo{version}'", "invalid-context", "/spec/context", `has the segment "echo{version}"`},
		{"", "context: '/{x}/a'", "invalid-context", "/spec/context", `has the segment "{x}"`},
		{"", "context: //a", "invalid-context", "/spec/context", `has the segment ""`},
		{"", "context: /a%62", "invalid-context", "/spec/context", `has the segment "a%62"`},
		{"", "context: '/a;b'", "invalid-context", "/spec/context", "has the segment"},
		{"", "context: '/a?b'", "invalid-context", "/spec/context", "has the segment"},
		{"", "context: /é", "invalid-context", "/spec/context", "has the segment"},
		{"", "context: /a/../b", "invalid-context", "/spec/context", `has the segment ".."`},
		{"", "context: '/{version}/{version}'", "invalid-context", "/spec/context", "has {version} twice"},
		{"", "context: /API/x", "reserved-context", "/spec/context", `starts with "API"`},
		{"", "context: /_x", "reserved-context", "/spec/context", `starts with "_x"`},
		{"", "context: /favicon.ico", "reserved-context", "/spec/context", `starts with "favicon.ico"`},

		{"", "endpoint: 'file:///etc/passwd'", "endpoint-scheme", "/spec/endpoint", "must start with http://"},
		{"", "endpoint: 'gopher://h/'", "endpoint-scheme", "/spec/endpoint", "must start with http://"},
		{"", "endpoint: /only/path", "endpoint-scheme", "/spec/endpoint", "must start with http://"},
		{"", "endpoint: 'http://user:hunter2@h/'", "endpoint-userinfo", "/spec/endpoint", "must not hold a user"},
		{"", "endpoint: 'http://h/?x=1'", "invalid-value", "/spec/endpoint", "must not have a query"},
		{"", "endpoint: 'http://h/#x'", "invalid-value", "/spec/endpoint", "must not have a query"},
		{"", "endpoint: 'http:///x'", "invalid-value", "/spec/endpoint", "must name a host"},
		{"", "endpoint: 'http://h:99999/'", "invalid-value", "/spec/endpoint", "has no usable port"},
		{"", "endpoint: 'http://h:0/'", "invalid-value", "/spec/endpoint", "has no usable port"},
		{"", "endpoint: 'http://2130706433/'", "endpoint-forbidden", "/spec/endpoint", "must write its address in the usual form"},
		{"", "endpoint: 'http://0x7f.1/'", "endpoint-forbidden", "/spec/endpoint", "must write its address in the usual form"},
		{"", "endpoint: 'http://127.1/'", "endpoint-forbidden", "/spec/endpoint", "must write its address in the usual form"},
		{"", "endpoint: 'http://[::ffff:127.0.0.1]/'", "endpoint-forbidden", "/spec/endpoint", "must write its address in the usual form"},
		{"", "endpoint: 'http://h/a/../b'", "invalid-value", "/spec/endpoint", "has a path with an empty, dot"},
		{"", "endpoint: 'http://h/a b'", "invalid-value", "/spec/endpoint", "must be an absolute http or https URL"},
		{"", "endpoint: 'http://hé/'", "invalid-value", "/spec/endpoint", "must be an absolute http or https URL"},
		{"", "-endpoint:", "not-publishable", "/spec/endpoint", "is needed in state PUBLISHED"},

		{"", "state: published", "invalid-value", "/spec/state", "must be one of CREATED"},
		{"", "visibility: secret", "invalid-value", "/spec/visibility", "must be one of public"},
		{"", "visibility: restricted", "invalid-value", "/spec/visibleTo", "must have at least one role"},
		{"", "visibleTo: [a]", "invalid-value", "/spec/visibleTo", "is for visibility: restricted"},
		{"", "protocol: ws", "invalid-value", "/spec/protocol", "must be one of sse"},
		{"", "transports: []", "no-transport", "/spec/transports", "must have at least one"},
		{"", "transports: [tcp]", "invalid-value", "/spec/transports/0", "must be one of http, https"},
		{"", "transports: [http, http]", "invalid-value", "/spec/transports/1", "is listed twice"},
		{"", "plans: ['']", "invalid-value", "/spec/plans/0", "must be the name of a plan"},
		{"", "edgeGroups: [West]", "invalid-value", "/spec/edgeGroups/0", "must be 1 to 32 lower-case"},
		{"", "deploy: later", "invalid-value", "/spec/deploy", "must be one of auto, manual"},
		{"", "retention: {maxAge: 31d}", "invalid-value", "/spec/retention/maxAge", "must be between 1s and 30d"},
		{"", "retention: {maxAge: 0}", "invalid-value", "/spec/retention/maxAge", "must be between 1s and 30d"},
		{"", "retention: {maxEvents: 0}", "invalid-value", "/spec/retention/maxEvents", "must be between 1 and 10000000"},
		{"", "retention: {maxBytes: 1KiB}", "invalid-value", "/spec/retention/maxBytes", "must be between 1MiB and 100GiB"},
		{"", "limits: {maxFeeds: 100001}", "invalid-value", "/spec/limits/maxFeeds", "must be between 1 and 100000"},
		{"", "limits: {maxClients: -1}", "invalid-value", "/spec/limits/maxClients", "must be between 0 and 10000000"},

		{"", "upstream: {connectTimeout: 31s}", "invalid-value", "/spec/upstream/connectTimeout", "must be between 100ms and 30s"},
		{"", "upstream: {idle: 1s}", "invalid-value", "/spec/upstream/idle", "must be 0 or between 5s and 1h"},
		{"", "upstream: {maxEvent: 2MiB}", "invalid-value", "/spec/upstream/maxEvent", "must be between 1KiB and 1MiB"},
		{"", "upstream: {resume: always}", "invalid-value", "/spec/upstream/resume", "must be one of probe, trust, off"},
		{"", "upstream: {headers: {Host: x}}", "invalid-value", "/spec/upstream/headers/Host", "is a header that sluice sets itself"},
		{"", "upstream: {headers: {last-event-id: x}}", "invalid-value", "/spec/upstream/headers/last-event-id", "is a header that sluice sets itself"},
		{"", "upstream: {headers: {accept-language: x}}", "invalid-value", "/spec/upstream/headers/accept-language", "is a header that sluice sets itself"},
		{"", `upstream: {headers: {X: "a\r\nB: c"}}`, "invalid-value", "/spec/upstream/headers/X", "has a value with control characters"},
		{"", "upstream: {headers: {'X Y': x}}", "invalid-value", "/spec/upstream/headers/X Y", "is not a header name"},
		{"", "upstream: {auth: {type: basic, secret: s}}", "invalid-value", "/spec/upstream/auth/username", "is needed for type basic"},
		{"", "upstream: {auth: {secret: s}}", "invalid-value", "/spec/upstream/auth/secret", "is not for type none"},
		{"", "upstream: {auth: {type: bearer, secret: ../etc}}", "invalid-value", "/spec/upstream/auth/secret", "must be the name of a secret"},
		{"", "upstream: {auth: {type: apiKey, secret: s, header: Cookie}}", "invalid-value", "/spec/upstream/auth/header", "must be the name of a header"},
		{"", "upstream: {tls: {ca: /etc/ca.pem}}", "invalid-value", "/spec/upstream/tls/ca", "must be the name of a secret"},

		{"", "auth: {schemes: [password]}", "invalid-value", "/spec/auth/schemes/0", "must be one of jwt"},
		{"", "auth: {schemes: []}", "invalid-value", "/spec/auth/schemes", "can be empty only when every topic"},
		{"", "auth: {header: apikey}", "invalid-value", "/spec/auth/apiKeyHeader", "is the header of tokens too"},
		{"", "scopes: [{name: a}, {name: a}]", "invalid-value", "/spec/scopes/1/name", "is defined twice"},
		{"", "scopes: [{name: 'a b'}]", "invalid-value", "/spec/scopes/0/name", "must be 1 to 64 letters"},
		{"", "cors: {origins: ['*'], credentials: true}", "invalid-value", "/spec/cors/origins/0", "cannot be * together with credentials"},
		{"", "cors: {origins: ['*', 'http://a']}", "invalid-value", "/spec/cors/origins/0", "must stand alone"},
		{"", "cors: {origins: ['http://a/']}", "invalid-value", "/spec/cors/origins/0", "must be an origin as browsers send it"},
		{"", "cors: {origins: ['http://*.a.com']}", "invalid-value", "/spec/cors/origins/0", "must be an origin as browsers send it"},
		{"", "cors: {origins: [\"null\"]}", "invalid-value", "/spec/cors/origins/0", "must be an origin as browsers send it"},
		{"", "client: {retry: 100ms}", "invalid-value", "/spec/client/retry", "must be between 500ms and 1m"},
		{"", "client: {heartbeat: 41s}", "invalid-value", "/spec/client/heartbeat", "must be between 5s and 40s"},
		{"", "client: {slow: block}", "invalid-value", "/spec/client/slow", "must be one of drop, backlog, latest"},
		{"", "client: {framing: both}", "invalid-value", "/spec/client/framing", "must be one of identity, chunked"},

		{"", "topics: []", "not-publishable", "/spec/topics", "must have at least one topic"},
		{"", "topics: [{name: ''}]", "invalid-topic", "/spec/topics/0/name", "is required"},
		{"", "topics: [{name: a}]", "invalid-topic", "/spec/topics/0/name", "must start with a slash"},
		{"", "topics: [{name: /a/}]", "invalid-topic", "/spec/topics/0/name", "must not end with a slash"},
		{"", "topics: [{name: //a}]", "invalid-topic", "/spec/topics/0/name", "has empty path segment"},
		{"", "topics: [{name: /" + strings.Repeat("a", 255) + "}]", "invalid-topic", "/spec/topics/0/name", "is longer than 255 bytes"},
		{"", "topics: [{name: " + strings.Repeat("/a", 17) + "}]", "invalid-topic", "/spec/topics/0/name", "has more than 16 segments"},
		{"", `topics: [{name: "/a\0"}]`, "invalid-topic", "/spec/topics/0/name", "has byte 0x00 in path"},
		{"", "topics: [{name: /%00}]", "invalid-topic", "/spec/topics/0/name", "has escape %00 in path"},
		{"", "topics: [{name: /a%2Fb}]", "invalid-topic", "/spec/topics/0/name", "has escape %2F in path"},
		{"", "topics: [{name: /%2e%2e/x}]", "invalid-topic", "/spec/topics/0/name", "has dot segment in path"},
		{"", "topics: [{name: /é}]", "invalid-topic", "/spec/topics/0/name", "has byte 0xc3 in path"},
		{"", "topics: [{name: '/a|b'}]", "invalid-topic", "/spec/topics/0/name", `has "|"`},
		{"", "topics: [{name: /a/*/b}]", "invalid-wildcard", "/spec/topics/0/name", "has a * that is not the last segment"},
		{"", "topics: [{name: /**}]", "invalid-wildcard", "/spec/topics/0/name", "has a * that is not a whole segment"},
		{"", "topics: [{name: /a*}]", "invalid-wildcard", "/spec/topics/0/name", "has a * that is not a whole segment"},
		{"", "topics: [{name: '/x{a}'}]", "invalid-topic", "/spec/topics/0/name", `has the segment "x{a}"`},
		{"", "topics: [{name: '/{1a}'}]", "invalid-topic", "/spec/topics/0/name", `has the segment "{1a}"`},
		{"", "topics: [{name: '/{a}/{a}'}]", "invalid-topic", "/spec/topics/0/name", "has {a} twice"},
		{"", "topics: [{name: '/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}'}]", "invalid-topic", "/spec/topics/0/name", "has more than 8 parameters"},
		{"", "topics: [{name: /a}, {name: /%61}]", "topic-conflict", "/spec/topics/1/name", `matches the same paths as topic "/a"`},
		{"", "topics: [{name: '/{x}'}, {name: '/{y}'}]", "topic-conflict", "/spec/topics/1/name", `matches the same paths as topic "/{x}"`},
		{"", topic("type: pub"), "not-subscribe", "/spec/topics/0/type", "must be sub"},
		{"", topic("security: maybe"), "invalid-value", "/spec/topics/0/security", "must be one of required, none"},
		{"", topic("retention: {maxBytes: 1GiB}"), "invalid-value", "/spec/topics/0/retention/maxBytes", "is for the whole API"},
		{"", topic("retention: {maxAge: 1ms}"), "invalid-value", "/spec/topics/0/retention/maxAge", "must be between 1s and 30d"},
		{"", topic("start: soon"), "invalid-value", "/spec/topics/0/start", "must be live, earliest or {last: N}"},
		{"", topic("start: {last: 1001}"), "invalid-value", "/spec/topics/0/start", "last must be between 1 and 1000"},
		{"", topic("start: {first: 3}"), "unknown-field", "/spec/topics/0/start/first", "unknown key"},
		{"", topic("linger: 2h"), "invalid-value", "/spec/topics/0/linger", "must be between 0s and 1h"},
		{"", "topics: [{name: '/{a}', demand: always}]", "invalid-value", "/spec/topics/0/demand", "can be always only"},
		{"", topic("demand: always, query: [{name: q, required: true}]"), "invalid-value", "/spec/topics/0/demand", "cannot be always"},
		{"", topic("scopes: [nope]"), "unknown-scope", "/spec/topics/0/scopes/0", "is not defined in spec.scopes"},
		{"", topic("params: {x: a}"), "unknown-param", "/spec/topics/0/params/x", "is not a parameter of the topic"},
		{"", "topics: [{name: '/{a}', params: {a: '['}}]", "invalid-value", "/spec/topics/0/params/a", "is not an RE2 expression"},
		{"", "topics: [{name: '/{a}', params: {a: {pattern: '(?=x)'}}}]", "invalid-value", "/spec/topics/0/params/a/pattern", "is not an RE2 expression"},
		{"", "topics: [{name: '/{a}', params: {a: '" + strings.Repeat("x", 201) + "'}}]", "invalid-value", "/spec/topics/0/params/a", "is longer than 200 bytes"},
		{"", "topics: [{name: '/{a}', params: {a: {pattern: '[a-z]', enum: [b, C]}}}]", "invalid-value", "/spec/topics/0/params/a/enum/1", "is a value that the pattern refuses"},
		{"", topic("query: ['']"), "invalid-value", "/spec/topics/0/query/0", "must be 1 to 64 letters"},
		{"", topic("query: [since]"), "invalid-value", "/spec/topics/0/query/0", "is a name that sluice reads itself"},
		{"", topic("query: [{name: access_token}]"), "invalid-value", "/spec/topics/0/query/0/name", "is a name that sluice reads itself"},
		{"", topic("query: [a, a]"), "invalid-value", "/spec/topics/0/query/1", "is listed twice"},
		{"", topic("query: [{name: a, pattern: '^[0-9]$', default: x}]"), "invalid-value", "/spec/topics/0/query/0/default", "is a value that the pattern refuses"},
		{"", topic("query: [{name: a, required: true, default: x}]"), "invalid-value", "/spec/topics/0/query/0/default", "is of no use"},
		{"", topic("backend: 'http://o/'"), "invalid-backend-path", "/spec/topics/0/backend", "must start with a slash"},
		{"", topic(`backend: "/x\r\nHost: o"`), "invalid-backend-path", "/spec/topics/0/backend", "byte 0x0d in path"},
		{"", topic("backend: /a/../b"), "invalid-backend-path", "/spec/topics/0/backend", "dot segment"},
		{"", topic("backend: /a//b"), "invalid-backend-path", "/spec/topics/0/backend", "has an empty segment"},
		{"", topic("backend: '/a#b'"), "invalid-backend-path", "/spec/topics/0/backend", "byte 0x23 in path"},
		{"", topic("backend: '/a?b c'"), "invalid-backend-path", "/spec/topics/0/backend", "has byte 0x20"},
		{"", topic("backend: '/a?{b}=1'"), "invalid-backend-path", "/spec/topics/0/backend", "has a query parameter without a fixed name"},
		{"", topic("backend: '/a/{b'"), "invalid-backend-path", "/spec/topics/0/backend", "has a { without }"},
		{"", topic("backend: '/a/{b}'"), "unknown-param", "/spec/topics/0/backend", "has {b}, which is not a parameter of the topic"},
		{"", topic("backend: '/a/{*}'"), "unknown-param", "/spec/topics/0/backend", "has {*}, but the topic has no wildcard"},
		{"", "topics: [{name: /a/*, backend: '/b/x{*}'}]", "invalid-backend-path", "/spec/topics/0/backend", "{*} must be a whole segment"},
		{"", "topics: [{name: /a/*, backend: '/b?p={*}'}]", "invalid-backend-path", "/spec/topics/0/backend", "{*} can stand in the path only"},
		{"", topic("query: [s], backend: '/b?s=1'"), "invalid-backend-path", "/spec/topics/0/backend", `sets the query parameter "s"`},
	}
	for _, c := range cases {
		t.Run(c.pointer+" "+c.message, func(t *testing.T) {
			text := one(c.meta, c.spec)
			_, err := NewStatic(defaults(), Source{"a.yaml", []byte(text)})
			errs, _ := err.(doc.Errors)
			if len(errs) != 1 {
				t.Fatalf("%d errors: %v\n%s", len(errs), err, clip(text))
			}
			e := errs[0]
			if e.Pointer != c.pointer || e.Type != c.slug || !strings.Contains(e.Message, c.message) {
				t.Errorf("got %s %s: %s\nwant %s %s: %s", e.Type, e.Pointer, e.Message, c.slug, c.pointer, c.message)
			}
			line := strings.Split(text, "\n")[e.Line-1]
			if c.meta != "" && !strings.HasPrefix(line, "metadata:") || c.meta == "" && !strings.HasPrefix(c.spec, "-") &&
				!strings.HasPrefix(line, "spec:") && !strings.HasPrefix(strings.TrimSpace(line), strings.TrimSpace(c.spec)[:4]) &&
				!strings.HasPrefix(strings.TrimSpace(line), "context") {
				t.Errorf("points at line %d: %s", e.Line, clip(line))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("echoes a password")
			}
		})
	}
}

func TestBundleConflicts(t *testing.T) {
	api := func(name, version, context, more string) string {
		return fmt.Sprintf("---\napiVersion: sluice/v1\nkind: API\nmetadata: {name: %s}\nspec: {context: '%s', version: '%s', endpoint: 'http://h', %s}\n",
			name, context, version, more)
	}
	cases := []struct{ name, text, slug, message string }{
		{"same name and version", api("a", "1", "/a", "") + api("a", "1", "/a", ""), "version-conflict", "/spec/version: api a@1 is defined twice"},
		{"same but for case", api("a", "v", "/a", "") + api("a", "V", "/a", ""), "version-conflict", "/spec/version: api a@V is defined twice"},
		{"names that differ in case", api("a", "1", "/a", "") + api("A", "2", "/a", ""), "version-conflict", "/metadata/name: differs from a only in case"},
		{"another context", api("a", "1", "/a", "") + api("a", "2", "/b", ""), "context-differs", "/spec/context: must be /a as in the other versions of a"},
		{"two defaults", api("a", "1", "/a", "default: true") + api("a", "2", "/a", "default: true"), "version-conflict", "/spec/default: a@1 is the default version already"},
		{"same path", api("a", "1", "/x", "") + api("b", "1", "/x", ""), "context-conflict", "/spec/context: path /x/1 clashes with /x/1 of api a@1"},
		{"same path but for case", api("a", "1", "/x", "") + api("b", "1", "/X", ""), "context-conflict", "/spec/context: path /x/1 clashes with /x/1 of api a@1"},
		{"same path, version in place", api("a", "x", "/1", "") + api("b", "1", "/{version}/x", ""), "context-conflict", "/spec/context: path /1/x clashes with /1/x of api a@x"},
		{"below another", api("a", "1", "/x", "") + api("b", "2", "/x/1", ""), "context-conflict", "/spec/context: path /x/1/2 clashes with /x/1 of api a@1"},
		{"above another", api("b", "2", "/x/1", "") + api("a", "1", "/x", ""), "context-conflict", "/spec/context: path /x/1 clashes with /x/1/2 of api b@2"},
		{"default above another", api("b", "2", "/x/y", "") + api("a", "1", "/x", "default: true"), "context-conflict", "/spec/default: path /x clashes with /x/y/2 of api b@2"},
		{"default topic hidden by a version", api("a", "1", "/a", "default: true, topics: [{name: /2/t}]") + api("a", "2", "/a", ""), "topic-conflict",
			"/spec/topics/0/name: begins with a version of a"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewStatic(defaults(), Source{"a.yaml", []byte(c.text)})
			errs, _ := err.(doc.Errors)
			if len(errs) != 1 || errs[0].Type != c.slug || !strings.Contains(errs[0].Error(), ": "+c.message) {
				t.Errorf("got %v, want %s %s", err, c.slug, c.message)
			}
		})
	}
	good := api("a", "1", "/a", "default: true") + api("a", "2", "/a", "") + api("b", "1", "/a-b", "") + api("c", "1", "/{version}", "") +
		api("d", "3", "/d/{version}/e", "default: true")
	if _, err := NewStatic(defaults(), Source{"a.yaml", []byte(good)}); err != nil {
		t.Errorf("good bundle: %v", err)
	}
}

func TestAllErrorsOfAllFilesAreTold(t *testing.T) {
	_, err := NewStatic(defaults(),
		Source{"a.yaml", []byte(one("", "stat: PUBLISHED") + "---\n" + one("tags: [Big]", "limits: {maxFeeds: 0}"))},
		Source{"b.json", []byte(`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"b"},"spec":{"context":"/b","version":"1","state":"PUBLISHED",}}`)},
		Source{"c.yaml", []byte("kind: Plan\napiVersion: sluice/v1\nspec: {unknown: 1}\n")},
		Source{"d.yaml", []byte("just text\n")},
		Source{"e.yaml", []byte(one("name: e", "context: /e") + "---\n[")})
	want := `a.yaml:5:3: /spec/stat: unknown key; did you mean "state"?
a.yaml:14:28: /metadata/tags/0: must be 1 to 32 lower-case letters, digits or dashes
a.yaml:16:22: /spec/limits/maxFeeds: must be between 1 and 100000
a.yaml:18:12: /spec/version: api a@1 is defined twice
b.json:1:121: /spec: unexpected '}' where a key in quotes was expected
c.yaml:1:7: /kind: must be API
d.yaml:1:1: must be a definition with apiVersion: sluice/v1 and kind: API
e.yaml:12:1: did not find expected node content while parsing a flow node`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	st, err := NewStatic(defaults(), Source{"a.yaml", []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\n" +
		"spec: {context: a/, version: 1.0, endpoint: 'http://h', state: PUBLISHED, retention: {maxAge: 5m}, client: {slow: latest}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := doc.Marshal(st.Snapshot().API("a", "1.0"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"a","displayName":"a"},"spec":{"context":"/a","version":"1.0",` +
		`"state":"PUBLISHED","visibility":"public","protocol":"sse","transports":["http","https"],"endpoint":"http://h",` +
		`"upstream":{"connectTimeout":"5s","idle":"1m30s","maxEvent":"1MiB","resume":"probe","on204":"park","auth":{"type":"none"}},` +
		`"auth":{"schemes":["jwt","apiKey"],"header":"Authorization","apiKeyHeader":"ApiKey","issuers":["all"]},` +
		`"client":{"retry":"2s","heartbeat":"15s","shed":"auto","slow":"latest","framing":"identity"},` +
		`"retention":{"maxAge":"5m","maxEvents":10000,"maxBytes":"2GiB"},"limits":{"maxFeeds":1000},"edgeGroups":["default"],"deploy":"auto",` +
		`"topics":[{"name":"/*","type":"sub","security":"required","retention":{"maxAge":"5m","maxEvents":10000},"start":"live",` +
		`"demand":"onDemand","linger":"30s","slow":"latest"}]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestProcessSettingsAreInheritedAndZeroIsKept(t *testing.T) {
	opt := defaults()
	opt.MaxEvent, opt.Linger, opt.Idle, opt.ConnectTimeout, opt.Framing = 64*config.KiB, time.Minute, 7*time.Second, 9*time.Second, config.FramingChunked
	text := one("", "topics: [{name: /a}, {name: /b, linger: 0}]")
	st, err := NewStatic(opt, Source{"a.yaml", []byte(text)}, Source{"b.yaml", []byte(one("name: b", "context: /b") + "  upstream: {idle: 0, maxEvent: 1MiB}\n")})
	if err != nil {
		t.Fatal(err)
	}
	a, b := st.Snapshot().API("a", "1"), st.Snapshot().API("b", "1")
	got := []any{a.Spec.Topics[0].Linger, a.Spec.Topics[1].Linger, a.Spec.Upstream.Idle, a.Spec.Upstream.ConnectTimeout, a.Spec.Client.Framing,
		b.Spec.Upstream.Idle, b.Spec.Upstream.MaxEvent}
	want := []any{time.Minute, time.Duration(0), 7 * time.Second, 9 * time.Second, config.FramingChunked, time.Duration(0), 64 * config.KiB}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFullDefinitionIsReadBackFromItsCanonicalForm(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	st, err := NewStatic(defaults(), Source{"full.yaml", text})
	if err != nil {
		t.Fatal(err)
	}
	api := st.Snapshot().APIs()[0]
	canonical, err := doc.Marshal(api)
	if err != nil {
		t.Fatal(err)
	}
	if api.Status != nil {
		t.Error("status was taken from a file")
	}
	d, err := st.Replace(Source{"full.json", canonical})
	if err != nil || !d.Empty() || st.Snapshot().APIs()[0] != api {
		t.Errorf("reading it back: %+v, %v\n%s", d.Changed, err, canonical)
	}
	if api.BasePath() != "/2.0.0-rc.1/full" || api.DefaultPath() != "/full" || api.Open() || api.Allows(TransportHTTP) || api.ID() != "Full.api_1@2.0.0-rc.1" {
		t.Errorf("%s %s", api.BasePath(), api.DefaultPath())
	}
	if r := api.Retention(); r.MaxEvents != 100_000 || r.MaxAge != 48*time.Hour || r.MaxBytes != config.GiB {
		t.Errorf("retention of the stream %+v", r)
	}
	if w := st.Snapshot().Warnings(); len(w) != 1 || w[0].Pointer != "/spec/upstream/tls/insecureSkipVerify" {
		t.Errorf("warnings %v", w)
	}
}

func TestWarnings(t *testing.T) {
	st, err := NewStatic(defaults(), Source{"a.yaml", []byte(one("", "state: CREATED"))},
		Source{"b.yaml", []byte(strings.Replace(one("name: b", "topics: [{name: '/{x}/{y}', backend: '/q/{x}'}]"), "context: /a", "context: /b", 1))})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range st.Snapshot().Warnings() {
		got = append(got, w.Error())
	}
	want := []string{"a.yaml:5:10: /spec/state: api a@1 is in state CREATED and not served; set state: PUBLISHED",
		"b.yaml:5:40: /spec/topics/0/backend: does not use {y}: many feeds will read one URL"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointThatLoopsIsRefused(t *testing.T) {
	opt := defaults()
	opt.Loops = func(u *url.URL) bool { return u.Host == "127.0.0.1:8080" }
	text := func(endpoint string) Source {
		return Source{"loop.yaml", []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec:\n  context: /a\n  version: '1'\n" +
			"  endpoint: " + endpoint + "\n")}
	}
	_, err := NewStatic(opt, text("http://127.0.0.1:8080/x"))
	var errs doc.Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Type != "endpoint-loop" || errs[0].Pointer != "/spec/endpoint" ||
		!strings.HasPrefix(errs[0].Error(), "loop.yaml:7:13: ") {
		t.Errorf("got %v", err)
	}
	if _, err := NewStatic(opt, text("http://127.0.0.1:8081/x")); err != nil {
		t.Errorf("another port: %v", err)
	}
}
