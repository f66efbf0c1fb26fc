package asyncapi

import (
	"fmt"
	"net/url"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Profile says who a document is for.
type Profile string

// The profiles.
const (
	// ProfilePublic is for whoever may see the API: nothing of the backend, no owner.
	ProfilePublic Profile = "public"
	// ProfileInternal is for those who may see the definition: with what AsyncAPI has no words for, in extensions, so that importing
	// it gives the same API.
	ProfileInternal Profile = "internal"
	// ProfileWSO2 is for WSO2 API Manager: its extensions and its reading of who sends.
	ProfileWSO2 Profile = "wso2"
)

// Server is an address under which edges answer.
type Server struct {
	// Group is the edge group; empty = every API has it.
	Group string
	// URL is http or https, with a path when something before the edges adds one.
	URL string
}

// ExportOptions say what document to make of an API.
type ExportOptions struct {
	// Version is 3.1.0 (the default) or 2.6.0, for ProfileWSO2 2.6.0 (its default) or 3.0.0.
	Version string
	// Profile is public by default.
	Profile Profile
	// Servers are the edges' public addresses. Those of other edge groups, and of transports that the API does not answer on, are left
	// out.
	Servers []Server
	// TokenURL is where clients get tokens; empty = it is not known, and tokens are described as bearer tokens.
	TokenURL string
	// Endpoint puts the backend's address, and how it is connected to, into an internal document. Without it no document names the
	// backend's host: an importer is told the endpoint, or keeps the one it has.
	Endpoint bool
}

// Document is an AsyncAPI document of an API. Equal APIs and options give equal bytes.
type Document struct {
	// Version of AsyncAPI.
	Version string
	// Warnings tell what of the definition the document cannot hold; pointers lead into the definition.
	Warnings Report
	root     *doc.Node
}

// JSON returns the document as JSON, two spaces deep, with a line break at the end.
func (d *Document) JSON() ([]byte, error) { return doc.WriteJSON(d.root) }

// YAML returns the document as YAML in block style.
func (d *Document) YAML() ([]byte, error) { return doc.WriteYAML(d.root) }

// Export makes the document of an API. The error is for options that do not fit together.
func Export(api *catalog.API, o ExportOptions) (*Document, error) {
	if o.Profile == "" {
		o.Profile = ProfilePublic
	}
	if o.Version == "" {
		o.Version = versions[v31]
		if o.Profile == ProfileWSO2 {
			o.Version = versions[v26]
		}
	}
	e := exporter{api: api, o: o, schemas: map[string]bool{}}
	var err error
	if e.v, err = exportVersion(o); err != nil {
		return nil, err
	}
	if e.definition, err = api.Definition(); err != nil {
		return nil, fmt.Errorf("asyncapi: api %s: %w", api.ID(), err)
	}
	e.channelKeys()
	e.out = &Document{Version: o.Version, root: e.document()}
	e.out.Warnings = e.warnings.findings
	return e.out, nil
}

func exportVersion(o ExportOptions) (version, error) {
	bad := func(format string, args ...any) (version, error) {
		return 0, &problem.Error{Kind: problem.Invalid, Detail: fmt.Sprintf(format, args...)}
	}
	known := map[Profile][]version{ProfilePublic: {v31, v26}, ProfileInternal: {v31, v26}, ProfileWSO2: {v26, v30}}[o.Profile]
	if known == nil {
		return bad("The profile must be public, internal or wso2.")
	}
	if o.Endpoint && o.Profile != ProfileInternal {
		return bad("Only an internal document can name the endpoint.")
	}
	var names []string
	for _, v := range known {
		if versions[v] == o.Version {
			return v, nil
		}
		names = append(names, versions[v])
	}
	return bad("The version of a document of profile %s must be one of %s.", o.Profile, strings.Join(names, ", "))
}

// exporter makes one document.
type exporter struct {
	api        *catalog.API
	o          ExportOptions
	v          version
	definition *doc.Node // of the API, without defaults
	keys       []string  // of the channel of each topic
	schemas    map[string]bool
	warnings   reporter
	out        *Document
}

func (e *exporter) old() bool { return e.v < v30 }

func (e *exporter) internal() bool { return e.o.Profile == ProfileInternal }

// drop tells what of the definition is left out.
func (e *exporter) drop(pointer, format string, args ...any) {
	e.warnings.at(LevelWarning, "left-out", pointer, nil, format, args...)
}

func (e *exporter) document() *doc.Node {
	schemas := e.componentSchemas() // before the payloads that refer to them
	channels := newObject()
	operations := newObject()
	for i := range e.api.Spec.Topics {
		if e.old() {
			e.channel2(channels, i)
		} else {
			e.channel3(channels, operations, i)
		}
	}
	d := newObject().text("asyncapi", e.o.Version).text("id", "urn:sluice:"+e.api.Name()+":"+e.api.Version()).put("info", e.info())
	if e.old() {
		d.filled("tags", e.tags()).put("externalDocs", e.kept("externalDocs", "docs"))
	}
	d.text("defaultContentType", "application/json").filled("servers", e.servers()).put("channels", channels.Node)
	d.filled("operations", operations.Node)
	d.filled("components", newObject().filled("schemas", schemas).filled("securitySchemes", e.securitySchemes()).Node)
	e.extensions(d)
	return d.Node
}

func (e *exporter) info() *doc.Node {
	m := &e.api.Metadata
	title := m.DisplayName
	if title == "" {
		title = m.Name
	}
	info := newObject().put("title", textNode(title)).put("version", textNode(e.api.Version())).text("description", m.Description)
	info.put("termsOfService", e.kept("termsOfService", "")).put("contact", e.kept("contact", "contact")).put("license", e.kept("license", "license"))
	if !e.old() {
		info.filled("tags", e.tags()).put("externalDocs", e.kept("externalDocs", "docs"))
	}
	for _, f := range e.infoNode().Fields {
		switch {
		case extension.MatchString(f.Key):
			info.put(f.Key, f.Value)
		case f.Key != "termsOfService" && f.Key != "contact" && f.Key != "license" && f.Key != "externalDocs":
			e.drop(doc.Join("/asyncapi/info", f.Key), "is no field of info in AsyncAPI")
		}
	}
	return info.Node
}

func (e *exporter) infoNode() *doc.Node {
	if n := e.definition.Get("asyncapi"); n != nil && n.Get("info") != nil {
		return n.Get("info")
	}
	return newObject().Node
}

// kept is a part of info that the API holds for its documents, nil when there is none of the right shape.
func (e *exporter) kept(key, kind string) *doc.Node {
	n := e.infoNode().Get(key)
	if n == nil {
		return nil
	}
	w := walker{document: &document{v: e.v, kinds: map[string]string{}}}
	if kind == "" {
		w.value("", n, is(uri))
	} else {
		w.object("", n, kind)
	}
	if w.findings.Failed() {
		e.drop(doc.Join("/asyncapi/info", key), "has not the shape that AsyncAPI asks for: %s", w.findings[0].Message)
		return nil
	}
	return n
}

func (e *exporter) tags() *doc.Node {
	out := newList()
	for _, t := range e.api.Metadata.Tags {
		out.Items = append(out.Items, newObject().text("name", t).Node)
	}
	return out
}

// servers are the edges' addresses, one per group and transport; never the endpoint.
func (e *exporter) servers() *doc.Node {
	out := newObject()
	for _, s := range e.o.Servers {
		u, err := url.Parse(s.URL)
		if err != nil || u.Host == "" || !e.api.Allows(catalog.Transport(u.Scheme)) || !e.inGroup(s.Group) {
			continue
		}
		group := s.Group
		if group == "" {
			group = "default"
		}
		key := unused(group+"-"+u.Scheme, func(k string) bool { return out.Get(k) != nil })
		path := strings.TrimSuffix(u.EscapedPath(), "/") + e.api.BasePath()
		if e.old() {
			out.put(key, newObject().text("url", u.Scheme+"://"+u.Host+path).text("protocol", "sse").Node)
			continue
		}
		out.put(key, newObject().text("host", u.Host).text("pathname", path).text("protocol", "sse").text("x-sluice-scheme", u.Scheme).Node)
	}
	return out.Node
}

func (e *exporter) inGroup(group string) bool {
	for _, g := range e.api.Spec.EdgeGroups {
		if g == group {
			return true
		}
	}
	return group == ""
}

// unused returns name, or name_2, name_3 … whichever is not taken.
func unused(name string, taken func(string) bool) string {
	key := name
	for i := 2; taken(key); i++ {
		key = fmt.Sprintf("%s_%d", name, i)
	}
	return key
}

// wordOf makes a key of letters, digits, `_`, `-` and `.` out of a text: others become `_`.
func wordOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r)) {
			return r
		}
		return '_'
	}, s)
}

// channelKeys gives each topic a key: /quotes/{symbol} is quotes_symbol, /* is any, / is root.
func (e *exporter) channelKeys() {
	taken := map[string]bool{}
	for i := range e.api.Spec.Topics {
		name := strings.TrimPrefix(e.api.Spec.Topics[i].Name, "/")
		name = strings.NewReplacer("{", "", "}", "", "*", "any").Replace(name)
		if name == "" {
			name = "root"
		}
		key := unused(wordOf(name), func(k string) bool { return taken[k] })
		taken[key] = true
		e.keys = append(e.keys, key)
	}
}

// extensions adds what AsyncAPI has no words for.
func (e *exporter) extensions(d branch) {
	d.put("x-sluice-api", newObject().text("name", e.api.Name()).text("context", e.api.Spec.Context).text("profile", string(e.o.Profile)).Node)
	if !e.hasFlow() {
		d.filled("x-sluice-scopes", e.scopes().Node)
	}
	if !e.internal() {
		return
	}
	spec := e.definition.Get("spec")
	if e.o.Endpoint {
		d.text("x-sluice-endpoint", e.api.Spec.Endpoint).filled("x-sluice-upstream", spec.Get("upstream"))
	}
	d.filled("x-sluice-metadata", without(e.definition.Get("metadata"), "name", "displayName", "description", "tags"))
	d.filled("x-sluice-spec", without(spec, "context", "version", "endpoint", "upstream", "topics"))
}

// topicNode is the definition of a topic, without defaults.
func (e *exporter) topicNode(i int) *doc.Node { return e.definition.Get("spec").Get("topics").Items[i] }

// aboutTopic adds what a channel says in extensions.
func (e *exporter) aboutTopic(c branch, i int) {
	t, n := &e.api.Spec.Topics[i], e.topicNode(i)
	kind := "Any"
	if t.Security == catalog.SecurityNone {
		kind = "None"
	}
	c.text("x-auth-type", kind)
	c.filled("x-sluice-retention", n.Get("retention")).put("x-sluice-start", n.Get("start"))
	if e.internal() {
		feed := newObject()
		for _, key := range []string{"demand", "linger", "slow"} {
			feed.put(key, n.Get(key))
		}
		c.filled("x-sluice-feed", feed.Node)
	}
}

// aboutAccess adds the binding, security and mapping of an operation.
func (e *exporter) aboutAccess(o branch, i int) {
	t := &e.api.Spec.Topics[i]
	o.filled("security", e.security(t))
	http := newObject()
	if e.old() {
		http.text("type", "request")
	}
	http.text("method", "GET").filled("query", e.query(t))
	if !e.old() {
		http.text("bindingVersion", "0.3.0")
	}
	o.put("bindings", newObject().put("http", http.Node).Node)
	o.list("x-scopes", t.Scopes)
	if e.o.Profile != ProfilePublic {
		o.text("x-uri-mapping", toMapping(t.Backend))
	}
}

// toMapping writes a backend's {x} as {uri.var.x}, fromMapping the reverse. {*} has no name and stays.
func toMapping(backend string) string {
	return strings.ReplaceAll(strings.ReplaceAll(backend, "{", "{uri.var."), "{uri.var.*}", "{*}")
}

func fromMapping(s string) string { return strings.ReplaceAll(s, "{uri.var.", "{") }

// query is the schema of the parameters that a topic takes: its own first, then the API's.
func (e *exporter) query(t *catalog.Topic) *doc.Node {
	properties, required := newObject(), []string{}
	add := func(q catalog.QueryParam, shared bool) {
		if properties.Get(q.Name) != nil {
			return
		}
		p := newObject().text("type", "string")
		e.pattern(p, q.Pattern)
		p.text("default", q.Default)
		if shared {
			p.put("x-sluice-shared", flagNode(true))
		}
		properties.put(q.Name, p.Node)
		if q.Required {
			required = append(required, q.Name)
		}
	}
	for _, q := range t.Query {
		add(q, false)
	}
	for _, q := range e.api.Spec.Query {
		add(q, true)
	}
	if len(properties.Fields) == 0 {
		return nil
	}
	return newObject().text("type", "object").put("properties", properties.Node).list("required", required).Node
}

// pattern adds a pattern to a schema: as JSON schema has it where that can say the same.
func (e *exporter) pattern(p branch, pattern string) {
	if pattern == "" {
		return
	}
	if shown := toSchemaPattern(pattern); shown != "" {
		p.text("pattern", shown)
		return
	}
	p.text("x-sluice-pattern", pattern)
}
