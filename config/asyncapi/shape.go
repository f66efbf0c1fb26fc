package asyncapi

// shape is one kind of object: which fields it has. Fields that are not listed are refused but for extensions, `x-…`.
type shape struct {
	fields []field
	open   bool // takes fields that are not listed
	noExt  bool // refuses extensions
}

// field is one field of an object, in the versions that have it.
type field struct {
	key          string
	is           *value
	must         bool
	since, until version // 0 = unbounded
}

// what is the nature of a value.
type what uint8

const (
	anything  what = iota
	text           // a string
	truth          // true or false
	number         // any number
	bare           // a map, whatever is in it
	list           // of
	mapping        // any key → of
	named          // key of [A-Za-z0-9_.-] → of; other keys are free
	object         // of the kind
	orRef          // of the kind, or a reference to one
	ref            // a reference to the kind, never the object itself
	scheme         // a security scheme, by its field type
	message2       // 2.x: a message, a reference or {oneOf: […]}
	schema         // a JSON schema of draft 7 with AsyncAPI's additions
	anySchema      // 3.x: a schema, or one in a stated format
	headers2       // 2.x: a schema whose type, if any, is object
	payload2       // 2.x: a schema, unless the message says another format; looked at with the message
)

// format is a syntax of texts.
type format uint8

const (
	free format = iota
	uri
	uriReference
	uriTemplate // never empty
	email
	regex
	runtimeExpression // where in a message something is found
)

// value says what may stand in a field, an element or an entry.
type value struct {
	what   what
	of     *value
	kind   string
	enum   []string
	format format
	keys   format // of a mapping's keys
	unique bool
}

func one(kind string) *value         { return &value{what: object, kind: kind} }
func oneOrRef(kind string) *value    { return &value{what: orRef, kind: kind} }
func refTo(kind string) *value       { return &value{what: ref, kind: kind} }
func listOf(of *value) *value        { return &value{what: list, of: of} }
func setOf(of *value) *value         { return &value{what: list, of: of, unique: true} }
func mapOf(of *value) *value         { return &value{what: mapping, of: of} }
func namedOf(of *value) *value       { return &value{what: named, of: of} }
func among(values ...string) *value  { return &value{what: text, enum: values} }
func is(f format) *value             { return &value{what: text, format: f} }
func a(w what) *value                { return &value{what: w} }
func may(key string, v *value) field { return field{key: key, is: v} }
func must(key string, v *value) field {
	return field{key: key, is: v, must: true}
}

// from and upTo bound a field to versions.
func (f field) from(v version) field { f.since = v; return f }
func (f field) upTo(v version) field { f.until = v; return f }

// The texts that people read, in most objects.
func texts(keys ...string) []field {
	out := make([]field, len(keys))
	for i, k := range keys {
		out[i] = may(k, a(text))
	}
	return out
}

func with(fields []field, more ...field) shape { return shape{fields: append(fields, more...)} }

// protocols are the keys of bindings objects in 3.x. What is below them is unread, but for http.
var protocols = []string{"ws", "amqp", "amqp1", "mqtt", "kafka", "anypointmq", "nats", "jms", "sns", "sqs", "stomp", "redis", "ibmmq",
	"solace", "googlepubsub"}

func bindings3(http *value, more ...string) shape {
	s := shape{fields: []field{may("http", http)}}
	for _, p := range append(more, protocols...) {
		s.fields = append(s.fields, may(p, a(anything)))
	}
	s.fields = append(s.fields, may("ros2", a(anything)).from(v31))
	return s
}

// shapes is the table: kind of object → its fields. Kinds with a 2 or 3 at the end are of that family of versions only.
var shapes = map[string]shape{
	// 2.x
	"root2": {fields: []field{must("asyncapi", a(text)), may("id", is(uri)), must("info", one("info2")), may("servers", mapOf(one("server2"))).upTo(v22), may("servers", serversIn2).from(v23),
		may("defaultContentType", a(text)), must("channels", channelsIn2), may("components", one("components2")),
		may("tags", setOf(one("tag2"))), may("externalDocs", one("docs"))}},
	"info2": with(texts("description"), must("title", a(text)), must("version", a(text)), may("termsOfService", is(uri)),
		may("contact", one("contact")), may("license", one("license"))),
	"server2": with(texts("description", "protocolVersion"), must("url", a(text)), must("protocol", a(text)),
		may("variables", mapOf(one("variable"))).upTo(v24), may("variables", mapOf(oneOrRef("variable"))).from(v25),
		may("security", listOf(one("requirement2"))), may("bindings", one("bindings2")), may("tags", setOf(one("tag2"))).from(v25)),
	"channel2": with(texts("description"), may("$ref", is(uriReference)), may("parameters", mapOf(oneOrRef("parameter2"))),
		may("servers", setOf(a(text))).from(v22), may("publish", one("operation2")), may("subscribe", one("operation2")),
		may("deprecated", a(truth)), may("bindings", one("bindings2"))),
	"operation2": with(texts("summary", "description", "operationId"), may("traits", listOf(oneOrRef("operationTrait2"))),
		may("security", listOf(one("requirement2"))).from(v24), may("tags", setOf(one("tag2"))), may("externalDocs", one("docs")),
		may("bindings", one("bindings2")), may("message", a(message2))),
	"operationTrait2": with(texts("summary", "description", "operationId"), may("tags", setOf(one("tag2"))),
		may("externalDocs", one("docs")), may("security", listOf(one("requirement2"))).from(v24), may("bindings", one("bindings2"))),
	"message2": with(texts("schemaFormat", "contentType", "summary", "name", "title", "description"), may("headers", a(headers2)),
		may("messageId", a(text)).from(v24), may("payload", a(payload2)), may("correlationId", oneOrRef("correlationId")),
		may("tags", setOf(one("tag2"))), may("externalDocs", one("docs")), may("deprecated", a(truth)),
		may("examples", listOf(one("example20"))).upTo(v20), may("examples", listOf(one("example"))).from(v21), may("bindings", one("bindings2")),
		may("traits", listOf(oneOrRef("messageTrait2")))),
	"messageTrait2": with(texts("schemaFormat", "contentType", "summary", "name", "title", "description"), may("headers", a(headers2)),
		may("messageId", a(text)).from(v24), may("correlationId", oneOrRef("correlationId")), may("tags", setOf(one("tag2"))),
		may("externalDocs", one("docs")), may("deprecated", a(truth)), may("examples", listOf(a(bare))).upTo(v20), may("examples", listOf(one("example"))).from(v21).upTo(v21),
		may("examples", listOf(a(bare))).from(v22).upTo(v25), may("examples", listOf(one("example"))).from(v26), may("bindings", one("bindings2"))),
	"oneOfMessages2": {noExt: true, fields: []field{must("oneOf", listOf(a(message2)))}},
	"parameter2":     with(texts("description"), may("schema", a(schema)), may("location", is(runtimeExpression))),
	"components2": {fields: []field{may("schemas", mapOf(a(schema))), may("servers", serversIn2).from(v23),
		may("channels", channelsIn2).from(v23), may("serverVariables", mapOf(one("variable"))).from(v24).upTo(v24),
		may("serverVariables", mapOf(oneOrRef("variable"))).from(v25),
		may("messages", mapOf(a(message2))), may("securitySchemes", namedOf(&value{what: scheme})),
		may("parameters", mapOf(oneOrRef("parameter2"))), may("correlationIds", namedOf(oneOrRef("correlationId"))),
		may("operationTraits", mapOf(one("operationTrait2"))), may("messageTraits", mapOf(one("messageTrait2"))),
		may("serverBindings", mapOf(one("bindings2"))), may("channelBindings", mapOf(one("bindings2"))),
		may("operationBindings", mapOf(one("bindings2"))), may("messageBindings", mapOf(one("bindings2")))}},
	"tag2":         with(texts("description"), must("name", a(text)), may("externalDocs", one("docs"))),
	"bindings2":    {open: true},
	"requirement2": {open: true}, // name → scopes: checked by walk
	"flows2": {noExt: true, fields: []field{may("implicit", one("implicit2")), may("password", one("password2")),
		may("clientCredentials", one("password2")), may("authorizationCode", one("code2"))}},
	"implicit2": {fields: []field{must("authorizationUrl", is(uri)), may("refreshUrl", is(uri)), must("scopes", mapOf(a(text)))}},
	"password2": {fields: []field{must("tokenUrl", is(uri)), may("refreshUrl", is(uri)), must("scopes", mapOf(a(text)))}},
	"code2": {fields: []field{must("authorizationUrl", is(uri)), must("tokenUrl", is(uri)), may("refreshUrl", is(uri)),
		must("scopes", mapOf(a(text)))}},

	// 3.x
	"root3": {fields: []field{must("asyncapi", a(text)), may("id", is(uri)), must("info", one("info3")),
		may("servers", mapOf(oneOrRef("server3"))), may("defaultContentType", a(text)), may("channels", mapOf(oneOrRef("channel3"))),
		may("operations", mapOf(oneOrRef("operation3"))), may("components", one("components3"))}},
	"info3": with(texts("description"), must("title", a(text)), must("version", a(text)), may("termsOfService", is(uri)),
		may("contact", one("contact")), may("license", one("license")), may("tags", setOf(oneOrRef("tag3"))),
		may("externalDocs", oneOrRef("docs"))),
	"server3": with(texts("title", "summary", "description", "pathname", "protocolVersion"), must("host", a(text)), must("protocol", a(text)),
		may("variables", mapOf(oneOrRef("variable"))), may("security", listOf(&value{what: scheme})), may("tags", setOf(oneOrRef("tag3"))),
		may("externalDocs", oneOrRef("docs")), may("bindings", oneOrRef("serverBindings3"))),
	"channel3": with(texts("title", "summary", "description"), may("address", &value{what: text, kind: "or null"}),
		may("messages", mapOf(oneOrRef("message3"))), may("parameters", mapOf(oneOrRef("parameter3"))),
		may("servers", setOf(refTo("server3"))), may("tags", setOf(oneOrRef("tag3"))), may("externalDocs", oneOrRef("docs")),
		may("bindings", oneOrRef("channelBindings3"))),
	"operation3": with(texts("title", "summary", "description"), must("action", among("send", "receive")), must("channel", refTo("channel3")),
		may("messages", listOf(refTo("message3"))), may("security", listOf(&value{what: scheme})), may("tags", setOf(oneOrRef("tag3"))),
		may("externalDocs", oneOrRef("docs")), may("bindings", oneOrRef("operationBindings3")),
		may("traits", listOf(oneOrRef("operationTrait3"))), may("reply", oneOrRef("reply3"))),
	"operationTrait3": with(texts("title", "summary", "description"), may("security", listOf(&value{what: scheme})),
		may("tags", setOf(oneOrRef("tag3"))), may("externalDocs", oneOrRef("docs")), may("bindings", oneOrRef("operationBindings3"))),
	"reply3": {fields: []field{may("address", oneOrRef("replyAddress3")), may("channel", refTo("channel3")),
		may("messages", listOf(refTo("message3")))}},
	"replyAddress3": with(texts("description"), must("location", is(runtimeExpression))),
	"message3": with(texts("title", "summary", "description", "name", "contentType"), may("headers", a(anySchema)),
		may("payload", a(anySchema)), may("correlationId", oneOrRef("correlationId")), may("tags", setOf(oneOrRef("tag3"))),
		may("externalDocs", oneOrRef("docs")), may("deprecated", a(truth)), may("examples", listOf(one("example"))),
		may("bindings", oneOrRef("messageBindings3")), may("traits", listOf(oneOrRef("messageTrait3")))),
	"messageTrait3": with(texts("title", "summary", "description", "name", "contentType"), may("headers", a(anySchema)),
		may("correlationId", oneOrRef("correlationId")), may("tags", setOf(oneOrRef("tag3"))), may("externalDocs", oneOrRef("docs")),
		may("deprecated", a(truth)), may("examples", listOf(one("example"))), may("bindings", oneOrRef("messageBindings3"))),
	"parameter3": with(texts("description", "default"), may("examples", listOf(a(text))), may("enum", listOf(a(text))),
		may("location", is(runtimeExpression))),
	"components3": {fields: []field{may("schemas", namedOf(a(anySchema))), may("servers", namedOf(oneOrRef("server3"))),
		may("channels", namedOf(oneOrRef("channel3"))), may("serverVariables", namedOf(oneOrRef("variable"))),
		may("operations", namedOf(oneOrRef("operation3"))), may("messages", namedOf(oneOrRef("message3"))),
		may("securitySchemes", namedOf(&value{what: scheme})), may("parameters", namedOf(oneOrRef("parameter3"))),
		may("correlationIds", namedOf(oneOrRef("correlationId"))), may("replies", namedOf(oneOrRef("reply3"))),
		may("replyAddresses", namedOf(oneOrRef("replyAddress3"))), may("externalDocs", namedOf(oneOrRef("docs"))),
		may("tags", namedOf(oneOrRef("tag3"))), may("operationTraits", namedOf(oneOrRef("operationTrait3"))),
		may("messageTraits", namedOf(oneOrRef("messageTrait3"))), may("serverBindings", namedOf(oneOrRef("serverBindings3"))),
		may("channelBindings", namedOf(oneOrRef("channelBindings3"))), may("operationBindings", namedOf(oneOrRef("operationBindings3"))),
		may("messageBindings", namedOf(oneOrRef("messageBindings3")))}},
	"tag3":               with(texts("description"), must("name", a(text)), may("externalDocs", oneOrRef("docs"))),
	"serverBindings3":    bindings3(a(anything), "pulsar"),
	"channelBindings3":   bindings3(a(anything), "pulsar"),
	"operationBindings3": bindings3(one("httpOperation3")),
	"messageBindings3":   bindings3(one("httpMessage3")),
	"httpOperation3": {fields: []field{may("method", among("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE")),
		may("query", a(schema)), may("bindingVersion", among("0.2.0", "0.3.0"))}},
	"httpMessage3": {fields: []field{may("headers", a(schema)), may("statusCode", a(number)), may("bindingVersion", among("0.2.0", "0.3.0"))}},
	"flows3": {noExt: true, fields: []field{may("implicit", one("implicit3")), may("password", one("password3")),
		may("clientCredentials", one("password3")), may("authorizationCode", one("code3"))}},
	"implicit3": {fields: []field{must("authorizationUrl", is(uri)), may("refreshUrl", is(uri)), must("availableScopes", mapOf(a(text)))}},
	"password3": {fields: []field{must("tokenUrl", is(uri)), may("refreshUrl", is(uri)), must("availableScopes", mapOf(a(text)))}},
	"code3": {fields: []field{must("authorizationUrl", is(uri)), must("tokenUrl", is(uri)), may("refreshUrl", is(uri)),
		must("availableScopes", mapOf(a(text)))}},

	// both
	"contact": with(texts("name"), may("url", is(uri)), may("email", is(email))),
	"license": {fields: []field{must("name", a(text)), may("url", is(uri))}},
	"docs":    with(texts("description"), must("url", is(uri))),
	"variable": with(texts("description", "default"), may("enum", setOf(a(text))),
		may("examples", listOf(a(text)))),
	"correlationId": with(texts("description"), must("location", is(runtimeExpression))),
	"example20":     {noExt: true, fields: []field{may("headers", a(bare)), may("payload", a(anything))}},
	"example": {noExt: true, fields: []field{may("name", a(text)), may("summary", a(text)), may("headers", a(bare)),
		may("payload", a(anything))}},

	// security schemes, by their type; http by its scheme too
	"userPassword":         with(texts("description"), must("type", a(text))),
	"apiKey":               with(texts("description"), must("type", a(text)), must("in", among("user", "password"))),
	"X509":                 with(texts("description"), must("type", a(text))),
	"symmetricEncryption":  with(texts("description"), must("type", a(text))),
	"asymmetricEncryption": with(texts("description"), must("type", a(text))),
	"httpApiKey": with(texts("description"), must("type", a(text)), must("name", a(text)),
		must("in", among("header", "query", "cookie"))),
	"http":       with(texts("description"), must("type", a(text)), must("scheme", a(text))),
	"httpBearer": with(texts("description", "bearerFormat"), must("type", a(text)), must("scheme", a(text))),
	"oauth2": {open: true, fields: []field{must("type", a(text)), may("description", a(text)), must("flows", one("flows2")).upTo(v26),
		must("flows", one("flows3")).from(v30), may("scopes", listOf(a(text))).from(v30)}},
	"openIdConnect": with(texts("description"), must("type", a(text)), must("openIdConnectUrl", is(uri)),
		may("scopes", listOf(a(text))).from(v30)),
	"plain":       with(texts("description"), must("type", a(text))),
	"scramSha256": with(texts("description"), must("type", a(text))),
	"scramSha512": with(texts("description"), must("type", a(text))),
	"gssapi":      with(texts("description"), must("type", a(text))),
}

var (
	serversIn2  = mapOf(oneOrRef("server2"))
	channelsIn2 = &value{what: mapping, of: one("channel2"), keys: uriTemplate}
)
