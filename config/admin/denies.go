package admin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

func denyOf(d *access.Deny) Deny {
	return Deny{ID: d.ID, Kind: d.Kind, Value: d.Value, Until: d.Until, Reason: d.Reason, By: d.By}
}

// seesDeny tells whether a caller may know of an entry: one about an API that is hidden from them is not there.
func (s *Server) seesDeny(p auth.Principal, d *access.Deny) bool {
	switch d.Kind {
	case access.DenyAPI:
		r, err := s.catalog.Get(d.Value)
		return err != nil || manages(p, r)
	case access.DenySubscription:
		g := s.access.Snapshot().GrantByID(d.Value)
		return g == nil || s.rightsOn(p, g).publisher
	}
	return true
}

// ListDenies implements ServerInterface.
func (s *Server) ListDenies(c echo.Context, params ListDeniesParams) error {
	var seen []*access.Deny
	for _, d := range s.access.Snapshot().Records().Denies {
		if s.seesDeny(callerOf(c), d) {
			seen = append(seen, d)
		}
	}
	page, next, err := paginate(seen, func(d *access.Deny) cursor { return cursor{string(d.Kind) + " " + d.Value, d.ID} }, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := DenyList{Items: []Deny{}, NextCursor: next, Total: len(seen)}
	for _, d := range page {
		out.Items = append(out.Items, denyOf(d))
	}
	return answer(c, http.StatusOK, out)
}

// CreateDeny implements ServerInterface.
func (s *Server) CreateDeny(c echo.Context) error {
	var in NewDeny
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	value, err := s.deniedValue(callerOf(c), in.Kind, in.Value, at)
	if err != nil {
		return err
	}
	d, err := s.access.CreateDeny(c.Request().Context(), s.accessWrite(c, precondition{}, false),
		access.Deny{Kind: in.Kind, Value: value, Until: in.Until, Reason: in.Reason, By: callerOf(c).Name})
	if err != nil {
		return placed(err, at, asWritten)
	}
	return made(c, "/api/v1/denies/"+url.PathEscape(d.ID), d.Rev, denyOf(d))
}

// deniedValue is how the store names what is to be denied.
func (s *Server) deniedValue(p auth.Principal, kind access.DenyKind, value string, at *doc.Document) (string, error) {
	switch kind {
	case access.DenyIP:
		net, err := doc.ParsePrefix(value)
		if err != nil {
			return "", wrongAt(at, problem.InvalidValue, "/value", "must be an address or a network such as 10.0.0.0/8")
		}
		return net.String(), nil
	case access.DenyApplication:
		a := s.anyApplication(value)
		if a == nil {
			return "", wrongAt(at, problem.UnknownApplication, "/value", "names no application, or several: use the id")
		}
		return a.ID, nil
	case access.DenyAPI:
		r, err := s.catalog.Get(value)
		if err != nil || !manages(p, r) {
			return "", wrongAt(at, problem.UnknownAPI, "/value", "names no API")
		}
		return r.ID(), nil
	case access.DenySubscription:
		g := s.access.Snapshot().GrantByID(value)
		if g == nil || !s.rightsOn(p, g).publisher {
			return "", wrongAt(at, problem.InvalidValue, "/value", "is the id of no subscription")
		}
	}
	return value, nil
}

// anyApplication is the application of an id, or the only one of a name.
func (s *Server) anyApplication(idOrName string) *access.Application {
	snap := s.access.Snapshot()
	if a := snap.Application(idOrName); a != nil {
		return a
	}
	var only *access.Application
	for _, a := range snap.Records().Applications {
		if !strings.EqualFold(a.Name, idOrName) {
			continue
		}
		if only != nil {
			return nil
		}
		only = a
	}
	return only
}

// deny returns an entry that the caller sees.
func (s *Server) deny(c echo.Context, id string) (*access.Deny, error) {
	for _, d := range s.access.Snapshot().Records().Denies {
		if d.ID == id && s.seesDeny(callerOf(c), d) {
			return d, nil
		}
	}
	return nil, problem.NotFound
}

// GetDeny implements ServerInterface.
func (s *Server) GetDeny(c echo.Context, id string) error {
	d, err := s.deny(c, id)
	if err != nil {
		return err
	}
	setETag(c, d.Rev)
	return answer(c, http.StatusOK, denyOf(d))
}

// DeleteDeny implements ServerInterface.
func (s *Server) DeleteDeny(c echo.Context, id string, _ DeleteDenyParams) error {
	d, err := s.deny(c, id)
	if err != nil {
		return err
	}
	pre, err := needIfMatch(c)
	if err != nil {
		return err
	}
	if err := s.access.DeleteDeny(c.Request().Context(), s.accessWrite(c, pre, false), d.ID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// What is revoked, as this API and the store call it.
var (
	revokeKinds = map[RevocationKind]access.RevokeKind{RevocationKindToken: access.RevokeToken, RevocationKindSubject: access.RevokeSubject,
		RevocationKindApplication: access.RevokeApplication, RevocationKindIssuer: access.RevokeIssuer}
	revokeNames = map[access.RevokeKind]RevocationKind{access.RevokeToken: RevocationKindToken, access.RevokeSubject: RevocationKindSubject,
		access.RevokeApplication: RevocationKindApplication, access.RevokeIssuer: RevocationKindIssuer}
)

func revocationOf(r *access.Revocation) Revocation {
	out := Revocation{Kind: revokeNames[r.Kind], Before: r.Before, Until: r.Until, Reason: r.Reason, By: r.By, Hard: r.Hard}
	switch r.Kind {
	case access.RevokeApplication:
		out.Value = r.Value
	case access.RevokeIssuer:
		out.Issuer = r.Value
	default:
		out.Issuer, out.Value, _ = strings.Cut(r.Value, " ")
	}
	return out
}

// ListRevocations implements ServerInterface.
func (s *Server) ListRevocations(c echo.Context, params ListRevocationsParams) error {
	snap, p := s.access.Snapshot(), callerOf(c)
	var seen []*access.Revocation
	for _, r := range snap.Records().Revocations {
		a := snap.Application(r.Value)
		if p.Has(auth.RoleAdmin) || r.Kind == access.RevokeApplication && a != nil && a.Owner == p.Name {
			seen = append(seen, r)
		}
	}
	page, next, err := paginate(seen, func(r *access.Revocation) cursor { return cursor{string(r.Kind), r.Value} }, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out := RevocationList{Items: []Revocation{}, NextCursor: next, Total: len(seen)}
	for _, r := range page {
		out.Items = append(out.Items, revocationOf(r))
	}
	return answer(c, http.StatusOK, out)
}

// Revoke implements ServerInterface.
func (s *Server) Revoke(c echo.Context) error {
	var in NewRevocation
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	value, err := s.revokedValue(c, in, at)
	if err != nil {
		return err
	}
	r, err := s.access.Revoke(c.Request().Context(), s.accessWrite(c, precondition{}, false),
		access.Revocation{Kind: revokeKinds[in.Kind], Value: value, Reason: in.Reason, Hard: in.Hard, By: callerOf(c).Name})
	if err != nil {
		return placed(err, at, asWritten)
	}
	return answer(c, http.StatusCreated, revocationOf(r))
}

// revokedValue is how the store names what is to be revoked, if the caller may.
func (s *Server) revokedValue(c echo.Context, in NewRevocation, at *doc.Document) (string, error) {
	if in.Kind == RevocationKindApplication {
		a, err := s.application(c, in.Value)
		if err != nil {
			return "", wrongAt(at, problem.UnknownApplication, "/value", "names no application of yours")
		}
		if in.Issuer != "" {
			return "", wrongAt(at, problem.InvalidValue, "/issuer", "is not for an application")
		}
		return a.ID, nil
	}
	if !callerOf(c).Has(auth.RoleAdmin) {
		return "", adminOnly(at, "/kind")
	}
	switch {
	case in.Issuer == "" || strings.Contains(in.Issuer, " "):
		return "", wrongAt(at, problem.InvalidValue, "/issuer", "is needed: the issuer's URL as in iss")
	case in.Kind == RevocationKindIssuer && in.Value != "":
		return "", wrongAt(at, problem.InvalidValue, "/value", "is not for an issuer")
	case in.Kind == RevocationKindIssuer:
		return in.Issuer, nil
	case in.Value == "":
		return "", wrongAt(at, problem.InvalidValue, "/value", "is needed")
	}
	return in.Issuer + " " + in.Value, nil
}
