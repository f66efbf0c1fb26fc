package wso2

import (
	"fmt"
	"strings"

	"sluice/internal/doc"
)

// mapper turns one project into one definition.
type mapper struct {
	opt    Options
	places places
	report *Report
	errs   doc.Errors
	from   map[*doc.Node]*doc.Node // what a node of the definition was made from
	async  *doc.Node               // the AsyncAPI document that references lead into; nil = none
}

// warn reports something about n, a node of the project; nil = about no place.
func (m *mapper) warn(n *doc.Node, code, format string, args ...any) {
	at := m.places[n]
	m.report.add(Finding{Level: LevelWarning, Code: code, File: at.file, Pointer: at.pointer, Line: at.line, Column: at.column,
		Message: fmt.Sprintf(format, args...)})
}

func (m *mapper) wrong(n *doc.Node, want string) {
	m.errs = append(m.errs, m.places.errorf(n, doc.TypeInvalidValue, "must be %s, not %s", want, n.Kind))
}

// made remembers that n of the definition comes from src.
func (m *mapper) made(n, src *doc.Node) *doc.Node {
	if src != nil {
		m.from[n] = src
	}
	return n
}

func (m *mapper) text(s string, src *doc.Node) *doc.Node { return m.made(text(s), src) }

// scalar is the value under key if it is a text that is not empty; numbers and booleans count as written.
func (m *mapper) scalar(n *doc.Node, key string) *doc.Node {
	v := get(n, key)
	if v == nil || v.Kind == doc.String && strings.TrimSpace(v.Text) == "" {
		return nil
	}
	if v.Kind == doc.Map || v.Kind == doc.List {
		m.wrong(v, "a text")
		return nil
	}
	return v
}

// copied is the scalar under key as a text of the definition; nil if there is none.
func (m *mapper) copied(n *doc.Node, key string) *doc.Node {
	v := m.scalar(n, key)
	if v == nil {
		return nil
	}
	return m.text(v.Text, v)
}

// yes tells whether the value under key is true.
func (m *mapper) yes(n *doc.Node, key string) bool {
	v := m.scalar(n, key)
	if v == nil {
		return false
	}
	switch strings.ToLower(v.Text) {
	case "true":
		return true
	case "false":
		return false
	}
	m.wrong(v, "true or false")
	return false
}

// list is the items of the list under key.
func (m *mapper) list(n *doc.Node, key string) []*doc.Node {
	v := get(n, key)
	if v == nil || v.Kind == doc.String && v.Text == "" {
		return nil
	}
	if v.Kind != doc.List {
		m.wrong(v, "a list")
		return nil
	}
	return v.Items
}

// words is list for lists of texts; empty ones are left out.
func (m *mapper) words(n *doc.Node, key string) []*doc.Node {
	var out []*doc.Node
	for _, item := range m.list(n, key) {
		if item.Kind == doc.Map || item.Kind == doc.List {
			m.wrong(item, "a text")
		} else if !empty(item) {
			out = append(out, item)
		}
	}
	return out
}

// object is the map under key; an empty one if there is none.
func (m *mapper) object(n *doc.Node, key string) *doc.Node {
	v := get(n, key)
	if v == nil || v.Kind == doc.String && v.Text == "" {
		return object()
	}
	if v.Kind != doc.Map {
		m.wrong(v, "a map")
		return object()
	}
	return v
}
