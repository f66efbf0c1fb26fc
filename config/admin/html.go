package admin

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// The page is written by hand rather than with html/template: a template calls methods by name, so that the linker could leave out none
// of the whole program's, and that makes the binary larger by a quarter.

// pageStyle is the style of the page; its hash is all that the page's security policy lets through.
//
//go:embed page.css
var pageStyle string

var styleHash = "sha256-" + base64.StdEncoding.EncodeToString(hashOf(pageStyle))

func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// pageWriter writes HTML: %s of printf is escaped, other methods say what they do.
type pageWriter struct{ strings.Builder }

func (w *pageWriter) printf(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = html.EscapeString(s)
		}
	}
	fmt.Fprintf(&w.Builder, format, args...)
}

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	boldSpan = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// line writes text with `code` and **bold**.
func (w *pageWriter) line(text string) {
	out := codeSpan.ReplaceAllString(html.EscapeString(text), "<code>$1</code>")
	w.WriteString(boldSpan.ReplaceAllString(out, "<strong>$1</strong>"))
}

// prose writes text in paragraphs.
func (w *pageWriter) prose(text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if part != "" {
			w.WriteString("<p>")
			w.line(part)
			w.WriteString("</p>\n")
		}
	}
}

// page makes the readable form of the document: HTML with one style, no script, nothing from elsewhere.
func (c *contract) page() []byte {
	w := &pageWriter{}
	info := c.doc.Info
	w.printf("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>%s</title>\n<style>", info.Title)
	w.WriteString(pageStyle)
	w.printf("</style>\n</head>\n<body>\n<header>\n<h1>%s %s</h1>\n", info.Title, info.Version)
	w.prose(info.Description)
	w.WriteString("<p>The document itself: <a href=\"/openapi.yaml\">openapi.yaml</a>. The schema of a definition: " +
		"<a href=\"/schemas/API.json\">API.json</a>.</p>\n<nav><ul>")
	for _, tag := range c.doc.Tags {
		w.printf("<li><a href=\"#%s\">%s</a></li>", strings.ToLower(tag.Name), tag.Name)
	}
	w.WriteString("<li><a href=\"#schemas\">Schemas</a></li></ul></nav>\n</header>\n<main>\n")
	for _, tag := range c.doc.Tags {
		w.printf("<section id=\"%s\">\n<h2>%s</h2>\n", strings.ToLower(tag.Name), tag.Name)
		w.prose(tag.Description)
		for _, op := range c.tagged(tag.Name) {
			w.operation(op)
		}
		w.WriteString("</section>\n")
	}
	w.WriteString("<section id=\"schemas\">\n<h2>Schemas</h2>\n")
	schemas := c.doc.Components.Schemas
	for _, name := range sortedKeys(schemas) {
		w.schema(name, schemas[name].Value)
	}
	w.WriteString("</section>\n</main>\n</body>\n</html>\n")
	return []byte(w.String())
}

// tagged returns the operations of a tag, by path, reading before writing.
func (c *contract) tagged(tag string) []*operation {
	var out []*operation
	for _, op := range c.ops {
		if slices.Contains(op.def.Tags, tag) {
			out = append(out, op)
		}
	}
	methods := []string{"GET", "POST", "PUT", "DELETE"}
	slices.SortFunc(out, func(a, b *operation) int {
		return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(slices.Index(methods, a.method), slices.Index(methods, b.method)))
	})
	return out
}

func (w *pageWriter) operation(op *operation) {
	w.printf("<details id=\"%s\">\n<summary><span class=\"method\">%s</span> <code>%s</code> ", op.def.OperationID, op.method, op.path)
	w.line(op.def.Summary)
	w.WriteString("</summary>\n")
	w.prose(op.def.Description)
	w.printf("<p class=\"roles\">Who: %s</p>\n", op.who())
	if len(op.params) > 0 {
		w.WriteString("<table><tr><th>Parameter</th><th>Where</th><th>Type</th><th></th></tr>\n")
		for _, p := range op.params {
			w.printf("<tr><td><code>%s</code></td><td>%s</td><td>", p.Name, p.In+map[bool]string{true: ", required"}[p.Required])
			w.kind(p.Schema)
			w.WriteString("</td><td>")
			w.line(p.Description)
			w.WriteString("</td></tr>\n")
		}
		w.WriteString("</table>\n")
	}
	if op.def.RequestBody != nil {
		w.WriteString("<p>Body: ")
		w.content(op.def.RequestBody.Value.Content)
		w.WriteString("</p>\n")
	}
	w.WriteString("<table><tr><th>Answer</th><th></th><th></th></tr>\n")
	answers := op.def.Responses.Map()
	for _, status := range sortedKeys(answers) {
		w.printf("<tr><td>%s</td><td>", status)
		if d := answers[status].Value.Description; d != nil {
			w.line(*d)
		}
		w.WriteString("</td><td>")
		w.content(answers[status].Value.Content)
		w.WriteString("</td></tr>\n")
	}
	w.WriteString("</table>\n</details>\n")
}

// who says who may call an operation.
func (op *operation) who() string {
	switch {
	case op.open:
		return "nobody needs to be signed in"
	case op.roles == nil:
		return "everyone signed in"
	}
	var names []string
	for _, r := range op.roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// content writes the media types of a body.
func (w *pageWriter) content(c openapi3.Content) {
	for i, name := range sortedKeys(c) {
		if i > 0 {
			w.WriteString(" · ")
		}
		w.printf("<code>%s</code> ", name)
		w.kind(c[name].Schema)
	}
}

func (w *pageWriter) schema(name string, s *openapi3.Schema) {
	w.printf("<details id=\"schema-%s\">\n<summary><code>%s</code></summary>\n", name, name)
	w.prose(s.Description)
	if len(s.Properties) > 0 {
		w.WriteString("<table><tr><th>Field</th><th>Type</th><th></th></tr>\n")
		for _, key := range sortedKeys(s.Properties) {
			w.printf("<tr><td><code>%s</code>%s</td><td>", key, map[bool]string{true: " *"}[slices.Contains(s.Required, key)])
			w.kind(s.Properties[key])
			w.WriteString("</td><td>")
			w.line(s.Properties[key].Value.Description)
			w.WriteString("</td></tr>\n")
		}
		w.WriteString("</table>\n")
	} else {
		w.WriteString("<p>")
		w.kind(&openapi3.SchemaRef{Value: s})
		w.WriteString("</p>\n")
	}
	w.WriteString("</details>\n")
}

// kind writes what values a schema takes, on one line, as a link where it has a name.
func (w *pageWriter) kind(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil {
		w.WriteString("as it is")
		return
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		w.printf("<a href=\"#schema-%s\">%s</a>", name, name)
		return
	}
	s := ref.Value
	alternatives := slices.Concat(s.OneOf, s.AnyOf)
	switch {
	case len(alternatives) > 0:
		for i, a := range alternatives {
			if i > 0 {
				w.WriteString(" or ")
			}
			w.kind(a)
		}
	case len(s.Enum) > 0:
		for i, v := range s.Enum {
			if i > 0 {
				w.WriteString(" or ")
			}
			w.printf("<code>%s</code>", fmt.Sprint(v))
		}
	case s.Items != nil:
		w.WriteString("list of ")
		w.kind(s.Items)
	case s.AdditionalProperties.Schema != nil:
		w.WriteString("map of ")
		w.kind(s.AdditionalProperties.Schema)
	case s.Type == nil:
		w.WriteString("anything")
	default:
		w.printf("%s", strings.Join(s.Type.Slice(), " or "))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
