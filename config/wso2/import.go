package wso2

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// Options are what an import knows of the system it is for.
type Options struct {
	// Catalog has the settings that definitions are checked against.
	Catalog catalog.Options
	// Plans are the names of the plans there are; nil = any name is taken.
	Plans []string
	// Groups are the edge groups there are; nil = only default.
	Groups []string
}

// Import is a project that was understood.
type Import struct {
	// API is the definition, for a catalog to take in as if it had been written by hand.
	API *catalog.API
	// Report has what to know about it, by file and position.
	Report Report
}

// The annotations that an import and an export keep things in.
const (
	extraAnnotation = "wso2/extra"
	hashAnnotation  = "wso2/api-sha256"
)

// Read turns a project into an API definition that the catalog accepts. The error, a doc.Errors, has everything that keeps it from being
// one, with the places in the project's files and the problem slug of each; nothing is half imported.
func Read(p *Project, opt Options) (*Import, error) {
	m := &mapper{opt: opt, places: places{}, report: &Report{}, from: map[*doc.Node]*doc.Node{}}
	in, err := m.open(p)
	if err != nil {
		return nil, err
	}
	if native, err := m.native(p); native != nil || err != nil {
		return native, err
	}
	definition := m.convert(in)
	if err := m.errs.Err(); err != nil {
		return nil, err
	}
	api, err := m.check(definition)
	if err != nil {
		return nil, err
	}
	if extra := m.extra(in, api); extra != "" {
		api.Metadata.Annotations = map[string]string{extraAnnotation: extra}
	}
	m.unread(p)
	m.report.sort()
	return &Import{API: api, Report: *m.report}, nil
}

// input is a project's parsed content.
type input struct {
	version  string    // of WSO2 API Manager, "" if not told
	data     *doc.Node // the API
	async    *doc.Node // its AsyncAPI document; nil = none
	environs *doc.Node // the list of deployment environments; nil = none
}

// open parses the project's files and finds the API in them.
func (m *mapper) open(p *Project) (in input, err error) {
	name, data := p.find("api")
	if data == nil && len(p.files) == 1 {
		name = p.Files()[0]
		data = p.files[name]
	}
	root, err := m.parse(name, data)
	if err != nil {
		return in, err
	}
	in.data = root
	switch kind := get(root, "type"); {
	case get(root, "data") != nil || kind != nil && strings.EqualFold(kind.Text, "api"):
		in.data = root.Get("data")
		if kind == nil || !strings.EqualFold(kind.Text, "api") {
			return in, doc.Errors{m.places.errorf(orElse(kind, root), codeDocument, "must be an API: type must be api")}
		}
		if v := get(root, "version"); v != nil {
			in.version = v.Text
		}
	case get(root, "id", "apiName") != nil:
		return in, doc.Errors{m.places.errorf(get(root, "id"), "unsupported-version", "is a project of API Manager 3 or older, which had no SSE APIs")}
	}
	if in.data == nil || in.data.Kind != doc.Map {
		return in, doc.Errors{m.places.errorf(root, codeDocument, "must hold an API under data")}
	}
	if kind := get(in.data, "type"); kind == nil {
		return in, doc.Errors{m.places.errorf(in.data, "not-sse", "does not say type: SSE; only SSE APIs can be imported")}
	} else if kind.Text != "SSE" {
		return in, doc.Errors{m.places.errorf(kind, "not-sse", "is an API of type %q; only SSE APIs can be imported", clip(kind.Text))}
	}
	if in.async, err = m.optional(p, "Definitions/asyncapi"); err != nil {
		return in, err
	}
	environs, err := m.optional(p, "deployment_environments")
	in.environs = get(orNull(environs), "data")
	return in, err
}

func orElse(n, other *doc.Node) *doc.Node {
	if n == nil {
		return other
	}
	return n
}

func (m *mapper) optional(p *Project, stem string) (*doc.Node, error) {
	name, data := p.find(stem)
	if data == nil {
		return nil, nil
	}
	return m.parse(name, data)
}

// parse reads one file, strictly: one document, a map, no duplicate keys, bounded.
func (m *mapper) parse(name string, data []byte) (*doc.Node, error) {
	file := name
	if path.Ext(file) != ".json" && bytes.HasPrefix(bytes.TrimLeft(data, "\xef\xbb\xbf \t\r\n"), []byte("{")) {
		file += ".json" // a payload: JSON's own parser knows its columns, and takes tabs
	}
	docs, err := doc.Parse(file, data)
	if err != nil {
		return nil, renamed(err, name)
	}
	if len(docs) != 1 || docs[0].Root.Kind != doc.Map {
		return nil, doc.Errors{{File: name, Line: 1, Column: 1, Type: codeDocument, Message: "must be one document with a map"}}
	}
	var any any
	if err := docs[0].Decode(&any); err != nil {
		return nil, renamed(err, name)
	}
	m.places.index(name, "", docs[0].Root)
	return docs[0].Root, nil
}

func renamed(err error, name string) error {
	var errs doc.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			e.File = name
		}
	}
	return err
}

// native takes the definition beside api.yaml that an export of ours put there, if api.yaml is still the one it was made with.
func (m *mapper) native(p *Project) (*Import, error) {
	name, data := p.find("sluice")
	if data == nil {
		return nil, nil
	}
	root, err := m.parse(name, data)
	if err != nil {
		return nil, err
	}
	notes := get(root, "metadata", "annotations")
	hash := get(orNull(notes), hashAnnotation)
	_, beside := p.find("api")
	sum := sha256.Sum256(beside)
	if hash == nil || hash.Text != hex.EncodeToString(sum[:]) {
		m.warn(root, "native-stale", "is left aside: api.yaml has changed since both were written")
		return nil, nil
	}
	m.from[root] = root
	api, err := m.check(root)
	if err != nil {
		return nil, err
	}
	if delete(api.Metadata.Annotations, hashAnnotation); len(api.Metadata.Annotations) == 0 {
		api.Metadata.Annotations = nil
	}
	if api.Spec.Topics == nil {
		api.Spec.Topics = []catalog.Topic{anyTopic()}
	}
	m.warn(root, "native", "is taken as it stands: api.yaml is the one it was written with")
	m.unread(p)
	m.report.sort()
	return &Import{API: api, Report: *m.report}, nil
}

// anyTopic is the topic of an API that declares none.
func anyTopic() catalog.Topic {
	var t catalog.Topic
	t.SetDefaults()
	t.Name = "/*"
	return t
}

// check has the catalog judge a definition; what it finds is told at the places that the definition was made from.
func (m *mapper) check(definition *doc.Node) (*catalog.API, error) {
	api, err := catalog.ReadDefinition("", definition)
	var errs, found, warnings doc.Errors
	if err != nil && !errors.As(err, &errs) {
		return nil, err
	}
	if api != nil {
		found, warnings = api.Examine(m.opt.Catalog)
	}
	errs = append(errs, found...)
	for i, e := range errs {
		at := m.places[m.source(definition, e.Pointer)]
		errs[i] = &doc.Error{File: at.file, Line: at.line, Column: at.column, Pointer: at.pointer, Type: e.Type, Message: e.Message, Hint: e.Hint}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	for _, w := range warnings {
		m.warn(m.source(definition, w.Pointer), w.Type, "%s", w.Message)
	}
	return api, nil
}

// source is the node of the project that the value at a definition's pointer was made from, or the nearest above it.
func (m *mapper) source(definition *doc.Node, pointer string) *doc.Node {
	n, best := definition, m.from[definition]
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		n = step(n, strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~"))
		if n == nil {
			break
		}
		if from := m.from[n]; from != nil {
			best = from
		} else if _, own := m.places[n]; own {
			best = n
		}
	}
	return best
}

// step is the child of n under a key or index; nil = none.
func step(n *doc.Node, part string) *doc.Node {
	if n.Kind == doc.Map {
		return n.Get(part)
	}
	if at := index(part); n.Kind == doc.List && at >= 0 && at < len(n.Items) {
		return n.Items[at]
	}
	return nil
}

// index reads a list index; −1 for anything else.
func index(part string) int {
	at := 0
	for _, c := range []byte(part) {
		if c < '0' || c > '9' || at > 1e6 {
			return -1
		}
		at = at*10 + int(c-'0')
	}
	if part == "" {
		return -1
	}
	return at
}

// unread tells which files of the project have no place here.
func (m *mapper) unread(p *Project) {
	told := map[string]bool{}
	for _, name := range p.left {
		top, _, below := strings.Cut(name, "/")
		if below {
			top += "/"
		}
		if told[top] {
			continue
		}
		told[top] = true
		m.report.add(Finding{Level: LevelWarning, Code: "unread-file", File: top, Message: "is not imported"})
	}
}
