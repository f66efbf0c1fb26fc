package asyncapi

import (
	"regexp"
	"slices"
	"strings"

	"sluice/internal/doc"
)

// Check tells everything that is wrong with a document as AsyncAPI, whatever its protocol. file is the name used by nobody but parsers'
// errors; it may be empty.
func Check(file string, data []byte) Report {
	d, report := check(file, data)
	if d == nil {
		return report
	}
	return d.report()
}

// CheckShape tells what Check tells but for the rules that no JSON schema can say: those that compare one part of a document with another.
func CheckShape(file string, data []byte) Report {
	d, report := read(file, data)
	if d == nil {
		return report
	}
	d.checkShape()
	return d.report()
}

// check reads a document and reports what is wrong with it; nil when there is none. The rules are asked only of a document that has the
// right shape.
func check(file string, data []byte) (*document, Report) {
	d, report := read(file, data)
	if d == nil {
		return nil, report
	}
	refs := d.checkShape()
	if d.findings.Failed() {
		return d, nil
	}
	d.checkRules(refs)
	return d, nil
}

// checkRules reports what a table of fields cannot say.
func (d *document) checkRules(refs []refUse) {
	channels := d.top("channels").entries()
	if len(channels) > maxChannels {
		d.fail(CodeTooLarge, "/channels", "has more than %d channels", maxChannels)
		return
	}
	d.checkRefs(refs)
	if d.findings.Failed() {
		return
	}
	for _, s := range d.top("servers").entries() {
		d.checkServer(s)
	}
	for _, c := range channels {
		d.checkChannel(c)
	}
	if d.old() {
		d.checkIDs2(channels)
		return
	}
	for _, o := range d.top("operations").entries() {
		if end, ok := d.follow(o.place); ok {
			d.checkOperation3(end)
		}
	}
}

// inBraces finds the names in an address or URL template.
var inBraces = regexp.MustCompile(`\{([^{}]*)\}`)

func templateNames(s string) []string {
	var out []string
	for _, m := range inBraces.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}

// checkServer compares the variables in a server's URL with those declared, and its security with the schemes.
func (d *document) checkServer(s entry) {
	end, ok := d.follow(s.place)
	if !ok {
		return
	}
	fields := []string{"host", "pathname"}
	if d.old() {
		fields = []string{"url"}
	}
	for _, f := range fields {
		for _, name := range templateNames(end.text(f)) {
			if end.get("variables").node == nil || end.get("variables").node.Get(name) == nil {
				d.fail(CodeUnknownParam, end.get(f).pointer, "has {%s}, which is not among the server's variables", clip(name))
			}
		}
	}
	if d.old() {
		d.checkSecurity2(end)
	}
}

// address is where a channel of the document is, and the value that says so. known is false when the document does not tell.
func (d *document) address(c entry, end place) (address string, at place, known bool) {
	if d.old() {
		return c.key, c.place, true
	}
	n := end.node.Get("address")
	if n == nil || n.Kind != doc.String {
		return "", end.get("address"), false
	}
	return n.Text, end.get("address"), true
}

func (d *document) checkChannel(c entry) {
	end, ok := d.follow(c.place)
	if !ok {
		return
	}
	if address, at, known := d.address(c, end); known {
		d.checkParams(address, at, end.get("parameters"))
	}
	for _, s := range end.get("servers").items() {
		if d.old() {
			if d.top("servers", s.node.Text).node == nil {
				d.fail(CodeUnknownServer, s.pointer, "is not among the servers")
			}
			continue
		}
		if !strings.HasPrefix(refText(s.node), "#/servers/") {
			d.fail(CodeInvalidRef, s.pointer+"/$ref", "must lead to #/servers/…")
		}
	}
	if !d.old() {
		return
	}
	for _, verb := range []string{"publish", "subscribe"} {
		if op := end.get(verb); op.node != nil {
			d.checkSecurity2(op)
		}
	}
}

func (d *document) checkParams(address string, at, params place) {
	names := templateNames(address)
	for _, name := range names {
		if params.node == nil || params.node.Get(name) == nil {
			d.fail(CodeUnknownParam, at.pointer, "has {%s}, which is not among the channel's parameters", clip(name))
		}
	}
	for _, p := range params.entries() {
		if !slices.Contains(names, p.key) {
			d.fail(CodeUnknownParam, p.pointer, "is not in the channel's address")
		}
	}
}

// checkSecurity2 looks for the schemes and scopes that a server or operation of 2.x requires.
func (d *document) checkSecurity2(owner place) {
	for _, requirement := range owner.get("security").items() {
		for _, r := range requirement.entries() {
			s, ok := d.follow(d.top("components", "securitySchemes", r.key))
			if !ok {
				d.fail(CodeUnknownSecurity, r.pointer, "is not among components.securitySchemes")
				continue
			}
			if s.text("type") != "oauth2" {
				continue
			}
			for _, scope := range r.items() {
				if !declares(s, scope.node.Text) {
					d.fail(CodeUnknownScope, scope.pointer, "is in no flow of the security scheme %q", clip(r.key))
				}
			}
		}
	}
}

// declares tells whether an OAuth scheme has a scope in one of its flows.
func declares(s place, scope string) bool {
	for _, flow := range s.get("flows").entries() {
		for _, key := range []string{"scopes", "availableScopes"} {
			if m := flow.node.Get(key); m != nil && m.Get(scope) != nil {
				return true
			}
		}
	}
	return false
}

// checkIDs2 reports operationIds and messageIds that two operations or messages have.
func (d *document) checkIDs2(channels []entry) {
	operations, messages := map[string]string{}, map[string]string{}
	once := func(seen map[string]string, p place) {
		if p.node == nil {
			return
		}
		if _, taken := seen[p.node.Text]; taken {
			d.fail(CodeDuplicateID, p.pointer, "is an id that stands above already")
		}
		seen[p.node.Text] = p.pointer
	}
	looked := map[string]bool{}
	for _, c := range channels {
		end, ok := d.follow(c.place)
		if !ok {
			continue
		}
		for _, verb := range []string{"publish", "subscribe"} {
			op := end.get(verb)
			if op.node == nil {
				continue
			}
			once(operations, op.get("operationId"))
			for _, m := range d.messages2(op.get("message"), nil) {
				if !looked[m.pointer] { // one message in two channels is one message
					looked[m.pointer] = true
					once(messages, m.get("messageId"))
				}
			}
		}
	}
}

// messages2 are the messages below a field message of 2.x: itself, what it refers to, or the alternatives, to any depth. above are the
// places on the way, so that messages which contain themselves are told.
func (d *document) messages2(p place, above []string) []place {
	if p.node == nil {
		return nil
	}
	if d.looks++; d.looks == maxLooks {
		d.fail(CodeTooLarge, p.pointer, "has messages within messages beyond count")
	}
	end, ok := d.follow(p)
	if !ok || d.looks >= maxLooks {
		return nil
	}
	if slices.Contains(above, end.pointer) || len(above) > maxChain {
		d.fail(CodeCircularRef, p.pointer, "is a message that contains itself")
		return nil
	}
	alternatives := end.get("oneOf")
	if alternatives.node == nil {
		return []place{end}
	}
	var out []place
	for _, alternative := range alternatives.items() {
		out = append(out, d.messages2(alternative, append(above, end.pointer))...)
		if len(out) > maxChannels || d.findings.Failed() {
			break
		}
	}
	return out
}

// checkOperation3 reports an operation whose channel or messages are not plainly the document's.
func (d *document) checkOperation3(o place) {
	d.checkOwnMessages(o, "an operation's channel")
	if reply, ok := d.follow(o.get("reply")); ok && reply.get("channel").node != nil {
		d.checkOwnMessages(reply, "a reply's channel")
	}
}

func (d *document) checkOwnMessages(o place, what string) {
	channel := o.get("channel")
	ref := refText(channel.node)
	if !strings.HasPrefix(ref, "#/channels/") {
		d.fail(CodeInvalidRef, channel.pointer+"/$ref", "must lead to #/channels/…: that is where %s is", what)
		return
	}
	end, ok := d.follow(channel)
	if !ok {
		return
	}
	for _, m := range o.get("messages").items() {
		pointer, _ := inside(refText(m.node))
		own := strings.HasPrefix(pointer, end.pointer+"/messages/") || strings.HasPrefix(refText(m.node), ref+"/messages/")
		if !own {
			d.fail(CodeMessageNotInHere, m.pointer+"/$ref", "must lead to a message of the operation's own channel")
		}
	}
}

// clip shows at most 64 bytes of outside text.
func clip(s string) string {
	if len(s) > 64 {
		return s[:61] + "..."
	}
	return s
}
