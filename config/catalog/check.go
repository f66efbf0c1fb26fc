package catalog

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/config"
	"sluice/internal/doc"
)

// checker collects everything that is wrong with the meaning of one definition, each with its pointer and problem type.
type checker struct {
	d     *doc.Document
	api   *API
	loops func(*url.URL) bool // Options.Loops
	// forbidden is Options.Forbidden, or nil where an endpoint is only read.
	forbidden func(*url.URL) string
	errs      doc.Errors
	warns     doc.Errors
}

func (c *checker) fail(slug, pointer, format string, args ...any) {
	e := c.d.Errorf(pointer, format, args...)
	e.Type = slug
	c.errs = append(c.errs, e)
}

func (c *checker) value(pointer, format string, args ...any) {
	c.fail(doc.TypeInvalidValue, pointer, format, args...)
}

func (c *checker) warn(slug, pointer, format string, args ...any) {
	e := c.d.Errorf(pointer, format, args...)
	e.Type = slug
	c.warns = append(c.warns, e)
}

// written tells whether the document sets the value at pointer itself.
func (c *checker) written(pointer string) bool {
	if c.d == nil {
		return false
	}
	parent, key := pointer[:strings.LastIndexByte(pointer, '/')], pointer[strings.LastIndexByte(pointer, '/')+1:]
	n := c.d.Lookup(parent).Get(key)
	return n != nil && n.Kind != doc.Null
}

func (c *checker) duration(pointer string, d, low, high time.Duration) {
	if d == 0 && !c.written(pointer) {
		return // left to the process
	}
	if d < low || d > high {
		c.value(pointer, "must be between %s and %s", doc.FormatDuration(low), doc.FormatDuration(high))
	}
}

// durationOrZero is for values where zero means something; inherit marks one that is left to the process.
func (c *checker) durationOrZero(pointer string, d, low, high time.Duration) {
	if d != 0 && d != inherit && (d < low || d > high) {
		c.value(pointer, "must be 0 or between %s and %s", doc.FormatDuration(low), doc.FormatDuration(high))
	}
}

func (c *checker) bytes(pointer string, b, low, high config.Bytes) {
	if b == 0 && !c.written(pointer) {
		return
	}
	if b < low || b > high {
		c.value(pointer, "must be between %s and %s", low, high)
	}
}

func (c *checker) number(pointer string, n, low, high int) {
	if n == 0 && !c.written(pointer) {
		return
	}
	if n < low || n > high {
		c.value(pointer, "must be between %d and %d", low, high)
	}
}

// oneOf checks an enumeration; "" is left to the process.
func oneOf[T ~string](c *checker, pointer string, value T, allowed ...T) {
	if value == "" && !c.written(pointer) || slices.Contains(allowed, value) {
		return
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	e := c.d.Errorf(pointer, "must be one of %s", strings.Join(names, ", "))
	if near := doc.Nearest(string(value), names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.errs = append(c.errs, e)
}

// text bounds a text for people, in characters.
func (c *checker) text(pointer, s string, most int) {
	if utf8.RuneCountInString(s) > most {
		c.value(pointer, "must be at most %d characters", most)
	}
}

func (c *checker) count(pointer string, n, most int) {
	if n > most {
		c.value(pointer, "must have at most %d entries", most)
	}
}

// list checks the number, form and distinctness of names.
func (c *checker) list(pointer string, list []string, most int, form func(string) bool, what string) {
	c.count(pointer, len(list), most)
	for i, s := range list {
		if !form(s) {
			c.value(doc.Join(pointer, i), "must be %s", what)
		} else if slices.Index(list, s) < i {
			c.value(doc.Join(pointer, i), "is listed twice")
		}
	}
}

// word makes a form: 1 to most bytes, the first of first, the others of first or more.
func word(most int, first, more func(byte) bool) func(string) bool {
	return func(s string) bool {
		if s == "" || len(s) > most || !first(s[0]) {
			return false
		}
		for i := range len(s) {
			if !first(s[i]) && !more(s[i]) {
				return false
			}
		}
		return true
	}
}

func isLowerDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func among(set string) func(byte) bool {
	return func(c byte) bool { return strings.IndexByte(set, c) >= 0 }
}

// The forms of names.
var (
	isName       = word(60, isAlnum, among("._-"))
	isVersion    = word(30, isAlnum, among("._-"))
	isTag        = word(32, isLowerDigit, among("-"))
	isLabel      = word(63, func(c byte) bool { return isAlnum(c) || among("._/-")(c) }, isAlnum)
	isScopeName  = word(64, isAlnum, among("._:-"))
	isSecretName = word(63, isLowerDigit, among("-"))
	isGroup      = word(32, func(c byte) bool { return isLowerDigit(c) || c == '-' }, isLowerDigit)
	isQueryName  = word(64, isUnreserved, isUnreserved)
	isHeaderName = word(64, func(c byte) bool { return isAlnum(c) || among("!#$%&'*+-.^_`|~")(c) }, isAlnum)
	isRole       = word(63, isAlnum, among("._:-"))
)
