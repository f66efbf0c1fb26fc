package admin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// accessKinds are the kinds of a bundle that the catalog passes over, and the roles that they need.
var accessKinds = map[string]auth.Role{kindPlan: auth.RoleAdmin, kindApplication: auth.RoleSubscriber, kindSubscription: auth.RoleSubscriber}

// accessBundle is what a bundle says of who may read.
type accessBundle struct {
	plans         []written[PlanDefinition]
	applications  []written[ApplicationDefinition]
	subscriptions []written[SubscriptionDefinition]
}

// written is a definition with its document.
type written[T any] struct {
	def T
	at  *doc.Document
}

// readAccess reads the definitions of a bundle that the catalog passes over; everything that is wrong with them is told at once.
func (s *Server) readAccess(src catalog.Source) (accessBundle, error) {
	var b accessBundle
	var errs doc.Errors
	docs, err := doc.Parse(src.Name, src.Data)
	if err != nil {
		return b, err
	}
	for _, d := range docs {
		kind := textAt(d, "/kind")
		if _, mine := accessKinds[kind]; !mine {
			continue
		}
		schema := s.contract.doc.Components.Schemas[kind+"Definition"].Value
		var err error
		switch kind {
		case kindPlan:
			def := newPlan()
			err = decodeBy(d, schema, &def)
			b.plans = append(b.plans, written[PlanDefinition]{def, d})
		case kindApplication:
			var def ApplicationDefinition
			err = decodeBy(d, schema, &def)
			b.applications = append(b.applications, written[ApplicationDefinition]{def, d})
		case kindSubscription:
			var def SubscriptionDefinition
			err = decodeBy(d, schema, &def)
			b.subscriptions = append(b.subscriptions, written[SubscriptionDefinition]{def, d})
		}
		var wrong doc.Errors
		if errors.As(err, &wrong) {
			errs = append(errs, wrong...)
		} else if err != nil {
			return b, err
		}
	}
	return b, errs.Err()
}

// planNames are the plans of the bundle.
func (b *accessBundle) planNames() []string {
	var out []string
	for _, p := range b.plans {
		out = append(out, p.def.Metadata.Name)
	}
	return out
}

// applier applies the access part of a bundle, one object after the other.
type applier struct {
	s      *Server
	c      echo.Context
	set    string
	dryRun bool
	force  bool // also what was edited elsewhere
	bundle accessBundle
	apis   []string // of the same bundle
}

func (a *applier) ctx() context.Context { return a.c.Request().Context() }

func (a *applier) write(rev uint64) access.Write {
	w := a.s.accessWrite(a.c, precondition{rev: rev}, a.dryRun)
	w.Applied = true
	return w
}

// check tells what is wrong with plans and applications by themselves, before anything is written.
func (a *applier) check() error {
	dry := *a
	dry.dryRun = true
	for _, p := range a.bundle.plans {
		if out, err := dry.plan(p); err != nil {
			return err
		} else if out.wrong() {
			return out.err
		}
	}
	for _, app := range a.bundle.applications {
		if out, err := dry.application(app); err != nil {
			return err
		} else if out.wrong() {
			return out.err
		}
	}
	return nil
}

// outcome is what happened to one object.
type outcome struct {
	id, result string
	rev        uint64
	diff       []Change
	err        error
}

// wrong tells whether a whole bundle is refused for it: not if somebody else edited one object.
func (o outcome) wrong() bool {
	return o.err != nil && problem.KindOf(o.err) != catalog.ChangedElsewhere
}

// kept is a record that a bundle may have written before.
type kept interface {
	Edited() bool // since
	Kept() bool   // it did, and nothing is to be noted
}

// became is the outcome of making is, of which record is kept, into would by f; nil = it is new.
func (a *applier) became(id string, record kept, is, would any, f func() (any, uint64, error)) (outcome, error) {
	out := outcome{id: id, result: "configured"}
	if is == nil {
		out.result = "created"
	}
	var err error
	if out.diff, err = differences(is, would); err != nil {
		return out, err
	}
	same := len(out.diff) == 0
	switch {
	case same && (a.dryRun || record == nil || record.Kept()):
		out.result = "unchanged"
		return out, nil
	case !same && record != nil && record.Edited() && !a.force:
		out.result = "refused"
		out.err = &problem.Error{Kind: catalog.ChangedElsewhere, Detail: "It was edited since it was applied last.", Err: &catalog.ChangedError{ID: id, Diff: out.diff}}
		out.diff = nil
		return out, nil
	}
	made, rev, err := f()
	if err != nil {
		out.result, out.err = "refused", err
		return out, nil
	}
	out.rev = rev
	if same { // but that a bundle has it is noted now
		out.result = "unchanged"
		return out, nil
	}
	out.diff, err = differences(is, made)
	return out, err
}

// plan makes one plan as written.
func (a *applier) plan(p written[PlanDefinition]) (outcome, error) {
	record := p.def.record()
	would := planOf(&record)
	old := a.s.access.Snapshot().Plan(record.Name)
	var is any
	var was kept
	if old != nil {
		is, was = planOf(old), old
	}
	return a.became(record.Name, was, is, would, func() (any, uint64, error) {
		change := a.s.access.CreatePlan
		var rev uint64
		if old != nil {
			change, rev = a.s.access.UpdatePlan, old.Rev
		}
		made, err := change(a.ctx(), a.write(rev), record)
		if err != nil {
			return nil, 0, placed(err, p.at, inEnvelope)
		}
		return planOf(made), made.Rev, nil
	})
}

// own is the application of the caller's, or of whoever the definition names, that has a name.
func (a *applier) own(name, owner string) *access.Application {
	p := callerOf(a.c)
	var found *access.Application
	for _, app := range a.s.access.Snapshot().Records().Applications {
		if strings.EqualFold(app.Name, name) && owns(p, app) && (owner == "" || owner == app.Owner) && (found == nil || app.Owner == p.Name) {
			found = app
		}
	}
	return found
}

// application makes one application as written.
func (a *applier) application(w written[ApplicationDefinition]) (outcome, error) {
	m := &w.def.Metadata
	old := a.own(m.Name, m.Owner)
	want, err := w.def.record(callerOf(a.c), old, w.at)
	if err != nil {
		return outcome{id: m.Name, result: "refused", err: err}, nil
	}
	if a.set != "" {
		want.Labels = maps.Clone(want.Labels)
		if want.Labels == nil {
			want.Labels = map[string]string{}
		}
		want.Labels[catalog.SetLabel] = a.set
	}
	would := applicationOf(&want)
	var is any
	var was kept
	if old != nil {
		is, was = applicationOf(old), old
	}
	return a.became(m.Name, was, is, would, func() (any, uint64, error) {
		change := a.s.access.CreateApplication
		var rev uint64
		if old != nil {
			change, rev = a.s.access.UpdateApplication, old.Rev
		}
		made, err := change(a.ctx(), a.write(rev), want)
		if err != nil {
			return nil, 0, placed(err, w.at, inEnvelope)
		}
		return applicationOf(made), made.Rev, nil
	})
}

// subscription makes one subscription as written.
func (a *applier) subscription(w written[SubscriptionDefinition]) (outcome, error) {
	spec := &w.def.Spec
	id := spec.Application + "/" + spec.API + "@" + spec.Version
	refused := func(err error) (outcome, error) { return outcome{id: id, result: "refused", err: err}, nil }
	var old *access.Grant
	app, err := a.s.application(a.c, spec.Application)
	if err == nil {
		old = a.s.access.Snapshot().Grant(app.ID, spec.API, spec.Version)
	}
	if old == nil {
		want, err := a.s.newGrant(a.c, w.def, w.at)
		if err != nil && a.dryRun && a.comes(spec) {
			return outcome{id: id, result: "created"}, nil // on what the same bundle makes
		}
		if err != nil {
			return refused(err)
		}
		return a.became(id, nil, nil, a.s.subscriptionOf(&want), func() (any, uint64, error) {
			return a.shown(a.s.access.CreateGrant(a.ctx(), a.write(0), want))(w.at)
		})
	}
	want, err := a.s.changedGrant(a.c, w.def, old, a.s.rightsOn(callerOf(a.c), old), w.at)
	if err != nil {
		return refused(err)
	}
	return a.became(id, old, a.s.subscriptionOf(old), a.s.subscriptionOf(&want), func() (any, uint64, error) {
		return a.shown(a.s.access.UpdateGrant(a.ctx(), a.write(old.Rev), want))(w.at)
	})
}

// shown is a stored subscription as a definition.
func (a *applier) shown(g *access.Grant, err error) func(*doc.Document) (any, uint64, error) {
	return func(at *doc.Document) (any, uint64, error) {
		if err != nil {
			return nil, 0, placed(err, at, inEnvelope)
		}
		return a.s.subscriptionOf(g), g.Rev, nil
	}
}

// comes tells whether a subscription is to an API, or of an application, that the same bundle makes.
func (a *applier) comes(spec *SubscriptionSpec) bool {
	return slices.Contains(a.apis, spec.API+"@"+spec.Version) ||
		slices.ContainsFunc(a.bundle.applications, func(w written[ApplicationDefinition]) bool {
			return strings.EqualFold(w.def.Metadata.Name, spec.Application)
		})
}

// prune deletes what a set had and the bundle lacks: subscriptions of the set's applications, then applications.
func (a *applier) prune() []keptOutcome {
	var out []keptOutcome
	p := callerOf(a.c)
	for _, app := range a.s.access.Snapshot().Records().Applications {
		if app.Labels[catalog.SetLabel] != a.set || !owns(p, app) {
			continue
		}
		for _, g := range a.s.access.Snapshot().Records().Grants {
			if g.Application == app.ID && !a.holds(app, g) {
				err := a.s.access.DeleteGrant(a.ctx(), a.write(g.Rev), g.ID)
				out = append(out, pruned(kindSubscription, app.Name+"/"+g.API+"@"+g.Version, err))
			}
		}
		if !slices.ContainsFunc(a.bundle.applications, func(w written[ApplicationDefinition]) bool {
			return strings.EqualFold(w.def.Metadata.Name, app.Name)
		}) {
			out = append(out, pruned(kindApplication, app.Name, a.s.access.DeleteApplication(a.ctx(), a.write(app.Rev), app.ID)))
		}
	}
	return out
}

// holds tells whether the bundle has a subscription.
func (a *applier) holds(app *access.Application, g *access.Grant) bool {
	return slices.ContainsFunc(a.bundle.subscriptions, func(w written[SubscriptionDefinition]) bool {
		spec := &w.def.Spec
		return (strings.EqualFold(spec.Application, app.Name) || spec.Application == app.ID) && spec.API == g.API && spec.Version == g.Version
	})
}

// keptOutcome is the outcome of an object of a kind.
type keptOutcome struct {
	kind string
	outcome
}

func pruned(kind, id string, err error) keptOutcome {
	if err != nil {
		return keptOutcome{kind, outcome{id: id, result: "refused", err: err}}
	}
	return keptOutcome{kind, outcome{id: id, result: "pruned"}}
}

// mayApplyAccess checks that the caller has the roles that the kinds of a bundle need.
func mayApplyAccess(p auth.Principal, docs []*doc.Document) error {
	for _, d := range docs {
		kind := textAt(d, "/kind")
		role, mine := accessKinds[kind]
		if !mine {
			kind, role = catalog.KindAPI, auth.RoleCreator
		}
		if !p.Has(role) {
			return &problem.Error{Kind: problem.Forbidden, Detail: "Definitions of kind " + kind + " need the role " + string(role) + "."}
		}
	}
	return nil
}
