package asyncapi

import (
	"strconv"

	"sluice/internal/doc"
)

// componentSchemas are the schemas that an API holds for its documents.
func (e *exporter) componentSchemas() *doc.Node {
	out := newObject()
	n := e.definition.Get("asyncapi")
	if n == nil || n.Get("schemas") == nil {
		return out.Node
	}
	for _, f := range n.Get("schemas").Fields {
		e.schemas[f.Key] = componentKey.MatchString(f.Key)
	}
	// A schema that is left out takes those with it that refer to it.
	for again := true; again; {
		again = false
		for _, f := range n.Get("schemas").Fields {
			if e.schemas[f.Key] && e.unreadable(f.Value) != "" {
				e.schemas[f.Key], again = false, true
			}
		}
	}
	for _, f := range n.Get("schemas").Fields {
		if e.schemas[f.Key] {
			out.put(f.Key, f.Value)
			continue
		}
		e.drop(doc.Join("/asyncapi/schemas", f.Key), "cannot stand in the document: %s", e.unreadable(f.Value))
	}
	return out.Node
}

// unreadable says why a schema cannot stand in a document, "" when it can.
func (e *exporter) unreadable(n *doc.Node) string {
	w := walker{document: &document{v: e.v, kinds: map[string]string{}}}
	if e.old() {
		w.schema("", n)
	} else {
		w.anySchema("", n)
	}
	if w.findings.Failed() {
		return w.findings[0].Pointer + ": " + w.findings[0].Message
	}
	for _, r := range w.refs {
		pointer, ok := inside(refText(r.node))
		if !ok {
			return "it refers to another document"
		}
		at := place{"", newObject().put("components", newObject().put("schemas", e.exportedSchemas()).Node).Node}
		if (&document{reporter: reporter{d: &doc.Document{Root: at.node}}, root: at.node}).exact(pointer) == nil {
			return "it refers to " + clip(pointer) + ", which the document has not"
		}
	}
	return ""
}

// exportedSchemas are the schemas that stand in the document, as far as that is known.
func (e *exporter) exportedSchemas() *doc.Node {
	out := newObject()
	if n := e.definition.Get("asyncapi"); n != nil && n.Get("schemas") != nil {
		for _, f := range n.Get("schemas").Fields {
			if e.schemas[f.Key] {
				out.put(f.Key, f.Value)
			}
		}
	}
	return out.Node
}

// message is a message and the word that names it in its channel.
type message struct {
	key  string
	node branch
}

// messages describes the events of topic i.
func (e *exporter) messages(i int) []message {
	var out []message
	taken := map[string]bool{}
	list := e.definition.Get("spec").Get("topics").Items[i].Get("messages")
	for j, m := range e.api.Spec.Topics[i].Messages {
		key := unused(wordOf(m.Name), func(k string) bool { return taken[k] })
		taken[key] = true
		contentType := m.ContentType
		if contentType == "" {
			contentType = "application/json"
		}
		node := newObject().text("name", m.Name).text("contentType", contentType)
		written := list.Items[j]
		at := doc.Join("/spec/topics", i) + "/messages/" + strconv.Itoa(j)
		if payload := written.Get("payload"); payload != nil {
			why := e.unreadable(payload)
			if !e.old() && payload.Get("schema") != nil {
				why = "its keyword schema means a schema in another format there"
			}
			if why != "" {
				e.drop(at+"/payload", "cannot stand in the document: %s", why)
			} else {
				node.put("payload", payload)
			}
		}
		examples := newList()
		if written.Get("examples") != nil {
			for _, x := range written.Get("examples").Items {
				examples.Items = append(examples.Items, newObject().put("payload", x).Node)
			}
		}
		out = append(out, message{key, node.filled("examples", examples)})
	}
	return out
}
