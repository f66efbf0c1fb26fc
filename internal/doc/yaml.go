package doc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// ParseYAML reads a stream of YAML documents. A document without any content is left out. The error, an Errors, is the syntax error
// or exceeded bound at which reading stopped; the documents before it are returned too, so that Decode can tell what is wrong with
// them at the same time. Duplicate keys, merge keys and strange tags do not stop the parser: Decode tells them.
func ParseYAML(file string, data []byte) ([]*Document, error) {
	// The depth is checked by the walk below, which knows positions; the parser's own bound only keeps its stack small.
	limits := loaderlimits.New(loaderlimits.DepthValue(20*maxDepth), loaderlimits.AliasNone())
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(limits))
	if err != nil {
		return nil, Errors{{File: file, Type: TypeInvalidYAML, Message: err.Error()}}
	}
	w := yamlWalk{file: file}
	var out []*Document
	for {
		var n yaml.Node
		err := loader.Load(&n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return out, Errors{w.syntax(data, err)}
		}
		w.errs = nil
		root := w.node(&n, "", 0)
		if w.full {
			return out, w.errs.Err()
		}
		if root == nil {
			root = &Node{Line: n.Line, Column: n.Column}
		}
		if root.Kind == Null && root.Text == "" && len(w.errs) == 0 {
			continue
		}
		out = append(out, &Document{File: file, Root: root, problems: w.errs})
	}
	return out, nil
}

// yamlWalk turns the library's tree into ours and checks on the way.
type yamlWalk struct {
	file  string
	nodes int
	full  bool   // too many nodes or too deep: told once
	errs  Errors // of the current document
}

func (w *yamlWalk) syntax(data []byte, err error) *Error {
	e := &Error{File: w.file, Type: TypeInvalidYAML, Message: err.Error()}
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return e
	}
	e.Message = le.Message
	if le.ContextMsg != "" {
		e.Message += " " + le.ContextMsg
	}
	if e.Line, e.Column = le.Mark.Line, le.Mark.Column; e.Line == 0 {
		e.Line, e.Column = position(data, le.Mark.Index)
	}
	if strings.Contains(le.Message, "depth") || strings.Contains(le.Message, "nest") {
		e.Type = TypeTooDeep
	}
	return e
}

func (w *yamlWalk) fail(n *yaml.Node, pointer, kind, format string, args ...any) *Node {
	w.errs = append(w.errs, &Error{File: w.file, Line: n.Line, Column: n.Column, Pointer: pointer, Type: kind,
		Message: fmt.Sprintf(format, args...)})
	return nil
}

// once reports a bound of the whole document and makes the walk come back quickly.
func (w *yamlWalk) once(n *yaml.Node, pointer, kind, format string, args ...any) *Node {
	if w.full {
		return nil
	}
	w.full = true
	return w.fail(n, pointer, kind, format, args...)
}

// node converts n; nil means that it has been reported.
func (w *yamlWalk) node(n *yaml.Node, pointer string, depth int) *Node {
	if w.full {
		return nil
	}
	if depth > maxDepth {
		return w.once(n, shorten(pointer), TypeTooDeep, "is nested more than %d deep", maxDepth)
	}
	if w.nodes++; w.nodes > maxNodes {
		return w.once(n, shorten(pointer), TypeTooLarge, "the document has more than %d values", maxNodes)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil
		}
		return w.node(n.Content[0], pointer, depth)
	case yaml.AliasNode:
		return w.node(n.Alias, pointer, depth+1)
	case yaml.ScalarNode:
		return w.scalar(n, pointer)
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" && n.Tag != "!!seq" && n.Tag != "!" {
		return w.fail(n, pointer, TypeInvalidYAML, "tag %s "+NotAllowed, quote(n.Tag))
	}
	if n.Kind == yaml.SequenceNode {
		return w.list(n, pointer, depth)
	}
	return w.mapping(n, pointer, depth)
}

func (w *yamlWalk) list(n *yaml.Node, pointer string, depth int) *Node {
	out := &Node{Kind: List, Line: n.Line, Column: n.Column, Items: make([]*Node, 0, len(n.Content))}
	for i, c := range n.Content {
		if item := w.node(c, Join(pointer, i), depth+1); item != nil {
			out.Items = append(out.Items, item)
		}
	}
	return out
}

func (w *yamlWalk) mapping(n *yaml.Node, pointer string, depth int) *Node {
	out := &Node{Kind: Map, Line: n.Line, Column: n.Column, Fields: make([]Field, 0, len(n.Content)/2)}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			w.fail(n.Content[i], pointer, TypeInvalidYAML, "a key must be a string")
			continue
		}
		if k.Tag == "!!merge" {
			w.fail(k, pointer, TypeInvalidYAML, "merge key %q "+NotAllowed, k.Value)
			continue
		}
		at := Join(pointer, k.Value)
		if line, twice := seen[k.Value]; twice {
			w.fail(k, at, TypeDuplicateKey, "is already set on line %d", line)
			continue
		}
		seen[k.Value] = k.Line
		if value := w.node(v, at, depth+1); value != nil {
			out.Fields = append(out.Fields, Field{Key: k.Value, Line: k.Line, Column: k.Column, Value: value})
		}
	}
	return out
}

func (w *yamlWalk) scalar(n *yaml.Node, pointer string) *Node {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	tagged := n.Style&yaml.TaggedStyle != 0
	out := &Node{Kind: String, Line: n.Line, Column: n.Column, Text: n.Value, Plain: !quoted && !tagged}
	if quoted && !tagged {
		return out
	}
	switch n.Tag {
	case "!!str", "!", "!!timestamp", "!!merge":
		if tagged && (n.Tag == "!!timestamp" || n.Tag == "!!merge") {
			return w.fail(n, pointer, TypeInvalidYAML, "tag %s "+NotAllowed, quote(n.Tag))
		}
	case "!!null":
		out.Kind = Null
	case "!!bool":
		out.Kind = Bool
	case "!!int":
		out.Kind = Number
	case "!!float":
		if _, err := strconv.ParseFloat(n.Value, 64); err != nil {
			return w.fail(n, pointer, TypeInvalidValue, "%s is not a finite decimal number", quote(n.Value))
		}
		out.Kind = Number
	default:
		return w.fail(n, pointer, TypeInvalidYAML, "tag %s "+NotAllowed, quote(n.Tag))
	}
	return out
}

// shorten keeps a pointer of a deep document readable.
func shorten(pointer string) string {
	if len(pointer) <= 80 {
		return pointer
	}
	return pointer[:77] + "..."
}

// position turns a byte offset into line and column, counted in characters from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset, 0), len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + len(bytes.Runes(before[start:]))
}
