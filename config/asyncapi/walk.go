package asyncapi

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/doc"
)

// refUse is a reference that the walk met, and the kind of object it must lead to.
type refUse struct {
	pointer string // of the object that holds $ref
	node    *doc.Node
	kind    string
}

// walker compares a document with the table of shapes.
type walker struct {
	*document
	refs []refUse
}

// checkShape reports everything in the document that the table of its version has not, and returns the references it met.
func (d *document) checkShape() []refUse {
	w := walker{document: d}
	kind := "root3"
	if d.old() {
		kind = "root2"
	}
	w.object("", d.root, kind)
	return w.refs
}

// extension are keys that any object may carry.
var extension = regexp.MustCompile(`^x-[\w.-]+$`)

func (w *walker) value(at string, n *doc.Node, v *value) {
	switch v.what {
	case anything, payload2:
	case text:
		w.text(at, n, v)
	case truth:
		w.needs(at, n, doc.Bool, "true or false")
	case number:
		w.needs(at, n, doc.Number, "a number")
	case bare:
		w.needs(at, n, doc.Map, "a map")
	case list:
		w.list(at, n, v)
	case mapping, named:
		w.entries(at, n, v)
	case object:
		w.object(at, n, v.kind)
	case orRef:
		if !w.reference(at, n, v.kind) {
			w.object(at, n, v.kind)
		}
	case ref:
		if !w.reference(at, n, v.kind) && w.needs(at, n, doc.Map, "a reference such as {$ref: '#/…'}") {
			w.at(LevelError, CodeMissingField, at, n, "lacks $ref: only a reference can stand here")
		}
	case scheme:
		w.scheme(at, n)
	case message2:
		w.message(at, n)
	case schema:
		w.schema(at, n)
	case anySchema:
		w.anySchema(at, n)
	case headers2:
		w.schema(at, n)
		if t := n.Get("type"); t != nil && (t.Kind != doc.String || t.Text != "object") {
			w.at(LevelError, CodeInvalidValue, at+"/type", t, "must be object: headers have names")
		}
	}
}

// needs reports a value of another kind.
func (w *walker) needs(at string, n *doc.Node, kind doc.Kind, what string) bool {
	if n.Kind != kind {
		w.at(LevelError, CodeWrongType, at, n, "must be %s, not %s", what, n.Kind)
	}
	return n.Kind == kind
}

func (w *walker) text(at string, n *doc.Node, v *value) {
	if v.kind == "or null" && n.Kind == doc.Null {
		return
	}
	if !w.needs(at, n, doc.String, "a string") {
		return
	}
	if v.enum != nil && !slices.Contains(v.enum, n.Text) {
		w.at(LevelError, CodeInvalidValue, at, n, "must be one of %s%s", strings.Join(v.enum, ", "), near(n.Text, v.enum))
	}
	if bad := v.format.wrong(n.Text); bad != "" {
		w.at(LevelError, CodeInvalidValue, at, n, "%s", bad)
	}
}

func near(name string, known []string) string {
	if c := doc.Nearest(name, known); c != "" {
		return fmt.Sprintf("; did you mean %q?", c)
	}
	return ""
}

func (w *walker) list(at string, n *doc.Node, v *value) {
	if !w.needs(at, n, doc.List, "a list") {
		return
	}
	for i, item := range n.Items {
		w.value(doc.Join(at, i), item, v.of)
	}
	if v.unique {
		w.distinct(at, n)
	}
}

// distinct reports elements that equal an earlier one.
func (w *walker) distinct(at string, n *doc.Node) {
	seen := map[string]int{}
	for i, item := range n.Items {
		key := fingerprint(item)
		if first, twice := seen[key]; twice {
			w.at(LevelError, CodeInvalidValue, doc.Join(at, i), item, "equals entry %d of the list", first)
			continue
		}
		seen[key] = i
	}
}

// fingerprint is equal for values that mean the same.
func fingerprint(n *doc.Node) string {
	switch n.Kind {
	case doc.List:
		parts := make([]string, len(n.Items))
		for i, item := range n.Items {
			parts[i] = fingerprint(item)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case doc.Map:
		parts := make([]string, len(n.Fields))
		for i, f := range n.Fields {
			parts[i] = strconv.Quote(f.Key) + ":" + fingerprint(f.Value)
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	case doc.Number:
		if f, err := strconv.ParseFloat(n.Text, 64); err == nil {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return n.Text
	case doc.String:
		return strconv.Quote(n.Text)
	case doc.Null:
		return "null"
	}
	return strings.ToLower(n.Text)
}

// componentKey are the keys of components that the official schemas look below.
var componentKey = regexp.MustCompile(`^[\w.-]+$`)

func (w *walker) entries(at string, n *doc.Node, v *value) {
	if !w.needs(at, n, doc.Map, "a map") {
		return
	}
	for _, f := range n.Fields {
		here := doc.Join(at, f.Key)
		if bad := v.keys.wrong(f.Key); bad != "" {
			w.at(LevelError, CodeInvalidValue, here, &doc.Node{Line: f.Line, Column: f.Column}, "%s", bad)
		}
		if v.what == named && !componentKey.MatchString(f.Key) {
			continue
		}
		w.value(here, f.Value, v.of)
	}
}

// reference reports whether n is a reference, and notes it.
func (w *walker) reference(at string, n *doc.Node, kind string) bool {
	r := n.Get("$ref")
	if n.Kind != doc.Map || r == nil {
		return false
	}
	if r.Kind != doc.String {
		w.at(LevelError, CodeWrongType, at+"/$ref", r, "must be a string, not %s", r.Kind)
		return true
	}
	if bad := uriReference.wrong(r.Text); bad != "" {
		w.at(LevelError, CodeInvalidValue, at+"/$ref", r, "%s", bad)
		return true
	}
	w.refs = append(w.refs, refUse{at, n, kind})
	return true
}

func (w *walker) object(at string, n *doc.Node, kind string) {
	if !w.needs(at, n, doc.Map, "a map") {
		return
	}
	w.kinds[at] = kind
	s := shapes[kind]
	for _, f := range n.Fields {
		here := doc.Join(at, f.Key)
		known := s.field(f.Key, w.v)
		switch {
		case known != nil:
			w.value(here, f.Value, known.is)
		case kind == "requirement2":
			w.value(here, f.Value, setOf(a(text)))
		case s.open || !s.noExt && extension.MatchString(f.Key):
		default:
			w.at(LevelError, CodeUnknownField, here, &doc.Node{Line: f.Line, Column: f.Column}, "%s", s.unknown(f.Key, w.v))
		}
	}
	for _, f := range s.fields {
		if f.must && f.has(w.v) && n.Get(f.key) == nil {
			w.at(LevelError, CodeMissingField, at, n, "lacks the field %s", f.key)
		}
	}
	w.together(at, n, kind)
}

// together checks what a list of fields cannot say, and notes references that stand between fields.
func (w *walker) together(at string, n *doc.Node, kind string) {
	switch kind {
	case "example":
		if n.Get("payload") == nil && n.Get("headers") == nil {
			w.at(LevelError, CodeMissingField, at, n, "lacks payload or headers")
		}
	case "message2":
		payload, format := n.Get("payload"), n.Get("schemaFormat")
		if payload != nil && (format == nil || isSchemaFormat(format.Text)) {
			w.schema(at+"/payload", payload)
		}
	case "channel2":
		if r := n.Get("$ref"); r != nil && r.Kind == doc.String && uriReference.wrong(r.Text) == "" {
			w.refs = append(w.refs, refUse{at, n, kind})
		}
	}
}

func (f field) has(v version) bool { return v >= f.since && (f.until == 0 || v <= f.until) }

func (s shape) field(key string, v version) *field {
	for i := range s.fields {
		if f := &s.fields[i]; f.key == key && f.has(v) {
			return f
		}
	}
	return nil
}

func (s shape) unknown(key string, v version) string {
	var keys []string
	for _, f := range s.fields {
		if f.key == key && f.since > v {
			return "is a field from version " + versions[f.since] + " on"
		}
		if f.has(v) {
			keys = append(keys, f.key)
		}
	}
	if c := doc.Nearest(key, keys); c != "" {
		return fmt.Sprintf("unknown field; did you mean %q?", c)
	}
	return "unknown field; here can stand " + strings.Join(keys, ", ")
}

// schemeTypes are the values of a security scheme's type, and the kinds of object.
var schemeTypes = []string{"userPassword", "apiKey", "X509", "symmetricEncryption", "asymmetricEncryption", "httpApiKey", "http", "oauth2",
	"openIdConnect", "plain", "scramSha256", "scramSha512", "gssapi"}

// sasl is how many of them, at the end, came with version 2.1.
const sasl = 4

// scheme checks a security scheme or a reference to one.
func (w *walker) scheme(at string, n *doc.Node) {
	if w.reference(at, n, "scheme") || !w.needs(at, n, doc.Map, "a map") {
		return
	}
	known := schemeTypes
	if w.v < v21 {
		known = known[:len(known)-sasl]
	}
	t := n.Get("type")
	switch {
	case t == nil:
		w.at(LevelError, CodeMissingField, at, n, "lacks the field type")
	case t.Kind != doc.String:
		w.at(LevelError, CodeWrongType, at+"/type", t, "must be a string, not %s", t.Kind)
	case !slices.Contains(known, t.Text):
		w.at(LevelError, CodeInvalidValue, at+"/type", t, "must be one of %s%s", strings.Join(known, ", "), near(t.Text, known))
	case t.Text == "http" && n.Get("scheme") != nil && n.Get("scheme").Text == "bearer":
		w.object(at, n, "httpBearer")
	default:
		w.object(at, n, t.Text)
	}
	w.kinds[at] = "scheme"
}

// message checks a message of 2.x.
func (w *walker) message(at string, n *doc.Node) {
	if w.reference(at, n, "message2") {
		return
	}
	if n.Kind == doc.Map && n.Get("oneOf") != nil {
		w.object(at, n, "oneOfMessages2")
		w.kinds[at] = "message2"
		return
	}
	w.object(at, n, "message2")
}

// wrong says what is wrong with a text of the format, "" if nothing is.
func (f format) wrong(s string) string {
	switch f {
	case uri:
		if !absoluteURI.MatchString(s) || !uriText(s) {
			return "must be an absolute URI"
		}
	case uriReference:
		if !uriText(s) {
			return "must be a URI reference"
		}
	case uriTemplate:
		if s == "" || !template.MatchString(s) {
			return "must be a URI template of at least one character, such as /quotes/{symbol}"
		}
	case email:
		if !address.MatchString(s) {
			return "must be an email address"
		}
	case regex:
		if !plausibleRegex(s) {
			return "is not a regular expression"
		}
	case runtimeExpression:
		if !location.MatchString(s) {
			return "must be an expression such as $message.header#/id or $message.payload#/id"
		}
	}
	return ""
}

var (
	absoluteURI = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	uriChars    = regexp.MustCompile(`^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*$`)
	escapes     = regexp.MustCompile(`%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)`)
	template    = regexp.MustCompile(`^(?:[^\x00-\x20"'<>%\\^` + "`" + `{|}]|%[0-9A-Fa-f]{2}|\{[+#./;?&=,!@|]?` + variableName + `(?:,` + variableName + `)*\})*$`)
	address     = regexp.MustCompile("^(?i)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$")
	location    = regexp.MustCompile(`^\$message\.(header|payload)#(/(([^/~])|(~[01]))*)*`)
)

const variableName = `(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+(?::[1-9][0-9]{0,3}|\*)?`

// uriText tells texts that can be a URI or a relative one.
func uriText(s string) bool {
	if !uriChars.MatchString(s) || escapes.MatchString(s) || strings.Count(s, "#") > 1 {
		return false
	}
	_, err := url.Parse(s)
	return err == nil
}

// plausibleRegex tells what some engine takes: ours, or with the parts that only others have taken out.
func plausibleRegex(s string) bool {
	if _, err := regexp.Compile(s); err == nil {
		return true
	}
	_, err := regexp.Compile(foreign.ReplaceAllString(s, "(?:"))
	return err == nil
}

// foreign are groups that look around, which RE2 has not.
var foreign = regexp.MustCompile(`\(\?(?:[=!]|<[=!])`)
