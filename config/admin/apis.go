package admin

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/problem"
)

// ListAPIs implements ServerInterface.
func (s *Server) ListAPIs(c echo.Context, params ListAPIsParams) error {
	var found []*catalog.Record
	for _, r := range s.catalog.List() {
		if manages(callerOf(c), r) && selected(r, params) {
			found = append(found, r)
		}
	}
	down := params.Sort == "-updatedAt"
	page, next, err := paginate(found, sortKey(params.Sort), down, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := APIList{Items: []APISummary{}, NextCursor: next, Total: len(found)}
	for _, r := range page {
		out.Items = append(out.Items, summaryOf(r))
	}
	return answer(c, http.StatusOK, out)
}

// sortKey gives the place of an API in a sorted list.
func sortKey(by ListAPIsParamsSort) func(*catalog.Record) cursor {
	return func(r *catalog.Record) cursor {
		switch by {
		case "-updatedAt":
			return cursor{r.UpdatedAt.UTC().Format("2006-01-02T15:04:05.000000000Z"), r.ID()}
		case "state":
			return cursor{string(r.API.Spec.State), r.ID()}
		}
		return cursor{strings.ToLower(r.API.Name()), r.ID()}
	}
}

// selected tells whether an API is one that a list asks for.
func selected(r *catalog.Record, p ListAPIsParams) bool {
	m, spec := &r.API.Metadata, &r.API.Spec
	return matchesText(r.API, p.Q) &&
		(p.Name == "" || strings.EqualFold(p.Name, m.Name)) &&
		(p.Context == "" || strings.EqualFold(p.Context, spec.Context)) &&
		(p.State == "" || string(p.State) == string(spec.State)) &&
		(p.Tag == "" || contains(m.Tags, p.Tag)) &&
		matchesLabel(m.Labels, p.Label)
}

func matchesText(a *catalog.API, q string) bool {
	q = strings.ToLower(q)
	for _, text := range []string{a.Metadata.Name, a.Metadata.DisplayName, a.Metadata.Description} {
		if strings.Contains(strings.ToLower(text), q) {
			return true
		}
	}
	return q == ""
}

// matchesLabel tells whether labels have `key`, or `key=value`; "" asks for nothing.
func matchesLabel(labels map[string]string, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	have, ok := labels[key]
	return want == "" || ok && (!exact || have == value)
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func summaryOf(r *catalog.Record) APISummary {
	m, spec := &r.API.Metadata, &r.API.Spec
	out := APISummary{
		ID: r.ID(), Name: m.Name, DisplayName: cmp.Or(m.DisplayName, m.Name), Version: spec.Version, Context: spec.Context, BasePath: r.API.BasePath(),
		State: State(spec.State), Default: spec.Default, Visibility: string(spec.Visibility), Owner: m.Owner, Tags: m.Tags, Labels: m.Labels,
		Topics: len(spec.Topics), Deployments: r.Deployments, Rev: int64(r.Rev), //nolint:gosec // a sequence of the store
		CreatedAt: when(r.CreatedAt), CreatedBy: r.CreatedBy, UpdatedAt: when(r.UpdatedAt), UpdatedBy: r.UpdatedBy,
	}
	for _, t := range spec.Transports {
		out.Transports = append(out.Transports, string(t))
	}
	return out
}

func when(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// CreateAPI implements ServerInterface.
func (s *Server) CreateAPI(c echo.Context, params CreateAPIParams) error {
	src, err := source(c)
	if err != nil {
		return err
	}
	if _, err := mayChangeState(callerOf(c), src, catalog.StateCreated); err != nil {
		return err
	}
	w := s.write(c, precondition{}, params.DryRun)
	res, err := s.catalog.Create(c.Request().Context(), w, src)
	if err != nil {
		return err
	}
	return created(c, w, res)
}

// GetAPI implements ServerInterface.
func (s *Server) GetAPI(c echo.Context, id ID, _ GetAPIParams) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	setETag(c, r.Rev)
	if noneMatch(c, r.Rev) {
		return c.NoContent(http.StatusNotModified)
	}
	return definition(c, http.StatusOK, r)
}

// UpdateAPI implements ServerInterface.
func (s *Server) UpdateAPI(c echo.Context, id ID, params UpdateAPIParams) error {
	w, r, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	src, err := source(c)
	if err != nil {
		return err
	}
	named, err := mayChangeState(callerOf(c), src, r.API.Spec.State)
	if err != nil {
		return err
	}
	if named { // the state was compared with this one
		if err := pin(&w, r); err != nil {
			return err
		}
	}
	res, err := s.catalog.Update(c.Request().Context(), w, id, src)
	if err != nil {
		return err
	}
	return changed(c, w, res)
}

// DeleteAPI implements ServerInterface.
func (s *Server) DeleteAPI(c echo.Context, id ID, params DeleteAPIParams) error {
	w, _, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	w.Cascade = params.Cascade
	res, err := s.catalog.Delete(c.Request().Context(), w, id, params.Force)
	if err != nil {
		return err
	}
	return gone(c, w, res)
}

// pin makes a change count only if the record is still the one that was looked at.
func pin(w *catalog.Write, r *catalog.Record) error {
	if w.Expect != 0 && w.Expect != r.Rev {
		return problem.VersionMismatch
	}
	w.Expect = r.Rev
	return nil
}

// mustMatch reads the precondition that PUT and DELETE need, and finds the API.
func (s *Server) mustMatch(c echo.Context, id string, dryRun bool) (catalog.Write, *catalog.Record, error) {
	r, err := s.find(c, id)
	if err != nil {
		return catalog.Write{}, nil, err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return catalog.Write{}, nil, err
	}
	return s.write(c, pre, dryRun), r, nil
}

// mayMatch reads the precondition that actions may have, and finds the API.
func (s *Server) mayMatch(c echo.Context, id string, dryRun bool) (catalog.Write, *catalog.Record, error) {
	r, err := s.find(c, id)
	if err != nil {
		return catalog.Write{}, nil, err
	}
	pre, err := readIfMatch(c)
	if err != nil {
		return catalog.Write{}, nil, err
	}
	return s.write(c, pre, dryRun), r, nil
}
