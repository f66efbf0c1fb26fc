package wso2

import (
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// convert makes the definition of what the project says. What is wrong is in m.errs.
func (m *mapper) convert(in input) *doc.Node {
	d := in.data
	out := m.made(object(), d)
	put(out, "apiVersion", text(catalog.APIVersion))
	put(out, "kind", text(catalog.KindAPI))
	put(out, "metadata", m.metadata(d))
	spec := m.made(object(), d)
	put(out, "spec", spec)
	put(spec, "context", m.context(d))
	put(spec, "version", m.copied(d, "version"))
	if m.yes(d, "isDefaultVersion") {
		put(spec, "default", m.made(boolean(true), d.Get("isDefaultVersion")))
	}
	put(spec, "state", m.state(d))
	m.visibility(d, spec)
	putSome(spec, "transports", m.transports(d))
	m.endpoint(d, spec)
	putSome(spec, "auth", m.auth(d))
	putSome(spec, "scopes", m.scopes(d))
	putSome(spec, "plans", m.plans(d))
	putSome(spec, "cors", m.cors(d))
	putSome(spec, "edgeGroups", m.groups(in.environs))
	put(spec, "topics", m.topics(in))
	putSome(out, "asyncapi", m.asyncapi(in.async))
	return out
}

func (m *mapper) metadata(d *doc.Node) *doc.Node {
	out := m.made(object(), d)
	name, shown := m.scalar(d, "name"), m.copied(d, "displayName")
	if name != nil {
		plain := strings.Join(strings.Fields(name.Text), "-")
		put(out, "name", m.text(plain, name))
		if plain != name.Text {
			m.warn(name, "renamed", "becomes %q: names have no spaces", clip(plain))
			shown = orElse(shown, m.text(name.Text, name))
		}
	}
	put(out, "displayName", shown)
	put(out, "description", m.copied(d, "description"))
	tags := &doc.Node{Kind: doc.List}
	for _, tag := range m.words(d, "tags") {
		s := slug(tag.Text)
		switch {
		case s == "" || len(s) > 32:
			m.warn(tag, "tag-dropped", "cannot be a tag here: tags are 1 to 32 lower-case letters, digits or dashes")
			continue
		case slices.ContainsFunc(tags.Items, func(n *doc.Node) bool { return n.Text == s }):
			continue
		case s != tag.Text:
			m.warn(tag, "tag-changed", "becomes %q", s)
		}
		tags.Items = append(tags.Items, m.text(s, tag))
	}
	putSome(out, "tags", tags)
	put(out, "owner", m.copied(d, "provider"))
	return out
}

// context takes off what belongs to a tenant, and the version that a running API's path ends with.
func (m *mapper) context(d *doc.Node) *doc.Node {
	src := m.scalar(d, "context")
	if src == nil {
		return nil
	}
	s := "/" + strings.Trim(src.Text, "/")
	if rest, ok := strings.CutPrefix(s, "/t/"); ok {
		tenant, path, _ := strings.Cut(rest, "/")
		m.warn(src, "tenant-dropped", "loses the tenant %q: there are no tenants here", clip(tenant))
		s = "/" + path
	}
	if version := m.scalar(d, "version"); version != nil && !strings.Contains(s, "{version}") {
		if rest, ok := strings.CutSuffix(s, "/"+version.Text); ok && rest != "" {
			m.warn(src, "version-in-context", "loses the version at its end, which is added anyway")
			s = rest
		}
	}
	return m.text(s, src)
}

func (m *mapper) state(d *doc.Node) *doc.Node {
	src := m.scalar(d, "lifeCycleStatus")
	if src == nil {
		return nil
	}
	switch state := catalog.State(strings.ToUpper(src.Text)); state {
	case catalog.StateCreated, catalog.StatePrototyped, catalog.StatePublished:
		return m.text(string(state), src)
	case catalog.StateBlocked, catalog.StateDeprecated, catalog.StateRetired:
		m.warn(src, "state-lowered", "begins as CREATED: an API gets to %s by publishing it first", state)
	default:
		m.warn(src, "unknown-state", "begins as CREATED: %q is no state here", clip(src.Text))
	}
	return m.text(string(catalog.StateCreated), src)
}

func (m *mapper) visibility(d, spec *doc.Node) {
	src := m.scalar(d, "visibility")
	if src == nil {
		return
	}
	switch strings.ToUpper(src.Text) {
	case "PUBLIC":
		put(spec, "visibility", m.text(string(catalog.VisibilityPublic), src))
	case "RESTRICTED":
		put(spec, "visibility", m.text(string(catalog.VisibilityRestricted), src))
		putSome(spec, "visibleTo", m.roles(m.words(d, "visibleRoles")))
	case "PRIVATE":
		m.warn(src, "private", "is narrower here: only the owner and administrators see a private API, not a whole tenant")
		put(spec, "visibility", m.text(string(catalog.VisibilityPrivate), src))
	default:
		m.warn(src, "unknown-visibility", "is taken as private: %q is no visibility here", clip(src.Text))
		put(spec, "visibility", m.text(string(catalog.VisibilityPrivate), src))
	}
}

// roles names roles as they are called here: without the domain Internal, other domains with a colon.
func (m *mapper) roles(list []*doc.Node) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, role := range list {
		name := role.Text
		if domain, rest, ok := strings.Cut(name, "/"); ok && strings.EqualFold(domain, "Internal") {
			name = rest
		}
		if name = strings.ReplaceAll(name, "/", ":"); name != role.Text {
			m.warn(role, "role-changed", "becomes the role %q", clip(name))
		}
		out.Items = append(out.Items, m.text(name, role))
	}
	return out
}

func (m *mapper) transports(d *doc.Node) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, t := range m.words(d, "transport") {
		switch name := strings.ToLower(t.Text); name {
		case "http", "https":
			if !slices.ContainsFunc(out.Items, func(n *doc.Node) bool { return n.Text == name }) {
				out.Items = append(out.Items, m.text(name, t))
			}
		default:
			m.warn(t, "unknown-transport", "is not a transport of an SSE API and is left out")
		}
	}
	return m.made(out, get(d, "transport"))
}

// auth maps which credentials the API takes.
func (m *mapper) auth(d *doc.Node) *doc.Node {
	out := object()
	schemes := m.made(&doc.Node{Kind: doc.List}, get(d, "securityScheme"))
	for _, s := range m.words(d, "securityScheme") {
		switch name := strings.ToLower(s.Text); name {
		case "oauth2":
			schemes.Items = append(schemes.Items, m.text("jwt", s))
		case "api_key":
			schemes.Items = append(schemes.Items, m.text("apiKey", s))
		case "mutualssl":
			schemes.Items = append(schemes.Items, m.text("mtls", s))
		case "oauth_basic_auth_api_key_mandatory":
			// What every API here asks for.
		case "mutualssl_mandatory":
			m.warn(s, "mtls-not-mandatory", "is not kept: any one of the schemes suffices here")
		default:
			m.warn(s, "scheme-dropped", "is not a scheme here and is left out")
		}
	}
	putSome(out, "schemes", schemes)
	put(out, "header", m.copied(d, "authorizationHeader"))
	put(out, "apiKeyHeader", m.copied(d, "apiKeyHeader"))
	issuers := m.made(&doc.Node{Kind: doc.List}, get(d, "keyManagers"))
	for _, k := range m.words(d, "keyManagers") {
		issuers.Items = append(issuers.Items, m.text(k.Text, k))
	}
	putSome(out, "issuers", issuers)
	return out
}

// scopes maps the rights: `scope` in each entry, or the entry itself.
func (m *mapper) scopes(d *doc.Node) *doc.Node {
	out := m.made(&doc.Node{Kind: doc.List}, get(d, "scopes"))
	for _, item := range m.list(d, "scopes") {
		src := item
		if inner := get(item, "scope"); inner != nil {
			src = inner
		}
		if src.Kind != doc.Map {
			m.wrong(src, "a map with a name")
			continue
		}
		scope := m.made(object(), src)
		put(scope, "name", m.copied(src, "name"))
		put(scope, "description", m.copied(src, "description"))
		bindings := src
		if b := get(src, "bindings"); b != nil && b.Kind == doc.Map {
			bindings = object()
			put(bindings, "bindings", get(b, "values"))
		}
		putSome(scope, "roles", m.roles(m.words(bindings, "bindings")))
		out.Items = append(out.Items, scope)
	}
	return out
}

// anyPlan is the plan of an API that is left with none.
const anyPlan = "AsyncUnlimited"

func (m *mapper) plans(d *doc.Node) *doc.Node {
	out := m.made(&doc.Node{Kind: doc.List}, get(d, "policies"))
	for _, p := range m.words(d, "policies") {
		if m.opt.Plans != nil && !slices.Contains(m.opt.Plans, p.Text) {
			m.warn(p, "unknown-plan", "is no plan here and is left out")
			continue
		}
		out.Items = append(out.Items, m.text(p.Text, p))
	}
	if len(out.Items) == 0 {
		out.Items = append(out.Items, text(anyPlan))
	}
	return out
}

func (m *mapper) cors(d *doc.Node) *doc.Node {
	src := m.object(d, "corsConfiguration")
	if !m.yes(src, "corsConfigurationEnabled") {
		return nil
	}
	out := m.made(object(), src)
	origins, all := m.made(&doc.Node{Kind: doc.List}, get(src, "accessControlAllowOrigins")), false
	for _, o := range m.words(src, "accessControlAllowOrigins") {
		origins.Items = append(origins.Items, m.text(o.Text, o))
		all = all || o.Text == "*"
	}
	if all && len(origins.Items) > 1 {
		m.warn(get(src, "accessControlAllowOrigins"), "origins", "is * alone, which takes in all others")
		origins.Items = []*doc.Node{text("*")}
	}
	putSome(out, "origins", origins)
	if m.yes(src, "accessControlAllowCredentials") {
		if all {
			m.warn(src.Get("accessControlAllowCredentials"), "cors-narrowed", "is not kept: every site could read as the user with the origin *")
		} else {
			put(out, "credentials", m.made(boolean(true), src.Get("accessControlAllowCredentials")))
		}
	}
	for _, key := range []string{"accessControlAllowMethods", "accessControlAllowHeaders"} {
		if len(m.words(src, key)) > 0 {
			m.warn(src.Get(key), "cors-fixed", "has no effect: streams are read with GET and the headers that SSE needs")
		}
	}
	return out
}

// groups maps deployment environments to edge groups.
func (m *mapper) groups(environs *doc.Node) *doc.Node {
	if environs == nil {
		return nil
	}
	if environs.Kind != doc.List {
		m.wrong(environs, "a list")
		return nil
	}
	known := m.opt.Groups
	if known == nil {
		known = []string{"default"}
	}
	out := m.made(&doc.Node{Kind: doc.List}, environs)
	for _, e := range environs.Items {
		if e.Kind != doc.Map {
			m.wrong(e, "a map")
			continue
		}
		src := m.scalar(e, "deploymentEnvironment")
		if src == nil {
			continue
		}
		group := slug(src.Text)
		if !slices.Contains(known, group) {
			m.warn(src, "unknown-group", "is no edge group here: default serves the API")
			group = "default"
		}
		if !slices.ContainsFunc(out.Items, func(n *doc.Node) bool { return n.Text == group }) {
			out.Items = append(out.Items, m.text(group, src))
		}
	}
	return out
}
