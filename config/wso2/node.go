package wso2

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"sluice/internal/doc"
)

// object is a map under construction.
func object() *doc.Node { return &doc.Node{Kind: doc.Map} }

// put appends a field, or replaces it where it stands; nil leaves n as it is.
func put(n *doc.Node, key string, value *doc.Node) {
	if value == nil {
		return
	}
	for i := range n.Fields {
		if n.Fields[i].Key == key {
			n.Fields[i].Value = value
			return
		}
	}
	n.Fields = append(n.Fields, doc.Field{Key: key, Value: value})
}

// putSome is put for lists and maps, leaving out those with nothing in them.
func putSome(n *doc.Node, key string, value *doc.Node) {
	if value != nil && !empty(value) {
		put(n, key, value)
	}
}

func drop(n *doc.Node, key string) {
	n.Fields = slices.DeleteFunc(n.Fields, func(f doc.Field) bool { return f.Key == key })
}

func text(s string) *doc.Node { return &doc.Node{Kind: doc.String, Text: s} }

func boolean(b bool) *doc.Node {
	if b {
		return &doc.Node{Kind: doc.Bool, Text: "true"}
	}
	return &doc.Node{Kind: doc.Bool, Text: "false"}
}

func texts(list []string) *doc.Node {
	out := &doc.Node{Kind: doc.List}
	for _, s := range list {
		out.Items = append(out.Items, text(s))
	}
	return out
}

// get is the value under key of a map; nil if n is no map, or has no such key or nothing under it.
func get(n *doc.Node, path ...string) *doc.Node {
	for _, key := range path {
		if n == nil || n.Kind != doc.Map {
			return nil
		}
		if n = n.Get(key); n == nil || n.Kind == doc.Null {
			return nil
		}
	}
	return n
}

// empty tells values that say nothing: null, empty texts, lists and maps, and those with only such in them.
func empty(n *doc.Node) bool {
	switch n.Kind {
	case doc.Null:
		return true
	case doc.String:
		return n.Text == ""
	case doc.List:
		return !slices.ContainsFunc(n.Items, func(i *doc.Node) bool { return !empty(i) })
	case doc.Map:
		return !slices.ContainsFunc(n.Fields, func(f doc.Field) bool { return !empty(f.Value) })
	}
	return false
}

// same tells values that read alike: numbers and booleans equal the texts they are written as, order in maps does not count, nor do
// values that say nothing.
func same(a, b *doc.Node) bool {
	a, b = orNull(a), orNull(b)
	if empty(a) || empty(b) {
		return empty(a) && empty(b)
	}
	switch {
	case a.Kind == doc.List && b.Kind == doc.List:
		return slices.EqualFunc(a.Items, b.Items, same)
	case a.Kind == doc.Map && b.Kind == doc.Map:
		for _, f := range slices.Concat(a.Fields, b.Fields) {
			if !same(a.Get(f.Key), b.Get(f.Key)) {
				return false
			}
		}
		return true
	case a.Kind == doc.List || b.Kind == doc.List || a.Kind == doc.Map || b.Kind == doc.Map:
		return false
	}
	return a.Text == b.Text
}

func orNull(n *doc.Node) *doc.Node {
	if n == nil {
		return &doc.Node{}
	}
	return n
}

// equal tells trees that are written alike.
func equal(a, b *doc.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Text == b.Text && slices.EqualFunc(a.Items, b.Items, equal) &&
		slices.EqualFunc(a.Fields, b.Fields, func(x, y doc.Field) bool { return x.Key == y.Key && equal(x.Value, y.Value) })
}

// compact is a tree in one line of JSON; nil if it cannot be written as that.
func compact(n *doc.Node) []byte {
	text, err := doc.WriteJSON(n)
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return nil
	}
	return out.Bytes()
}

// clone is a deep copy.
func clone(n *doc.Node) *doc.Node {
	out := *n
	out.Items, out.Fields = nil, nil
	for _, i := range n.Items {
		out.Items = append(out.Items, clone(i))
	}
	for _, f := range n.Fields {
		f.Value = clone(f.Value)
		out.Fields = append(out.Fields, f)
	}
	return &out
}

// overlay is base with the values of top over it: maps are merged, all else is top's.
func overlay(base, top *doc.Node) *doc.Node {
	if base == nil || base.Kind != doc.Map || top.Kind != doc.Map {
		return clone(top)
	}
	out := clone(base)
	for _, f := range top.Fields {
		put(out, f.Key, overlay(out.Get(f.Key), f.Value))
	}
	return out
}

// slug is s in lower case with every run of other bytes than letters and digits as one dash.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

// clip shows at most 64 bytes of outside text.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:61], "") + "..."
	}
	return s
}
