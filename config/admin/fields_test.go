package admin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// put sets the value at a JSON pointer, making maps on the way; `-` appends to a list.
func put(t *testing.T, into map[string]any, pointer string, value any) {
	t.Helper()
	parts := strings.Split(pointer[1:], "/")
	var at any = into
	for i, part := range parts {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		last := i == len(parts)-1
		switch x := at.(type) {
		case map[string]any:
			if last {
				x[part] = value
				return
			}
			if x[part] == nil {
				x[part] = map[string]any{}
			}
			at = x[part]
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n >= len(x) {
				t.Fatalf("pointer %s does not fit", pointer)
			}
			if last {
				x[n] = value
				return
			}
			at = x[n]
		default:
			t.Fatalf("pointer %s does not fit", pointer)
		}
	}
}

// anAPI is a correct API, ready to be spoilt.
func anAPI(name string) map[string]any {
	return map[string]any{
		"apiVersion": "sluice/v1", "kind": "API",
		"metadata": map[string]any{"name": name},
		"spec": map[string]any{"context": "/" + strings.ToLower(name), "version": "1.0.0", "endpoint": "http://127.0.0.1:8090",
			"topics": []any{map[string]any{"name": "/ticks"}}},
	}
}

func many(n int, item any) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = item
	}
	return out
}

func names(n int, prefix string) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

type badField struct {
	name    string
	at      string // where the value is put
	value   any
	status  int
	slug    string
	pointer string // where the error points; "" = at
}

var badFields = []badField{
	// The envelope and metadata.
	{"another kind", "/kind", "Plan", 422, "invalid-value", ""},
	{"another apiVersion", "/apiVersion", "v2", 422, "invalid-value", ""},
	{"no name", "/metadata/name", "", 422, "invalid-name", ""},
	{"name with a slash", "/metadata/name", "a/b", 422, "invalid-name", ""},
	{"name that climbs", "/metadata/name", "../1", 422, "invalid-name", ""},
	{"name with a dot first", "/metadata/name", ".a", 422, "invalid-name", ""},
	{"name of 61 characters", "/metadata/name", strings.Repeat("a", 61), 422, "invalid-name", ""},
	{"name that is a list", "/metadata/name", []any{"a"}, 422, "invalid-value", ""},
	{"displayName of 101 characters", "/metadata/displayName", strings.Repeat("é", 101), 422, "invalid-value", ""},
	{"description above 8 KiB", "/metadata/description", strings.Repeat("x", 8<<10+1), 422, "invalid-value", ""},
	{"tag in capitals", "/metadata/tags", []any{"Quotes"}, 422, "invalid-value", "/metadata/tags/0"},
	{"tag twice", "/metadata/tags", []any{"a", "a"}, 422, "invalid-value", "/metadata/tags/1"},
	{"21 tags", "/metadata/tags", names(21, "t"), 422, "invalid-value", ""},
	{"label with a space", "/metadata/labels", map[string]any{"a b": "c"}, 422, "invalid-value", "/metadata/labels/a b"},
	{"annotations above 32 KiB", "/metadata/annotations", map[string]any{"a": strings.Repeat("x", 33<<10)}, 422, "invalid-value", ""},
	{"unknown field of metadata", "/metadata/colour", "red", 400, "unknown-field", ""},
	// Version and context.
	{"no version", "/spec/version", "", 422, "invalid-version", ""},
	{"version that climbs", "/spec/version", "../1", 422, "invalid-version", ""},
	{"version of 31 characters", "/spec/version", strings.Repeat("1", 31), 422, "invalid-version", ""},
	{"no context", "/spec/context", "", 422, "invalid-context", ""},
	{"context with a space", "/spec/context", "/a b", 422, "invalid-context", ""},
	{"context with an empty segment", "/spec/context", "/a//b", 422, "invalid-context", ""},
	{"context with a dot segment", "/spec/context", "/a/../b", 422, "invalid-context", ""},
	{"context with an escape", "/spec/context", "/a%2Fb", 422, "invalid-context", ""},
	{"context with {version} inside a segment", "/spec/context", "/echo{version}", 422, "invalid-context", ""},
	{"context with another template", "/spec/context", "/{x}/a", 422, "invalid-context", ""},
	{"context with {version} twice", "/spec/context", "/{version}/{version}", 422, "invalid-context", ""},
	{"context of 300 bytes", "/spec/context", "/" + strings.Repeat("a/", 150) + "a", 422, "invalid-context", ""},
	{"reserved context", "/spec/context", "/Metrics/a", 422, "reserved-context", ""},
	{"reserved context with underscore", "/spec/context", "/_internal", 422, "reserved-context", ""},
	// Endpoint.
	{"endpoint of a file", "/spec/endpoint", "file:///etc/passwd", 422, "endpoint-scheme", ""},
	{"endpoint by gopher", "/spec/endpoint", "gopher://h/", 422, "endpoint-scheme", ""},
	{"endpoint with a user", "/spec/endpoint", "http://u:p@h/", 422, "endpoint-userinfo", ""},
	{"endpoint with a query", "/spec/endpoint", "http://h/?a=b", 422, "invalid-value", ""},
	{"endpoint with a fragment", "/spec/endpoint", "http://h/#x", 422, "invalid-value", ""},
	{"endpoint without host", "/spec/endpoint", "http:///x", 422, "invalid-value", ""},
	{"endpoint with port 0", "/spec/endpoint", "http://h:0/", 422, "invalid-value", ""},
	{"endpoint as a number", "/spec/endpoint", "http://2130706433/", 422, "endpoint-forbidden", ""},
	{"endpoint in hexadecimal", "/spec/endpoint", "http://0x7f.1/", 422, "endpoint-forbidden", ""},
	{"endpoint as mapped address", "/spec/endpoint", "http://[::ffff:127.0.0.1]/", 422, "endpoint-forbidden", ""},
	{"endpoint above 2048 bytes", "/spec/endpoint", "http://h/" + strings.Repeat("a", 2048), 422, "invalid-value", ""},
	// What the API does.
	{"no transport", "/spec/transports", []any{}, 422, "no-transport", ""},
	{"unknown transport", "/spec/transports", []any{"tcp"}, 422, "invalid-value", "/spec/transports/0"},
	{"transport twice", "/spec/transports", []any{"http", "http"}, 422, "invalid-value", "/spec/transports/1"},
	{"unknown state", "/spec/state", "published", 422, "invalid-value", ""},
	{"unknown visibility", "/spec/visibility", "hidden", 422, "invalid-value", ""},
	{"restricted to nobody", "/spec/visibility", "restricted", 422, "invalid-value", "/spec/visibleTo"},
	{"another protocol", "/spec/protocol", "ws", 422, "invalid-value", ""},
	{"unknown field of spec", "/spec/stat", "PUBLISHED", 400, "unknown-field", ""},
	{"default that is a word", "/spec/default", "sure", 422, "invalid-value", ""},
	{"unknown way to deploy", "/spec/deploy", "soon", 422, "invalid-value", ""},
	{"edge group in capitals", "/spec/edgeGroups", []any{"EU"}, 422, "invalid-value", "/spec/edgeGroups/0"},
	{"no edge group", "/spec/edgeGroups", []any{}, 422, "invalid-value", ""},
	{"17 plans", "/spec/plans", names(17, "p"), 422, "invalid-value", ""},
	{"origin with a path", "/spec/cors", map[string]any{"origins": []any{"https://a.example/x"}}, 422, "invalid-value", "/spec/cors/origins/0"},
	{"every origin with credentials", "/spec/cors", map[string]any{"origins": []any{"*"}, "credentials": true}, 422, "invalid-value", "/spec/cors/origins/0"},
	{"retry of a day", "/spec/client/retry", "1d", 422, "invalid-value", ""},
	{"heartbeat of a second", "/spec/client/heartbeat", "1s", 422, "invalid-value", ""},
	{"unknown policy for slow clients", "/spec/client/slow", "wait", 422, "invalid-value", ""},
	{"retention of a year", "/spec/retention/maxAge", "365d", 422, "invalid-value", ""},
	{"retention of no event", "/spec/retention/maxEvents", 0, 422, "invalid-value", ""},
	{"retention of a byte", "/spec/retention/maxBytes", "1B", 422, "invalid-value", ""},
	{"no feed", "/spec/limits/maxFeeds", 0, 422, "invalid-value", ""},
	{"negative clients", "/spec/limits/maxClients", -1, 422, "invalid-value", ""},
	{"unknown credential scheme", "/spec/auth/schemes", []any{"digest"}, 422, "invalid-value", "/spec/auth/schemes/0"},
	{"token header that sluice sets", "/spec/auth/header", "Host", 422, "invalid-value", ""},
	{"scope with a space", "/spec/scopes", []any{map[string]any{"name": "a b"}}, 422, "invalid-value", "/spec/scopes/0/name"},
	// Upstream.
	{"connect timeout of a minute", "/spec/upstream/connectTimeout", "1m", 422, "invalid-value", ""},
	{"idle of a second", "/spec/upstream/idle", "1s", 422, "invalid-value", ""},
	{"event of 2 MiB", "/spec/upstream/maxEvent", "2MiB", 422, "invalid-value", ""},
	{"unknown resume", "/spec/upstream/resume", "maybe", 422, "invalid-value", ""},
	{"header that sluice sets", "/spec/upstream/headers", map[string]any{"Last-Event-ID": "1"}, 422, "invalid-value", "/spec/upstream/headers/Last-Event-ID"},
	{"header with a line break", "/spec/upstream/headers", map[string]any{"X-A": "a\r\nb"}, 422, "invalid-value", "/spec/upstream/headers/X-A"},
	{"secret instead of its name", "/spec/upstream/auth", map[string]any{"type": "bearer", "secret": "S3cret!"}, 422, "invalid-value", "/spec/upstream/auth/secret"},
	{"basic without a user", "/spec/upstream/auth", map[string]any{"type": "basic", "secret": "a"}, 422, "invalid-value", "/spec/upstream/auth/username"},
	// Topics.
	{"empty topic", "/spec/topics/0/name", "", 422, "invalid-topic", ""},
	{"topic without a slash", "/spec/topics/0/name", "a", 422, "invalid-topic", ""},
	{"topic above 255 bytes", "/spec/topics/0/name", "/" + strings.Repeat("a", 256), 422, "invalid-topic", ""},
	{"topic with NUL", "/spec/topics/0/name", "/a\x00", 422, "invalid-topic", ""},
	{"wildcard inside", "/spec/topics/0/name", "/a/*/b", 422, "invalid-wildcard", ""},
	{"double wildcard", "/spec/topics/0/name", "/**", 422, "invalid-wildcard", ""},
	{"wildcard behind text", "/spec/topics/0/name", "/a*", 422, "invalid-wildcard", ""},
	{"topic to publish to", "/spec/topics/0/type", "pub", 422, "not-subscribe", ""},
	{"backend with a line break", "/spec/topics/0/backend", "/x\r\nHost: o", 422, "invalid-backend-path", ""},
	{"backend elsewhere", "/spec/topics/0/backend", "http://o/", 422, "invalid-backend-path", ""},
	{"backend of an unknown parameter", "/spec/topics/0/backend", "/x/{y}", 422, "unknown-param", ""},
	{"parameter that is not in the name", "/spec/topics/0/params", map[string]any{"y": "^a$"}, 422, "unknown-param", "/spec/topics/0/params/y"},
	{"unknown scope", "/spec/topics/0/scopes", []any{"x"}, 422, "unknown-scope", "/spec/topics/0/scopes/0"},
	{"query parameter that sluice reads", "/spec/topics/0/query", []any{"lastEventId"}, 422, "invalid-value", "/spec/topics/0/query/0"},
	{"17 query parameters", "/spec/topics/0/query", names(17, "q"), 422, "invalid-value", ""},
	{"unknown security", "/spec/topics/0/security", "maybe", 422, "invalid-value", ""},
	{"start at no event", "/spec/topics/0/start", map[string]any{"last": 0}, 422, "invalid-value", ""},
	{"start soon", "/spec/topics/0/start", "soon", 422, "invalid-value", ""},
	{"demand of a made-up kind", "/spec/topics/0/demand", "sometimes", 422, "invalid-value", ""},
	{"linger of a day", "/spec/topics/0/linger", "1d", 422, "invalid-value", ""},
	{"17 messages", "/spec/topics/0/messages", many(17, map[string]any{"name": "m"}), 422, "invalid-value", ""},
	{"the same topic twice", "/spec/topics", []any{map[string]any{"name": "/a"}, map[string]any{"name": "/%61"}}, 409, "topic-conflict", "/spec/topics/1/name"},
	{"two templates of one shape", "/spec/topics", []any{map[string]any{"name": "/{x}"}, map[string]any{"name": "/{y}"}}, 409, "topic-conflict", "/spec/topics/1/name"},
	{"501 topics", "/spec/topics", func() []any {
		var out []any
		for _, n := range names(501, "/t") {
			out = append(out, map[string]any{"name": n})
		}
		return out
	}(), 422, "invalid-value", ""},
}

func TestEveryWrongFieldIsAnsweredWithItsSlugAndPlace(t *testing.T) {
	r := newRig(t)
	for _, c := range badFields {
		t.Run(c.name, func(t *testing.T) {
			d := anAPI("probe")
			put(t, d, c.at, c.value)
			body, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			pointer := c.pointer
			if pointer == "" {
				pointer = c.at
			}
			a := r.as("creator").send("POST", "/api/v1/apis", mediaJSON, string(body))
			p := a.problem(t, c.status, "")
			found := false
			for _, f := range p.Errors {
				if f.Pointer != pointer || f.Type != c.slug {
					continue
				}
				found = true
				if f.Line == 0 || f.Column == 0 || f.Detail == "" {
					t.Errorf("no position or text: %+v", f)
				}
			}
			if !found {
				t.Errorf("no %s at %s: %s", c.slug, pointer, a.body)
			}
			if strings.Contains(string(a.body), "S3cret!") {
				t.Errorf("a value is echoed: %s", a.body)
			}
		})
	}
	r.as("creator").send("GET", "/api/v1/apis?name=probe", "", "").want(t, http.StatusOK)
	if list := decodeAs[APIList](t, r.as("creator").send("GET", "/api/v1/apis", "", "").body); list.Total != 0 {
		t.Errorf("refused definitions were stored: %+v", list)
	}
}
