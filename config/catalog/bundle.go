package catalog

import (
	"strings"

	"sluice/internal/doc"
)

// family is all versions of one name, case ignored.
type family struct {
	name, context string
	byDefault     string // id of the default version
	versions      map[string]bool
}

// base is one path at which an API answers, lower case.
type base struct {
	path    string
	family  string
	id      string
	pointer string
	doc     *doc.Document
}

// checkBundle finds what is wrong between definitions that may each be right: names and paths that two of them claim.
func checkBundle(defs []definition) doc.Errors {
	var errs doc.Errors
	fail := func(d *doc.Document, slug, pointer, format string, args ...any) {
		e := d.Errorf(pointer, format, args...)
		e.Type = slug
		errs = append(errs, e)
	}
	families := map[string]*family{}
	var bases []base
	for _, def := range defs {
		name, version := strings.ToLower(def.api.Name()), strings.ToLower(def.api.Version())
		if name == "" || version == "" {
			continue // told already
		}
		f := families[name]
		if f == nil {
			f = &family{name: def.api.Name(), context: def.api.Spec.Context, versions: map[string]bool{}}
			families[name] = f
		}
		if f.versions[version] {
			fail(def.doc, "version-conflict", "/spec/version", "api %s is defined twice", clip(def.api.ID()))
			continue
		}
		f.versions[version] = true
		if f.name != def.api.Name() {
			fail(def.doc, "version-conflict", "/metadata/name", "differs from %s only in case", clip(f.name))
		}
		if f.context != def.api.Spec.Context {
			fail(def.doc, "context-differs", "/spec/context", "must be %s as in the other versions of %s", clip(f.context), clip(f.name))
		}
		if def.api.Spec.Default && f.byDefault != "" {
			fail(def.doc, "version-conflict", "/spec/default", "%s is the default version already", clip(f.byDefault))
			continue
		}
		if def.api.Spec.Default {
			f.byDefault = def.api.ID()
		}
		bases = append(bases, basesOf(def, name)...)
	}
	for _, clash := range clashes(bases) {
		fail(clash.at.doc, "context-conflict", clash.at.pointer, "path %s clashes with %s of api %s", clip(clash.at.path),
			clip(clash.with.path), clip(clash.with.id))
	}
	for _, def := range defs {
		f := families[strings.ToLower(def.api.Name())]
		if f == nil || f.byDefault != def.api.ID() {
			continue
		}
		shadowed(def, f, fail)
	}
	return errs
}

func basesOf(def definition, family string) []base {
	out := []base{{strings.ToLower(def.api.BasePath()), family, def.api.ID(), "/spec/context", def.doc}}
	if p := def.api.DefaultPath(); p != "" {
		out = append(out, base{strings.ToLower(p), family, def.api.ID(), "/spec/default", def.doc})
	}
	return out
}

type clash struct{ at, with base }

// clashes finds paths that equal, or lie below, a path of another family. Of a pair the later one is told.
func clashes(bases []base) []clash {
	byPath := map[string]int{}
	var out []clash
	for i, b := range bases {
		if first, taken := byPath[b.path]; !taken {
			byPath[b.path] = i
		} else if bases[first].family != b.family {
			out = append(out, clash{b, bases[first]})
		}
	}
	for i, b := range bases {
		for cut := strings.LastIndexByte(b.path, '/'); cut > 0; cut = strings.LastIndexByte(b.path[:cut], '/') {
			j, taken := byPath[b.path[:cut]]
			if !taken || bases[j].family == b.family {
				continue
			}
			if j > i {
				out = append(out, clash{bases[j], b})
			} else {
				out = append(out, clash{b, bases[j]})
			}
		}
	}
	return out
}

// shadowed finds topics of a default version that begin with a version of the family: below the short path they could never be
// reached. Only where versions stand at the end: elsewhere paths of versions do not begin with the short path.
func shadowed(def definition, f *family, fail func(d *doc.Document, slug, pointer, format string, args ...any)) {
	if !strings.HasPrefix(def.api.BasePath(), def.api.DefaultPath()+"/") {
		return
	}
	for i, t := range def.api.Spec.Topics {
		segments, err := parseTopic(t.Name)
		if err != nil || len(segments) == 0 {
			continue
		}
		if f.versions[strings.ToLower(segments[0].literal)] {
			fail(def.doc, "topic-conflict", doc.Join(doc.Join("/spec/topics", i), "name"),
				"begins with a version of %s: below the default path it could not be reached", clip(f.name))
		}
	}
}
