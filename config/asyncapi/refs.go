package asyncapi

import (
	"net/url"
	"strconv"
	"strings"

	"sluice/internal/doc"
)

// place is a value and where it is.
type place struct {
	pointer string
	node    *doc.Node
}

// get is the value of a map's key; its node is nil when there is none.
func (p place) get(key string) place {
	if p.node == nil {
		return place{doc.Join(p.pointer, key), nil}
	}
	return place{doc.Join(p.pointer, key), p.node.Get(key)}
}

// text is the string at a key, "" when there is none.
func (p place) text(key string) string {
	if n := p.get(key).node; n != nil && n.Kind == doc.String {
		return n.Text
	}
	return ""
}

// items are the elements of a list.
func (p place) items() []place {
	if p.node == nil || p.node.Kind != doc.List {
		return nil
	}
	out := make([]place, len(p.node.Items))
	for i, n := range p.node.Items {
		out[i] = place{doc.Join(p.pointer, i), n}
	}
	return out
}

// entry is one entry of a map and its key.
type entry struct {
	key string
	place
}

// entries are the entries of a map, in the order written.
func (p place) entries() []entry {
	if p.node == nil || p.node.Kind != doc.Map {
		return nil
	}
	out := make([]entry, len(p.node.Fields))
	for i, f := range p.node.Fields {
		out[i] = entry{f.Key, place{doc.Join(p.pointer, f.Key), f.Value}}
	}
	return out
}

// top is a place in the document by its keys.
func (d *document) top(keys ...string) place {
	p := place{"", d.root}
	for _, k := range keys {
		if p = p.get(k); p.node == nil {
			return p
		}
	}
	return p
}

// refText is what a reference object says, "" for another value.
func refText(n *doc.Node) string {
	if n == nil || n.Kind != doc.Map {
		return ""
	}
	if r := n.Get("$ref"); r != nil && r.Kind == doc.String {
		return r.Text
	}
	return ""
}

// inside turns a reference into a pointer; ok is false when it leads out of the document.
func inside(ref string) (pointer string, ok bool) {
	fragment, ok := strings.CutPrefix(ref, "#")
	if !ok || fragment != "" && fragment[0] != '/' {
		return "", false
	}
	pointer, err := url.PathUnescape(fragment)
	return pointer, err == nil
}

// exact returns the node at a pointer, nil when there is none.
func (d *document) exact(pointer string) *doc.Node {
	n := d.root
	if pointer == "" {
		return n
	}
	for part := range strings.SplitSeq(pointer[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch n.Kind {
		case doc.Map:
			n = n.Get(part)
		case doc.List:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n.Items) {
				return nil
			}
			n = n.Items[i]
		default:
			return nil
		}
		if n == nil {
			return nil
		}
	}
	return n
}

// follow goes where a chain of references leads; a value that is none is its own end. ok is false when the chain leaves the document,
// ends nowhere, or has no end: checkRefs has told that.
func (d *document) follow(p place) (end place, ok bool) {
	for range maxChain {
		ref := refText(p.node)
		if ref == "" {
			return p, p.node != nil
		}
		pointer, ok := inside(ref)
		if !ok {
			return p, false
		}
		p = place{pointer, d.exact(pointer)}
	}
	return p, false
}

// checkRefs reports references that lead out of the document, nowhere, in a circle, or to another kind of object. Nothing is fetched.
func (d *document) checkRefs(refs []refUse) {
	for _, r := range refs {
		ref := refText(r.node)
		at := r.pointer + "/$ref"
		pointer, ok := inside(ref)
		if !ok {
			d.at(LevelError, CodeExternalRef, at, r.node.Get("$ref"), "leads out of the document; only references such as #/components/… are followed")
			continue
		}
		if r.kind == "schema" { // left as they are, so that a schema may contain itself
			if n := d.exact(pointer); n == nil || n.Kind != doc.Map && n.Kind != doc.Bool {
				d.at(LevelError, CodeInvalidRef, at, r.node.Get("$ref"), "leads to no schema")
			}
			continue
		}
		d.checkRef(r, at, pointer)
	}
}

func (d *document) checkRef(r refUse, at, pointer string) {
	here := r.node.Get("$ref")
	end, seen := place{pointer, d.exact(pointer)}, map[string]bool{r.pointer: true}
	for steps := 0; ; steps++ {
		if end.node == nil {
			d.at(LevelError, CodeInvalidRef, at, here, "leads to nothing")
			return
		}
		if seen[end.pointer] {
			d.at(LevelError, CodeCircularRef, at, here, "leads back to itself")
			return
		}
		seen[end.pointer] = true
		ref := refText(end.node)
		if ref == "" {
			break
		}
		next, ok := inside(ref)
		if !ok {
			return // told where it stands
		}
		if steps == maxChain {
			d.at(LevelError, CodeTooLarge, at, here, "begins a chain of more than %d references", maxChain)
			return
		}
		end = place{next, d.exact(next)}
	}
	if kind := d.kinds[end.pointer]; kind != r.kind {
		d.at(LevelError, CodeInvalidRef, at, here, "leads to %s, where %s belongs", called(kind), called(r.kind))
	}
}

// called names a kind of object for people.
func called(kind string) string {
	switch kind {
	case "":
		return "another kind of value"
	case "scheme":
		return "a security scheme"
	case "docs":
		return "external documentation"
	}
	return "a " + strings.TrimRight(kind, "23")
}
