package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/problem"
)

// Kinds of definitions beside catalog.KindAPI.
const (
	kindPlan         = "Plan"
	kindApplication  = "Application"
	kindSubscription = "Subscription"
)

// newPlan is a plan that says nothing, for a decoder to write over.
func newPlan() PlanDefinition {
	return PlanDefinition{Spec: PlanSpec{Enforce: true, OnQuotaEnd: access.QuotaAuto, WhenSourceDown: access.FailOpen}}
}

// record is the plan as the store keeps it.
func (d *PlanDefinition) record() access.Plan {
	m, spec := &d.Metadata, &d.Spec
	if spec.Quota.Events > 0 && spec.Quota.Every == 0 {
		spec.Quota.Every = 1
	}
	return access.Plan{Name: m.Name, DisplayName: m.DisplayName, Description: m.Description, Quota: spec.Quota, Enforce: spec.Enforce, Rate: spec.Rate,
		Connections: spec.Connections, MaxDuration: spec.MaxDuration, OnQuotaEnd: spec.OnQuotaEnd, WhenSourceDown: spec.WhenSourceDown,
		RequiresApproval: spec.RequiresApproval}
}

func planOf(p *access.Plan) PlanDefinition {
	return PlanDefinition{APIVersion: catalog.APIVersion, Kind: kindPlan,
		Metadata: PlanMetadata{Name: p.Name, DisplayName: p.DisplayName, Description: p.Description},
		Spec: PlanSpec{Quota: p.Quota, Enforce: p.Enforce, Rate: p.Rate, Connections: p.Connections, MaxDuration: p.MaxDuration,
			OnQuotaEnd: p.OnQuotaEnd, WhenSourceDown: p.WhenSourceDown, RequiresApproval: p.RequiresApproval}}
}

// ListPlans implements ServerInterface.
func (s *Server) ListPlans(c echo.Context, params ListPlansParams) error {
	all := s.access.Snapshot().Records().Plans
	page, next, err := paginate(all, func(p *access.Plan) cursor { return cursor{strings.ToLower(p.Name), p.Name} }, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := PlanList{Items: []PlanDefinition{}, NextCursor: next, Total: len(all)}
	for _, p := range page {
		out.Items = append(out.Items, planOf(p))
	}
	return answer(c, http.StatusOK, out)
}

// CreatePlan implements ServerInterface.
func (s *Server) CreatePlan(c echo.Context, params CreatePlanParams) error {
	in := newPlan()
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	p, err := s.access.CreatePlan(c.Request().Context(), s.accessWrite(c, precondition{}, params.DryRun), in.record())
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, nil, planOf(p))
	}
	return made(c, "/api/v1/plans/"+url.PathEscape(p.Name), p.Rev, planOf(p))
}

// GetPlan implements ServerInterface.
func (s *Server) GetPlan(c echo.Context, name PlanName, _ GetPlanParams) error {
	p := s.access.Snapshot().Plan(name)
	if p == nil {
		return problem.NotFound
	}
	return found(c, p.Rev, planOf(p))
}

// UpdatePlan implements ServerInterface.
func (s *Server) UpdatePlan(c echo.Context, name PlanName, params UpdatePlanParams) error {
	old := s.access.Snapshot().Plan(name)
	if old == nil {
		return problem.NotFound
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	in := newPlan()
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	if in.Metadata.Name != name {
		return wrongAt(at, problem.ImmutableField, "/metadata/name", "cannot be changed")
	}
	p, err := s.access.UpdatePlan(c.Request().Context(), s.accessWrite(c, pre, params.DryRun), in.record())
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, planOf(old), planOf(p))
	}
	setETag(c, p.Rev)
	return answer(c, http.StatusOK, planOf(p))
}

const mostOffering = 5 // APIs that a refusal names

// DeletePlan implements ServerInterface.
func (s *Server) DeletePlan(c echo.Context, name PlanName, params DeletePlanParams) error {
	old := s.access.Snapshot().Plan(name)
	if old == nil {
		return problem.NotFound
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	var offering []string
	for _, r := range s.catalog.List() {
		if contains(r.API.Spec.Plans, name) {
			offering = append(offering, r.ID())
		}
	}
	if n := len(offering); n > 0 {
		detail := strings.Join(offering[:min(n, mostOffering)], ", ")
		if n > mostOffering {
			detail += fmt.Sprintf(" and %d more", n-mostOffering)
		}
		return &problem.Error{Kind: problem.PlanInUse, Detail: "The plan is offered by " + detail + "."}
	}
	if err := s.access.DeletePlan(c.Request().Context(), s.accessWrite(c, pre, params.DryRun), name); err != nil {
		return err
	}
	if params.DryRun {
		return plannedChange(c, planOf(old), nil)
	}
	return c.NoContent(http.StatusNoContent)
}

// planNames are the plans there are; nil while that is not known.
func (s *Server) planNames() []string {
	var out []string
	for _, p := range s.access.Snapshot().Records().Plans {
		out = append(out, p.Name)
	}
	return out
}
