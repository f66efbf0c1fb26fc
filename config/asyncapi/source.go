package asyncapi

import (
	"bytes"
	"errors"
	"strings"

	"sluice/internal/doc"
)

// Bounds of a document.
const (
	maxBytes    = 4 << 20
	maxChannels = 500
	maxChain    = 32
	maxLooks    = 100_000
)

// version is a version of AsyncAPI, ordered.
type version int

// The versions that are read. Those written are 2.6.0, 3.0.0 and 3.1.0.
const (
	v20 version = iota + 1
	v21
	v22
	v23
	v24
	v25
	v26
	v30
	v31
)

// versions are the values of the field asyncapi, in order.
var versions = [...]string{v20: "2.0.0", v21: "2.1.0", v22: "2.2.0", v23: "2.3.0", v24: "2.4.0", v25: "2.5.0", v26: "2.6.0", v30: "3.0.0", v31: "3.1.0"}

// Versions lists the versions that are read, oldest first.
func Versions() []string { return append([]string(nil), versions[v20:]...) }

// document is a text that was read, is a map, and says a known version.
type document struct {
	reporter
	root *doc.Node
	v    version
	// kinds has the kind of object, by its pointer, that the walk found there.
	kinds map[string]string
	// looks counts messages looked at: alternatives of alternatives can be many more than a document has values.
	looks int
}

// read turns bytes into a document. Nil when the report says why it is none.
func read(file string, data []byte) (*document, Report) {
	d := &document{kinds: map[string]string{}}
	if len(data) > maxBytes {
		d.fail(CodeTooLarge, "", "the document is larger than %d MiB", maxBytes>>20)
		return nil, d.findings
	}
	parsed, errs := parse(file, data)
	d.d = parsed
	d.errors(LevelError, errs, func(e *doc.Error) (string, *doc.Node) {
		if e.Type == doc.TypeTooDeep {
			e.Type = CodeTooLarge
		}
		return e.Pointer, &doc.Node{Line: e.Line, Column: e.Column}
	})
	if d.findings.Failed() {
		return nil, d.report()
	}
	if parsed == nil || parsed.Root.Kind != doc.Map {
		d.fail(CodeInvalidDocument, "", "must be one AsyncAPI document, a map with asyncapi, info and channels")
		return nil, d.findings
	}
	d.root = parsed.Root
	n := d.root.Get("asyncapi")
	if n == nil {
		d.fail(CodeInvalidDocument, "", "lacks the field asyncapi with its version")
		return nil, d.findings
	}
	for v, name := range versions {
		if name != "" && n.Text == name && (n.Kind == doc.String) {
			d.v = version(v)
		}
	}
	if d.v == 0 {
		d.fail(CodeUnsupportedVersion, "/asyncapi", "must be one of the versions %s", strings.Join(Versions(), ", "))
		return nil, d.findings
	}
	return d, nil
}

// parse reads JSON if the text begins like an object of it, else YAML. Nil when there is no document in it, or more than one.
func parse(file string, data []byte) (*doc.Document, doc.Errors) {
	var errs doc.Errors
	text := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] == '{' {
		d, err := doc.ParseJSON(file, data)
		if err != nil {
			errors.As(err, &errs)
			return nil, errs
		}
		return d, d.Problems()
	}
	docs, err := doc.ParseYAML(file, data)
	if err != nil {
		errors.As(err, &errs)
		return nil, errs
	}
	if len(docs) != 1 {
		return nil, nil
	}
	return docs[0], docs[0].Problems()
}

// old tells a document of the family 2.x.
func (d *document) old() bool { return d.v < v30 }
