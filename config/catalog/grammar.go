package catalog

import (
	"fmt"
	"strings"
)

// Bounds of a topic's name.
const (
	maxTopicBytes    = 255
	maxTopicSegments = 16
	maxTopicParams   = 8
)

// segment is one part of a topic's name: a literal (decoded), a parameter or the final wildcard.
type segment struct {
	literal  string
	param    string
	wildcard bool
}

// topicError says what is wrong with a name, and which problem type that is.
type topicError struct{ slug, message string }

func (e *topicError) Error() string { return e.message }

func badTopic(format string, args ...any) error {
	return &topicError{"invalid-topic", fmt.Sprintf(format, args...)}
}

// parseTopic reads `/`, `/a/{b}` or `/a/*`.
func parseTopic(name string) ([]segment, error) {
	if name == "" {
		return nil, badTopic("is required")
	}
	if len(name) > maxTopicBytes {
		return nil, badTopic("is longer than %d bytes", maxTopicBytes)
	}
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return nil, badTopic("must start with a slash")
	}
	if rest == "" {
		return nil, nil
	}
	if strings.HasSuffix(rest, "/") {
		return nil, badTopic("must not end with a slash")
	}
	parts := strings.Split(rest, "/")
	if len(parts) > maxTopicSegments {
		return nil, badTopic("has more than %d segments", maxTopicSegments)
	}
	out := make([]segment, 0, len(parts))
	params := map[string]bool{}
	for i, part := range parts {
		s, err := parseSegment(part)
		if err != nil {
			return nil, err
		}
		if s.wildcard && i < len(parts)-1 {
			return nil, &topicError{"invalid-wildcard", "has a * that is not the last segment"}
		}
		if s.param != "" && params[s.param] {
			return nil, badTopic("has {%s} twice", s.param)
		}
		if s.param != "" {
			params[s.param] = true
		}
		out = append(out, s)
	}
	if len(params) > maxTopicParams {
		return nil, badTopic("has more than %d parameters", maxTopicParams)
	}
	return out, nil
}

func parseSegment(part string) (segment, error) {
	switch {
	case part == "*":
		return segment{wildcard: true}, nil
	case strings.Contains(part, "*"):
		return segment{}, &topicError{"invalid-wildcard", "has a * that is not a whole segment"}
	case strings.ContainsAny(part, "{}"):
		name := strings.TrimSuffix(strings.TrimPrefix(part, "{"), "}")
		if part != "{"+name+"}" || !isParamName(name) {
			return segment{}, badTopic("has the segment %q; a parameter is a whole segment such as {symbol}, "+
				"a letter first, then at most 31 letters, digits or _", part)
		}
		return segment{param: name}, nil
	}
	literal, err := decodeSegment(part)
	if err != nil {
		return segment{}, badTopic("has %v", err)
	}
	for i := range len(part) {
		if c := part[i]; !isUnreserved(c) && strings.IndexByte("!$&'()+,=:@%", c) < 0 {
			return segment{}, badTopic("has %q, which must be written as an escape", string(c))
		}
	}
	return segment{literal: literal}, nil
}

func isParamName(s string) bool {
	if s == "" || len(s) > 32 || !isAlnum(s[0]) || s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return true
}

// shapeOf is the form of a topic.
func shapeOf(segments []segment) Shape {
	shape := Exact
	for _, s := range segments {
		if s.wildcard {
			return Wildcard
		}
		if s.param != "" {
			shape = Template
		}
	}
	return shape
}

// outline is equal for two names that would match the same paths by position: parameter names left out, literals canonical.
func outline(segments []segment) string {
	var b []byte
	for _, s := range segments {
		b = append(b, '/')
		switch {
		case s.wildcard:
			b = append(b, "{*}"...)
		case s.param != "":
			b = append(b, "{}"...)
		default:
			b = appendSegment(b, s.literal)
		}
	}
	return string(b)
}

// identity is the default backend: the topic's own path.
func identity(segments []segment) string {
	if len(segments) == 0 {
		return "/"
	}
	var b []byte
	for _, s := range segments {
		b = append(b, '/')
		switch {
		case s.wildcard:
			b = append(b, "{*}"...)
		case s.param != "":
			b = append(b, '{')
			b = append(b, s.param...)
			b = append(b, '}')
		default:
			b = append(b, strings.ReplaceAll(string(appendSegment(nil, s.literal)), "*", "%2A")...)
		}
	}
	return string(b)
}
