package doc

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Bounds of a document. Depth is also the bound of every recursion over a tree.
const (
	maxDepth = 64
	maxNodes = 200_000
)

// Kind is what a Node holds.
type Kind uint8

// The kinds of a node.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// String names the kind as error messages do.
func (k Kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "a map"}[k]
}

// Node is one value of a document. Trees are immutable after parsing; YAML aliases share nodes.
type Node struct {
	Kind Kind
	// Line and Column of the value's first character, from 1.
	Line, Column int
	// Text of a scalar: as written for numbers and booleans, unescaped for strings.
	Text string
	// Plain is true for a YAML scalar without quotes or tag: its text can serve as a string too.
	Plain bool
	// Items of a List.
	Items []*Node
	// Fields of a Map, in the order written; keys are distinct.
	Fields []Field
}

// Field is one entry of a Map node.
type Field struct {
	Key          string
	Line, Column int
	Value        *Node
}

// Get returns the value of a map's key, or nil.
func (n *Node) Get(key string) *Node {
	for i := range n.Fields {
		if n.Fields[i].Key == key {
			return n.Fields[i].Value
		}
	}
	return nil
}

// Document is one parsed document and the name it came under.
type Document struct {
	// File is used in errors.
	File string
	// Root of the tree.
	Root *Node
	// problems are wrong keys, tags and values that did not stop the parser; Decode tells them with its own.
	problems Errors
}

// Lookup returns the node at a JSON pointer; where the document has none, its nearest ancestor. Never nil.
func (d *Document) Lookup(pointer string) *Node {
	n := d.Root
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		var next *Node
		if n.Kind == Map {
			next = n.Get(part)
		} else if i, err := strconv.Atoi(part); err == nil && n.Kind == List && i >= 0 && i < len(n.Items) {
			next = n.Items[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Errorf makes an Error at a pointer, with the position of the value or its nearest ancestor. A nil Document gives one without
// position.
func (d *Document) Errorf(pointer, format string, args ...any) *Error {
	e := &Error{Pointer: pointer, Type: TypeInvalidValue, Message: fmt.Sprintf(format, args...)}
	if d != nil {
		n := d.Lookup(pointer)
		e.File, e.Line, e.Column = d.File, n.Line, n.Column
	}
	return e
}

// Join appends one key or index to a JSON pointer.
func Join(pointer string, key any) string {
	k := fmt.Sprint(key)
	if strings.ContainsAny(k, "~/") {
		k = strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1")
	}
	return pointer + "/" + k
}

// Parse reads a file by its name: *.json as JSON, all else as a stream of YAML documents. See ParseYAML for what an error means.
func Parse(file string, data []byte) ([]*Document, error) {
	if strings.EqualFold(path.Ext(file), ".json") {
		d, err := ParseJSON(file, data)
		if err != nil {
			return nil, err
		}
		return []*Document{d}, nil
	}
	return ParseYAML(file, data)
}
