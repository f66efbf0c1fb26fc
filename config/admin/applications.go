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

// record is the application as the store keeps it; old is what it was, nil for a new one. What only administrators may set is refused
// to others.
func (in *ApplicationDefinition) record(p auth.Principal, old *access.Application, at *doc.Document) (access.Application, error) {
	m, spec := &in.Metadata, &in.Spec
	a := access.Application{Name: m.Name, DisplayName: m.DisplayName, Description: m.Description, State: spec.State, Clients: spec.Clients,
		Plan: spec.Plan, Labels: m.Labels, Owner: m.Owner}
	was := access.Application{State: access.AppActive, Owner: p.Name}
	if old != nil {
		was = *old
	}
	if a.State == "" {
		a.State = was.State
	}
	if a.Owner == "" {
		a.Owner = was.Owner
	}
	if old != nil {
		a.ID, a.SecretHash, a.CreatedAt = old.ID, old.SecretHash, old.CreatedAt
	}
	if p.Has(auth.RoleAdmin) {
		return a, nil
	}
	for _, f := range []struct {
		pointer string
		changed bool
	}{{"/metadata/owner", a.Owner != was.Owner}, {"/spec/state", a.State != was.State}, {"/spec/plan", a.Plan != was.Plan},
		{"/spec/clients", !slices.Equal(a.Clients, was.Clients)}} {
		if f.changed {
			return a, adminOnly(at, f.pointer)
		}
	}
	return a, nil
}

// applicationOf shows an application, without its status.
func applicationOf(a *access.Application) ApplicationDefinition {
	return ApplicationDefinition{APIVersion: catalog.APIVersion, Kind: kindApplication,
		Metadata: ApplicationMetadata{Name: a.Name, DisplayName: a.DisplayName, Description: a.Description, Owner: a.Owner, Labels: a.Labels},
		Spec:     ApplicationSpec{State: a.State, Clients: a.Clients, Plan: a.Plan}}
}

// shownApplications shows applications with their status: how many keys and subscriptions each has.
func (s *Server) shownApplications(list []*access.Application) []ApplicationDefinition {
	all := s.access.Snapshot().Records()
	keys, grants := map[string]int{}, map[string]int{}
	for _, k := range all.Keys {
		if k.State == access.KeyActive {
			keys[k.Application]++
		}
	}
	for _, g := range all.Grants {
		grants[g.Application]++
	}
	out := []ApplicationDefinition{}
	for _, a := range list {
		d := applicationOf(a)
		d.Status = ApplicationStatus{ID: a.ID, Secret: a.SecretHash != "", Keys: keys[a.ID], Subscriptions: grants[a.ID], CreatedAt: when(a.CreatedAt)}
		out = append(out, d)
	}
	return out
}

func (s *Server) shownApplication(a *access.Application) ApplicationDefinition {
	return s.shownApplications([]*access.Application{a})[0]
}

// ListApplications implements ServerInterface.
func (s *Server) ListApplications(c echo.Context, params ListApplicationsParams) error {
	var mine []*access.Application
	for _, a := range s.access.Snapshot().Records().Applications {
		if owns(callerOf(c), a) && matchesLabel(a.Labels, params.Label) && (matches(a.Name, params.Q) || matches(a.DisplayName, params.Q)) {
			mine = append(mine, a)
		}
	}
	page, next, err := paginate(mine, func(a *access.Application) cursor { return cursor{strings.ToLower(a.Name), a.ID} }, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, ApplicationList{Items: s.shownApplications(page), NextCursor: next, Total: len(mine)})
}

func matches(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// CreateApplication implements ServerInterface.
func (s *Server) CreateApplication(c echo.Context, params CreateApplicationParams) error {
	var in ApplicationDefinition
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	want, err := in.record(callerOf(c), nil, at)
	if err != nil {
		return err
	}
	a, err := s.access.CreateApplication(c.Request().Context(), s.accessWrite(c, precondition{}, params.DryRun), want)
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, nil, applicationOf(a))
	}
	return made(c, "/api/v1/applications/"+url.PathEscape(a.ID), a.Rev, s.shownApplication(a))
}

// GetApplication implements ServerInterface.
func (s *Server) GetApplication(c echo.Context, id ApplicationID, _ GetApplicationParams) error {
	a, err := s.application(c, id)
	if err != nil {
		return err
	}
	return found(c, a.Rev, s.shownApplication(a))
}

// UpdateApplication implements ServerInterface.
func (s *Server) UpdateApplication(c echo.Context, id ApplicationID, params UpdateApplicationParams) error {
	old, err := s.application(c, id)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	var in ApplicationDefinition
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	want, err := in.record(callerOf(c), old, at)
	if err != nil {
		return err
	}
	w := s.accessWrite(c, pre, params.DryRun)
	if w.Expect == 0 { // what only administrators may set was compared with this one
		w.Expect = old.Rev
	}
	a, err := s.access.UpdateApplication(c.Request().Context(), w, want)
	if err != nil {
		return placed(err, at, inEnvelope)
	}
	if params.DryRun {
		return plannedChange(c, applicationOf(old), applicationOf(a))
	}
	setETag(c, a.Rev)
	return answer(c, http.StatusOK, s.shownApplication(a))
}

// DeleteApplication implements ServerInterface.
func (s *Server) DeleteApplication(c echo.Context, id ApplicationID, params DeleteApplicationParams) error {
	old, err := s.application(c, id)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	if err := s.access.DeleteApplication(c.Request().Context(), s.accessWrite(c, pre, params.DryRun), old.ID); err != nil {
		return err
	}
	if params.DryRun {
		return plannedChange(c, applicationOf(old), nil)
	}
	return c.NoContent(http.StatusNoContent)
}

// RotateSecret implements ServerInterface.
func (s *Server) RotateSecret(c echo.Context, id ApplicationID) error {
	a, err := s.application(c, id)
	if err != nil {
		return err
	}
	a, secret, err := s.access.MakeSecret(c.Request().Context(), s.accessWrite(c, precondition{}, false), a.ID)
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, ClientSecret{ClientID: a.ID, ClientSecret: secret})
}

// keyFields are what a caller may say of a key.
type keyFields struct {
	name       string
	allowedIPs []string
	limits     access.Key
}

// record is the key as the store keeps it.
func (f keyFields) record(at *doc.Document) (access.Key, error) {
	k := f.limits
	k.Name = f.name
	for i, text := range f.allowedIPs {
		net, err := doc.ParsePrefix(text)
		if err != nil {
			return k, wrongAt(at, problem.InvalidValue, doc.Join("/allowedIPs", i), "must be an address or a network such as 10.0.0.0/8")
		}
		k.AllowedIPs = append(k.AllowedIPs, net)
	}
	return k, nil
}

func keyOf(k *access.Key) Key {
	out := Key{ID: k.ID, Name: k.Name, Application: k.Application, State: k.State, Expires: k.Expires, AllowedOrigins: k.AllowedOrigins,
		Topics: k.Topics, CreatedAt: when(k.CreatedAt)}
	for _, net := range k.AllowedIPs {
		out.AllowedIPs = append(out.AllowedIPs, net.String())
	}
	return out
}

// key returns a key of an application that the caller may change.
func (s *Server) key(c echo.Context, app, id string) (*access.Key, error) {
	a, err := s.application(c, app)
	if err != nil {
		return nil, err
	}
	k := s.access.Snapshot().Key(id)
	if k == nil || k.Application != a.ID {
		return nil, problem.NotFound
	}
	return k, nil
}

// ListKeys implements ServerInterface.
func (s *Server) ListKeys(c echo.Context, id ApplicationID) error {
	a, err := s.application(c, id)
	if err != nil {
		return err
	}
	out := KeyList{Items: []Key{}}
	for _, k := range s.access.Snapshot().Records().Keys {
		if k.Application == a.ID {
			out.Items = append(out.Items, keyOf(k))
		}
	}
	slices.SortStableFunc(out.Items, func(x, y Key) int { return x.CreatedAt.Compare(y.CreatedAt) })
	out.Total = len(out.Items)
	return answer(c, http.StatusOK, out)
}

// CreateKey implements ServerInterface.
func (s *Server) CreateKey(c echo.Context, id ApplicationID) error {
	a, err := s.application(c, id)
	if err != nil {
		return err
	}
	var in NewKey
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	want, err := keyFields{in.Name, in.AllowedIPs, access.Key{Application: a.ID, Expires: in.Expires, AllowedOrigins: in.AllowedOrigins, Topics: in.Topics}}.record(at)
	if err != nil {
		return err
	}
	made, text, err := s.access.CreateKey(c.Request().Context(), s.accessWrite(c, precondition{}, false), want)
	if err != nil {
		return placed(err, at, asWritten)
	}
	setETag(c, made.Rev)
	c.Response().Header().Set("Location", "/api/v1/applications/"+url.PathEscape(a.ID)+"/keys/"+url.PathEscape(made.ID))
	k := keyOf(made)
	return answer(c, http.StatusCreated, KeyMade{ID: k.ID, Name: k.Name, Application: k.Application, State: k.State, Expires: k.Expires,
		AllowedIPs: k.AllowedIPs, AllowedOrigins: k.AllowedOrigins, Topics: k.Topics, CreatedAt: k.CreatedAt, Key: text})
}

// GetKey implements ServerInterface.
func (s *Server) GetKey(c echo.Context, id ApplicationID, key KeyID) error {
	k, err := s.key(c, id, key)
	if err != nil {
		return err
	}
	setETag(c, k.Rev)
	return answer(c, http.StatusOK, keyOf(k))
}

// UpdateKey implements ServerInterface.
func (s *Server) UpdateKey(c echo.Context, id ApplicationID, key KeyID, _ UpdateKeyParams) error {
	old, err := s.key(c, id, key)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	var in KeyUpdate
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	was := *old
	was.Expires, was.AllowedIPs, was.AllowedOrigins, was.Topics = in.Expires, nil, in.AllowedOrigins, in.Topics
	if in.State != "" {
		was.State = in.State
	}
	if old.State == access.KeyRevoked && was.State != access.KeyRevoked {
		return wrongAt(at, problem.ImmutableField, "/state", "cannot be changed: the key is revoked for good")
	}
	want, err := keyFields{in.Name, in.AllowedIPs, was}.record(at)
	if err != nil {
		return err
	}
	k, err := s.access.UpdateKey(c.Request().Context(), s.accessWrite(c, pre, false), want)
	if err != nil {
		return placed(err, at, asWritten)
	}
	setETag(c, k.Rev)
	return answer(c, http.StatusOK, keyOf(k))
}

// DeleteKey implements ServerInterface.
func (s *Server) DeleteKey(c echo.Context, id ApplicationID, key KeyID, _ DeleteKeyParams) error {
	k, err := s.key(c, id, key)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	if err := s.access.DeleteKey(c.Request().Context(), s.accessWrite(c, pre, false), k.ID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
