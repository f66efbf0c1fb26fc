package broker

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Bounds of a feed's name: a subject stays below 256 bytes and 16 tokens in every
// place it is used ("live.", "$KV.own.").
const (
	maxAPIBytes  = 64
	maxKeyBytes  = 180
	maxKeyTokens = 12
	hashPrefix   = "_h"
	queryPrefix  = "_q"
	versionMark  = "_v"
)

// NewFeedID maps one concrete upstream resource to its name. path is the concrete
// path below the API's base, percent-encoded ("/quotes/BRK%2FA"): it is split at "/"
// and each segment is decoded exactly once, so "/a" and "/%61" are one feed while
// "/a%2Fb" and "/a/b" are two. query is the allow-listed query, "a=b&c=d" or "";
// the order of its parameters does not matter.
//
// The map is injective, on names as well as on paths: bytes outside [A-Za-z0-9-]
// (for the API outside [a-z0-9-]: it names a directory, and some file systems fold
// case) become "_" and two hex digits, an empty segment "_", a query one more token
// "_q…". A name that would be too long is replaced by "_h" and a hash; see Hashed.
func NewFeedID(api, version, path, query string) FeedID {
	return FeedID{API: apiToken(api, version), Key: feedKey(path, query)}
}

// APIToken returns FeedID.API of all feeds of one API.
func APIToken(api, version string) string { return apiToken(api, version) }

// Hashed reports whether the feed's path was too long for a subject, so that its
// key is a hash. Commit.Path must then be CanonicalPath, and a writer must refuse
// to go on after a message with another one.
func (f FeedID) Hashed() bool { return strings.HasPrefix(f.Key, hashPrefix) }

// CanonicalPath returns the one spelling of a path and query that name the same
// feed: what the hash of a long feed is made of, and what header Sse-Path holds.
func CanonicalPath(path, query string) string {
	var b strings.Builder
	for seg := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		b.WriteByte('/')
		writeEncoded(&b, decodeOnce(seg))
	}
	if q := canonicalQuery(query); q != "" {
		b.WriteByte('?')
		b.WriteString(q)
	}
	return b.String()
}

// Resource returns the canonical path and query that the key was made of; ok is
// false for a hashed key and for text that is no key.
func (f FeedID) Resource() (path, query string, ok bool) {
	var p strings.Builder
	for tok := range strings.SplitSeq(f.Key, ".") {
		if query != "" {
			return "", "", false
		}
		if rest, isQuery := strings.CutPrefix(tok, queryPrefix); isQuery {
			if query, ok = unmapToken(rest); !ok || query == "" {
				return "", "", false
			}
			continue
		}
		p.WriteByte('/')
		if tok == "_" {
			continue
		}
		raw, ok := unmapToken(tok)
		if !ok || raw == "" {
			return "", "", false
		}
		writeEncoded(&p, raw)
	}
	return p.String(), query, p.Len() > 0
}

func apiToken(name, version string) string {
	b := make([]byte, 0, maxAPIBytes)
	b = appendMapped(b, name, true)
	b = append(b, versionMark...)
	b = appendMapped(b, version, true)
	if len(b) > maxAPIBytes {
		return hashed(string(b))
	}
	return string(b)
}

func feedKey(path, query string) string {
	b := make([]byte, 0, maxKeyBytes)
	tokens := 0
	for seg := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if tokens++; tokens > 1 {
			b = append(b, '.')
		}
		if seg == "" {
			b = append(b, '_')
			continue
		}
		b = appendMapped(b, decodeOnce(seg), false)
	}
	if q := canonicalQuery(query); q != "" {
		tokens++
		b = append(b, '.')
		b = append(b, queryPrefix...)
		b = appendMapped(b, q, false)
	}
	if tokens > maxKeyTokens || len(b) > maxKeyBytes {
		return hashed(CanonicalPath(path, query))
	}
	return string(b)
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashPrefix + hex.EncodeToString(sum[:16])
}

// appendMapped appends s as one subject token; lowerOnly escapes A-Z too.
func appendMapped(b []byte, s string, lowerOnly bool) []byte {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c >= 'A' && c <= 'Z' && !lowerOnly:
			b = append(b, c)
		default:
			b = append(b, '_', digits[c>>4], digits[c&15])
		}
	}
	return b
}

func unmapToken(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' {
			b = append(b, c)
			continue
		}
		if i+2 >= len(s) || !isLowerHex(s[i+1]) || !isLowerHex(s[i+2]) {
			return "", false
		}
		b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
		i += 2
	}
	return string(b), true
}

// canonicalQuery sorts the parameters by name, then value, and spells each once.
func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	type param struct {
		name, value string
		assigned    bool // has "="
	}
	var params []param
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, assigned := strings.Cut(part, "=")
		params = append(params, param{decodeOnce(name), decodeOnce(value), assigned})
	}
	slices.SortFunc(params, func(x, y param) int {
		return cmp.Or(strings.Compare(x.name, y.name), strings.Compare(x.value, y.value),
			cmp.Compare(btoi(x.assigned), btoi(y.assigned)))
	})
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		writeEncoded(&b, p.name)
		if p.assigned {
			b.WriteByte('=')
			writeEncoded(&b, p.value)
		}
	}
	return b.String()
}

// decodeOnce decodes percent escapes; a "%" that starts none stands for itself.
func decodeOnce(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// writeEncoded writes raw text with everything but unreserved bytes (RFC 3986) as
// upper-case escapes.
func writeEncoded(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

func isLowerHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func isHex(c byte) bool { return isLowerHex(c) || c >= 'A' && c <= 'F' }

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
