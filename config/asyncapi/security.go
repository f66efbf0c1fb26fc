package asyncapi

import (
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// Where credentials beside tokens and keys stand in a request.
const (
	ticketParameter = "ticket"
	cookieName      = "__Host-sluice_stream"
)

// noAuthorizationURL stands where WSO2's documents must have an address that nobody asks.
const noAuthorizationURL = "urn:sluice:no-authorization-url"

// secured tells whether a topic needs a credential.
func (e *exporter) secured() bool { return !e.api.Open() }

// hasFlow tells whether tokens are described as OAuth, whose flows declare the scopes.
func (e *exporter) hasFlow() bool {
	return e.secured() && slices.Contains(e.api.Spec.Auth.Schemes, "jwt") && (e.o.Profile == ProfileWSO2 || e.o.TokenURL != "")
}

// scopes are name → description of what topics can ask for.
func (e *exporter) scopes() branch {
	out := newObject()
	for _, s := range e.api.Spec.Scopes {
		out.put(s.Name, textNode(s.Description))
	}
	return out
}

// securitySchemes describes how clients show who they are; nothing for an API that is open.
func (e *exporter) securitySchemes() *doc.Node {
	out := newObject()
	if !e.secured() {
		return nil
	}
	for _, name := range e.api.Spec.Auth.Schemes {
		switch name {
		case "jwt":
			e.tokenSchemes(out)
		case "apiKey":
			out.put(name, inRequest("header", e.api.Spec.Auth.APIKeyHeader))
		case "cookie":
			out.put(name, inRequest("cookie", cookieName))
		case "ticket":
			out.put(name, inRequest("query", ticketParameter))
		case "mtls":
			out.put(name, newObject().text("type", "X509").Node)
		}
	}
	return out.Node
}

func inRequest(in, name string) *doc.Node {
	return newObject().text("type", "httpApiKey").text("in", in).text("name", name).Node
}

// tokenSchemes adds the scheme jwt. In 3.x a scheme itself says which scopes are asked for, and any one suffices here: so there is one
// more scheme for each scope.
func (e *exporter) tokenSchemes(out branch) {
	if !e.hasFlow() {
		if h := e.api.Spec.Auth.Header; h != "" && !strings.EqualFold(h, "Authorization") {
			out.put("jwt", inRequest("header", h))
			return
		}
		out.put("jwt", newObject().text("type", "http").text("scheme", "bearer").text("bearerFormat", "JWT").Node)
		return
	}
	out.put("jwt", e.flow(nil))
	if e.old() {
		return
	}
	for _, s := range e.api.Spec.Scopes {
		out.put(e.scopeKey(s.Name), e.flow([]string{s.Name}))
	}
}

// scopeKey names the scheme of one scope.
func (e *exporter) scopeKey(scope string) string {
	for i, s := range e.api.Spec.Scopes {
		if s.Name != scope {
			continue
		}
		return unused("jwt-"+wordOf(scope), func(k string) bool {
			return slices.ContainsFunc(e.api.Spec.Scopes[:i], func(o catalog.Scope) bool { return e.scopeKey(o.Name) == k })
		})
	}
	return "jwt"
}

// flow is an OAuth scheme that asks for scopes.
func (e *exporter) flow(asked []string) *doc.Node {
	scopes := "availableScopes"
	if e.old() {
		scopes = "scopes"
	}
	kind, flow := "clientCredentials", newObject()
	if e.o.Profile == ProfileWSO2 {
		kind = "implicit"
		address := e.o.TokenURL
		if address == "" {
			address = noAuthorizationURL
		}
		flow.text("authorizationUrl", address).put(scopes, e.scopes().Node).filled("x-scopes-bindings", e.bindings())
	} else {
		flow.text("tokenUrl", e.o.TokenURL).put(scopes, e.scopes().Node)
	}
	return newObject().text("type", "oauth2").put("flows", newObject().put(kind, flow.Node).Node).list("scopes", asked).Node
}

// bindings are scope → roles, as WSO2 writes them.
func (e *exporter) bindings() *doc.Node {
	out := newObject()
	for _, s := range e.api.Spec.Scopes {
		out.text(s.Name, strings.Join(s.Roles, ","))
	}
	return out.Node
}

// security lists what opens a topic: any one of the schemes, with any one of the topic's scopes.
func (e *exporter) security(t *catalog.Topic) *doc.Node {
	if t.Security == catalog.SecurityNone {
		return nil
	}
	out := newList()
	add := func(scheme string, scopes ...string) {
		if e.old() {
			list := textList(scopes)
			out.Items = append(out.Items, newObject().put(scheme, list).Node)
			return
		}
		if len(scopes) == 1 {
			scheme = e.scopeKey(scopes[0])
		}
		out.Items = append(out.Items, reference("/components/securitySchemes/"+scheme))
	}
	for _, name := range e.api.Spec.Auth.Schemes {
		if name != "jwt" || !e.hasFlow() || len(t.Scopes) == 0 {
			add(name)
			continue
		}
		for _, s := range t.Scopes {
			add(name, s)
		}
	}
	return out
}
