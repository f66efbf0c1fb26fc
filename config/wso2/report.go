package wso2

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"sluice/internal/doc"
)

// Level is how much a finding matters.
type Level string

// The levels. What refuses a project is not in a report: it is the error, and then nothing is imported.
const (
	// LevelWarning is for what means something else here or nothing, or was understood in a way worth knowing.
	LevelWarning Level = "warning"
)

// Finding is one thing to know about an import or export.
type Finding struct {
	Level Level `json:"level"`
	// Code is a word for programs, such as unknown-field.
	Code string `json:"code"`
	// File of the project; "" for a project of one file without a name.
	File string `json:"file,omitempty"`
	// Pointer is the JSON pointer of the value in the file.
	Pointer string `json:"pointer"`
	// Line and Column count characters from 1; 0 = no position.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// String prints `file:line:col: pointer: message`, leaving out what is not known.
func (f Finding) String() string {
	return (&doc.Error{File: f.File, Line: f.Line, Column: f.Column, Pointer: f.Pointer, Message: f.Message}).Error()
}

// Report lists findings by file and position.
type Report []Finding

// maxFindings bounds what one project can make us say.
const maxFindings = 500

func (r *Report) add(f Finding) {
	if len(*r) < maxFindings {
		*r = append(*r, f)
	}
}

func (r Report) sort() {
	slices.SortStableFunc(r, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Status is the HTTP status that an error of a code deserves: 400 for what is no document, 413 for what is too large, 409 for topics
// that match the same paths, else 422.
func Status(code string) int {
	switch code {
	case codeDocument, doc.TypeInvalidJSON, doc.TypeInvalidYAML, doc.TypeDuplicateKey:
		return http.StatusBadRequest
	case doc.TypeTooLarge, doc.TypeTooDeep:
		return http.StatusRequestEntityTooLarge
	case "topic-conflict":
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// place is where a value of a project stands.
type place struct {
	file, pointer string
	line, column  int
}

// places knows where every node of the parsed files stands.
type places map[*doc.Node]place

// index remembers all nodes of a file.
func (p places) index(file, pointer string, n *doc.Node) {
	p[n] = place{file: file, pointer: pointer, line: n.Line, column: n.Column}
	for i, item := range n.Items {
		p.index(file, doc.Join(pointer, i), item)
	}
	for _, f := range n.Fields {
		p.index(file, doc.Join(pointer, f.Key), f.Value)
	}
}

func (p places) errorf(n *doc.Node, code, format string, args ...any) *doc.Error {
	at := p[n]
	return &doc.Error{File: at.file, Line: at.line, Column: at.column, Pointer: at.pointer, Type: code, Message: fmt.Sprintf(format, args...)}
}
