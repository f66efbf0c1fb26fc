package asyncapi

import (
	"strconv"

	"sluice/internal/doc"
)

// textNode, flagNode, textList, newList and branch build the tree of a document.
func textNode(s string) *doc.Node { return &doc.Node{Kind: doc.String, Text: s} }

func flagNode(b bool) *doc.Node { return &doc.Node{Kind: doc.Bool, Text: strconv.FormatBool(b)} }

func textList(list []string) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, s := range list {
		out.Items = append(out.Items, textNode(s))
	}
	return out
}

func newList(items ...*doc.Node) *doc.Node { return &doc.Node{Kind: doc.List, Items: items} }

// branch is a map under construction.
type branch struct{ *doc.Node }

func newObject() branch { return branch{&doc.Node{Kind: doc.Map}} }

// put adds a field; nil adds none.
func (o branch) put(key string, n *doc.Node) branch {
	if n != nil {
		o.Fields = append(o.Fields, doc.Field{Key: key, Value: n})
	}
	return o
}

// text adds a string, unless it is empty.
func (o branch) text(key, s string) branch {
	if s == "" {
		return o
	}
	return o.put(key, textNode(s))
}

// list adds a list of strings, unless it is empty.
func (o branch) list(key string, list []string) branch {
	if len(list) == 0 {
		return o
	}
	return o.put(key, textList(list))
}

// filled adds a list or map, unless it is empty.
func (o branch) filled(key string, n *doc.Node) branch {
	if n == nil || len(n.Items) == 0 && len(n.Fields) == 0 {
		return o
	}
	return o.put(key, n)
}

// reference is {$ref: pointer}.
func reference(pointer string) *doc.Node { return newObject().text("$ref", "#"+pointer).Node }

// without returns a copy of a map that lacks some keys.
func without(n *doc.Node, keys ...string) *doc.Node {
	out := newObject()
	if n == nil {
		return out.Node
	}
next:
	for _, f := range n.Fields {
		for _, k := range keys {
			if f.Key == k {
				continue next
			}
		}
		out.Fields = append(out.Fields, f)
	}
	return out.Node
}
