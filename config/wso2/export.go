package wso2

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// apimVersion is written where the project that an API came from told none.
const apimVersion = "v4.6.0"

// Write makes the project of an API in the layout that Read reads: api.yaml, deployment_environments.yaml, sluice.yaml with the
// definition itself, and Definitions/asyncapi.yaml if async, its AsyncAPI document, is given. What an import kept in the annotation
// wso2/extra is written back where it still fits; secrets are empty texts. Equal APIs give equal bytes.
func Write(api *catalog.API, async []byte) (*Project, Report, error) {
	report := losses(api)
	extra := readExtra(api, &report)
	root := object()
	put(root, "type", text("api"))
	version := apimVersion
	if v := get(extra, "version"); v != nil && len(v.Text) < 32 {
		version = v.Text
	}
	put(root, "version", text(version))
	put(root, "data", restore(generate(api), get(extra, "data"), &report))
	p := &Project{files: map[string][]byte{}}
	var err error
	if p.files[apiYAML], err = doc.WriteYAML(root); err != nil {
		return nil, nil, fmt.Errorf("api %s: %w", api.ID(), err)
	}
	environs := object()
	put(environs, "type", text("deployment_environments"))
	put(environs, "version", text(version))
	put(environs, "data", restoreEnvironments(environments(api), get(extra, "environments")))
	if p.files[environYAML], err = doc.WriteYAML(environs); err != nil {
		return nil, nil, fmt.Errorf("api %s: %w", api.ID(), err)
	}
	if p.files[nativeYAML], err = native(api, p.files[apiYAML]); err != nil {
		return nil, nil, fmt.Errorf("api %s: %w", api.ID(), err)
	}
	if async != nil {
		p.files[asyncYAML] = async
	}
	return p, report, nil
}

// native is the definition, marked with the api.yaml that it goes with.
func native(api *catalog.API, beside []byte) ([]byte, error) {
	tree, err := api.Definition()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(beside)
	notes := orElse(tree.Get("metadata").Get("annotations"), object())
	put(notes, hashAnnotation, text(hex.EncodeToString(sum[:])))
	put(tree.Get("metadata"), "annotations", notes)
	return doc.WriteYAML(tree)
}

// readExtra reads the annotation, without secrets, whoever wrote it.
func readExtra(api *catalog.API, report *Report) *doc.Node {
	note, ok := api.Metadata.Annotations[extraAnnotation]
	if !ok {
		return nil
	}
	d, err := doc.ParseJSON("", []byte(note))
	if err != nil || d.Root.Kind != doc.Map {
		report.add(Finding{Level: LevelWarning, Code: "bad-extra", Pointer: "/metadata/annotations/wso2~1extra", Message: "is no JSON map and is left aside"})
		return nil
	}
	return clean(d.Root, "", func(*doc.Node) {})
}

// maxRestored bounds the fields that an annotation can bring back.
const maxRestored = 256

// restore puts fields that an import kept into data, where the API still means what it meant then: a field of data is replaced only if
// both are read as the same definition.
func restore(data, kept *doc.Node, report *Report) *doc.Node {
	if kept == nil || kept.Kind != doc.Map {
		return data
	}
	meaning := read(data)
	for i, f := range kept.Fields {
		if f.Key == "type" || i >= maxRestored {
			continue
		}
		candidates := []*doc.Node{f.Value}
		if ours := data.Get(f.Key); ours != nil && ours.Kind == doc.Map {
			candidates = append(candidates, overlay(f.Value, ours))
		} else if ours != nil && f.Key == "operations" {
			candidates = append(candidates, byTarget(f.Value, ours))
		}
		fits := false
		for _, c := range candidates {
			next := clone(data)
			put(next, f.Key, clone(c))
			if fits = equal(read(next), meaning); fits {
				data = next
				break
			}
		}
		if !fits {
			report.add(Finding{Level: LevelWarning, Code: "changed-since", File: apiYAML, Pointer: doc.Join("/data", f.Key),
				Message: "is not written as it was imported: the API has changed since"})
		}
	}
	return data
}

// read is the definition that data makes.
func read(data *doc.Node) *doc.Node {
	m := &mapper{places: places{}, report: &Report{}, from: map[*doc.Node]*doc.Node{}}
	out := m.convert(input{data: data})
	if len(m.errs) > 0 { // no form of an API that we would write
		return text(m.errs[0].Message)
	}
	return out
}

// byTarget is ours with, for each operation, the fields that the kept operation of the same target has besides.
func byTarget(kept, ours *doc.Node) *doc.Node {
	if kept.Kind != doc.List || ours.Kind != doc.List {
		return ours
	}
	out := &doc.Node{Kind: doc.List}
	for _, op := range ours.Items {
		for _, old := range kept.Items {
			if a, b := get(op, "target"), get(old, "target"); a != nil && b != nil && a.Text == slashed(b.Text) {
				op = overlay(old, op)
				break
			}
		}
		out.Items = append(out.Items, op)
	}
	return out
}

// restoreEnvironments takes the kept list if it stands for the same edge groups.
func restoreEnvironments(ours, kept *doc.Node) *doc.Node {
	if kept == nil {
		return ours
	}
	m := &mapper{places: places{}, report: &Report{}, from: map[*doc.Node]*doc.Node{}}
	var groups []string
	for _, e := range ours.Items {
		groups = append(groups, strings.ToLower(e.Get("deploymentEnvironment").Text))
	}
	m.opt.Groups = groups
	if got := m.groups(kept); len(m.errs) == 0 && got != nil && equal(got, m.groups(ours)) {
		return kept
	}
	return ours
}
