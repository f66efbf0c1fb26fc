package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/auth"
	"sluice/internal/problem"
)

// What a developer sees is made field by field into types that have no place for endpoint, backends, upstream or owner: a new field of
// a definition shows up here only on purpose.

// ListPublicAPIs implements ServerInterface.
func (s *Server) ListPublicAPIs(c echo.Context, params ListPublicAPIsParams) error {
	var found []*catalog.Record
	for _, r := range s.catalog.List() {
		if reads(callerOf(c), r) && matchesText(r.API, params.Q) && (params.Tag == "" || slices.Contains(r.API.Metadata.Tags, params.Tag)) {
			found = append(found, r)
		}
	}
	page, next, err := paginate(found, sortKey("name"), false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := PublicAPIList{Items: []PublicAPI{}, NextCursor: next, Total: len(found)}
	for _, r := range page {
		out.Items = append(out.Items, s.publicOf(r))
	}
	return answer(c, http.StatusOK, out)
}

// GetPublicAPI implements ServerInterface.
func (s *Server) GetPublicAPI(c echo.Context, id ID) error {
	r, err := s.findPublic(c, id)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, s.publicOf(r))
}

func (s *Server) findPublic(c echo.Context, id string) (*catalog.Record, error) {
	r, err := s.catalog.Get(id)
	if err != nil || !reads(callerOf(c), r) {
		return nil, problem.NotFound
	}
	return r, nil
}

// reads tells whether a developer sees an API: one that clients can use, as far as its visibility goes.
func reads(p auth.Principal, r *catalog.Record) bool {
	return r.API.Spec.State.Served() && visible(p, r)
}

// visible tells how far the visibility of an API goes.
func visible(p auth.Principal, r *catalog.Record) bool {
	spec := &r.API.Spec
	if r.API.Metadata.Owner == p.Name || p.Has(auth.RoleAdmin) {
		return true
	}
	switch spec.Visibility {
	case catalog.VisibilityPrivate:
		return false
	case catalog.VisibilityRestricted:
		return slices.ContainsFunc(p.Roles, func(have auth.Role) bool { return slices.Contains(spec.VisibleTo, string(have)) })
	}
	return true
}

func (s *Server) served(r *catalog.Record) *catalog.API { return Served(s.catalog, r) }

// Served is an API as clients meet it: the newest revision that is deployed, else the working copy.
func Served(from *catalog.Manager, r *catalog.Record) *catalog.API {
	newest := 0
	for _, n := range r.Deployments {
		newest = max(newest, n)
	}
	rev, err := from.Revision(r.ID(), newest)
	if newest == 0 || err != nil {
		return r.API
	}
	a := *rev.API
	a.Metadata, a.Spec.State, a.Spec.Default, a.Spec.Plans = r.API.Metadata, r.API.Spec.State, r.API.Spec.Default, r.API.Spec.Plans
	return &a
}

// queryOf is what a topic and its API say of the query together.
func queryOf(a *catalog.API, t *catalog.Topic) []catalog.QueryParam {
	out := slices.Clone(t.Query)
	for _, q := range a.Spec.Query {
		if !slices.ContainsFunc(t.Query, func(own catalog.QueryParam) bool { return own.Name == q.Name }) {
			out = append(out, q)
		}
	}
	return out
}

func (s *Server) publicOf(r *catalog.Record) PublicAPI {
	a := s.served(r)
	m, spec := &a.Metadata, &a.Spec
	out := PublicAPI{
		ID: a.ID(), Name: m.Name, DisplayName: cmp.Or(m.DisplayName, m.Name), Description: m.Description, Version: spec.Version, Context: spec.Context,
		BasePath: a.BasePath(), Default: spec.Default, State: State(spec.State), Tags: m.Tags, Plans: spec.Plans, Schemes: spec.Auth.Schemes,
		Header: spec.Auth.Header, APIKeyHeader: spec.Auth.APIKeyHeader,
		Topics: []PublicTopic{}, Urls: r.URLs(s.options.Public),
	}
	for _, t := range spec.Transports {
		out.Transports = append(out.Transports, string(t))
	}
	for i := range spec.Topics {
		t := &spec.Topics[i]
		out.Topics = append(out.Topics, PublicTopic{Name: t.Name, Description: strings.TrimSpace(t.Description), Security: PublicTopicSecurity(t.Security),
			Scopes: t.Scopes, Params: t.Params, Query: queryOf(a, t), Start: t.Start, Messages: t.Messages})
	}
	return out
}
