package catalog

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Cut copies the working copy into a new revision. RevisionLimit (409) if there are as many as allowed and none of the automatic ones
// can go.
func (m *Manager) Cut(ctx context.Context, w Write, id, description string) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		if len([]rune(description)) > maxComment {
			return &problem.Error{Kind: InvalidValue, Detail: fmt.Sprintf("description must be at most %d characters", maxComment)}
		}
		n, err := d.cut(false, description)
		if err != nil {
			return err
		}
		d.log(HistoryEntry{Action: "revision", Revision: n})
		return d.finish(true)
	})
}

// Restore copies a revision into the working copy; state, default, plans and visibility are not part of it. As Update.
func (m *Manager) Restore(ctx context.Context, w Write, id string, n int) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		if _, there := d.st.revision(n); !there {
			return noSuchRevision(id, n)
		}
		api, err := d.find(n)
		if err != nil {
			return err
		}
		is := &d.old.rec.API.Spec
		api.Spec.State, api.Spec.Default, api.Spec.Plans = is.State, is.Default, is.Plans
		api.Spec.Visibility, api.Spec.VisibleTo = is.Visibility, is.VisibleTo
		return d.become(api, nil, nil, HistoryEntry{Action: "restore", Revision: n})
	})
}

// DeleteRevision removes a revision. RevisionDeployed (409).
func (m *Manager) DeleteRevision(ctx context.Context, w Write, id string, n int) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(d.st.Revisions, func(r RevisionInfo) bool { return r.N == n })
		if i < 0 {
			return noSuchRevision(id, n)
		}
		if d.st.deployed(n) {
			return &problem.Error{Kind: RevisionDeployed, Detail: "The revision is deployed; undeploy it first."}
		}
		d.drop(i)
		d.log(HistoryEntry{Action: "delete-revision", Revision: n})
		return d.finish(true)
	})
}

func noSuchRevision(id string, n int) error {
	return &problem.Error{Kind: problem.NotFound, Detail: fmt.Sprintf("The API %s has no revision %d.", clip(id), n)}
}

// Deploy says which revision each edge group serves; a group left out serves none. MappingDiffers (409) if two groups would read one
// topic from different upstreams; NotFound for an unknown revision; InvalidValue for a bad group.
func (m *Manager) Deploy(ctx context.Context, w Write, id string, groups map[string]int) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		if d.st.State == StateRetired {
			return readOnly()
		}
		if err := d.deployable(groups); err != nil {
			return err
		}
		if maps.Equal(groups, d.st.Deployments) {
			return d.finish(true)
		}
		d.st.Deployments = maps.Clone(groups)
		h := HistoryEntry{Action: "deploy"}
		for _, n := range groups {
			h.Revision = max(h.Revision, n)
		}
		if len(groups) == 0 {
			h.Action = "undeploy"
		}
		d.log(h)
		return d.finish(true)
	})
}

// deployable checks what each group is to serve.
func (d *draft) deployable(groups map[string]int) error {
	if len(groups) > 16 {
		return &problem.Error{Kind: InvalidValue, Detail: "An API has at most 16 edge groups."}
	}
	for g, n := range groups {
		if !isGroup(g) {
			const why = "is not the name of an edge group: 1 to 32 lower-case letters, digits or dashes"
			return &problem.Error{Kind: InvalidValue, Detail: clip(g) + " " + why,
				Errors: []problem.Part{{Pointer: doc.Join("/groups", g), Type: string(InvalidValue), Reason: why}}}
		}
		if _, there := d.st.revision(n); !there {
			return noSuchRevision(d.api.ID(), n)
		}
	}
	return d.sameMapping(groups)
}

// sameMapping refuses revisions side by side that read one topic from different upstreams, because a feed has one; and topics of which
// ingest, that has all in one table, could not tell which is meant.
func (d *draft) sameMapping(groups map[string]int) error {
	numbers := slices.Compact(slices.Sorted(maps.Values(groups)))
	if len(numbers) < 2 {
		return nil
	}
	var before []*API
	for _, n := range numbers {
		api, err := d.find(n)
		if err != nil {
			return err
		}
		for _, other := range before {
			if topic := otherMapping(api, other); topic != "" {
				return &problem.Error{Kind: MappingDiffers, Detail: "The revisions read topic " + clip(topic) + " from different upstreams."}
			}
		}
		before = append(before, api)
	}
	st := d.st
	st.Deployments = groups
	all, err := servedAPI(&st, d.api, d.find, "", d.m.opt.Options)
	if err != nil {
		return err
	}
	c := checker{api: all}
	if c.topics(); len(c.errs) > 0 {
		return &problem.Error{Kind: MappingDiffers, Detail: "The revisions have topics that cannot stand side by side.", Err: c.errs}
	}
	return nil
}

// otherMapping names a topic that both have and read differently, "" = none.
func otherMapping(a, b *API) string {
	same := a.Spec.Endpoint == b.Spec.Endpoint && reflect.DeepEqual(a.Spec.Upstream, b.Spec.Upstream)
	for i := range a.Spec.Topics {
		t := &a.Spec.Topics[i]
		if o := b.Topic(t.Name); o != nil && (!same || t.Backend != o.Backend) {
			return t.Name
		}
	}
	return ""
}
