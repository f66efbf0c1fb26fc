package catalog

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sluice/internal/problem"
)

// Bounds of a request target.
const (
	maxPathBytes  = 2048
	maxQueryBytes = 8192
	maxValueBytes = 128 // of a parameter, decoded
)

// splitPath decodes an escaped request path exactly once into its segments. It refuses what two programs could read differently,
// and never cleans: empty segments, dot segments, encoded slashes, control bytes. trailing tells of one `/` at the end, which is
// for the caller to allow. "/" has no segments and no trailing slash.
func splitPath(escaped string) (segments []string, trailing bool, err error) {
	if len(escaped) > maxPathBytes {
		return nil, false, fmt.Errorf("path of %d bytes: %w", len(escaped), problem.URITooLong)
	}
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return nil, false, fmt.Errorf("path does not start with a slash: %w", problem.InvalidPath)
	}
	if rest == "" {
		return nil, false, nil
	}
	if rest, trailing = strings.CutSuffix(rest, "/"); rest == "" {
		return nil, false, fmt.Errorf("empty path segment: %w", problem.InvalidPath)
	}
	segments = make([]string, 0, 1+strings.Count(rest, "/"))
	for raw := range strings.SplitSeq(rest, "/") {
		seg, err := decodeSegment(raw)
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", err, problem.InvalidPath)
		}
		segments = append(segments, seg)
	}
	return segments, trailing, nil
}

// decodeSegment decodes one path segment, without slashes, exactly once.
func decodeSegment(raw string) (string, error) {
	if raw == "" {
		return "", fmt.Errorf("empty path segment")
	}
	seg := raw
	if strings.IndexByte(raw, '%') >= 0 {
		b := make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			c := raw[i]
			if c != '%' {
				b = append(b, c)
				continue
			}
			if i+2 >= len(raw) || unhex(raw[i+1]) < 0 || unhex(raw[i+2]) < 0 {
				return "", fmt.Errorf("broken percent escape in path")
			}
			c = byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
			if c == '/' || c == '\\' || c == ';' || c < 0x20 || c == 0x7f {
				return "", fmt.Errorf("escape %%%02X in path", c)
			}
			b = append(b, c)
			i += 2
		}
		seg = string(b)
	}
	for i := range len(raw) {
		if c := raw[i]; c < 0x21 || c > 0x7e || c == '\\' || c == ';' || c == '?' || c == '#' || c == '/' {
			return "", fmt.Errorf("byte %#02x in path", c)
		}
	}
	if seg == "." || seg == ".." {
		return "", fmt.Errorf("dot segment in path")
	}
	if !utf8.ValidString(seg) {
		return "", fmt.Errorf("path is not UTF-8")
	}
	return seg, nil
}

// joinPath is the canonical escaped form of segments; "/" for none. One sequence of decoded segments has one form, and splitPath
// reads it back.
func joinPath(segments []string) string {
	if len(segments) == 0 {
		return "/"
	}
	b := make([]byte, 0, 64)
	for _, seg := range segments {
		b = appendSegment(append(b, '/'), seg)
	}
	return string(b)
}

const hexDigits = "0123456789ABCDEF"

// appendSegment escapes what may not stand in a path segment (RFC 3986 pchar, less `;`).
func appendSegment(b []byte, seg string) []byte {
	for i := range len(seg) {
		if c := seg[i]; isUnreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

// appendQueryPart escapes everything but unreserved bytes, so that no reader can take `&`, `=` or `+` for syntax.
func appendQueryPart(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; isUnreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

func isUnreserved(c byte) bool { return isAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~' }

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// unhex returns the value of a hex digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// isPrintable is the rule for values without a pattern: 1–128 bytes of printable characters.
func isPrintable(s string) bool {
	if s == "" || len(s) > maxValueBytes || !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
