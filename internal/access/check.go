package access

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/internal/problem"
)

// Bounds of what is stored.
const (
	mostPlans        = 500
	mostApplications = 50_000
	mostGrants       = 1_000 // of one application
	mostKeys         = 100   // of one application
	mostActiveKeys   = 10    // ... that count
	mostDenies       = 10_000
	mostRevocations  = 100_000
	mostClients      = 10
	mostLabels       = 32
	mostEntries      = 64 // of a list of topics, addresses, origins

	longestName   = 60
	longestOwner  = 63
	longestLine   = 256
	longestText   = 2_000
	longestTopic  = 255
	mostEvents    = 1_000_000_000_000
	mostSeats     = 1_000_000
	mostEvery     = 1_000
	leastDuration = 10 * time.Second
	mostDuration  = 30 * 24 * time.Hour
	leastPer      = 100 * time.Millisecond
	mostPer       = time.Hour
)

// checker collects what is wrong with a record.
type checker struct{ parts []problem.Part }

func (c *checker) add(kind problem.Kind, pointer, reason string, args ...any) {
	c.parts = append(c.parts, problem.Part{Pointer: pointer, Type: string(kind), Reason: fmt.Sprintf(reason, args...)})
}

// value is for what can only be one of problem.InvalidValue.
func (c *checker) value(ok bool, pointer, reason string, args ...any) {
	if !ok {
		c.add(problem.InvalidValue, pointer, reason, args...)
	}
}

// err is all that is wrong, nil if nothing is. Its kind is the only one there is, else InvalidResource.
func (c *checker) err() error {
	if len(c.parts) == 0 {
		return nil
	}
	kind := problem.Kind(c.parts[0].Type)
	for _, p := range c.parts {
		if p.Type != string(kind) {
			kind = problem.InvalidResource
		}
	}
	return &problem.Error{Kind: kind, Errors: c.parts}
}

// taken is a conflict over one field.
func taken(kind problem.Kind, pointer, reason string) error {
	return &problem.Error{Kind: kind, Errors: []problem.Part{{Pointer: pointer, Type: string(kind), Reason: reason}}}
}

func tooMany(what string) error {
	return &problem.Error{Kind: problem.TooManyRecords, Detail: "There are as many " + what + " as can be."}
}

func notFound(what string) error {
	return &problem.Error{Kind: problem.NotFound, Detail: "There is no such " + what + "."}
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isName tells whether s can be the name of something: as in the catalog.
func isName(s string) bool {
	if s == "" || len(s) > longestName || !isAlnum(s[0]) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 || !isAlnum(byte(r)) && !strings.ContainsRune("._-", r) }) < 0
}

func (c *checker) name(pointer, s string) {
	if !isName(s) {
		c.add(problem.InvalidName, pointer, "must be 1 to %d letters, digits, dots, underscores or dashes, a letter or digit first", longestName)
	}
}

// line checks text of one line.
func (c *checker) line(pointer, s string, most int) {
	c.value(isLine(s, most), pointer, "must be at most %d bytes on one line", most)
}

// text checks text of several lines.
func (c *checker) text(pointer, s string) {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }
	c.value(utf8.ValidString(s) && len(s) <= longestText && strings.IndexFunc(s, control) < 0, pointer, "must be at most %d bytes of text", longestText)
}

// word checks text that names something elsewhere: one line without spaces.
func (c *checker) word(pointer, s string, most int) {
	c.value(s != "" && isLine(s, most) && !strings.ContainsFunc(s, unicode.IsSpace), pointer, "must be 1 to %d bytes without spaces", most)
}

// isLine tells whether s is text on one line.
func isLine(s string, most int) bool {
	return utf8.ValidString(s) && len(s) <= most && strings.IndexFunc(s, unicode.IsControl) < 0
}

func (c *checker) number(pointer string, n, least, most int64) {
	c.value(n >= least && n <= most, pointer, "must be %d to %d", least, most)
}

func (c *checker) duration(pointer string, d, least, most time.Duration) {
	c.value(d >= least && d <= most, pointer, "must be %s to %s", least, most)
}

// later checks a time in the future, or none at all. One that stays as it was may have passed.
func (c *checker) later(pointer string, t, was, now time.Time) {
	c.value(t.IsZero() || t.Equal(was) || t.After(now), pointer, "must lie in the future")
}

// topics checks names of topics or concrete paths.
func (c *checker) topics(list []string) {
	c.value(len(list) <= mostEntries, "/topics", "must be at most %d", mostEntries)
	for i, t := range list {
		c.value(strings.HasPrefix(t, "/") && isLine(t, longestTopic) && !strings.ContainsFunc(t, unicode.IsSpace), at("/topics", i),
			"must be the name of a topic or a path, a slash first, at most %d bytes", longestTopic)
		c.value(!slices.Contains(list[:i], t), at("/topics", i), "is listed twice")
	}
}

func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// origins checks origins as browsers send them.
func (c *checker) origins(list []string) {
	c.value(len(list) <= mostEntries, "/allowedOrigins", "must be at most %d", mostEntries)
	for i, o := range list {
		u, err := url.Parse(o)
		c.value(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && o == u.Scheme+"://"+u.Host && isOriginHost(u.Host) &&
			len(o) <= longestLine, at("/allowedOrigins", i), "must be an origin as browsers send it, such as https://app.example.com, without path")
	}
}

// isOriginHost refuses characters that browsers never send in an origin's host: capitals and `*` among them.
func isOriginHost(host string) bool {
	return strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]") == ""
}

func (c *checker) addresses(list []netip.Prefix) {
	c.value(len(list) <= mostEntries, "/allowedIPs", "must be at most %d", mostEntries)
	for i, p := range list {
		c.value(p.IsValid(), at("/allowedIPs", i), "must be an address or a network, such as 192.0.2.0/24")
	}
}

// orNil makes an empty list none, so that equal records are stored alike.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}
