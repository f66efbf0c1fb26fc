package asyncapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Level tells whether a finding refuses the document.
type Level string

// The levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
)

// Finding is one thing to know about a document.
type Finding struct {
	Level Level `json:"level"`
	// Code is a slug for programs.
	Code string `json:"code"`
	// Pointer is the JSON pointer of the value in the document, "" for the document itself.
	Pointer string `json:"pointer"`
	// Line and Column of the value, from 1; 0 when there is no document to point into.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Message says what is wrong, for people.
	Message string `json:"message"`
}

// String is `line:column: pointer: message`, with `warning: ` before the message of a warning.
func (f Finding) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", f.Line, f.Column)
	}
	if f.Pointer != "" {
		b.WriteString(f.Pointer + ": ")
	}
	if f.Level == LevelWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Codes of findings that are errors, beside those of config/catalog and internal/doc.
const (
	CodeInvalidDocument    = "invalid-document"     // no AsyncAPI document at all
	CodeUnsupportedVersion = "unsupported-version"  // of AsyncAPI
	CodeTooLarge           = doc.TypeTooLarge       // bytes, levels, channels, references
	CodeUnknownField       = doc.TypeUnknownField   // not in this object, or not in this version
	CodeMissingField       = "missing-field"        // that the version requires
	CodeWrongType          = "wrong-type"           // a string where a map belongs
	CodeInvalidValue       = doc.TypeInvalidValue   // of the right type
	CodeExternalRef        = "external-ref"         // $ref that leads out of the document
	CodeInvalidRef         = "invalid-ref"          // $ref to nothing, or to another kind of object
	CodeCircularRef        = "circular-ref"         // $ref that leads back to itself
	CodeNotSubscribe       = "not-subscribe"        // a channel that is only published to
	CodeInvalidTopic       = "invalid-topic"        // an address that is no topic
	CodeUnknownScope       = "unknown-scope"        // asked for, declared nowhere
	CodeUnknownSecurity    = "unknown-security"     // requirement without its scheme
	CodeUnknownServer      = "unknown-server"       // named by channel or caller
	CodeUnknownParam       = "unknown-param"        // declared, not in the address; or the reverse
	CodeDuplicateID        = "duplicate-id"         // operationId or messageId
	CodeEndpointScheme     = "endpoint-scheme"      // the server is no http(s) one
	CodeMessageNotInHere   = "message-not-included" // an operation's message is not its channel's
)

// maxFindings bounds what one document can make us say.
const maxFindings = 200

// Report is what there is to know about a document, errors and warnings, in the order of the document.
type Report []Finding

// Failed tells whether an error is among the findings.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r, func(f Finding) bool { return f.Level == LevelError })
}

// Err is the report's errors as an answer to whoever sent the document: its status is the highest stage that failed, its type the code
// of the first error. Nil when there is none.
func (r Report) Err() error {
	var first *Finding
	status := 0
	var parts []problem.Part
	for i := range r {
		f := &r[i]
		if f.Level != LevelError {
			continue
		}
		if first == nil {
			first, status = f, Status(f.Code)
		}
		parts = append(parts, problem.Part{Pointer: f.Pointer, Line: f.Line, Column: f.Column, Type: f.Code, Reason: f.Message})
	}
	if first == nil {
		return nil
	}
	return &RefusedError{Status: status, Code: first.Code, Parts: parts}
}

// RefusedError says that a document cannot be taken, and why.
type RefusedError struct {
	// Status is the HTTP status of the answer, Code the slug of its type.
	Status int
	Code   string
	// Parts are all errors.
	Parts []problem.Part
}

// Error tells the first part and how many more there are.
func (e *RefusedError) Error() string {
	p := e.Parts[0]
	s := fmt.Sprintf("%d:%d: %s: %s", p.Line, p.Column, p.Pointer, p.Reason)
	if len(e.Parts) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(e.Parts)-1)
	}
	return s
}

// Status is the HTTP status that an error of a code deserves: 400 for what is no document, 413 for what is too large, 409 for topics that
// match the same paths, else 422.
func Status(code string) int {
	switch code {
	case CodeInvalidDocument, doc.TypeInvalidJSON, doc.TypeInvalidYAML, doc.TypeDuplicateKey:
		return 400
	case CodeTooLarge:
		return 413
	case "topic-conflict":
		return 409
	}
	return 422
}

// reporter collects findings with the positions of a document.
type reporter struct {
	d        *doc.Document // nil before the text could be read
	findings Report
}

// at reports something at a node that the caller has in hand.
func (r *reporter) at(level Level, code, pointer string, n *doc.Node, format string, args ...any) {
	if n == nil {
		n = &doc.Node{}
	}
	r.put(Finding{level, code, pointer, n.Line, n.Column, fmt.Sprintf(format, args...)})
}

func (r *reporter) put(f Finding) {
	switch {
	case len(r.findings) < maxFindings:
		r.findings = append(r.findings, f)
	case f.Level == LevelError && !r.findings.Failed(): // an error must not be lost behind warnings
		r.findings[maxFindings-1] = f
	}
}

// fail reports an error at a pointer of the document, or at its nearest ancestor.
func (r *reporter) fail(code, pointer, format string, args ...any) {
	r.at(LevelError, code, pointer, r.lookup(pointer), format, args...)
}

// warn reports a warning at a pointer.
func (r *reporter) warn(code, pointer, format string, args ...any) {
	r.at(LevelWarning, code, pointer, r.lookup(pointer), format, args...)
}

func (r *reporter) lookup(pointer string) *doc.Node {
	if r.d == nil {
		return nil
	}
	return r.d.Lookup(pointer)
}

// errors reports what internal/doc or config/catalog found; place says where in the document each belongs.
func (r *reporter) errors(level Level, errs doc.Errors, place func(*doc.Error) (pointer string, n *doc.Node)) {
	for _, e := range errs {
		pointer, n := place(e)
		message := e.Message
		if e.Hint != "" {
			message += "; " + e.Hint
		}
		r.at(level, e.Type, pointer, n, "%s", message)
	}
}

// report returns the findings in the order of the document, errors before warnings of one place.
func (r *reporter) report() Report {
	slices.SortStableFunc(r.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Level, b.Level))
	})
	return r.findings
}
