package asyncapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/config/catalog"
)

// small2 and small3 are documents with one part in place of their own.
func small2(key, part string) string {
	return small(map[string]string{"asyncapi": "2.6.0", "info": "{title: x, version: '1'}", "channels": "{/t: {subscribe: {}}}"},
		[]string{"asyncapi", "info", "channels", "components", "servers", "tags", "id", "x-sluice-api", "x-sluice-spec"}, key, part)
}

func small3(key, part string) string {
	return small(map[string]string{"asyncapi": "3.1.0", "info": "{title: x, version: '1'}", "channels": "{t: {address: /t}}",
		"operations": "{o: {action: send, channel: {$ref: '#/channels/t'}}}"},
		[]string{"asyncapi", "info", "channels", "operations", "components", "servers", "id", "x-sluice-start"}, key, part)
}

func small(parts map[string]string, order []string, key, part string) string {
	parts[key] = part
	var b strings.Builder
	for _, k := range append(order, "unknown") {
		if parts[k] != "" {
			fmt.Fprintf(&b, "%s: %s\n", k, parts[k])
		}
	}
	return b.String()
}

// errorsOf are the errors of a report as `line:column code pointer`.
func errorsOf(r Report) string {
	var out []string
	for _, f := range r {
		if f.Level == LevelError {
			out = append(out, fmt.Sprintf("%d:%d %s %s", f.Line, f.Column, f.Code, f.Pointer))
		}
	}
	return strings.Join(out, " | ")
}

// Each broken document is refused as a whole, with every mistake at its place.
func TestBrokenDocuments(t *testing.T) {
	deep := strings.Repeat("{a: ", 70) + "1" + strings.Repeat("}", 70)
	many := "{"
	for i := range 501 {
		many += fmt.Sprintf("/t%d: {}, ", i)
	}
	many += "}"
	chain := "{schemas: {}, messages: {m0: {}"
	for i := 1; i < 40; i++ {
		chain += fmt.Sprintf(", m%d: {$ref: '#/components/messages/m%d'}", i, i-1)
	}
	chain += "}}"
	cases := []struct {
		name, doc, want string
		status          int
	}{
		{"empty", "", "0:0 invalid-document ", 400},
		{"null", "null", "1:1 invalid-document ", 400},
		{"scalar", "just a text", "1:1 invalid-document ", 400},
		{"list", "[1, 2]", "1:1 invalid-document ", 400},
		{"two documents", small2("", "") + "---\n" + small2("", ""), "0:0 invalid-document ", 400},
		{"broken YAML", "asyncapi: [", "2:1 invalid-yaml ", 400},
		{"broken JSON", `{"asyncapi": "2.6.0",}`, "1:22 invalid-json ", 400},
		{"trailing bytes", `{"asyncapi": "2.6.0"} x`, "1:23 invalid-json ", 400},
		{"duplicate key", small2("unknown", "1\nunknown: 2"), "5:1 duplicate-key /unknown", 400},
		{"tag", small2("id", "!!python/object x"), "4:5 invalid-yaml /id", 400},
		{"merge key", small2("components", "{<<: {}}"), "4:14 invalid-yaml /components", 400},
		{"no version", "info: {}\n", "1:1 invalid-document ", 400},
		{"version 1", small2("asyncapi", "1.2.0"), "1:11 unsupported-version /asyncapi", 422},
		{"version 4", small2("asyncapi", "4.0.0"), "1:11 unsupported-version /asyncapi", 422},
		{"version as number", small2("asyncapi", "2.6"), "1:11 unsupported-version /asyncapi", 422},
		{"OpenAPI", "openapi: 3.1.0\ninfo: {title: x, version: '1'}\n", "1:1 invalid-document ", 400},
		{"too deep", small2("components", deep), "4:269 document-too-large " + "/components" + strings.Repeat("/a", 33) + "...", 413},
		{"too many channels", small2("channels", many), "3:11 document-too-large /channels", 413},
		{"no info", small2("info", ""), "1:1 missing-field ", 422},
		{"no channels in 2.x", small2("channels", ""), "1:1 missing-field ", 422},
		{"no title", small2("info", "{version: '1'}"), "2:7 missing-field /info", 422},
		{"title of the wrong type", small2("info", "{title: [t], version: '1'}"), "2:15 wrong-type /info/title", 422},
		{"version of the API as a number", small2("info", "{title: x, version: 1.0}"), "2:27 wrong-type /info/version", 422},
		{"unknown field", small2("unknown", "1"), "4:1 unknown-field /unknown", 422},
		{"field of a later version", strings.Replace(small2("channels", "{/t: {servers: []}}"), "2.6.0", "2.1.0", 1), "3:17 unknown-field /channels/~1t/servers", 422},
		{"field of 3.x", small2("unknown", "1\noperations: {}"), "4:1 unknown-field /unknown | 5:1 unknown-field /operations", 422},
		{"id without scheme", small2("id", "market"), "4:5 invalid-value /id", 422},
		{"email", small2("info", "{title: x, version: '1', contact: {email: nobody}}"), "2:49 invalid-value /info/contact/email", 422},
		{"server without protocol", small2("servers", "{a: {url: 'http://h'}}"), "4:14 missing-field /servers/a", 422},
		{"variable undeclared", small2("servers", "{a: {url: 'http://{h}', protocol: sse}}"), "4:20 unknown-param /servers/a/url", 422},
		{"channel of the wrong type", small2("channels", "{/t: 5}"), "3:16 wrong-type /channels/~1t", 422},
		{"channel that is no template", small2("channels", "{'/t{': {subscribe: {}}}"), "3:12 invalid-value /channels/~1t{", 422},
		{"parameter undeclared", small2("channels", "{'/{a}': {subscribe: {}}}"), "3:20 unknown-param /channels/~1{a}", 422},
		{"parameter too many", small2("channels", "{/t: {subscribe: {}, parameters: {a: {}}}}"), "3:48 unknown-param /channels/~1t/parameters/a", 422},
		{"only publish", small2("channels", "{/t: {publish: {}}}"), "3:26 not-subscribe /channels/~1t/publish", 422},
		{"external file", small2("channels", "{/t: {subscribe: {message: {$ref: 'm.yaml'}}}}"), "3:45 external-ref /channels/~1t/subscribe/message/$ref", 422},
		{"external URL in a payload", small2("channels", "{/t: {subscribe: {message: {payload: {$ref: 'http://x/y'}}}}}"),
			"3:55 external-ref /channels/~1t/subscribe/message/payload/$ref", 422},
		{"reference to nothing", small2("channels", "{/t: {subscribe: {message: {$ref: '#/components/messages/m'}}}}"),
			"3:45 invalid-ref /channels/~1t/subscribe/message/$ref", 422},
		{"reference to another kind", small2("channels", "{/t: {subscribe: {message: {$ref: '#/info'}}}}"),
			"3:45 invalid-ref /channels/~1t/subscribe/message/$ref", 422},
		{"circle of references", small2("components", "{messages: {a: {$ref: '#/components/messages/b'}, b: {$ref: '#/components/messages/a'}}}"),
			"4:35 circular-ref /components/messages/a/$ref | 4:73 circular-ref /components/messages/b/$ref", 422},
		{"message that contains itself", small2("channels", "{/t: {subscribe: {message: {$ref: '#/components/messages/a'}}}}\n"+
			"components: {messages: {a: {oneOf: [{$ref: '#/components/messages/a'}]}}}"),
			"4:37 circular-ref /components/messages/a/oneOf/0", 422},
		{"long chain", small2("components", chain), "4:", 413},
		{"unknown security", small2("channels", "{/t: {subscribe: {security: [{k: []}]}}}"), "3:44 unknown-security /channels/~1t/subscribe/security/0/k", 422},
		{"unknown server", small2("channels", "{/t: {servers: [s], subscribe: {}}}"), "3:27 unknown-server /channels/~1t/servers/0", 422},
		{"operationId twice", small2("channels", "{/a: {subscribe: {operationId: o}}, /b: {subscribe: {operationId: o}}}"),
			"3:77 duplicate-id /channels/~1b/subscribe/operationId", 422},
		{"payload of unknown type", small2("channels", "{/t: {subscribe: {message: {payload: {type: thing}}}}}"),
			"3:55 invalid-value /channels/~1t/subscribe/message/payload/type", 422},
		{"payload is a text", small2("channels", "{/t: {subscribe: {message: {payload: thing}}}}"),
			"3:48 wrong-type /channels/~1t/subscribe/message/payload", 422},
		{"undeclared scope", small2("channels", "{/t: {subscribe: {x-scopes: [s]}}}"), "3:40 unknown-scope /channels/~1t/subscribe/x-scopes/0", 422},
		{"bad topic", small2("channels", "{/t//u: {subscribe: {}}}"), "3:19 invalid-topic /channels/~1t~1~1u", 422},
		{"parameter that is no segment", small2("channels", "{'/t-{a}': {subscribe: {}, parameters: {a: {}}}}"), "3:22 invalid-topic /channels/~1t-{a}", 422},
		{"wildcard in the middle", small2("channels", "{/*/a: {subscribe: {}}}"), "3:18 invalid-wildcard /channels/~1*~1a", 422},
		{"two channels of one shape", small2("channels", "{'/{a}': {subscribe: {}, parameters: {a: {}}}, '/{b}': {subscribe: {}, parameters: {b: {}}}}"),
			"3:66 topic-conflict /channels/~1{b}", 409},
		{"bad version of the API", small2("info", "{title: x, version: '../1'}"), "2:27 invalid-version /info/version", 422},
		{"no name in the title", small2("info", "{title: '???', version: '1'}"), "2:15 invalid-name /info/title | 2:15 invalid-context /info/title", 422},
		{"only a WebSocket server", small2("servers", "{a: {url: 'ws://h', protocol: ws}}"), "4:20 endpoint-scheme /servers/a/url", 422},
		{"user in the server's URL", small2("servers", "{a: {url: 'http://u:pw@h', protocol: sse}}"), "4:20 endpoint-userinfo /servers/a/url", 422},
		{"mapping with a parameter that is not", small2("channels", "{/t: {subscribe: {x-uri-mapping: '/{uri.var.a}'}}}"),
			"3:44 unknown-param /channels/~1t/subscribe/x-uri-mapping", 422},
		{"pattern that is no RE2", small2("channels", "{'/{a}': {subscribe: {}, parameters: {a: {schema: {pattern: '(?=a)'}}}}}"),
			"3:71 invalid-value /channels/~1{a}/parameters/a/schema/pattern", 422},
		{"reserved query parameter", small2("channels", "{/t: {subscribe: {bindings: {http: {query: {properties: {from: {}}}}}}}}"),
			"3:74 invalid-value /channels/~1t/subscribe/bindings/http/query/properties/from", 422},
		{"our extension with a wrong value", small2("channels", "{/t: {subscribe: {}, x-sluice-start: {last: 0}}}"),
			"3:55 invalid-value /channels/~1t/x-sluice-start", 422},
		{"our extension with a wrong field", small2("x-sluice-spec", "{transports: [ftp]}"), "4:16 invalid-value /x-sluice-spec", 422},

		{"3.x: action", small3("operations", "{o: {action: read, channel: {$ref: '#/channels/t'}}}"), "4:26 invalid-value /operations/o/action", 422},
		{"3.x: operation without channel", small3("operations", "{o: {action: send}}"), "4:17 missing-field /operations/o", 422},
		{"3.x: channel written out", small3("operations", "{o: {action: send, channel: {address: /t}}}"), "4:41 missing-field /operations/o/channel", 422},
		{"3.x: channel elsewhere", small3("operations", "{o: {action: send, channel: {$ref: '#/components/channels/c'}}}\ncomponents: {channels: {c: {}}}"),
			"4:48 invalid-ref /operations/o/channel/$ref", 422},
		{"3.x: message of another channel", strings.Replace(small3("channels", "{t: {address: /t, messages: {m: {}}}, u: {address: /u, messages: {m: {}}}}"),
			"'#/channels/t'}", "'#/channels/t'}, messages: [{$ref: '#/channels/u/messages/m'}]", 1),
			"4:83 message-not-included /operations/o/messages/0/$ref", 422},
		{"3.x: no address", small3("channels", "{t: {}}"), "3:15 invalid-topic /channels/t", 422},
		{"3.x: address null", small3("channels", "{t: {address: null}}"), "3:25 invalid-topic /channels/t/address", 422},
		{"3.x: bad address", small3("channels", "{t: {address: /a?b=c}}"), "3:25 invalid-topic /channels/t/address", 422},
		{"3.x: boolean payload", small3("channels", "{t: {address: /t, messages: {m: {payload: true}}}}"), "3:53 wrong-type /channels/t/messages/m/payload", 422},
		{"3.x: external channel", small3("channels", "{t: {$ref: './channels.yaml#/t'}}"), "3:22 external-ref /channels/t/$ref", 422},
		{"3.x: server without host", small3("servers", "{s: {protocol: sse}}"), "5:14 missing-field /servers/s", 422},
		{"3.x: url of 2.x", small3("servers", "{s: {host: h, protocol: sse, url: 'http://h'}}"), "5:39 unknown-field /servers/s/url", 422},
		{"3.x: security scheme of unknown type", small3("components", "{securitySchemes: {s: {type: oauth}}}"), "5:42 invalid-value /components/securitySchemes/s/type", 422},
		{"3.x: flow without token URL", small3("components", "{securitySchemes: {s: {type: oauth2, flows: {clientCredentials: {availableScopes: {}}}}}}"),
			"5:77 missing-field /components/securitySchemes/s/flows/clientCredentials", 422},
	}
	refused := 0
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			api, report := Import([]byte(c.doc), ImportOptions{})
			if got := errorsOf(report); got != c.want && !(strings.HasSuffix(c.want, ":") && strings.HasPrefix(got, c.want)) {
				t.Errorf("errors\n%s\nwant\n%s\nof\n%s%v", got, c.want, c.doc, report)
			}
			if api != nil {
				t.Error("an API came out")
			}
			var refusal *RefusedError
			if !errors.As(report.Err(), &refusal) || refusal.Status != c.status {
				t.Errorf("answer %+v, want %d", refusal, c.status)
			}
		})
		refused++
	}
	if refused < 30 {
		t.Errorf("%d documents", refused)
	}
}

// A document may name any file and address: none is opened or asked.
func TestReferencesAreNeverFetched(t *testing.T) {
	var asked atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer trap.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if c, err := listener.Accept(); err == nil {
			asked.Add(1)
			_ = c.Close()
		}
	}()
	for _, ref := range []string{trap.URL + "/x.yaml#/a", "http://" + listener.Addr().String() + "/", "//" + listener.Addr().String() + "/x",
		"/etc/passwd", "file:///etc/passwd", "./testdata/apis.yaml", "testdata/apis.yaml#/kind", "x#", "?", "%23/info"} {
		for _, doc := range []string{
			small2("channels", "{/t: {$ref: '"+ref+"'}}"),
			small2("channels", "{/t: {subscribe: {message: {$ref: '"+ref+"'}}}}"),
			small2("channels", "{/t: {subscribe: {message: {payload: {properties: {a: {$ref: '"+ref+"'}}}}}}}"),
			small2("components", "{schemas: {a: {$ref: '"+ref+"'}}}"),
			small3("channels", "{t: {$ref: '"+ref+"'}}"),
			small3("operations", "{o: {$ref: '"+ref+"'}}"),
			small3("channels", "{t: {address: /t, messages: {m: {payload: {$ref: '"+ref+"'}}}}}"),
		} {
			api, report := Import([]byte(doc), ImportOptions{})
			if api != nil || !strings.Contains(errorsOf(report), CodeExternalRef) {
				t.Errorf("%s: %v", doc, report)
			}
		}
	}
	_ = listener.Close()
	<-accepted
	if asked.Load() > 0 {
		t.Errorf("%d requests", asked.Load())
	}
}

func TestForeignDocuments(t *testing.T) {
	for _, c := range []struct {
		file, want string
		o          ImportOptions
		warnings   string
	}{
		{"wso2-2.0.0.json", `apiVersion: sluice/v1
kind: API
metadata:
  name: ServerSentEvents
spec:
  context: /serversentevents
  version: 1.0.0
  endpoint: http://localhost:8080
  scopes:
  - name: quotes_read
    description: Read quotes
    roles:
    - admin
    - Internal-subscriber
  topics:
  - name: /*
  - name: /quotes/{symbol}
    backend: /stream?s={symbol}
    scopes:
    - quotes_read
  - name: /open
    security: none
`, ImportOptions{}, ""},
		{"wso2-3.0.0.yaml", `apiVersion: sluice/v1
kind: API
metadata:
  name: sse
  displayName: ServerSentEvents
spec:
  context: /events
  version: 1.0.0
  endpoint: http://localhost:8080/base
  topics:
  - name: /*
  - name: /quotes/{symbol}
    backend: /stream/{symbol}
    params:
      symbol:
        description: A symbol
    security: none
`, ImportOptions{Name: "sse", Context: "events"}, "slash-added /channels/quotes/address, read-as-send /operations/readAll/action, read-as-send /operations/readQuotes/action"},
		{"small-2.0.0.yaml", `apiVersion: sluice/v1
kind: API
metadata:
  name: Small-one
  displayName: Small one
  description: As small as it gets.
spec:
  context: /small-one
  version: 0.1.0
  endpoint: https://example.com/events
  topics:
  - name: /news/{topic}
    params:
      topic:
        pattern: '[a-z]+'
    messages:
    - name: message
      payload:
        type: object
      examples:
      - a: 1
`, ImportOptions{}, "server-ignored /servers/ws, slash-added /channels/news~1{topic}, pattern-anchored /channels/news~1{topic}/parameters/topic/schema/pattern"},
		{"small-2.4.0.yaml", `apiVersion: sluice/v1
kind: API
metadata:
  name: Small-one
  displayName: Small one
spec:
  context: /small-one
  version: 0.1.0
  endpoint: http://backend
  scopes:
  - name: news
    description: Read news
  topics:
  - name: /news
    scopes:
    - news
    messages:
    - name: news
      payload:
        type: object
      examples:
      - a: 1
`, ImportOptions{Endpoint: "http://backend"}, ""},
	} {
		api, report := Import(mustRead(t, "testdata/foreign/"+c.file), c.o)
		if api == nil {
			t.Errorf("%s: %v", c.file, report)
			continue
		}
		if diff := cmp.Diff(c.want, definition(t, api)); diff != "" {
			t.Errorf("%s: %s", c.file, diff)
		}
		var told []string
		for _, w := range report {
			told = append(told, w.Code+" "+w.Pointer)
		}
		if got := strings.Join(told, ", "); got != c.warnings {
			t.Errorf("%s: warnings %s", c.file, got)
		}
	}
}

func TestFullDocumentsImport(t *testing.T) {
	for _, file := range []string{"full-2.6.0.yaml", "full-3.0.0.yaml"} {
		api, report := Import(mustRead(t, "testdata/foreign/"+file), ImportOptions{})
		if api == nil {
			t.Errorf("%s: %v", file, report)
			continue
		}
		q := api.Topic("/quotes/{symbol}")
		if q == nil || q.Params["symbol"].Enum[0] != "ACME" || len(q.Messages) == 0 || len(q.Query) == 0 || q.Query[0].Name != "depth" {
			t.Errorf("%s: %+v", file, q)
		}
		if api.Spec.Endpoint != "https://sse.example.com:443/v1" {
			t.Errorf("%s: endpoint %s", file, api.Spec.Endpoint)
		}
		if strings.Join(q.Scopes, " ") != "read" {
			t.Errorf("%s: scopes %v", file, q.Scopes)
		}
	}
}

func TestEndpoint(t *testing.T) {
	const two = "{w: {url: 'ws://w', protocol: ws}, h: {url: 'http://h/x', protocol: http}, s: {url: 'https://s', protocol: sse}, b: {url: 'b.example:1', protocol: https}}"
	for _, c := range []struct {
		servers, want, code string
		o                   ImportOptions
	}{
		{two, "https://s", "", ImportOptions{}},
		{two, "http://h/x", "", ImportOptions{Server: "h"}},
		{two, "https://b.example:1", "", ImportOptions{Server: "b"}},
		{two, "http://told", "", ImportOptions{Endpoint: "http://told", Server: "h"}},
		{two, "", CodeUnknownServer, ImportOptions{Server: "x"}},
		{two, "", CodeEndpointScheme, ImportOptions{Server: "w"}},
		{two, "", "endpoint-loop", ImportOptions{Server: "h", Catalog: catalog.Options{Loops: func(*url.URL) bool { return true }}}},
		{"{w: {url: 'kafka://w', protocol: kafka}}", "", "", ImportOptions{Lenient: true}},
		{"", "", "", ImportOptions{}},
		{"{h: {url: '//h', protocol: sse}}", "https://h", "", ImportOptions{}},
	} {
		api, report := Import([]byte(small2("servers", c.servers)), c.o)
		switch {
		case c.code != "" && (api != nil || !strings.Contains(errorsOf(report), c.code)):
			t.Errorf("%s, %+v: %v", c.servers, c.o, report)
		case c.code == "" && (api == nil || api.Spec.Endpoint != c.want):
			t.Errorf("%s, %+v: %v", c.servers, c.o, report)
		}
	}
}

// An update takes the topics of the document; what it cannot say stays with the topic of the same name.
func TestUpdateKeepsWhatTheDocumentCannotHold(t *testing.T) {
	base, _, err := catalog.ReadSource(catalog.Source{Name: "b.yaml", Data: []byte(`apiVersion: sluice/v1
kind: API
metadata: {name: b, owner: me}
spec:
  context: /b
  version: '1'
  endpoint: http://h
  state: PUBLISHED
  topics:
    - {name: /a, backend: /x, start: earliest, demand: onDemand, linger: 5m, retention: {maxAge: 5m}, description: old}
    - {name: /gone}
`)}, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	api, report := Import([]byte(small2("channels", "{/a: {description: new, subscribe: {}}, /new: {subscribe: {}}}")), ImportOptions{Base: base[0]})
	if api == nil {
		t.Fatal(report)
	}
	const want = `apiVersion: sluice/v1
kind: API
metadata:
  name: b
  displayName: x
  owner: me
spec:
  context: /b
  version: '1'
  state: PUBLISHED
  endpoint: http://h
  topics:
  - name: /a
    description: new
    backend: /x
    retention:
      maxAge: 5m
    start: earliest
    demand: onDemand
    linger: 5m
  - name: /new
`
	if diff := cmp.Diff(want, definition(t, api)); diff != "" {
		t.Error(diff)
	}
}

func TestLenientLeavesOutWhatStrictRefuses(t *testing.T) {
	doc := small2("channels", "{/t: {subscribe: {}}, /p: {publish: {}}, '/{a}': {subscribe: {}, parameters: {a: {schema: {pattern: '(?=a)'}}}}}")
	if api, _ := Import([]byte(doc), ImportOptions{}); api != nil {
		t.Error("strict mode takes it")
	}
	api, report := Import([]byte(doc), ImportOptions{Lenient: true})
	if api == nil || len(api.Spec.Topics) != 2 || api.Topic("/{a}").Params["a"].Pattern != "" {
		t.Fatal(report)
	}
	if len(report) != 2 || report[0].Code != CodeNotSubscribe || report[1].Code != "pattern-left-out" {
		t.Errorf("%v", report)
	}
}

// Messages that contain each other's alternatives are many more than the document has values: counting ends.
func TestExponentialMessagesAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("{messages: {m0: {oneOf: []}")
	for i := 1; i < 31; i++ {
		fmt.Fprintf(&b, ", m%d: {oneOf: [{$ref: '#/components/messages/m%d'}, {$ref: '#/components/messages/m%d'}]}", i, i-1, i-1)
	}
	b.WriteString("}}")
	text := strings.Replace(small2("components", b.String()), "subscribe: {}", "subscribe: {message: {$ref: '#/components/messages/m30'}}", 1)
	api, report := Import([]byte(text), ImportOptions{})
	if api != nil || !strings.Contains(errorsOf(report), CodeTooLarge) {
		t.Errorf("%v", report)
	}
}

func TestDocumentOfMoreThanFourMiBIsRefused(t *testing.T) {
	text := append([]byte(small2("", "")), []byte("#"+strings.Repeat("x", 4<<20))...)
	api, report := Import(text, ImportOptions{})
	if api != nil || errorsOf(report) != "0:0 document-too-large " {
		t.Errorf("%v", report)
	}
}
