package admin

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

// ListVersions implements ServerInterface.
func (s *Server) ListVersions(c echo.Context, id ID) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	out := APIList{Items: []APISummary{}}
	for _, other := range s.catalog.List() {
		if strings.EqualFold(other.API.Name(), r.API.Name()) && manages(callerOf(c), other) {
			out.Items = append(out.Items, summaryOf(other))
		}
	}
	out.Total = len(out.Items)
	return answer(c, http.StatusOK, out)
}

// CopyVersion implements ServerInterface.
func (s *Server) CopyVersion(c echo.Context, id ID, params CopyVersionParams) error {
	w, _, err := s.mayMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	var in NewVersion
	if err := s.decode(c, &in); err != nil {
		return err
	}
	if in.Default && !callerOf(c).Has(auth.RolePublisher) {
		return &problem.Error{Kind: problem.Forbidden, Detail: "Another default version needs the role publisher."}
	}
	w.Comment = in.Comment
	res, err := s.catalog.Copy(c.Request().Context(), w, id, in.Version, in.Default)
	if err != nil {
		return err
	}
	return s.created(c, w, res)
}

// GetFamily implements ServerInterface.
func (s *Server) GetFamily(c echo.Context, name string, _ GetFamilyParams) error {
	f, tag, err := s.family(c, name)
	if err != nil {
		return err
	}
	setETag(c, tag)
	if noneMatch(c, tag) {
		return c.NoContent(http.StatusNotModified)
	}
	return answer(c, http.StatusOK, f)
}

// family returns the versions of a name as far as the caller sees them, and the tag of all; of none of them it is not there.
func (s *Server) family(c echo.Context, name string) (out Family, tag uint64, err error) {
	f, err := s.catalog.Family(name)
	if err != nil {
		return Family{}, 0, problem.NotFound // as one that the caller does not see
	}
	out = Family{Name: f.Name, Context: f.Context, Versions: []string{}}
	for _, v := range f.Versions {
		if _, err := s.find(c, f.Name+"@"+v); err != nil {
			continue
		}
		out.Versions = append(out.Versions, v)
		if v == f.DefaultVersion {
			out.DefaultVersion = v
		}
	}
	if len(out.Versions) == 0 {
		return Family{}, 0, problem.NotFound
	}
	return out, f.Tag, nil
}

// SetDefaultVersion implements ServerInterface.
func (s *Server) SetDefaultVersion(c echo.Context, name string, params SetDefaultVersionParams) error {
	if _, _, err := s.family(c, name); err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	var in FamilyUpdate
	if err := s.decode(c, &in); err != nil {
		return err
	}
	w := s.write(c, pre, params.DryRun)
	res, err := s.catalog.SetDefault(c.Request().Context(), w, name, in.DefaultVersion, in.MoveClients)
	if err != nil {
		return err
	}
	if w.DryRun {
		return planned(c, res)
	}
	f, tag, err := s.family(c, name)
	if err != nil {
		return err
	}
	setETag(c, tag)
	ids := []string{}
	for _, v := range f.Versions {
		ids = append(ids, f.Name+"@"+v)
	}
	if told, err := s.everywhere(c, w, ids...); told {
		return err
	}
	return answer(c, http.StatusOK, f)
}

// CheckAvailability implements ServerInterface.
func (s *Server) CheckAvailability(c echo.Context, params CheckAvailabilityParams) error {
	a := s.catalog.Availability(params.Name, params.Context, params.Version)
	return answer(c, http.StatusOK, Availability{Name: a.Name, Context: a.Context, Version: a.Version, BasePath: a.BasePath})
}
