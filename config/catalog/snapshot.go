package catalog

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"

	"sluice/internal/doc"
)

// Snapshot is an immutable view of all APIs. Safe for any number of readers; one request sees one snapshot. The zero value has no
// APIs.
type Snapshot struct {
	revision uint64
	apis     []*API // by name, then version
	records  map[string]*record
	bases    baseNode
	warnings doc.Errors
	absent   map[string]EndReason // APIs that exist but not here, and why their streams end
	keeps    map[string]bool      // APIs that were the default version and keep the streams that came by its path
}

// Revision counts the snapshots of a Store; 0 is the empty one before the first load.
func (s *Snapshot) Revision() uint64 { return s.revision }

// APIs returns all APIs by name, then version. The slice is shared: do not change it.
func (s *Snapshot) APIs() []*API { return s.apis }

// API returns the API of that name and version, or nil. Names are compared exactly.
func (s *Snapshot) API(name, version string) *API {
	rec := s.records[apiKey(name, version)]
	if rec == nil || rec.api.Name() != name || rec.api.Version() != version {
		return nil
	}
	return rec.api
}

// Absent tells why streams of an API that this snapshot does not have end: EndAPIDeleted, or EndUndeployed if it is served elsewhere.
func (s *Snapshot) Absent(name, version string) EndReason {
	if why := s.absent[apiKey(name, version)]; why != EndNone {
		return why
	}
	return EndAPIDeleted
}

// KeepsClients tells whether streams that came by the default path stay although the API is not the default version any more.
func (s *Snapshot) KeepsClients(name, version string) bool { return s.keeps[apiKey(name, version)] }

// Warnings tells what is allowed in the definitions but deserves a look.
func (s *Snapshot) Warnings() []*doc.Error { return s.warnings }

// apiKey identifies an API version; names and versions cannot hold the separator.
func apiKey(name, version string) string { return name + "@" + version }

// build checks a bundle of definitions and makes a snapshot of it. Records of old whose definitions mean the same are shared, so that
// unchanged APIs are told by identity. The errors are everything wrong with the bundle.
func build(sources []Source, opt Options, old *Snapshot) (*Snapshot, error) {
	var errs doc.Errors
	s := &Snapshot{revision: old.revision + 1, records: map[string]*record{}}
	var defs []definition
	for _, src := range sources {
		read, bad := decode(src)
		errs = append(errs, bad...)
		defs = append(defs, read...)
	}
	unread := errs
	for _, def := range defs {
		if def.api.Spec.Topics == nil {
			def.api.Spec.Topics = []Topic{anyTopic()}
		}
		c := checker{d: def.doc, api: def.api, loops: opt.Loops}
		c.check()
		errs = append(errs, c.errs.Beside(unread)...)
		s.warnings = append(s.warnings, c.warns...)
		s.warnings = append(s.warnings, notServed(def)...)
	}
	errs = append(errs, checkBundle(defs)...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	for _, def := range defs {
		def.api.complete(opt)
		rec, err := compile(def.api)
		if err != nil {
			errs = append(errs, def.doc.Errorf("", "%v", err))
			continue
		}
		if before := old.records[apiKey(def.api.Name(), def.api.Version())]; before != nil && before.sum == rec.sum {
			rec = before
		}
		s.add(rec)
	}
	slices.SortFunc(s.apis, func(a, b *API) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Version(), b.Version()))
	})
	return s, errs.Err()
}

// anyTopic is the topic of an API that declares none.
func anyTopic() Topic {
	var t Topic
	t.SetDefaults()
	t.Name = "/*"
	return t
}

// notServed warns about a definition that its writer probably expects to answer.
func notServed(def definition) doc.Errors {
	if def.api.Spec.State != StateCreated || def.doc == nil {
		return nil
	}
	e := def.doc.Errorf("/spec/state", "api %s is in state CREATED and not served", clip(def.api.ID()))
	e.Hint = "set state: PUBLISHED"
	return doc.Errors{e}
}

func compile(api *API) (*record, error) {
	text, err := doc.Marshal(api)
	if err != nil {
		return nil, err
	}
	rec := &record{api: api, sum: sha256.Sum256(text)}
	for i := range api.Spec.Topics {
		c, err := compileTopic(api, &api.Spec.Topics[i])
		if err != nil {
			return nil, err
		}
		rec.topics.add(c)
	}
	return rec, nil
}

func (s *Snapshot) add(rec *record) {
	s.apis = append(s.apis, rec.api)
	s.records[apiKey(rec.api.Name(), rec.api.Version())] = rec
	s.bases.add(rec.api.BasePath(), &baseEntry{rec: rec})
	if p := rec.api.DefaultPath(); p != "" {
		s.bases.add(p, &baseEntry{rec: rec, byDefault: true})
	}
}
