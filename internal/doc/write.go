package doc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v4"
)

// NodeOf returns the tree of a value: what ParseJSON reads from Marshal's bytes.
func NodeOf(v any) (*Node, error) {
	text, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	d, err := ParseJSON("", text)
	if err != nil {
		return nil, err
	}
	return d.Root, nil
}

// PlainValue returns the free form of a tree, as Decode writes it into a field of type any: nil, bool, int64, float64, string, []any,
// map[string]any. The error tells numbers out of range.
func (n *Node) PlainValue() (any, error) {
	var errs Errors
	v := Scope{errs: &errs}.any(n)
	return v, errs.Err()
}

// Problems returns what was wrong with the document's text and did not stop its parser: duplicate keys, merge keys, tags. Decode
// tells them too; this is for who walks the tree itself.
func (d *Document) Problems() Errors { return d.problems }

// WriteJSON writes a tree as JSON, two spaces deeper per level, keys in the order of the tree, with a line break at the end. Equal
// trees give equal bytes.
func WriteJSON(n *Node) ([]byte, error) {
	b, err := appendNode(nil, n, "\n")
	return append(b, '\n'), err
}

func appendNode(b []byte, n *Node, indent string) ([]byte, error) {
	var err error
	switch n.Kind {
	case Null:
		return append(b, "null"...), nil
	case String:
		return appendText(b, n.Text)
	case Bool, Number:
		if !json.Valid([]byte(n.Text)) {
			return nil, fmt.Errorf("%s is not %s of JSON", quote(n.Text), n.Kind)
		}
		return append(b, n.Text...), nil
	case List:
		for i, item := range n.Items {
			b = append(append(b, opener(i, '[')), indent+"  "...)
			if b, err = appendNode(b, item, indent+"  "); err != nil {
				return nil, err
			}
		}
		if len(n.Items) == 0 {
			return append(b, "[]"...), nil
		}
		return append(append(b, indent...), ']'), nil
	}
	for i, f := range n.Fields {
		b = append(append(b, opener(i, '{')), indent+"  "...)
		if b, err = appendText(b, f.Key); err != nil {
			return nil, err
		}
		if b, err = appendNode(append(b, ": "...), f.Value, indent+"  "); err != nil {
			return nil, err
		}
	}
	if len(n.Fields) == 0 {
		return append(b, "{}"...), nil
	}
	return append(append(b, indent...), '}'), nil
}

// opener is what stands before entry i.
func opener(i int, first byte) byte {
	if i == 0 {
		return first
	}
	return ','
}

// appendText is appendString without the escapes that only HTML needs.
func appendText(b []byte, s string) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...), nil
}

// WriteYAML writes a tree as one YAML document in block style, keys in the order of the tree. ParseYAML reads the same tree back; equal
// trees give equal bytes.
func WriteYAML(n *Node) ([]byte, error) {
	return yaml.Dump(yamlNode(n), yaml.WithV4Defaults(), yaml.WithLineWidth(-1))
}

// plainText are strings that stand in YAML without quotes whoever reads it, unless they look like another type: the writer quotes those.
// Of what begins with a digit they are versions, durations and sizes.
var plainText = regexp.MustCompile(`^(?:[A-Za-z/$](?:[A-Za-z0-9 _./+{}$?=&*()-]|:[^ ])*[A-Za-z0-9_./+{}$?=&*()-]|[A-Za-z/]|` +
	`[0-9]+(?:\.[0-9]+){2,}|[0-9]+(?:ms|[smhd]|[KMGT]iB))$`)

// otherTruth are words that readers of older YAML take for true, false or nothing.
var otherTruth = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)

// paragraphs are texts that are read best as they are: several lines without anything that a block could change.
var paragraphs = regexp.MustCompile(`^[!-~][\t -~]*(\n+[!-~][\t -~]*)+\n?$`)

func yamlNode(n *Node) *yaml.Node {
	switch n.Kind {
	case List:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range n.Items {
			out.Content = append(out.Content, yamlNode(item))
		}
		return out
	case Map:
		out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, f := range n.Fields {
			out.Content = append(out.Content, yamlText(f.Key), yamlNode(f.Value))
		}
		return out
	case String:
		return yamlText(n.Text)
	case Null:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: n.Text}
}

func yamlText(s string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case plainText.MatchString(s) && !otherTruth.MatchString(s):
	case paragraphs.MatchString(s):
		out.Style = yaml.LiteralStyle
	case bytes.ContainsAny([]byte(s), "'\\") || bytes.ContainsFunc([]byte(s), func(r rune) bool { return r < ' ' || r > '~' }):
		out.Style = yaml.DoubleQuotedStyle
	default:
		out.Style = yaml.SingleQuotedStyle
	}
	return out
}
