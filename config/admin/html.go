package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// pageStyle is the style of the page; its hash is all that the page's security policy lets through.
//
//go:embed page.css
var pageStyle string

var styleHash = "sha256-" + base64.StdEncoding.EncodeToString(hashOf(pageStyle))

func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

//go:embed page.html
var pageText string

// page makes the readable form of the document: HTML with one style, no script, nothing from elsewhere.
func (c *contract) page() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"text": prose, "line": inline, "type": typeOf, "anchor": anchorOf, "style": func() template.CSS { return template.CSS(pageStyle) }, //nolint:gosec // our own file
	}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"Doc": c.doc, "Groups": c.groups(), "Schemas": c.schemas()})
	return b.Bytes(), err
}

// group is the operations of one tag.
type group struct {
	Tag *openapi3.Tag
	Ops []shownOp
}

// shownOp is an operation as the page shows it.
type shownOp struct {
	*openapi3.Operation
	Method, Path string
	Roles        []string
	Params       []*openapi3.Parameter
	Body         []media
	Answers      []shownAnswer
}

type media struct {
	Type   string
	Schema *openapi3.SchemaRef
}

type shownAnswer struct {
	Status, Description string
	Content             []media
}

func (c *contract) groups() []group {
	var out []group
	for _, tag := range c.doc.Tags {
		g := group{Tag: tag}
		for _, op := range c.ops {
			if slices.Contains(op.def.Tags, tag.Name) {
				g.Ops = append(g.Ops, shown(op))
			}
		}
		slices.SortFunc(g.Ops, func(a, b shownOp) int { return strings.Compare(a.Path+" "+order(a.Method), b.Path+" "+order(b.Method)) })
		out = append(out, g)
	}
	return out
}

// order puts reading before writing.
func order(method string) string {
	return map[string]string{"GET": "1", "POST": "2", "PUT": "3", "DELETE": "4"}[method]
}

func shown(op *operation) shownOp {
	s := shownOp{Operation: op.def, Method: op.method, Path: op.path, Params: op.params}
	for _, r := range op.roles {
		s.Roles = append(s.Roles, string(r))
	}
	switch {
	case op.open:
		s.Roles = []string{"nobody needs to be signed in"}
	case op.roles == nil:
		s.Roles = []string{"everyone signed in"}
	}
	if op.def.RequestBody != nil {
		s.Body = mediaOf(op.def.RequestBody.Value.Content)
	}
	for status, r := range op.def.Responses.Map() {
		a := shownAnswer{Status: status, Content: mediaOf(r.Value.Content)}
		if r.Value.Description != nil {
			a.Description = *r.Value.Description
		}
		s.Answers = append(s.Answers, a)
	}
	slices.SortFunc(s.Answers, func(a, b shownAnswer) int { return strings.Compare(a.Status, b.Status) })
	return s
}

func mediaOf(c openapi3.Content) []media {
	var out []media
	for name, m := range c {
		out = append(out, media{name, m.Schema})
	}
	slices.SortFunc(out, func(a, b media) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// shownSchema is a named schema with its fields.
type shownSchema struct {
	Name   string
	Schema *openapi3.Schema
	Fields []field
}

type field struct {
	Name     string
	Required bool
	Ref      *openapi3.SchemaRef
}

func (c *contract) schemas() []shownSchema {
	var out []shownSchema
	for name, ref := range c.doc.Components.Schemas {
		s := shownSchema{Name: name, Schema: ref.Value}
		for key, f := range ref.Value.Properties {
			s.Fields = append(s.Fields, field{key, slices.Contains(ref.Value.Required, key), f})
		}
		slices.SortFunc(s.Fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b shownSchema) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// typeOf writes a schema on one line, as a link where it has a name.
func typeOf(ref *openapi3.SchemaRef) template.HTML {
	if ref == nil || ref.Value == nil {
		return "anything"
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		return template.HTML(`<a href="#schema-` + template.HTMLEscapeString(name) + `">` + template.HTMLEscapeString(name) + `</a>`) //nolint:gosec // escaped
	}
	s := ref.Value
	var parts []string
	for _, alternative := range slices.Concat(s.OneOf, s.AnyOf) {
		parts = append(parts, string(typeOf(alternative)))
	}
	if len(parts) > 0 {
		return template.HTML(strings.Join(parts, " or ")) //nolint:gosec // made of escaped parts
	}
	if len(s.Enum) > 0 {
		for _, v := range s.Enum {
			text, _ := v.(string)
			parts = append(parts, "<code>"+template.HTMLEscapeString(text)+"</code>")
		}
		return template.HTML(strings.Join(parts, " or ")) //nolint:gosec // escaped
	}
	if s.Items != nil {
		return "list of " + typeOf(s.Items)
	}
	if s.AdditionalProperties.Schema != nil {
		return "map of " + typeOf(s.AdditionalProperties.Schema)
	}
	if s.Type == nil {
		return "anything"
	}
	return template.HTML(template.HTMLEscapeString(strings.Join(s.Type.Slice(), " or "))) //nolint:gosec // escaped
}

func anchorOf(name string) string { return strings.ToLower(name) }

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	boldSpan = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// inline is text with `code` and **bold**.
func inline(text string) template.HTML {
	out := codeSpan.ReplaceAllString(template.HTMLEscapeString(text), "<code>$1</code>")
	return template.HTML(boldSpan.ReplaceAllString(out, "<strong>$1</strong>")) //nolint:gosec // escaped
}

// prose is text in paragraphs.
func prose(text string) template.HTML {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if part != "" {
			b.WriteString("<p>" + string(inline(part)) + "</p>\n")
		}
	}
	return template.HTML(b.String()) //nolint:gosec // made of escaped parts
}
