package asyncapi

import (
	"slices"
	"strconv"
	"strings"

	"sluice/internal/doc"
)

// keywords says what stands behind each keyword of a JSON schema of draft 7 and AsyncAPI's additions. Keywords that are not listed are
// free, as the draft has it.
var keywords = map[string]what2{
	"$id": {text: uriReference}, "$schema": {text: uri}, "$ref": {text: uriReference}, "$comment": {text: plain}, "title": {text: plain},
	"description": {text: plain}, "format": {text: plain}, "contentMediaType": {text: plain}, "contentEncoding": {text: plain},
	"discriminator": {text: plain}, "pattern": {text: regex},
	"readOnly": {kind: doc.Bool}, "uniqueItems": {kind: doc.Bool}, "deprecated": {kind: doc.Bool},
	"examples": {kind: doc.List}, "enum": {kind: doc.List},
	"maximum": {kind: doc.Number}, "exclusiveMaximum": {kind: doc.Number}, "minimum": {kind: doc.Number},
	"exclusiveMinimum": {kind: doc.Number}, "multipleOf": {positive: true},
	"maxLength": {count: true}, "minLength": {count: true}, "maxItems": {count: true}, "minItems": {count: true},
	"maxProperties": {count: true}, "minProperties": {count: true},
	"additionalItems": {schema: true}, "contains": {schema: true}, "additionalProperties": {schema: true}, "propertyNames": {schema: true},
	"if": {schema: true}, "then": {schema: true}, "else": {schema: true}, "not": {schema: true},
	"allOf": {schemas: true}, "anyOf": {schemas: true}, "oneOf": {schemas: true}, "items": {schema: true, schemas: true},
	"definitions": {byName: true}, "properties": {byName: true}, "patternProperties": {byName: true},
	"required": {names: true},
}

// plain is a text of no format, in a table whose zero value means that no text stands there.
const plain = format(255)

// what2 is what stands behind a keyword: one of these.
type what2 struct {
	text     format
	kind     doc.Kind // Bool, Number, List
	positive bool     // a number above 0
	count    bool     // a whole number, 0 or more
	schema   bool
	schemas  bool // a list of at least one schema
	byName   bool // name → schema
	names    bool // a list of distinct strings
}

var simpleTypes = []string{"array", "boolean", "integer", "null", "number", "object", "string"}

// schema checks a JSON schema: a map or a boolean.
func (w *walker) schema(at string, n *doc.Node) {
	if n.Kind == doc.Bool {
		return
	}
	if !w.needs(at, n, doc.Map, "a schema, which is a map or a boolean") {
		return
	}
	w.kinds[at] = "schema"
	if r := n.Get("$ref"); r != nil && r.Kind == doc.String {
		w.refs = append(w.refs, refUse{at, n, "schema"})
	}
	for _, f := range n.Fields {
		here := doc.Join(at, f.Key)
		switch f.Key {
		case "type":
			w.types(here, f.Value)
		case "dependencies":
			w.dependencies(here, f.Value)
		case "externalDocs":
			if w.old() {
				w.object(here, f.Value, "docs")
			} else {
				w.value(here, f.Value, oneOrRef("docs"))
			}
		default:
			if k, known := keywords[f.Key]; known {
				w.keyword(here, f.Key, f.Value, k)
			}
		}
	}
}

func (w *walker) keyword(at, key string, n *doc.Node, k what2) {
	switch {
	case k.text != free:
		v := &value{what: text}
		if k.text != plain {
			v.format = k.text
		}
		w.text(at, n, v)
	case k.kind != 0:
		w.needs(at, n, k.kind, k.kind.String())
	case k.positive, k.count:
		w.amount(at, n, k)
	case k.schema && k.schemas && n.Kind != doc.List, k.schema && !k.schemas:
		w.schema(at, n)
	case k.schemas:
		if w.needs(at, n, doc.List, "a list of schemas") && len(n.Items) == 0 {
			w.at(LevelError, CodeInvalidValue, at, n, "must have at least one schema")
		}
		for i, item := range n.Items {
			w.schema(doc.Join(at, i), item)
		}
	case k.byName:
		if !w.needs(at, n, doc.Map, "a map of schemas") {
			return
		}
		for _, f := range n.Fields {
			if key == "patternProperties" && !plausibleRegex(f.Key) {
				w.at(LevelError, CodeInvalidValue, doc.Join(at, f.Key), f.Value, "is not a regular expression")
			}
			w.schema(doc.Join(at, f.Key), f.Value)
		}
	case k.names:
		w.value(at, n, setOf(a(text)))
	}
}

func (w *walker) amount(at string, n *doc.Node, k what2) {
	if !w.needs(at, n, doc.Number, "a number") {
		return
	}
	f, err := strconv.ParseFloat(n.Text, 64)
	if k.positive && (err != nil || f <= 0) {
		w.at(LevelError, CodeInvalidValue, at, n, "must be above 0")
	}
	if k.count && (err != nil || f < 0 || f != float64(int64(f))) {
		w.at(LevelError, CodeInvalidValue, at, n, "must be a whole number, 0 or more")
	}
}

func (w *walker) types(at string, n *doc.Node) {
	known := func(at string, n *doc.Node) {
		if w.needs(at, n, doc.String, "a string") && !slices.Contains(simpleTypes, n.Text) {
			w.at(LevelError, CodeInvalidValue, at, n, "must be one of %s%s", strings.Join(simpleTypes, ", "), near(n.Text, simpleTypes))
		}
	}
	if n.Kind != doc.List {
		known(at, n)
		return
	}
	if len(n.Items) == 0 {
		w.at(LevelError, CodeInvalidValue, at, n, "must name at least one type")
	}
	for i, item := range n.Items {
		known(doc.Join(at, i), item)
	}
	w.distinct(at, n)
}

func (w *walker) dependencies(at string, n *doc.Node) {
	if !w.needs(at, n, doc.Map, "a map") {
		return
	}
	for _, f := range n.Fields {
		if f.Value.Kind == doc.List {
			w.value(doc.Join(at, f.Key), f.Value, setOf(a(text)))
			continue
		}
		w.schema(doc.Join(at, f.Key), f.Value)
	}
}

// anySchema checks a payload or headers of 3.x: a schema, or {schemaFormat, schema}. Schemas in formats other than JSON's and AsyncAPI's
// are unread.
func (w *walker) anySchema(at string, n *doc.Node) {
	if !w.needs(at, n, doc.Map, "a schema") {
		return
	}
	inner := n.Get("schema")
	if inner == nil {
		w.schema(at, n)
		return
	}
	w.kinds[at] = "schema"
	f := n.Get("schemaFormat")
	if f != nil && !w.needs(at+"/schemaFormat", f, doc.String, "a string") {
		return
	}
	if f == nil || isSchemaFormat(f.Text) {
		w.schema(at+"/schema", inner)
	}
}

// isSchemaFormat tells the formats whose schemas are read here: AsyncAPI's own and JSON schema of draft 7.
func isSchemaFormat(s string) bool {
	kind, of, _ := strings.Cut(s, ";version=")
	switch strings.TrimSuffix(strings.TrimSuffix(kind, "+json"), "+yaml") {
	case "application/vnd.aai.asyncapi":
		return slices.Contains(versions[v20:], of)
	case "application/schema":
		return of == "draft-07" && kind != "application/schema"
	}
	return false
}
