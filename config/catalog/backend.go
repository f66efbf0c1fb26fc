package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// backend is a topic's upstream path and query as a template, compiled. The zero value is "/".
type backend struct {
	path  []piece
	query []piece
}

// piece is literal text, already escaped, or a parameter.
type piece struct {
	literal string
	param   int // index of the topic's parameter; wildcardParam; or literalPiece
}

const (
	literalPiece  = -1
	wildcardParam = -2
)

// parseBackend reads `/v2/{a}?s={b}` and `/x/{*}`. params are the topic's parameter names, wildcard tells whether `{*}` exists.
// used has the parameters that occur.
func parseBackend(text string, params []string, wildcard bool) (b backend, used map[string]bool, err error) {
	path, query, hasQuery := strings.Cut(text, "?")
	if !strings.HasPrefix(path, "/") {
		return b, nil, fmt.Errorf("must start with a slash")
	}
	if strings.Contains(path, "//") {
		return b, nil, fmt.Errorf("has an empty segment")
	}
	used = map[string]bool{}
	if b.path, err = parsePieces(path, params, wildcard, used, pathLiteral); err != nil {
		return b, nil, err
	}
	for seg := range strings.SplitSeq(path, "/") {
		if strings.Contains(seg, "{*}") && seg != "{*}" {
			return b, nil, fmt.Errorf("{*} must be a whole segment")
		}
		if _, err := decodeSegment(seg); seg != "" && err != nil {
			return b, nil, fmt.Errorf("has %w", err)
		}
	}
	if !hasQuery {
		return b, used, nil
	}
	if strings.Contains(query, "{*}") {
		return b, nil, fmt.Errorf("{*} can stand in the path only")
	}
	for part := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(part, "="); name == "" || strings.ContainsAny(name, "{}") {
			return b, nil, fmt.Errorf("has a query parameter without a fixed name")
		}
	}
	b.query, err = parsePieces(query, params, wildcard, used, queryLiteral)
	return b, used, err
}

func parsePieces(text string, params []string, wildcard bool, used map[string]bool, literal func(string) (string, error)) ([]piece, error) {
	var out []piece
	for text != "" {
		before, after, found := strings.Cut(text, "{")
		if before != "" {
			lit, err := literal(before)
			if err != nil {
				return nil, err
			}
			out = append(out, piece{literal: lit, param: literalPiece})
		}
		if !found {
			break
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("has a { without }")
		}
		text = rest
		at := slices.Index(params, name)
		switch {
		case name == "*" && !wildcard:
			return nil, unknownParam(name)
		case name == "*" && used[name]:
			return nil, fmt.Errorf("has {*} twice")
		case name == "*":
			at = wildcardParam
		case at < 0:
			return nil, unknownParam(name)
		}
		used[name] = true
		out = append(out, piece{param: at})
	}
	return out, nil
}

// unknownParam is a template's parameter that the topic does not have.
type unknownParam string

func (u unknownParam) Error() string {
	if u == "*" {
		return "has {*}, but the topic has no wildcard"
	}
	return fmt.Sprintf("has {%s}, which is not a parameter of the topic", string(u))
}

// pathLiteral checks and canonicalises fixed text of a path.
func pathLiteral(text string) (string, error) {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		if part == "" {
			continue
		}
		// A part may be a piece of a segment next to a parameter, so dots are judged by whole segments.
		seg, err := decodeSegment("x" + part)
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(part, "}*") {
			return "", fmt.Errorf("has %q, which must be written as an escape", "}*")
		}
		parts[i] = string(appendSegment(nil, seg[1:]))
	}
	return strings.Join(parts, "/"), nil
}

// queryLiteral checks fixed text of a query; it stays as written.
func queryLiteral(text string) (string, error) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' && (i+2 >= len(text) || unhex(text[i+1]) < 0 || unhex(text[i+2]) < 0) {
			return "", fmt.Errorf("has a broken percent escape")
		}
		if c < 0x21 || c > 0x7e || strings.IndexByte("\"#<>\\^`{|}", c) >= 0 {
			return "", fmt.Errorf("has byte %#02x, which must be written as an escape", c)
		}
	}
	return text, nil
}

// fill builds the upstream path and query. values are in the order of the topic's parameters, rest is what the wildcard matched.
// ok is false when values and fixed text would together make a dot segment.
func (b backend) fill(values []ParamValue, rest []string) (path, query string, ok bool) {
	p := make([]byte, 0, 64)
	for _, piece := range b.path {
		switch piece.param {
		case literalPiece:
			p = append(p, piece.literal...)
		case wildcardParam:
			for i, seg := range rest {
				if i > 0 {
					p = append(p, '/')
				}
				p = appendSegment(p, seg)
			}
		default:
			p = appendSegment(p, values[piece.param].Value)
		}
	}
	path = string(p)
	if path == "" {
		path = "/"
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return "", "", false
		}
	}
	var q []byte
	for _, piece := range b.query {
		if piece.param == literalPiece {
			q = append(q, piece.literal...)
		} else {
			q = appendQueryPart(q, values[piece.param].Value)
		}
	}
	return path, string(q), true
}

// queryNames are the fixed parameter names in the template's query.
func queryNames(text string) []string {
	_, query, _ := strings.Cut(text, "?")
	var out []string
	for part := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(part, "="); name != "" {
			out = append(out, name)
		}
	}
	return out
}
