package catalog

import (
	"context"

	"sluice/internal/problem"
)

// LifecycleOptions go with a transition.
type LifecycleOptions struct {
	// DeprecateOlder makes Publish deprecate the other PUBLISHED versions in the same change.
	DeprecateOlder bool
	// Carry makes Publish subscribe everyone who has subscribed to the version before this one.
	Carry bool
}

// Lifecycle makes a transition. Publish and Prototype cut and deploy a revision if none is deployed, or with deploy: auto if the working
// copy says something else. TransitionNotAllowed (409, with a *TransitionError), NotPublishable (422, the whole list).
func (m *Manager) Lifecycle(ctx context.Context, w Write, id string, t Transition, opt LifecycleOptions) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		if err := d.move(t); err != nil {
			return err
		}
		if t == Publish && opt.Carry {
			p.carryFrom = p.seen.versionBefore(d.api)
		}
		if err := d.finish(true); err != nil || t != Publish || !opt.DeprecateOlder {
			return err
		}
		for _, e := range p.seen.family(d.api.Name()) {
			if e == d.old || e.State != StatePublished {
				continue
			}
			older := m.draftOf(p, e)
			if err := older.move(Deprecate); err != nil {
				return err
			}
			if err := older.finish(false); err != nil {
				return err
			}
		}
		return nil
	})
}

// move makes one transition.
func (d *draft) move(t Transition) error {
	from := d.st.State
	to, err := t.after(from)
	if err != nil {
		return err
	}
	d.st.State, d.api.Spec.State = to, to
	if to.Served() && to != StateDeprecated {
		if _, err := d.m.examine(definition{api: d.api}, nil, d.p.by.Plans); err != nil {
			return err
		}
	}
	h := HistoryEntry{Action: string(t), From: from, To: to}
	if (t == Publish || t == Prototype) && (len(d.st.Deployments) == 0 || d.api.Spec.Deploy == DeployAuto) {
		if err := d.serve(); err != nil {
			return err
		}
		h.Revision = d.p.result.Revision
	}
	d.log(h)
	return nil
}

// moveTo makes the one transition that leads to a state.
func (d *draft) moveTo(to State) error {
	t, ok := between(d.st.State, to)
	if ok {
		return d.move(t)
	}
	cause := &TransitionError{Transition: Transition(to), From: d.st.State, Allowed: Allowed(d.st.State)}
	return &problem.Error{Kind: TransitionNotAllowed, Detail: cause.Error(), Err: cause,
		Errors: []problem.Part{{Pointer: "/spec/state", Type: string(TransitionNotAllowed), Reason: "cannot be reached from " + string(d.st.State)}}}
}

// Checklist tells what publishing needs and whether it is there.
func (m *Manager) Checklist(id string) ([]Check, error) {
	rec, err := m.Get(id)
	if err != nil {
		return nil, err
	}
	s := &rec.API.Spec
	list := []Check{
		{"endpoint", s.Endpoint != "", "The API has no endpoint."},
		{"topics", len(s.Topics) > 0, "The API has no topic."},
		{"transports", len(s.Transports) > 0, "The API has no transport."},
		{"plans", rec.API.Open() || len(s.Plans) > 0, "A topic needs a credential, so that the API needs a plan."},
	}
	for i := range list {
		if list[i].OK {
			list[i].Detail = ""
		}
	}
	return list, nil
}
