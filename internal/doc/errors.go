package doc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors bounds what one document can make us say.
const maxErrors = 100

// Error is one thing wrong with a document.
type Error struct {
	// File is the document's name as given to a parser; "" leaves it out.
	File string
	// Line and Column count characters from 1; 0 = no position.
	Line, Column int
	// Pointer is the JSON pointer of the value, "" for the document itself.
	Pointer string
	// Type is a problem slug such as unknown-field, for programs; not printed.
	Type string
	// Message says what is wrong, Hint what to do about it; Hint may be empty.
	Message, Hint string
}

// Error prints `file:line:col: pointer: message; hint`, leaving out what is not known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		b.WriteByte(':')
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Pointer != "" {
		b.WriteString(e.Pointer)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// The problem slugs of Error.Type that this package gives.
const (
	TypeInvalidYAML  = "invalid-yaml"
	TypeInvalidJSON  = "invalid-json"
	TypeUnknownField = "unknown-field"
	TypeDuplicateKey = "duplicate-key"
	TypeTooDeep      = "too-deep"
	TypeTooLarge     = "document-too-large"
	TypeInvalidValue = "invalid-value"
)

// NotAllowed ends the message of an invalid-yaml error about a custom tag or a merge key: well-formed, and a trick more often than a mistake.
const NotAllowed = "is not allowed"

// Errors is everything wrong with one or more documents. Never empty when it is returned as an error.
type Errors []*Error

// Error prints one error per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.As find each *Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// Beside returns the errors of e that are not about a value, or a part of one, that unread tells could not be read: whoever looked at
// it saw a default.
func (e Errors) Beside(unread Errors) Errors {
	return slices.DeleteFunc(slices.Clone(e), func(x *Error) bool {
		return slices.ContainsFunc(unread, func(u *Error) bool {
			return u.File == x.File && u.Type != TypeUnknownField && u.Pointer != "" && x.Line == u.Line &&
				(x.Pointer == u.Pointer || strings.HasPrefix(x.Pointer, u.Pointer+"/"))
		})
	})
}

// Err returns e sorted by file and position as an error, or nil when there is none. Beyond 100 errors only their number is told.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(e) > maxErrors {
		rest := &Error{File: e[0].File, Message: fmt.Sprintf("%d more errors are not shown", len(e)-maxErrors)}
		e = append(e[:maxErrors:maxErrors], rest)
	}
	return e
}

// Nearest returns the candidate that name is most likely a misspelling of: equal but for case, or at most two edits away (one
// for names of up to four bytes). "" when none is near.
func Nearest(name string, candidates []string) string {
	best, bestAt := "", 3
	if len(name) <= 4 {
		bestAt = 2
	}
	if len(name) > 64 {
		return ""
	}
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c
		}
		if d := distance(name, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours between a and b.
func distance(a, b string) int {
	if n := len(a) - len(b); n > 2 || n < -2 {
		return 3
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// didYouMean is the hint for a misspelt name, or a list of what is allowed when that is short.
func didYouMean(name string, candidates []string) string {
	if c := Nearest(name, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	if len(candidates) > 0 && len(candidates) <= 8 {
		return "known here: " + strings.Join(candidates, ", ")
	}
	return ""
}
