package wso2

import (
	"strings"

	"sluice/internal/doc"
)

// channels are the channels of an AsyncAPI document by the name of their topic. It is read for what operations do not say: texts and
// messages; whether it is a good document is not judged here.
func (m *mapper) channels(async *doc.Node) map[string]*doc.Node {
	out := map[string]*doc.Node{}
	for _, f := range orNull(get(async, "channels")).Fields {
		if f.Value.Kind != doc.Map {
			continue
		}
		name := f.Key
		if address := get(f.Value, "address"); address != nil {
			name = address.Text
		}
		if get(f.Value, "publish") != nil && get(f.Value, "subscribe") == nil {
			continue // told where the operation is
		}
		out[slashed(name)] = f.Value
	}
	return out
}

// document adds the texts and messages of a channel, if there is one, to a topic.
func (m *mapper) document(topic, channel *doc.Node) {
	if channel == nil {
		return
	}
	put(topic, "description", m.copied(channel, "description"))
	list := m.made(&doc.Node{Kind: doc.List}, channel)
	for _, src := range m.messages(channel) {
		if len(list.Items) == maxMessages {
			m.warn(src, "messages-dropped", "is left out: a topic documents at most %d kinds of events", maxMessages)
			break
		}
		list.Items = append(list.Items, m.message(src))
	}
	putSome(topic, "messages", list)
}

// The bounds of what a topic documents.
const (
	maxMessages = 16
	maxExamples = 10
)

// messages finds the messages of a channel: below subscribe in AsyncAPI 2, one or several, under their names in 3.
func (m *mapper) messages(channel *doc.Node) []*doc.Node {
	var out []*doc.Node
	take := func(n *doc.Node, name string) {
		if n = m.resolve(n); n == nil || n.Kind != doc.Map || empty(n) {
			return
		}
		if name != "" && get(n, "name") == nil {
			n2 := clone(n)
			put(n2, "name", text(name))
			m.places[n2] = m.places[n]
			n = n2
		}
		out = append(out, n)
	}
	for _, f := range orNull(get(channel, "messages")).Fields {
		take(f.Value, f.Key)
	}
	message := get(channel, "subscribe", "message")
	if several := get(orNull(message), "oneOf"); several != nil {
		for _, n := range several.Items {
			take(n, "")
		}
	} else if message != nil {
		take(message, "")
	}
	return out
}

// resolve follows one reference within the document that n is of; others are not followed.
func (m *mapper) resolve(n *doc.Node) *doc.Node {
	ref := get(n, "$ref")
	if ref == nil || n.Kind != doc.Map {
		return n
	}
	path, inside := strings.CutPrefix(ref.Text, "#/")
	if !inside || m.async == nil {
		m.warn(ref, "external-ref", "is not followed")
		return nil
	}
	at := m.async
	for part := range strings.SplitSeq(path, "/") {
		if at = step(at, strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")); at == nil {
			return nil
		}
	}
	if get(at, "$ref") != nil {
		return nil
	}
	return at
}

func (m *mapper) message(src *doc.Node) *doc.Node {
	out := m.made(object(), src)
	name := m.copied(src, "name")
	if name == nil {
		name = m.text("message", src)
	}
	put(out, "name", name)
	put(out, "contentType", m.copied(src, "contentType"))
	if payload := get(src, "payload"); payload != nil && payload.Kind == doc.Map {
		putSome(out, "payload", m.made(clone(payload), payload))
	}
	examples := m.made(&doc.Node{Kind: doc.List}, get(src, "examples"))
	for _, e := range m.list(src, "examples") {
		if v := get(e, "payload"); v != nil && len(examples.Items) < maxExamples {
			examples.Items = append(examples.Items, clone(v))
		}
	}
	putSome(out, "examples", examples)
	return out
}

// asyncapi keeps what else the document says of the API.
func (m *mapper) asyncapi(async *doc.Node) *doc.Node {
	out, info := m.made(object(), async), object()
	for _, key := range []string{"termsOfService", "contact", "license"} {
		if v := get(async, "info", key); v != nil {
			put(info, key, m.made(clone(v), v))
		}
	}
	if v := get(async, "externalDocs"); v != nil {
		put(info, "externalDocs", m.made(clone(v), v))
	}
	putSome(out, "info", info)
	if v := get(async, "components", "schemas"); v != nil && v.Kind == doc.Map {
		putSome(out, "schemas", m.made(clone(v), v))
	}
	return out
}
