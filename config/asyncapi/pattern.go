package asyncapi

import (
	"regexp"
	"strings"
)

// ourOnly are the parts of RE2 that the regular expressions of JSON schema lack, or read otherwise when they are strict.
var ourOnly = regexp.MustCompile(`\(\?(?:[^:]|$)|\[:|\[\^?\]|\\[^dDwWsSbB^$\\.*+?()\[\]{}|/tnrfv]|(?:\^|\$|\\b|\\B)[*+?{]|[^\x20-\x7e]`)

// What stands for itself in no reading: escapes, classes, and braces that count.
var (
	escaped = regexp.MustCompile(`\\.`)
	classes = regexp.MustCompile(`\[[^\]]*\]`)
	counts  = regexp.MustCompile(`\{[0-9]+(?:,[0-9]*)?\}`)
)

// portable tells whether a pattern means the same to RE2 and to JSON schema. It says no when it is not sure.
func portable(p string) bool {
	if ourOnly.MatchString(p) {
		return false
	}
	rest := counts.ReplaceAllString(classes.ReplaceAllString(escaped.ReplaceAllString(p, ""), ""), "")
	return !strings.ContainsAny(rest, "{}[]")
}

// toSchemaPattern writes a pattern that must match a whole value as one of JSON schema, which looks for a match anywhere; "" when that
// cannot be.
func toSchemaPattern(p string) string {
	if !portable(p) {
		return ""
	}
	if anchored(p) && !strings.Contains(p, "|") && unwrapped(p) == p {
		return p
	}
	return "^(?:" + p + ")$"
}

// fromSchemaPattern is the reverse. whole is false for a pattern that JSON schema would have match a part of a value too.
func fromSchemaPattern(s string) (p string, whole bool) {
	if u := unwrapped(s); u != s {
		return u, true
	}
	return s, anchored(s)
}

func anchored(p string) bool {
	return strings.HasPrefix(p, "^") && strings.HasSuffix(p, "$") && !strings.HasSuffix(p, `\$`)
}

// unwrapped takes ^(?:…)$ off a pattern if what is in it stands alone.
func unwrapped(s string) string {
	inner, ok := strings.CutPrefix(s, "^(?:")
	if !ok {
		return s
	}
	inner, ok = strings.CutSuffix(inner, ")$")
	if slashes := len(inner) - len(strings.TrimRight(inner, `\`)); !ok || slashes%2 == 1 {
		return s // the bracket is an escaped one
	}
	if _, err := regexp.Compile(inner); err != nil {
		return s
	}
	return inner
}
