package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
)

// GetLifecycle implements ServerInterface.
func (s *Server) GetLifecycle(c echo.Context, id ID) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	checks, err := s.catalog.Checklist(id)
	if err != nil {
		return err
	}
	out := Lifecycle{State: State(r.API.Spec.State), Checklist: checks, History: r.History}
	for _, t := range catalog.Allowed(r.API.Spec.State) {
		out.Actions = append(out.Actions, Action(t))
	}
	setETag(c, r.Rev)
	return answer(c, http.StatusOK, out)
}

// ChangeState implements ServerInterface.
func (s *Server) ChangeState(c echo.Context, id ID, params ChangeStateParams) error {
	w, _, err := s.mayMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	var in StateChange
	if err := s.decode(c, &in); err != nil {
		return err
	}
	w.Comment = in.Comment
	res, err := s.catalog.Lifecycle(c.Request().Context(), w, id, catalog.Transition(in.Action), catalog.LifecycleOptions{DeprecateOlder: in.DeprecateOlder,
		Carry: in.RequireResubscription != nil && !*in.RequireResubscription})
	if err != nil {
		return err
	}
	return changed(c, w, res)
}

// GetDeployments implements ServerInterface.
func (s *Server) GetDeployments(c echo.Context, id ID) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	setETag(c, r.Rev)
	return answer(c, http.StatusOK, Deployments{Groups: r.Deployments})
}

// Deploy implements ServerInterface.
func (s *Server) Deploy(c echo.Context, id ID, params DeployParams) error {
	w, _, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	var in Deployments
	if err := s.decode(c, &in); err != nil {
		return err
	}
	res, err := s.catalog.Deploy(c.Request().Context(), w, id, in.Groups)
	if err != nil {
		return err
	}
	return changed(c, w, res)
}
