package catalog

import (
	"net/url"
	"slices"
	"strings"

	"sluice/internal/problem"
)

// queryRule is one allow-listed query parameter, compiled.
type queryRule struct {
	QueryParam
	rule rule
}

// canonicalQuery picks the allow-listed parameters out of a raw query: sorted by name, defaults filled in, each spelled one way.
// Unknown names are ignored; a listed one that is repeated, malformed or missing refuses the request. rules are sorted by name.
func canonicalQuery(raw string, rules []queryRule) (string, error) {
	if len(rules) == 0 {
		return "", nil
	}
	var found [maxQueryParams]struct {
		set   bool
		value string
	}
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		i, ok := slices.BinarySearchFunc(rules, name, func(r queryRule, n string) int { return strings.Compare(r.Name, n) })
		if !ok {
			continue
		}
		if found[i].set {
			return "", queryError(name, "is repeated")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return "", queryError(name, "has a broken percent escape")
		}
		if !rules[i].rule.takes(value) {
			return "", queryError(name, "has a value that is not allowed")
		}
		found[i].set, found[i].value = true, value
	}
	var b []byte
	for i := range rules {
		value, set := found[i].value, found[i].set
		if !set && rules[i].Required {
			return "", queryError(rules[i].Name, "is required")
		}
		if !set {
			if value = rules[i].Default; value == "" {
				continue
			}
		}
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = appendQueryPart(b, rules[i].Name)
		b = appendQueryPart(append(b, '='), value)
	}
	return string(b), nil
}

// queryError names a parameter of the definition, which is ours, and never its value, which is the client's.
func queryError(name, reason string) error {
	return &problem.Error{Kind: problem.InvalidQuery, Errors: []problem.Part{{Parameter: name, Reason: reason}}}
}

// reservedQuery tells names that sluice itself reads, now or by its documented plans; they never go upstream.
func reservedQuery(name string) bool {
	return slices.Contains([]string{
		"lastEventId", "last_event_id", "Last-Event-ID", "since", "from", "control", "errors",
		"access_token", "apikey", "ticket",
		"keys", "keyset", "rate", "asOf", "fields", "types", "delta", "envelope", "topic",
	}, name)
}
