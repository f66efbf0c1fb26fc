package asyncapi

import (
	"sluice/internal/doc"
)

// channel3 adds topic i as a channel and an operation of 3.x. The application that is described is the gateway, so it sends; WSO2 reads
// action the other way round.
func (e *exporter) channel3(channels, operations branch, i int) {
	t := &e.api.Spec.Topics[i]
	key := e.keys[i]
	c := newObject().text("address", t.Name).text("description", t.Description)
	messages, refs := newObject(), newList()
	for _, m := range e.messages(i) {
		messages.put(m.key, m.node.Node)
		refs.Items = append(refs.Items, reference(doc.Join("/channels/"+key+"/messages", m.key)))
	}
	params := newObject()
	for _, name := range templateNames(t.Name) {
		p := t.Params[name]
		params.put(name, newObject().text("description", p.Description).list("enum", p.Enum).list("examples", p.Examples).
			text("x-sluice-pattern", p.Pattern).Node)
	}
	c.filled("messages", messages.Node).filled("parameters", params.Node)
	e.aboutTopic(c, i)
	channels.put(key, c.Node)

	action := "send"
	if e.o.Profile == ProfileWSO2 {
		action = "receive"
	}
	op := newObject().text("action", action).put("channel", reference("/channels/"+key)).filled("messages", refs)
	e.aboutAccess(op, i)
	operations.put(key, op.Node)
}
