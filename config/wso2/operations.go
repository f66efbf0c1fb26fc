package wso2

import (
	"strings"

	"sluice/internal/doc"
)

// topics maps the operations that subscribe; without any, the API is everything below its endpoint, as there.
func (m *mapper) topics(in input) *doc.Node {
	out := m.made(&doc.Node{Kind: doc.List}, orElse(get(in.data, "operations"), in.data))
	m.async = in.async
	channels := m.channels(in.async)
	for _, op := range m.list(in.data, "operations") {
		if op.Kind != doc.Map {
			m.wrong(op, "a map")
			continue
		}
		if verb := m.scalar(op, "verb"); verb != nil && !subscribes(verb.Text) {
			m.warn(verb, "not-subscribe", "is left out: clients of an event stream only read")
			continue
		}
		topic := m.topic(op)
		if name := topic.Get("name"); name != nil {
			m.document(topic, channels[name.Text])
			delete(channels, name.Text)
		}
		out.Items = append(out.Items, topic)
	}
	if len(out.Items) == 0 {
		any := m.made(object(), orElse(get(in.data, "operations"), in.data))
		put(any, "name", text("/*"))
		m.document(any, channels["/*"])
		delete(channels, "/*")
		out.Items = append(out.Items, any)
	}
	for name, c := range channels {
		m.warn(c, "no-operation", "is left out: no operation of api.yaml subscribes to %q", clip(name))
	}
	m.warn(orElse(get(in.data, "operations"), in.data), "query-dropped", "reach the backend without the client's query: list the parameters that count under query")
	return out
}

func subscribes(verb string) bool {
	return strings.EqualFold(verb, "SUBSCRIBE") || strings.EqualFold(verb, "SUB")
}

func (m *mapper) topic(op *doc.Node) *doc.Node {
	out := m.made(object(), op)
	if target := m.scalar(op, "target"); target != nil {
		name := slashed(target.Text)
		if name != target.Text {
			m.warn(target, "slash-added", "becomes %q", clip(name))
		}
		put(out, "name", m.text(name, target))
	}
	put(out, "backend", m.backend(op, out.Get("name")))
	auth := m.scalar(op, "authType")
	open := auth != nil && strings.EqualFold(auth.Text, "None")
	if open {
		put(out, "security", m.text("none", auth))
	}
	scopes := m.made(&doc.Node{Kind: doc.List}, get(op, "scopes"))
	for _, s := range m.words(op, "scopes") {
		if open {
			m.warn(s, "scope-dropped", "is not asked for: the topic needs no credential")
			continue
		}
		scopes.Items = append(scopes.Items, m.text(s.Text, s))
	}
	putSome(out, "scopes", scopes)
	if p := m.scalar(op, "throttlingPolicy"); p != nil && p.Text != "Unlimited" {
		m.warn(p, "no-effect", "has no effect: limits are in the plans of the API")
	}
	for _, key := range []string{"operationPolicies", "amznResourceName", "amznResourceTimeout"} {
		if v := get(op, key); v != nil && !empty(v) {
			m.warn(v, "no-effect", "has no effect here; it is only carried along")
		}
	}
	return out
}

func slashed(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}

// backend maps uriMapping: `{uri.var.x}` is the parameter x. What leads where the topic leads anyway is left out.
func (m *mapper) backend(op, name *doc.Node) *doc.Node {
	src := m.scalar(op, "uriMapping")
	if src == nil {
		return nil
	}
	path := slashed(strings.ReplaceAll(src.Text, "{uri.var.", "{"))
	if name != nil && path == name.Text {
		return nil
	}
	path, wild := strings.CutSuffix(path, "/*")
	if wild {
		path += "/{*}"
	}
	return m.text(path, src)
}
