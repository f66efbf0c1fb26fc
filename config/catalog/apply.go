package catalog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"sluice/internal/problem"
)

// SetLabel marks the members of a set that Apply may prune.
const SetLabel = "sluice/set"

// Apply makes the APIs of a bundle exist as written, each in one change: older versions first. Anything wrong with a document is an
// error as of Create, and nothing is written; what a single object meets later is in its Applied. ChangedElsewhere (409) if an API
// was edited since it was applied last. Write.Expect is not used.
func (m *Manager) Apply(ctx context.Context, w Write, opt ApplyOptions, sources ...Source) ([]Applied, error) {
	w.Expect = 0
	bundle, err := m.bundle(w, opt, sources)
	if err != nil {
		return nil, err
	}
	var out []Applied
	member := map[string]bool{}
	for _, in := range bundle {
		member[apiToken(in.api.Name(), in.api.Version())] = true
		out = append(out, m.applyOne(ctx, w, opt, in))
	}
	if opt.Prune {
		out = append(out, m.prune(ctx, w, opt.Set, member)...)
	}
	return out, nil
}

// CheckApply tells what Apply would refuse before it wrote anything.
func (m *Manager) CheckApply(w Write, opt ApplyOptions, sources ...Source) error {
	_, err := m.bundle(w, opt, sources)
	return err
}

// bundle reads and judges all definitions together.
func (m *Manager) bundle(w Write, opt ApplyOptions, sources []Source) ([]input, error) {
	switch {
	case opt.Prune && opt.Set == "":
		return nil, &problem.Error{Kind: InvalidValue, Detail: "prune needs the name of a set."}
	case opt.Set != "" && !isLabel(opt.Set):
		return nil, &problem.Error{Kind: InvalidValue, Detail: "set must be at most 63 letters, digits, dots, underscores, slashes or dashes."}
	}
	var bundle []input
	var defs []definition
	for _, src := range sources {
		list, err := m.readAll(src, opt.Others...)
		if err != nil {
			return nil, err
		}
		bundle = append(bundle, list...)
	}
	for i := range bundle {
		in := &bundle[i]
		if opt.Set != "" {
			labels := map[string]string{SetLabel: opt.Set}
			maps.Copy(labels, in.api.Metadata.Labels)
			labels[SetLabel] = opt.Set
			in.api.Metadata.Labels = labels
		}
		probe := *in.api
		if probe.Spec.Topics == nil {
			probe.Spec.Topics = []Topic{anyTopic()}
		}
		if _, err := m.examine(definition{&probe, in.doc}, in.unread, w.Plans); err != nil {
			return nil, err
		}
		defs = append(defs, definition{&probe, in.doc})
	}
	if err := asProblem(checkBundle(defs)); err != nil {
		return nil, err
	}
	slices.SortStableFunc(bundle, func(a, b input) int {
		return cmp.Or(strings.Compare(a.api.Name(), b.api.Name()), compareVersions(a.api.Version(), b.api.Version()))
	})
	return bundle, nil
}

// compareVersions orders versions, numbers in them by value.
func compareVersions(a, b string) int {
	x, y := strings.FieldsFunc(a, notDigit), strings.FieldsFunc(b, notDigit)
	for i := range min(len(x), len(y)) {
		p, q := strings.TrimLeft(x[i], "0"), strings.TrimLeft(y[i], "0")
		if c := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// applyOne makes one API as written.
func (m *Manager) applyOne(ctx context.Context, w Write, opt ApplyOptions, in input) Applied {
	a := Applied{ID: in.api.ID()}
	a.Result, a.Err = m.change(ctx, w, func(p *plan) error {
		e := p.seen.apis[apiToken(in.api.Name(), in.api.Version())]
		if e == nil {
			a.Outcome = "created"
			return m.createFrom(p, in, true)
		}
		a.Outcome = "configured"
		if !opt.Force && e.AppliedHash != "" && e.AppliedHash != sumOf(e.stored.Definition) {
			return changedElsewhere(e, in.api)
		}
		return m.updateFrom(p, a.ID, in, true)
	})
	switch {
	case a.Err != nil:
		a.Outcome = "refused"
	case !a.Result.Changed:
		a.Outcome = "unchanged"
	}
	return a
}

func changedElsewhere(e *entryAPI, api *API) error {
	is, err := definitionOf(e.rec.API)
	if err != nil {
		return err
	}
	want, err := definitionOf(api)
	if err != nil {
		return err
	}
	diff, err := diffOf(is, want)
	if err != nil {
		return err
	}
	return &problem.Error{Kind: ChangedElsewhere, Detail: "The API was edited since it was applied last.",
		Err: &ChangedError{ID: e.rec.ID(), Diff: diff}}
}

// prune deletes the members of a set that are not in the bundle, newer versions first.
func (m *Manager) prune(ctx context.Context, w Write, set string, member map[string]bool) []Applied {
	var gone []*Record
	for _, rec := range m.List() {
		if rec.API.Metadata.Labels[SetLabel] == set && !member[apiToken(rec.API.Name(), rec.API.Version())] {
			gone = append(gone, rec)
		}
	}
	slices.SortStableFunc(gone, func(a, b *Record) int {
		return cmp.Or(strings.Compare(a.API.Name(), b.API.Name()), -compareVersions(a.API.Version(), b.API.Version()))
	})
	var out []Applied
	for _, rec := range gone {
		a := Applied{ID: rec.ID(), Outcome: "pruned"}
		if a.Result, a.Err = m.change(ctx, w, func(p *plan) error { return m.deleteFrom(p, rec.ID(), false) }); a.Err != nil {
			a.Outcome = "refused"
		}
		out = append(out, a)
	}
	return out
}
