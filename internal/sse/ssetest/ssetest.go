package ssetest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Vector is one row of testdata/vectors.yaml, texts expanded to bytes.
type Vector struct {
	Name   string
	In     string // the whole stream
	Events []Event
	Last   string  // last event id in force at the end
	Retry  *uint64 // reconnection time at the end in milliseconds; nil = never set
	WPT    string  // name of the web platform test about the same rule, if any
	Choice string  // why, where the standard leaves room or is not followed
}

// Event is what a client dispatches: Type is "message" by default, ID the last event id in force.
type Event struct {
	Type, Data, ID string
}

// Load reads the vectors from the file at path: internal/sse/testdata/vectors.yaml, as seen from the caller's folder. A
// row that is malformed, or has the name of another, is an error.
func Load(path string) ([]Vector, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("vectors: %w", err)
	}
	var file struct {
		Vectors []row `yaml:"vectors"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("vectors %s: %w", path, err)
	}
	if len(file.Vectors) == 0 {
		return nil, fmt.Errorf("vectors %s: none found", path)
	}
	seen := make(map[string]bool, len(file.Vectors))
	out := make([]Vector, 0, len(file.Vectors))
	for i, r := range file.Vectors {
		if r.Name == "" || seen[r.Name] {
			return nil, fmt.Errorf("vectors %s: row %d: name %q is empty or taken", path, i+1, r.Name)
		}
		seen[r.Name] = true
		out = append(out, r.vector())
	}
	return out, nil
}

// row is a Vector as the file spells it.
type row struct {
	Name   string `yaml:"name"`
	In     text   `yaml:"in"`
	Events []struct {
		Type text `yaml:"type"`
		Data text `yaml:"data"`
		ID   text `yaml:"id"`
	} `yaml:"events"`
	Last   *text   `yaml:"last"`
	Retry  *uint64 `yaml:"retry"`
	WPT    string  `yaml:"wpt"`
	Choice string  `yaml:"choice"`
}

func (r row) vector() Vector {
	v := Vector{Name: r.Name, In: string(r.In), Retry: r.Retry, WPT: r.WPT, Choice: r.Choice}
	for _, e := range r.Events {
		ev := Event{Type: string(e.Type), Data: string(e.Data), ID: string(e.ID)}
		if ev.Type == "" {
			ev.Type = "message"
		}
		v.Events = append(v.Events, ev)
		v.Last = ev.ID
	}
	if r.Last != nil {
		v.Last = string(*r.Last)
	}
	return v
}

// text is a string with escapes, or a list of those and of repetitions.
type text string

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		s, err := unescape(n.Value)
		*t = text(s)
		return at(n, err)
	case yaml.SequenceNode:
		var b strings.Builder
		for _, part := range n.Content {
			s, err := expand(part)
			if err != nil {
				return at(part, err)
			}
			b.WriteString(s)
		}
		*t = text(b.String())
		return nil
	}
	return at(n, errors.New("want a text or a list of texts"))
}

// expand reads one part of a list.
func expand(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return unescape(n.Value)
	}
	var rep struct {
		Times int    `yaml:"times"`
		Of    string `yaml:"of"`
	}
	if err := n.Decode(&rep); err != nil {
		return "", err
	}
	if rep.Times < 1 || rep.Of == "" {
		return "", errors.New("want {times: N, of: text}")
	}
	s, err := unescape(rep.Of)
	return strings.Repeat(s, rep.Times), err
}

func at(n *yaml.Node, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w", n.Line, err)
}

// unescape replaces \n \r \t \\ and \xHH.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("%q ends in a backslash", s)
		}
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '\\':
			b.WriteByte('\\')
		case 'x':
			var c byte
			if i+2 >= len(s) {
				return "", fmt.Errorf("%q: \\x wants two digits", s)
			}
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &c); err != nil {
				return "", fmt.Errorf("%q: \\x wants two digits", s)
			}
			b.WriteByte(c)
			i += 2
		default:
			return "", fmt.Errorf("%q: unknown escape \\%c", s, s[i])
		}
	}
	return b.String(), nil
}
