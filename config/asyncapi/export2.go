package asyncapi

import (
	"strings"

	"sluice/internal/doc"
)

// channel2 adds topic i as a channel of 2.x: the topic is the key, clients subscribe to it.
func (e *exporter) channel2(channels branch, i int) {
	t := &e.api.Spec.Topics[i]
	key := strings.ReplaceAll(t.Name, "'", "%27") // the one character of topics that URI templates lack
	c := newObject().text("description", t.Description)
	params := newObject()
	for _, name := range templateNames(t.Name) {
		p := t.Params[name]
		s := newObject().text("type", "string")
		e.pattern(s, p.Pattern)
		s.list("enum", p.Enum).list("examples", p.Examples)
		params.put(name, newObject().text("description", p.Description).put("schema", s.Node).Node)
	}
	op := newObject().text("operationId", e.keys[i])
	e.aboutAccess(op, i)
	op.put("message", e.messages2(i))
	c.put("subscribe", op.Node).filled("parameters", params.Node)
	e.aboutTopic(c, i)
	if key != t.Name {
		c.text("x-sluice-name", t.Name)
	}
	channels.put(key, c.Node)
}

// messages2 is the field message of a topic: nothing, a message, or the alternatives.
func (e *exporter) messages2(i int) *doc.Node {
	messages := e.messages(i)
	list := newList()
	for _, m := range messages {
		named := newObject().text("messageId", e.keys[i]+"."+m.key)
		named.Fields = append(named.Fields, m.node.Fields...)
		list.Items = append(list.Items, named.Node)
	}
	switch len(messages) {
	case 0:
		return nil
	case 1:
		return list.Items[0]
	}
	return newObject().put("oneOf", list).Node
}
