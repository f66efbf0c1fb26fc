package wso2

import (
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// generate is the API as WSO2 writes one, from what the definition says alone.
func generate(api *catalog.API) *doc.Node {
	meta, spec := &api.Metadata, &api.Spec
	out := object()
	put(out, "name", text(meta.Name))
	if meta.DisplayName != "" && meta.DisplayName != meta.Name {
		put(out, "displayName", text(meta.DisplayName))
	}
	if meta.Description != "" {
		put(out, "description", text(meta.Description))
	}
	put(out, "context", text(spec.Context))
	put(out, "version", text(spec.Version))
	if meta.Owner != "" {
		put(out, "provider", text(meta.Owner))
	}
	put(out, "lifeCycleStatus", text(string(spec.State)))
	put(out, "isDefaultVersion", boolean(spec.Default))
	put(out, "type", text("SSE"))
	put(out, "transport", texts(plainTexts(spec.Transports)))
	putSome(out, "tags", texts(meta.Tags))
	putSome(out, "policies", texts(spec.Plans))
	put(out, "authorizationHeader", text(spec.Auth.Header))
	put(out, "apiKeyHeader", text(spec.Auth.APIKeyHeader))
	putSome(out, "securityScheme", texts(schemes(spec.Auth.Schemes)))
	put(out, "visibility", text(strings.ToUpper(string(spec.Visibility))))
	putSome(out, "visibleRoles", texts(spec.VisibleTo))
	put(out, "corsConfiguration", corsOf(&spec.CORS))
	putSome(out, "endpointConfig", endpointConfig(spec))
	put(out, "endpointImplementationType", text("ENDPOINT"))
	putSome(out, "scopes", scopesOf(spec.Scopes))
	put(out, "operations", operationsOf(spec.Topics))
	putSome(out, "keyManagers", texts(spec.Auth.Issuers))
	return out
}

func plainTexts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// schemes are the credentials that WSO2 has too.
func schemes(list []string) []string {
	var out []string
	for _, s := range list {
		switch s {
		case "jwt":
			out = append(out, "oauth2")
		case "apiKey":
			out = append(out, "api_key")
		case "mtls":
			out = append(out, "mutualssl")
		}
	}
	if len(out) > 0 {
		out = append(out, "oauth_basic_auth_api_key_mandatory")
	}
	return out
}

func corsOf(cors *catalog.CORS) *doc.Node {
	out := object()
	put(out, "corsConfigurationEnabled", boolean(len(cors.Origins) > 0))
	if len(cors.Origins) > 0 {
		put(out, "accessControlAllowOrigins", texts(cors.Origins))
		put(out, "accessControlAllowCredentials", boolean(cors.Credentials))
	}
	return out
}

func endpointConfig(spec *catalog.Spec) *doc.Node {
	out := object()
	if spec.Endpoint != "" {
		url := object()
		put(url, "url", text(spec.Endpoint))
		put(out, "endpoint_type", text("http"))
		put(out, "production_endpoints", url)
	}
	auth := &spec.Upstream.Auth
	security := object()
	put(security, "enabled", boolean(true))
	switch auth.Type {
	case "basic":
		put(security, "type", text("BASIC"))
		put(security, "username", text(auth.Username))
		put(security, "password", text(""))
	case "oauth2":
		put(security, "type", text("OAUTH"))
		put(security, "grantType", text("CLIENT_CREDENTIALS"))
		put(security, "tokenUrl", text(auth.TokenURL))
		put(security, "clientId", text(auth.ClientID))
		put(security, "clientSecret", text(""))
	case "apiKey":
		put(security, "type", text("API_KEY"))
		put(security, "apiKeyIdentifierType", text("HEADER"))
		put(security, "apiKeyIdentifier", text(auth.Header))
		put(security, "apiKeyValue", text(""))
	case "bearer":
		put(security, "type", text("API_KEY"))
		put(security, "apiKeyIdentifierType", text("HEADER"))
		put(security, "apiKeyIdentifier", text("Authorization"))
		put(security, "apiKeyValue", text(""))
	default:
		return out
	}
	production := object()
	put(production, "production", security)
	put(out, "endpoint_security", production)
	return out
}

func scopesOf(list []catalog.Scope) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, s := range list {
		scope, entry := object(), object()
		put(scope, "name", text(s.Name))
		if s.Description != "" {
			put(scope, "description", text(s.Description))
		}
		putSome(scope, "bindings", texts(s.Roles))
		put(entry, "scope", scope)
		put(entry, "shared", boolean(false))
		out.Items = append(out.Items, entry)
	}
	return out
}

func operationsOf(topics []catalog.Topic) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for i := range topics {
		t := &topics[i]
		op := object()
		put(op, "target", text(t.Name))
		put(op, "verb", text("SUBSCRIBE"))
		auth := "Application & Application User"
		if t.Security == catalog.SecurityNone {
			auth = "None"
		}
		put(op, "authType", text(auth))
		put(op, "throttlingPolicy", text("Unlimited"))
		putSome(op, "scopes", texts(t.Scopes))
		if t.Backend != "" {
			put(op, "uriMapping", text(uriMapping(t.Backend)))
		}
		out.Items = append(out.Items, op)
	}
	return out
}

// uriMapping writes a backend's parameters as WSO2 does.
func uriMapping(backend string) string {
	if rest, ok := strings.CutSuffix(backend, "/{*}"); ok {
		backend = rest + "/*"
	}
	return strings.ReplaceAll(backend, "{", "{uri.var.")
}

// environments is the list of deployment environments of an API's edge groups.
func environments(api *catalog.API) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, g := range api.Spec.EdgeGroups {
		e := object()
		name := g
		if g == "default" {
			name = "Default"
		}
		put(e, "displayOnDevportal", boolean(true))
		put(e, "deploymentEnvironment", text(name))
		out.Items = append(out.Items, e)
	}
	return out
}

// losses tells what of an API no field of WSO2 can say; sluice.yaml keeps it.
func losses(api *catalog.API) Report {
	var r Report
	add := func(pointer, message string) {
		r.add(Finding{Level: LevelWarning, Code: "only-native", File: apiYAML, Pointer: pointer, Message: message})
	}
	spec := &api.Spec
	if spec.Upstream.Auth.Type == "bearer" {
		add("/data/endpointConfig/endpoint_security", "writes the bearer token as an API key in the header Authorization")
	}
	if slices.ContainsFunc(spec.Auth.Schemes, func(s string) bool { return s == "cookie" || s == "ticket" }) {
		add("/data/securityScheme", "has no schemes cookie and ticket")
	}
	for i := range spec.Topics {
		t := &spec.Topics[i]
		if len(t.Query)+len(t.Params) > 0 || t.Start.At != catalog.StartLive || t.Demand != catalog.DemandAuto || t.Retention != (catalog.Retention{}) {
			add(doc.Join("/data/operations", i), "has no parameter rules, query, retention, start or demand")
		}
	}
	if len(spec.Query) > 0 || len(spec.Upstream.Headers) > 0 || spec.Retention != (catalog.Retention{}) {
		add("/data", "has no query, upstream headers or retention")
	}
	return r
}
