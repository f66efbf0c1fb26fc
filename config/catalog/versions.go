package catalog

import (
	"context"
	"slices"

	"sluice/internal/problem"
)

// Copy makes a new version, in state CREATED, out of the working copy of another. Write.Expect is that other's. VersionConflict,
// invalid-version, ContextConflict.
func (m *Manager) Copy(ctx context.Context, w Write, id, version string, byDefault bool) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		from, err := m.edit(p, id)
		if err != nil {
			return err
		}
		api := *from.api
		api.Spec.Version, api.Spec.State, api.Spec.Default = version, StateCreated, byDefault
		api.Spec.Topics = slices.Clone(api.Spec.Topics)
		d := m.create(p, &api)
		if err := d.examine(definition{api: &api}, nil); err != nil {
			return err
		}
		if p.seen.apis[d.token] != nil {
			return versionTaken(&api, "/version")
		}
		d.log(HistoryEntry{Action: "copy", To: StateCreated})
		if err := d.finish(true); err != nil {
			return err
		}
		instead := map[string]*API{}
		if byDefault {
			if err := m.dethrone(p, api.Name(), "", false, instead); err != nil {
				return err
			}
		}
		p.gated = true
		return asProblem(p.seen.clashesOf(definition{api: &api}, instead, p.by.By))
	})
}

// SetDefault makes a version the one that answers without version too; "" = none does. moveClients ends the streams that came by the
// default path; else they stay. Write.Expect is the tag that the family must still have. The record of the result is that of the
// version, or without one of the former default. NotFound, ContextConflict, TopicConflict.
func (m *Manager) SetDefault(ctx context.Context, w Write, name, version string, moveClients bool) (Result, error) {
	expect := w.Expect
	w.Expect = 0 // of the record: it is the family's
	return m.change(ctx, w, func(p *plan) error {
		versions := p.seen.family(name)
		i := slices.IndexFunc(versions, func(e *entryAPI) bool { return e.rec.API.Version() == version })
		if len(versions) == 0 || i < 0 && version != "" {
			return &problem.Error{Kind: problem.NotFound, Detail: "There is no API " + clip(name+"@"+version) + "."}
		}
		if expect > 0 && expect != familyTag(versions) {
			return &problem.Error{Kind: VersionMismatch, Detail: "The versions were changed meanwhile."}
		}
		p.gated = true
		instead := map[string]*API{}
		if i < 0 {
			return m.noDefault(p, versions, moveClients, instead)
		}
		// The new default stands first in the batch: no snapshot is without one.
		d := m.draftOf(p, versions[i])
		if !d.st.Default {
			d.log(HistoryEntry{Action: "default"})
		}
		d.api.Spec.Default, d.st.KeepsClients = true, false
		if err := d.finish(true); err != nil {
			return err
		}
		if err := m.dethrone(p, name, version, moveClients, instead); err != nil {
			return err
		}
		instead[d.token] = nil
		return asProblem(p.seen.clashesOf(definition{api: d.api}, instead, p.by.By))
	})
}

// noDefault leaves a family without default version.
func (m *Manager) noDefault(p *plan, versions []*entryAPI, moveClients bool, instead map[string]*API) error {
	p.result.Record = versions[0].rec
	for _, e := range versions {
		if e.Default {
			p.result.Record = e.rec
		}
	}
	if err := m.dethrone(p, versions[0].rec.API.Name(), "", moveClients, instead); err != nil {
		return err
	}
	p.result.Changed = len(p.writes) > 0
	return nil
}

// dethrone takes default from whichever version of the name has it, but for keep, and notes in instead what that looks like then.
func (m *Manager) dethrone(p *plan, name, keep string, moveClients bool, instead map[string]*API) error {
	for _, e := range p.seen.family(name) {
		if !e.Default || e.rec.API.Version() == keep {
			continue
		}
		d := m.draftOf(p, e)
		d.api.Spec.Default, d.st.KeepsClients = false, !moveClients
		d.log(HistoryEntry{Action: "default"})
		instead[d.token] = d.api
		if err := d.finish(false); err != nil {
			return err
		}
	}
	return nil
}
