package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"
)

const maxPatternBytes = 200

// rule says which values of a parameter are taken.
type rule struct {
	pattern *regexp.Regexp // whole value; nil = printable
	enum    []string       // nil = any
}

func newRule(pattern string, enum []string) (rule, error) {
	r := rule{enum: enum}
	if pattern == "" {
		return r, nil
	}
	if len(pattern) > maxPatternBytes {
		return r, fmt.Errorf("is longer than %d bytes", maxPatternBytes)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return r, fmt.Errorf("is not an RE2 expression: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return r, fmt.Errorf("cannot stand as a whole: %w", err)
	}
	r.pattern = re
	return r, nil
}

// takes tells whether v, decoded, is a value.
func (r rule) takes(v string) bool {
	if len(v) > maxValueBytes || !utf8.ValidString(v) {
		return false
	}
	if r.enum != nil && !slices.Contains(r.enum, v) {
		return false
	}
	if r.pattern != nil {
		return r.pattern.MatchString(v)
	}
	return isPrintable(v)
}
