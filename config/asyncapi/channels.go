package asyncapi

import (
	"regexp"
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// topics makes the channels of the document the topics of the API.
func (im *importer) topics() {
	im.from["/spec/topics"] = im.top("channels")
	operations := im.operations3()
	for _, c := range im.top("channels").entries() {
		end, ok := im.follow(c.place)
		if !ok {
			im.fail(CodeInvalidTopic, c.pointer, "leads nowhere")
			continue
		}
		op, wanted := im.operation(end, operations[end.pointer])
		if !wanted {
			continue
		}
		im.topic(c, end, op)
	}
}

// operations3 are the operations of a 3.x document, by the place of their channel.
func (im *importer) operations3() map[string][]place {
	out := map[string][]place{}
	if im.old() {
		return out
	}
	for _, o := range im.top("operations").entries() {
		end, ok := im.follow(o.place)
		if !ok {
			continue
		}
		if channel, ok := im.follow(end.get("channel")); ok {
			out[channel.pointer] = append(out[channel.pointer], end)
		}
	}
	return out
}

// operation picks the operation by which clients read a channel; its node is nil when the channel has none. wanted is false for a channel
// that is no topic.
func (im *importer) operation(channel place, operations []place) (op place, wanted bool) {
	if !im.old() {
		return im.sender(channel, operations), true
	}
	subscribe, publish := channel.get("subscribe"), channel.get("publish")
	switch {
	case subscribe.node != nil && publish.node != nil:
		im.warn("publish-ignored", publish.pointer, "is left out: clients of an event stream only read")
	case publish.node != nil && im.o.Lenient:
		im.warn(CodeNotSubscribe, publish.pointer, "is the channel's only operation, so the channel is left out: clients of an event stream only read")
		return place{}, false
	case publish.node != nil:
		im.fail(CodeNotSubscribe, publish.pointer, "is the channel's only operation: clients of an event stream only read")
		return place{}, false
	case subscribe.node == nil:
		im.warn("no-operation", channel.pointer, "has no operation and becomes a topic all the same")
	}
	return subscribe, true
}

// sender picks the first operation that sends; else the first that receives, as WSO2 writes it.
func (im *importer) sender(channel place, operations []place) place {
	i := slices.IndexFunc(operations, func(o place) bool { return o.text("action") == "send" })
	if len(operations) == 0 {
		im.warn("no-operation", channel.pointer, "has no operation and becomes a topic all the same")
		return place{}
	}
	if i < 0 {
		i = 0
		im.warn("read-as-send", operations[0].pointer+"/action", "is read as send: this gateway sends, and clients only read")
	}
	for j, o := range operations {
		if j != i {
			im.warn("operation-ignored", o.pointer, "is left out: the topic is described by another operation of its channel")
		}
	}
	return operations[i]
}

// topic reads one channel. op.node is nil when it has no operation.
func (im *importer) topic(c entry, channel, op place) {
	i := len(im.api.Spec.Topics)
	at := doc.Join("/spec/topics", i)
	address, said, known := im.address(c, channel)
	if !known {
		where := channel
		if said.node != nil {
			where = said
		}
		im.at(LevelError, CodeInvalidTopic, where.pointer, where.node, "the channel has no address: a topic needs one")
		return
	}
	if n := channel.text("x-sluice-name"); n != "" {
		address, said = n, channel.get("x-sluice-name")
	}
	name := address
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
		im.warn("slash-added", said.pointer, "becomes the topic %s", clip(name))
	}
	t := catalog.Topic{Name: name}
	t.SetDefaults()
	base := im.baseTopic(name)
	if base != nil && !im.whole() {
		t.Retention, t.Start, t.Demand, t.Linger, t.Slow, t.Backend = base.Retention, base.Start, base.Demand, base.Linger, base.Slow, base.Backend
		if im.own {
			t.Retention, t.Start = catalog.Retention{}, catalog.Start{At: catalog.StartLive}
		}
	}
	im.from[at], im.from[at+"/name"] = channel, said
	t.Description, im.from[at+"/description"] = channel.text("description"), channel.get("description")
	im.extensions(at, &t, channel)
	im.mapping(at, &t, channel, op)
	im.params(at, &t, templateNames(address), channel)
	im.query(at, &t, op)
	im.access(at, &t, channel, op)
	im.messages(at, &t, channel, op)
	im.api.Spec.Topics = append(im.api.Spec.Topics, t)
}

// baseTopic is the topic of that name in the API that the document updates.
func (im *importer) baseTopic(name string) *catalog.Topic {
	if im.o.Base == nil {
		return nil
	}
	return im.o.Base.Topic(name)
}

// extensions reads what AsyncAPI has no words for.
func (im *importer) extensions(at string, t *catalog.Topic, channel place) {
	for _, x := range []struct {
		key, field string
		into       any
	}{{"x-sluice-retention", "/retention", &t.Retention}, {"x-sluice-start", "/start", &t.Start}} {
		im.decode(channel.get(x.key), x.into)
		im.from[at+x.field] = channel.get(x.key)
	}
	feed := channel.get("x-sluice-feed")
	for _, x := range []struct {
		key  string
		into any
	}{{"demand", &t.Demand}, {"linger", &t.Linger}, {"slow", &t.Slow}} {
		if feed.node != nil {
			im.decode(feed.get(x.key), x.into)
			im.from[at+"/"+x.key] = feed.get(x.key)
		}
	}
}

// mapping reads where the topic's events come from.
func (im *importer) mapping(at string, t *catalog.Topic, channel, op place) {
	for _, p := range []place{op, channel} {
		if p.node == nil {
			continue
		}
		if m := p.get("x-uri-mapping"); m.node != nil {
			t.Backend, im.from[at+"/backend"] = fromMapping(m.node.Text), m
			return
		}
	}
}

func (im *importer) params(at string, t *catalog.Topic, names []string, channel place) {
	im.from[at+"/params"] = channel.get("parameters")
	for _, name := range names {
		end, ok := im.follow(channel.get("parameters").get(name))
		if !ok {
			continue
		}
		p := catalog.Param{Description: end.text("description")}
		values := end
		if im.old() {
			if values, ok = im.follow(end.get("schema")); !ok || values.node.Kind != doc.Map {
				values = place{end.pointer, newObject().Node}
			}
		}
		p.Enum, p.Examples = scalars(values.get("enum")), scalars(values.get("examples"))
		here := doc.Join(at+"/params", name)
		im.from[here] = end
		p.Pattern = im.pattern(here, values, end)
		if values.get("default").node != nil {
			im.warn("default-ignored", values.get("default").pointer, "is left out: a part of a path is always there")
		}
		if p.Pattern != "" || p.Description != "" || len(p.Enum) > 0 || len(p.Examples) > 0 {
			if t.Params == nil {
				t.Params = map[string]catalog.Param{}
			}
			t.Params[name] = p
		}
	}
}

// pattern reads the pattern of a parameter: ours, else that of its schema.
func (im *importer) pattern(here string, schemas ...place) string {
	for _, s := range schemas {
		if n := s.get("x-sluice-pattern"); n.node != nil {
			im.from[here+"/pattern"] = n
			return n.node.Text
		}
	}
	n := schemas[0].get("pattern")
	if n.node == nil {
		return ""
	}
	im.from[here+"/pattern"] = n
	p, whole := fromSchemaPattern(n.node.Text)
	if _, err := regexp.Compile(p); err != nil {
		if im.o.Lenient {
			im.warn("pattern-left-out", n.pointer, "is left out: it is not an RE2 expression")
		} else {
			im.fail(CodeInvalidValue, n.pointer, "is not an RE2 expression: %v", err)
		}
		return ""
	}
	if !whole {
		im.warn("pattern-anchored", n.pointer, "must match the whole value here")
	}
	return p
}

// scalars are the elements of a list as text; maps and lists are left out.
func scalars(p place) []string {
	var out []string
	for _, item := range p.items() {
		if k := item.node.Kind; k == doc.String || k == doc.Number || k == doc.Bool {
			out = append(out, item.node.Text)
		}
	}
	return out
}

// query reads the query parameters of an operation's http binding.
func (im *importer) query(at string, t *catalog.Topic, op place) {
	if op.node == nil {
		return
	}
	bindings, ok := im.follow(op.get("bindings"))
	if !ok || bindings.get("http").node == nil {
		return
	}
	query, ok := im.follow(bindings.get("http").get("query"))
	if !ok {
		return
	}
	required := scalars(query.get("required"))
	for _, f := range query.get("properties").entries() {
		p, ok := im.follow(f.place)
		if !ok || p.node.Kind != doc.Map {
			p = orEmpty(place{f.pointer, nil})
		}
		q := catalog.QueryParam{Name: f.key, Required: slices.Contains(required, f.key)}
		here, list := doc.Join(at+"/query", len(t.Query)), &t.Query
		if s := p.get("x-sluice-shared"); s.node != nil && s.node.Text == "true" {
			if im.seen[f.key] {
				continue
			}
			im.seen[f.key] = true
			list = &im.api.Spec.Query
			here = doc.Join("/spec/query", len(*list))
		}
		im.from[here] = f.place
		q.Pattern = im.pattern(here, p)
		if values := scalars(p.get("enum")); q.Pattern == "" && len(values) > 0 {
			for i := range values {
				values[i] = regexp.QuoteMeta(values[i])
			}
			q.Pattern = strings.Join(values, "|")
			im.warn("enum-as-pattern", p.get("enum").pointer, "becomes a pattern of its values")
		}
		if d := p.get("default").node; d != nil && d.Kind != doc.Null {
			q.Default = d.Text
		}
		upsert(list, q)
	}
}

// upsert puts q in the place of the parameter of its name, or at the end.
func upsert(list *[]catalog.QueryParam, q catalog.QueryParam) {
	i := slices.IndexFunc(*list, func(x catalog.QueryParam) bool { return x.Name == q.Name })
	if i < 0 {
		*list = append(*list, q)
		return
	}
	(*list)[i] = q
}

// access reads who may read the topic.
func (im *importer) access(at string, t *catalog.Topic, channel, op place) {
	places := []place{channel}
	if op.node != nil {
		places = append(places, op)
	}
	for _, p := range places {
		if strings.EqualFold(p.text("x-auth-type"), "none") {
			t.Security, im.from[at+"/security"] = catalog.SecurityNone, p.get("x-auth-type")
		}
	}
	if op.node == nil {
		return
	}
	asked := im.askedScopes(op)
	if len(asked) > 0 && t.Security == catalog.SecurityNone {
		im.warn("scopes-left-out", op.pointer, "asks for scopes, but its channel needs no credential")
		return
	}
	for _, s := range asked {
		name := s.node.Text
		if slices.Contains(t.Scopes, name) {
			continue
		}
		if !slices.ContainsFunc(im.api.Spec.Scopes, func(x catalog.Scope) bool { return x.Name == name }) {
			im.at(LevelError, CodeUnknownScope, s.pointer, s.node, "is declared in no OAuth flow")
			continue
		}
		im.from[doc.Join(at+"/scopes", len(t.Scopes))] = s
		t.Scopes = append(t.Scopes, name)
	}
}

// askedScopes are the names in x-scopes; else those in the operation's security.
func (im *importer) askedScopes(op place) []place {
	x := op.get("x-scopes")
	switch {
	case x.node != nil && x.node.Kind == doc.List:
		return slices.DeleteFunc(x.items(), func(p place) bool { return p.node.Kind != doc.String })
	case x.node != nil && x.node.Kind == doc.String:
		var out []place
		for _, s := range splitList(x.node.Text) {
			n := *x.node
			n.Text = s
			out = append(out, place{x.pointer, &n})
		}
		return out
	case im.own:
		return nil
	}
	var out []place
	for _, requirement := range op.get("security").items() {
		if !im.old() {
			if end, ok := im.follow(requirement); ok && end.text("type") == "oauth2" {
				out = append(out, end.get("scopes").items()...)
			}
			continue
		}
		for _, r := range requirement.entries() {
			if end, ok := im.follow(im.top("components", "securitySchemes", r.key)); ok && end.text("type") == "oauth2" {
				out = append(out, r.items()...)
			}
		}
	}
	if len(out) > 1 {
		im.warn("any-scope", op.get("security").pointer, "names several scopes: here any one of them suffices")
	}
	return out
}

// messages reads what documents the topic's events.
func (im *importer) messages(at string, t *catalog.Topic, channel, op place) {
	var list []entry
	if im.old() {
		if op.node == nil {
			return
		}
		for _, m := range im.messages2(op.get("message"), nil) {
			list = append(list, entry{lastKey(m.pointer), m})
		}
	} else {
		list = im.messages3(channel, op)
	}
	for _, m := range list {
		if len(t.Messages) == 16 {
			im.warn("messages-left-out", m.pointer, "and those behind it are left out: a topic has at most 16 messages")
			return
		}
		im.from[doc.Join(at+"/messages", len(t.Messages))] = m.place
		t.Messages = append(t.Messages, im.message(m))
	}
}

// lastKey is the last part of a pointer.
func lastKey(pointer string) string {
	key := pointer[strings.LastIndexByte(pointer, '/')+1:]
	return strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
}

// messages3 are those that the operation names, else all of the channel.
func (im *importer) messages3(channel, op place) []entry {
	var out []entry
	if op.node != nil && len(op.get("messages").items()) > 0 {
		for _, m := range op.get("messages").items() {
			pointer, _ := inside(refText(m.node))
			if end, ok := im.follow(m); ok {
				out = append(out, entry{lastKey(pointer), end})
			}
		}
		return out
	}
	for _, m := range channel.get("messages").entries() {
		if end, ok := im.follow(m.place); ok {
			out = append(out, entry{m.key, end})
		}
	}
	return out
}

func (im *importer) message(m entry) catalog.Message {
	out := catalog.Message{Name: m.key}
	out.SetDefaults()
	for _, key := range []string{"messageId", "name"} {
		if s := m.text(key); s != "" {
			out.Name = s
		}
	}
	if s := im.top().text("defaultContentType"); s != "" {
		out.ContentType = s
	}
	if s := m.text("contentType"); s != "" {
		out.ContentType = s
	}
	out.Payload = im.payload(m.place)
	for i, x := range m.get("examples").items() {
		if i == 10 {
			im.warn("examples-left-out", x.pointer, "and those behind it are left out: a message has at most 10 examples")
			break
		}
		if p := x.get("payload"); p.node != nil && p.node.Kind == doc.Null {
			im.warn("examples-left-out", p.pointer, "is left out: it shows nothing")
		} else if p.node != nil {
			v, err := p.node.PlainValue()
			if err != nil {
				im.fail(CodeInvalidValue, p.pointer, "has a number out of range")
				continue
			}
			out.Examples = append(out.Examples, v)
		}
	}
	if m.get("traits").node != nil {
		im.warn("traits-left-out", m.get("traits").pointer, "are left out: put what they say into the message")
	}
	return out
}

// payload is the JSON schema of a message; nil for one in another format, and for a boolean, which says nothing.
func (im *importer) payload(m place) map[string]any {
	p, format := m.get("payload"), m.node.Get("schemaFormat")
	if p.node == nil {
		return nil
	}
	if inner := p.node.Get("schema"); !im.old() && inner != nil {
		format, p = p.node.Get("schemaFormat"), p.get("schema")
	}
	if format != nil && !isSchemaFormat(format.Text) {
		im.warn("payload-left-out", p.pointer, "is left out: it is no JSON schema")
		return nil
	}
	v, err := p.node.PlainValue()
	if err != nil {
		im.fail(CodeInvalidValue, p.pointer, "has a number out of range")
	}
	schema, _ := v.(map[string]any)
	return schema
}
