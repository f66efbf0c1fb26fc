package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// subscriptionOf shows a subscription, without its status.
func (s *Server) subscriptionOf(g *access.Grant) SubscriptionDefinition {
	name := g.Application
	if a := s.access.Snapshot().Application(g.Application); a != nil {
		name = a.Name
	}
	return SubscriptionDefinition{APIVersion: catalog.APIVersion, Kind: kindSubscription, Metadata: SubscriptionMetadata{Name: g.ID},
		Spec: SubscriptionSpec{Application: name, API: g.API, Version: g.Version, Plan: g.Plan, State: g.State, Topics: g.Topics, Expires: g.Expires}}
}

func (s *Server) shownSubscription(g *access.Grant) SubscriptionDefinition {
	d := s.subscriptionOf(g)
	d.Status = SubscriptionStatus{ID: g.ID, ApplicationID: g.Application, CreatedAt: when(g.CreatedAt), CreatedBy: g.CreatedBy}
	if a := s.access.Snapshot().Application(g.Application); a != nil {
		d.Status.Owner = a.Owner
	}
	return d
}

// rights are what a caller may do with a subscription.
type rights struct{ owner, publisher bool }

// rightsOn tells what a caller may do with a subscription: whoever owns its application changes what it asks for, a publisher who sees
// the API its state.
func (s *Server) rightsOn(p auth.Principal, g *access.Grant) rights {
	var r rights
	if a := s.access.Snapshot().Application(g.Application); a != nil {
		r.owner = owns(p, a)
	}
	if p.Has(auth.RolePublisher) {
		rec, err := s.catalog.Get(g.API + "@" + g.Version)
		r.publisher = err == nil && manages(p, rec) || p.Has(auth.RoleAdmin)
	}
	return r
}

// subscription returns a subscription that the caller sees; any other is not there.
func (s *Server) subscription(c echo.Context, id string) (*access.Grant, rights, error) {
	g := s.access.Snapshot().GrantByID(id)
	if g == nil {
		return nil, rights{}, problem.NotFound
	}
	r := s.rightsOn(callerOf(c), g)
	if !r.owner && !r.publisher {
		return nil, r, problem.NotFound
	}
	return g, r, nil
}

// ListSubscriptions implements ServerInterface.
func (s *Server) ListSubscriptions(c echo.Context, params ListSubscriptionsParams) error {
	snap := s.access.Snapshot()
	names := map[string]string{} // of applications, by id
	for _, a := range snap.Records().Applications {
		names[a.ID] = a.Name
	}
	var seen []*access.Grant
	for _, g := range snap.Records().Grants {
		r := s.rightsOn(callerOf(c), g)
		if (r.owner || r.publisher) &&
			(params.Application == "" || params.Application == g.Application || params.Application == names[g.Application]) &&
			(params.API == "" || params.API == g.API || params.API == g.API+"@"+g.Version) &&
			(params.State == "" || params.State == g.State) {
			seen = append(seen, g)
		}
	}
	key := func(g *access.Grant) cursor {
		return cursor{strings.ToLower(names[g.Application] + " " + g.API + "@" + g.Version), g.ID}
	}
	page, next, err := paginate(seen, key, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := SubscriptionList{Items: []SubscriptionDefinition{}, NextCursor: next, Total: len(seen)}
	for _, g := range page {
		out.Items = append(out.Items, s.shownSubscription(g))
	}
	return answer(c, http.StatusOK, out)
}

// CreateSubscription implements ServerInterface.
func (s *Server) CreateSubscription(c echo.Context, params CreateSubscriptionParams) error {
	var in SubscriptionDefinition
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	want, err := s.newGrant(c, in, at)
	if err != nil {
		return err
	}
	g, err := s.access.CreateGrant(c.Request().Context(), s.accessWrite(c, precondition{}, params.DryRun), want)
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, nil, s.subscriptionOf(g))
	}
	return made(c, "/api/v1/subscriptions/"+url.PathEscape(g.ID), g.Rev, s.shownSubscription(g))
}

// newGrant is the subscription that a definition asks for, if the caller may have it. at may be nil.
func (s *Server) newGrant(c echo.Context, in SubscriptionDefinition, at *doc.Document) (access.Grant, error) {
	p, spec := callerOf(c), &in.Spec
	if in.Metadata.Name != "" {
		return access.Grant{}, wrongAt(at, problem.InvalidValue, "/metadata/name", "is made by the server; leave it out")
	}
	a, err := s.application(c, spec.Application)
	if err != nil {
		return access.Grant{}, wrongAt(at, problem.UnknownApplication, "/spec/application", "names no application of yours")
	}
	r, err := s.subscribable(p, spec.API+"@"+spec.Version, at)
	if err != nil {
		return access.Grant{}, err
	}
	g := access.Grant{Application: a.ID, API: r.API.Name(), Version: r.API.Version(), Plan: spec.Plan, Topics: spec.Topics, Expires: spec.Expires, CreatedBy: p.Name}
	g.State, err = s.stateFor(p, r, g.Plan, at)
	if err != nil {
		return g, err
	}
	if spec.State != "" && spec.State != g.State {
		if !p.Has(auth.RolePublisher) {
			return g, wrongAt(at, problem.Forbidden, "/spec/state", "can be set by a publisher only")
		}
		g.State = spec.State
	}
	return g, nil
}

// subscribable returns an API that new subscriptions may be to.
func (s *Server) subscribable(p auth.Principal, id string, at *doc.Document) (*catalog.Record, error) {
	r, err := s.catalog.Get(id)
	if err != nil || !s.meets(p, r) {
		return nil, wrongAt(at, problem.UnknownAPI, "/spec/api", "names no API that you can subscribe to")
	}
	switch r.API.Spec.State {
	case catalog.StatePublished:
		return r, nil
	case catalog.StateDeprecated:
		return nil, &problem.Error{Kind: problem.APIDeprecated, Detail: "Nobody new can subscribe to it; look for a newer version."}
	}
	return nil, &problem.Error{Kind: problem.NotPublished, Detail: "Only a published API can be subscribed to."}
}

// meets tells whether a caller may know that an API is there: as a developer, or as one who manages it. A blocked API is one that
// developers have seen.
func (s *Server) meets(p auth.Principal, r *catalog.Record) bool {
	if reads(p, r) || (p.Has(auth.RoleCreator) || p.Has(auth.RolePublisher)) && manages(p, r) {
		return true
	}
	return r.API.Spec.State == catalog.StateBlocked && visible(p, r)
}

// stateFor is the state in which a plan lets a subscription begin.
func (s *Server) stateFor(p auth.Principal, r *catalog.Record, plan string, at *doc.Document) (access.SubState, error) {
	kept := s.access.Snapshot().Plan(plan)
	if kept == nil || !slices.Contains(r.API.Spec.Plans, plan) {
		return "", wrongAt(at, problem.UnknownPlan, "/spec/plan", "names no plan that the API offers")
	}
	if kept.RequiresApproval && !p.Has(auth.RolePublisher) {
		return access.SubOnHold, nil
	}
	return access.SubUnblocked, nil
}

// GetSubscription implements ServerInterface.
func (s *Server) GetSubscription(c echo.Context, id SubscriptionID, _ GetSubscriptionParams) error {
	g, _, err := s.subscription(c, id)
	if err != nil {
		return err
	}
	return found(c, g.Rev, s.shownSubscription(g))
}

// UpdateSubscription implements ServerInterface.
func (s *Server) UpdateSubscription(c echo.Context, id SubscriptionID, params UpdateSubscriptionParams) error {
	old, may, err := s.subscription(c, id)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	var in SubscriptionDefinition
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	want, err := s.changedGrant(c, in, old, may, at)
	if err != nil {
		return err
	}
	w := s.accessWrite(c, pre, params.DryRun)
	if w.Expect == 0 { // who may change what was judged by this one
		w.Expect = old.Rev
	}
	g, err := s.access.UpdateGrant(c.Request().Context(), w, want)
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, s.subscriptionOf(old), s.subscriptionOf(g))
	}
	setETag(c, g.Rev)
	return answer(c, http.StatusOK, s.shownSubscription(g))
}

// changedGrant is a subscription after a change, if the caller may make it.
func (s *Server) changedGrant(c echo.Context, in SubscriptionDefinition, old *access.Grant, may rights, at *doc.Document) (access.Grant, error) {
	p, spec, g := callerOf(c), &in.Spec, *old
	var name string
	if a := s.access.Snapshot().Application(old.Application); a != nil {
		name = a.Name
	}
	for _, f := range []struct {
		pointer string
		same    bool
	}{{"/metadata/name", in.Metadata.Name == "" || in.Metadata.Name == old.ID}, {"/spec/application", spec.Application == old.Application || strings.EqualFold(spec.Application, name)},
		{"/spec/api", spec.API == old.API}, {"/spec/version", spec.Version == old.Version}} {
		if !f.same {
			return g, wrongAt(at, problem.ImmutableField, f.pointer, "cannot be changed")
		}
	}
	g.Plan, g.Topics, g.Expires = spec.Plan, spec.Topics, spec.Expires
	asks := g.Plan != old.Plan || !slices.Equal(g.Topics, old.Topics) || !g.Expires.Equal(old.Expires)
	if asks && !may.owner {
		return g, &problem.Error{Kind: problem.Forbidden, Detail: "Plan, topics and expires are changed by who owns the application."}
	}
	if g.Plan != old.Plan {
		r, err := s.catalog.Get(old.API + "@" + old.Version)
		if err != nil {
			return g, wrongAt(at, problem.UnknownAPI, "/spec/api", "is gone")
		}
		begin, err := s.stateFor(p, r, g.Plan, at)
		if err != nil {
			return g, err
		}
		if begin == access.SubOnHold && old.State == access.SubUnblocked {
			g.State = begin
		}
	}
	if spec.State == "" || spec.State == old.State {
		return g, nil
	}
	if !may.publisher {
		return g, wrongAt(at, problem.Forbidden, "/spec/state", "can be set by a publisher of the API only")
	}
	g.State = spec.State
	return g, nil
}

// DeleteSubscription implements ServerInterface.
func (s *Server) DeleteSubscription(c echo.Context, id SubscriptionID, params DeleteSubscriptionParams) error {
	old, may, err := s.subscription(c, id)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	if held := old.State == access.SubBlocked || old.State == access.SubRejected; held && !may.publisher {
		return &problem.Error{Kind: problem.Forbidden, Detail: "What a publisher blocked or rejected only a publisher deletes."}
	}
	if err := s.access.DeleteGrant(c.Request().Context(), s.accessWrite(c, pre, params.DryRun), old.ID); err != nil {
		return err
	}
	if params.DryRun {
		return plannedChange(c, s.subscriptionOf(old), nil)
	}
	return c.NoContent(http.StatusNoContent)
}

// SetSubscriptionState implements ServerInterface.
func (s *Server) SetSubscriptionState(c echo.Context, id SubscriptionID, _ SetSubscriptionStateParams) error {
	old, may, err := s.subscription(c, id)
	if err != nil {
		return err
	}
	if !may.publisher {
		return problem.Forbidden
	}
	pre, err := readIfMatch(c)
	if err != nil {
		return err
	}
	var in SubscriptionStateChange
	if err := s.decode(c, &in); err != nil {
		return err
	}
	w := s.accessWrite(c, pre, false)
	if w.Expect == 0 {
		w.Expect = old.Rev
	}
	g := *old
	g.State = in.State
	changed, err := s.access.UpdateGrant(c.Request().Context(), w, g)
	if err != nil {
		return err
	}
	setETag(c, changed.Rev)
	return answer(c, http.StatusOK, s.shownSubscription(changed))
}
