package wso2

import (
	"strings"

	"sluice/internal/doc"
)

// endpoint maps endpointConfig: the production endpoint and what it asks of its callers.
func (m *mapper) endpoint(d, spec *doc.Node) {
	config := m.object(d, "endpointConfig")
	src := m.production(config)
	if src != nil {
		put(spec, "endpoint", m.text(src.Text, src))
	}
	if v := get(config, "sandbox_endpoints"); v != nil && !empty(v) {
		m.warn(v, "sandbox-dropped", "is not served: an API here has one endpoint")
	}
	auth := object()
	if security := get(config, "endpoint_security", "production"); security != nil {
		auth = m.security(d, security)
	} else if security := get(d, "endpointSecurity"); security != nil {
		auth = m.security(d, security)
	}
	if !empty(auth) {
		upstream := m.made(object(), config)
		put(upstream, "auth", auth)
		put(spec, "upstream", upstream)
	}
}

// production is the URL of the production endpoint, of several the first; nil if there is none.
func (m *mapper) production(config *doc.Node) *doc.Node {
	v := get(config, "production_endpoints")
	if v == nil {
		return nil
	}
	if v.Kind == doc.List {
		if len(v.Items) == 0 {
			return nil
		}
		if len(v.Items) > 1 {
			m.warn(v, "first-endpoint", "has %d endpoints, of which the first is read: put a balancer before several", len(v.Items))
		}
		v = v.Items[0]
	}
	if v.Kind != doc.Map {
		m.wrong(v, "a map with a url")
		return nil
	}
	if v := get(config, "production_failovers"); v != nil && !empty(v) {
		m.warn(v, "failover-dropped", "is not used: an API here has one endpoint")
	}
	url := m.scalar(v, "url")
	if url != nil && url.Text == "default" {
		m.warn(url, "dynamic-endpoint", "is found at run time there, which is not possible here: set spec.endpoint")
		return nil
	}
	return url
}

// security maps the credential of an endpoint. The secret itself is never taken: the definition names one.
func (m *mapper) security(d, src *doc.Node) *doc.Node {
	if src.Kind != doc.Map {
		m.wrong(src, "a map")
		return object()
	}
	if enabled := get(src, "enabled"); enabled != nil && !m.yes(src, "enabled") {
		return object()
	}
	kind := m.scalar(src, "type")
	if kind == nil || strings.EqualFold(kind.Text, "NONE") {
		return object()
	}
	out := m.made(object(), src)
	secret := "password"
	switch strings.ToUpper(kind.Text) {
	case "BASIC":
		put(out, "type", m.text("basic", kind))
		put(out, "username", m.copied(src, "username"))
	case "OAUTH":
		if grant := m.scalar(src, "grantType"); grant != nil && !strings.EqualFold(grant.Text, "CLIENT_CREDENTIALS") {
			m.warn(grant, "auth-dropped", "is no grant here; only client credentials are: the backend is called without a credential")
			return object()
		}
		put(out, "type", m.text("oauth2", kind))
		put(out, "tokenURL", m.copied(src, "tokenUrl"))
		put(out, "clientId", m.copied(src, "clientId"))
		secret = "clientSecret"
	case "API_KEY", "APIKEY":
		if at := m.scalar(src, "apiKeyIdentifierType"); at != nil && !strings.EqualFold(at.Text, "HEADER") {
			m.warn(at, "auth-dropped", "is no place for a key here; only a header is: the backend is called without a credential")
			return object()
		}
		put(out, "type", m.text("apiKey", kind))
		put(out, "header", m.copied(src, "apiKeyIdentifier"))
		secret = "apiKeyValue"
	default:
		m.warn(kind, "auth-dropped", "is no credential here: the backend is called without one")
		return object()
	}
	name := secretName(d)
	m.warn(orElse(get(src, secret), src), "secret-name", "is not kept: give it to the ingest nodes as the secret %q", name)
	put(out, "secret", m.text(name, orElse(get(src, secret), src)))
	return out
}

// secretName is what the API's upstream secret is called.
func secretName(d *doc.Node) string {
	name := ""
	if v := get(d, "name"); v != nil {
		name = slug(v.Text)
	}
	const suffix = "-upstream"
	if name == "" {
		return "api" + suffix
	}
	return strings.TrimSuffix(name[:min(len(name), 63-len(suffix))], "-") + suffix
}
