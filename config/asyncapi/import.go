package asyncapi

import (
	"errors"
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// ImportOptions say what a document cannot.
type ImportOptions struct {
	// File is the document's name, for nothing but errors of the parsers.
	File string
	// Name, Context and Endpoint win over what the document says.
	Name, Context, Endpoint string
	// Server names the server of the document that is the backend. Default: the first of protocol sse, else the first http(s) one.
	Server string
	// Lenient skips, with a warning, channels that clients only publish to and patterns that cannot be read.
	Lenient bool
	// Base is the API that the document updates: what a document cannot hold stays as it is there. Nil = a new API.
	Base *catalog.API
	// Catalog says what the resource's own checks need.
	Catalog catalog.Options
}

// Import reads a document into an API, checked like one that was written by hand. All or nothing: the API is nil when the report has
// an error. What the document refers to is never fetched.
func Import(data []byte, o ImportOptions) (*catalog.API, Report) {
	d, report := check(o.File, data)
	if d == nil {
		return nil, report
	}
	if !d.findings.Failed() {
		im := importer{document: d, o: o, from: map[string]place{}}
		im.build()
		if !d.findings.Failed() {
			return im.api, d.report()
		}
	}
	return nil, d.report()
}

// importer makes one API out of one document.
type importer struct {
	*document
	o       ImportOptions
	api     *catalog.API
	from    map[string]place // pointer into the API → where in the document its value came from
	own     bool             // the document was made by Export, so its servers are ours
	profile Profile
	seen    map[string]bool // names of the API's query parameters that were read
}

func (im *importer) build() {
	about := im.top("x-sluice-api")
	im.own, im.profile, im.seen = about.node != nil && about.node.Kind == doc.Map, Profile(about.text("profile")), map[string]bool{}
	if !im.begin() {
		return
	}
	im.metadata(about)
	im.declaredScopes()
	im.topics()
	im.endpoint()
	if im.findings.Failed() {
		return
	}
	errs, warnings := im.api.Examine(im.o.Catalog)
	im.errors(LevelError, errs, im.place)
	im.errors(LevelWarning, warnings, im.place)
}

// whole tells that the document holds all of an API but its backend.
func (im *importer) whole() bool { return im.own && im.profile == ProfileInternal }

// begin puts in place what the document does not describe: the defaults or what is there already, then the extensions.
func (im *importer) begin() bool {
	im.api = catalog.Blank()
	if im.o.Base != nil {
		tree, err := im.o.Base.Definition()
		if err == nil {
			im.api, err = catalog.ReadDefinition("", tree)
		}
		if err != nil {
			im.fail(CodeInvalidValue, "", "cannot update this API: %v", err)
			return false
		}
	}
	base := im.api
	if im.whole() {
		im.api = catalog.Blank()
		im.api.Spec.Upstream, im.api.Spec.Endpoint = base.Spec.Upstream, base.Spec.Endpoint
		im.api.Spec.State, im.api.Spec.Default = base.Spec.State, base.Spec.Default
	}
	for key, into := range map[string]any{"x-sluice-metadata": &im.api.Metadata, "x-sluice-spec": &im.api.Spec} {
		im.decode(im.top(key), into)
	}
	if im.top("x-sluice-endpoint").node != nil || im.top("x-sluice-upstream").node != nil {
		im.api.Spec.Upstream = catalog.Blank().Spec.Upstream
		im.decode(im.top("x-sluice-upstream"), &im.api.Spec.Upstream)
	}
	im.api.Spec.Topics, im.api.Spec.Endpoint = nil, base.Spec.Endpoint
	im.from["/spec"] = im.top("x-sluice-spec")
	im.from["/spec/upstream"] = im.top("x-sluice-upstream")
	for _, key := range []string{"labels", "annotations", "owner"} {
		im.from["/metadata/"+key] = im.top("x-sluice-metadata", key)
	}
	return !im.findings.Failed()
}

// decode reads an extension into a part of the API, and reports what is wrong with it; nothing when there is none.
func (im *importer) decode(p place, into any) {
	if p.node == nil {
		return
	}
	var errs doc.Errors
	if err := (&doc.Document{Root: p.node}).Decode(into); err != nil && !errors.As(err, &errs) {
		im.fail(CodeInvalidValue, p.pointer, "%v", err)
	}
	im.errors(LevelError, errs, func(e *doc.Error) (string, *doc.Node) {
		return p.pointer + e.Pointer, &doc.Node{Line: e.Line, Column: e.Column}
	})
}

// place finds what in the document a value of the API came from.
func (im *importer) place(e *doc.Error) (string, *doc.Node) {
	e.Message = subject(e.Pointer) + e.Message
	for at := e.Pointer; at != ""; at = at[:strings.LastIndexByte(at, '/')] {
		if p, ok := im.from[at]; ok && p.node != nil {
			return p.pointer, p.node
		}
	}
	return "", im.root
}

// subject is what a message of the catalog is about: the key of the value.
func subject(pointer string) string {
	parts := strings.Split(pointer, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if parts[i] != "" && strings.Trim(parts[i], "0123456789") != "" {
			return parts[i] + " "
		}
	}
	return ""
}

// metadata reads names and texts.
func (im *importer) metadata(about place) {
	info, m := im.top("info"), &im.api.Metadata
	title := info.text("title")
	m.Name, im.from["/metadata/name"] = slug(title), info.get("title")
	if im.o.Base != nil {
		m.Name = im.o.Base.Metadata.Name
	}
	if n := about.text("name"); n != "" {
		m.Name, im.from["/metadata/name"] = n, about.get("name")
	}
	if im.o.Name != "" {
		m.Name, im.from["/metadata/name"] = im.o.Name, place{}
	}
	m.DisplayName, im.from["/metadata/displayName"] = title, info.get("title")
	if title == m.Name {
		m.DisplayName = ""
	}
	m.Description, im.from["/metadata/description"] = info.text("description"), info.get("description")
	im.api.Spec.Version, im.from["/spec/version"] = info.text("version"), info.get("version")
	im.context(about)
	tags := im.top("tags")
	if !im.old() {
		tags = info.get("tags")
	}
	im.tags(tags)
	im.kept(info)
}

func (im *importer) context(about place) {
	s := &im.api.Spec
	im.from["/spec/context"] = im.from["/metadata/name"]
	if im.o.Base == nil || s.Context == "" {
		s.Context = "/" + strings.ToLower(im.api.Metadata.Name)
	}
	if im.o.Base != nil {
		s.Context = im.o.Base.Spec.Context
	}
	if c := about.text("context"); c != "" {
		s.Context, im.from["/spec/context"] = c, about.get("context")
	}
	if im.o.Context != "" {
		s.Context, im.from["/spec/context"] = im.o.Context, place{}
	}
}

// tags takes the names that can be ours: lower-case words. Others are rewritten, with a warning.
func (im *importer) tags(p place) {
	im.api.Metadata.Tags, im.from["/metadata/tags"] = nil, p
	for _, item := range p.items() {
		end, ok := im.follow(item)
		if !ok {
			continue
		}
		name := end.text("name")
		word := strings.Trim(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(name)), "-")
		if len(word) > 32 {
			word = strings.TrimRight(word[:32], "-")
		}
		if word == name && !slices.Contains(im.api.Metadata.Tags, word) && len(im.api.Metadata.Tags) < 20 {
			im.api.Metadata.Tags = append(im.api.Metadata.Tags, word)
			continue
		}
		if word == "" || slices.Contains(im.api.Metadata.Tags, word) || len(im.api.Metadata.Tags) == 20 {
			im.warn("tag-left-out", item.pointer, "is no tag here, is one already, or is one too many")
			continue
		}
		im.warn("tag-renamed", item.pointer, "becomes the tag %s", word)
		im.api.Metadata.Tags = append(im.api.Metadata.Tags, word)
	}
}

// kept stores what the API only holds for its documents: contact, licence, schemas.
func (im *importer) kept(info place) {
	x := &catalog.AsyncAPI{Info: map[string]any{}, Schemas: map[string]any{}}
	for _, f := range info.entries() {
		keep := f.key == "contact" || f.key == "license" || f.key == "termsOfService" || f.key == "externalDocs" || extension.MatchString(f.key)
		if keep {
			im.keep(x.Info, f)
		}
	}
	if docs := im.top("externalDocs"); im.old() && docs.node != nil {
		im.keep(x.Info, entry{"externalDocs", docs})
	}
	for _, f := range im.top("components", "schemas").entries() {
		im.keep(x.Schemas, f)
	}
	im.api.AsyncAPI = nil
	im.from["/asyncapi/schemas"], im.from["/asyncapi/info"] = im.top("components", "schemas"), info
	if len(x.Info)+len(x.Schemas) > 0 {
		im.api.AsyncAPI = x
	}
}

func (im *importer) keep(into map[string]any, f entry) {
	end, ok := im.follow(f.place)
	if f.node.Get("$ref") == nil || !ok || strings.HasPrefix(f.pointer, "/components/schemas/") {
		end = f.place
	}
	v, err := end.node.PlainValue()
	if err != nil {
		im.fail(CodeInvalidValue, end.pointer, "has a number out of range")
		return
	}
	into[f.key] = v
}

// slug makes a name out of a title.
func slug(title string) string {
	s := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._", r)) {
			return r
		}
		return '-'
	}, strings.TrimSpace(title))
	for strings.Contains(s, "--") {
		s = strings.ReplaceAll(s, "--", "-")
	}
	s = strings.Trim(s, "-._")
	return strings.TrimRight(s[:min(len(s), 60)], "-._")
}

// declaredScopes adds the scopes of all OAuth flows to those of the API.
func (im *importer) declaredScopes() {
	add := func(f entry, roles place) {
		s := &im.api.Spec
		i := slices.IndexFunc(s.Scopes, func(x catalog.Scope) bool { return x.Name == f.key })
		if i < 0 {
			s.Scopes = append(s.Scopes, catalog.Scope{Name: f.key})
			i = len(s.Scopes) - 1
		}
		s.Scopes[i].Description = f.node.Text
		if bound := roles.text(f.key); bound != "" {
			s.Scopes[i].Roles = splitList(bound)
		}
		im.from[doc.Join("/spec/scopes", i)] = f.place
	}
	for _, f := range im.top("x-sluice-scopes").entries() {
		add(f, place{"", newObject().Node})
	}
	for _, s := range im.top("components", "securitySchemes").entries() {
		end, ok := im.follow(s.place)
		if !ok || end.node.Kind != doc.Map {
			continue
		}
		for _, flow := range end.get("flows").entries() {
			for _, key := range []string{"scopes", "availableScopes"} {
				for _, f := range flow.get(key).entries() {
					add(f, orEmpty(flow.get("x-scopes-bindings")))
				}
			}
		}
	}
}

// orEmpty is a map at least.
func orEmpty(p place) place {
	if p.node == nil {
		p.node = newObject().Node
	}
	return p
}

// splitList reads a,b or "a b".
func splitList(s string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(out, part) {
			out = append(out, part)
		}
	}
	return out
}
