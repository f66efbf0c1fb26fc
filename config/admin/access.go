package admin

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Plans, applications and subscriptions are written in the envelope of definitions, as bundles hold them; keys, denies and revocations
// are flat. What the store says is wrong with a record is told at the place of the document it came from.

// accessWrite says how a change of what says who may read is made.
func (s *Server) accessWrite(c echo.Context, pre precondition, dryRun bool) access.Write {
	return access.Write{By: callerOf(c).Name, Expect: pre.rev, DryRun: dryRun}
}

// nameKeys are the fields of a record that stand in metadata.
var nameKeys = []string{"name", "displayName", "description", "owner", "labels"}

// inEnvelope is the pointer into a definition of a pointer into its record.
func inEnvelope(pointer string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
	switch {
	case pointer == "" || first == "metadata" || first == "spec":
		return pointer
	case slices.Contains(nameKeys, first):
		return "/metadata" + pointer
	}
	return "/spec" + pointer
}

// asWritten is the pointer of flat documents.
func asWritten(pointer string) string { return pointer }

// placed moves what is wrong with a record to where its document says it. d may be nil.
func placed(err error, d *doc.Document, move func(string) string) error {
	var e *problem.Error
	if err == nil || !errors.As(err, &e) || len(e.Errors) == 0 {
		return err
	}
	out := *e
	out.Errors, out.Err = nil, errors.New(err.Error())
	for _, part := range e.Errors {
		from := part.Pointer
		part.Pointer = move(from)
		if from != part.Pointer {
			out.Detail = strings.Replace(out.Detail, from, part.Pointer, 1)
		}
		if d != nil {
			at := d.Lookup(part.Pointer)
			part.Line, part.Column = at.Line, at.Column
		}
		if part.Type == "" {
			part.Type = string(e.Kind)
		}
		out.Errors = append(out.Errors, part)
	}
	return &out
}

// wrongAt is one wrong value of a document.
func wrongAt(d *doc.Document, kind problem.Kind, pointer, reason string) error {
	part := problem.Part{Pointer: pointer, Type: string(kind), Reason: reason}
	if d != nil {
		at := d.Lookup(pointer)
		part.Line, part.Column = at.Line, at.Column
	}
	return &problem.Error{Kind: kind, Detail: strings.TrimPrefix(pointer+" ", " ") + reason, Errors: []problem.Part{part}}
}

// plannedChange answers a dry run: what is there now, and what would be; nil = nothing.
func plannedChange(c echo.Context, is, would any) error {
	diff, err := differences(is, would)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, AccessPlanned{DryRun: AccessPlannedDryRunTrue, Diff: diff})
}

// differences compares two definitions; nil stands for none.
func differences(is, would any) ([]Change, error) {
	var text [2][]byte
	for i, v := range []any{is, would} {
		if v == nil {
			continue
		}
		var err error
		if text[i], err = doc.Marshal(v); err != nil {
			return nil, err
		}
	}
	switch {
	case would == nil:
		return []Change{{Op: "remove", Pointer: "", Old: text[0]}}, nil
	case is == nil:
		return []Change{{Op: "add", Pointer: "", New: text[1]}}, nil
	}
	return catalog.Differences(text[0], text[1])
}

// found answers one record, or that the client has it.
func found(c echo.Context, rev uint64, v any) error {
	setETag(c, rev)
	if noneMatch(c, rev) {
		return c.NoContent(http.StatusNotModified)
	}
	return answer(c, http.StatusOK, v)
}

// made answers a new record.
func made(c echo.Context, location string, rev uint64, v any) error {
	setETag(c, rev)
	c.Response().Header().Set("Location", location)
	return answer(c, http.StatusCreated, v)
}

// application returns an application that the caller may change, by id or name: an own one, an administrator's are all. Of what only
// others have nothing is there.
func (s *Server) application(c echo.Context, idOrName string) (*access.Application, error) {
	snap, p := s.access.Snapshot(), callerOf(c)
	if a := snap.Application(idOrName); a != nil && owns(p, a) {
		return a, nil
	}
	var named []*access.Application
	for _, a := range snap.Records().Applications {
		if strings.EqualFold(a.Name, idOrName) && owns(p, a) {
			named = append(named, a)
		}
	}
	if i := slices.IndexFunc(named, func(a *access.Application) bool { return a.Owner == p.Name }); i >= 0 {
		return named[i], nil
	}
	switch len(named) {
	case 0:
		return nil, problem.NotFound
	case 1:
		return named[0], nil
	}
	return nil, &problem.Error{Kind: problem.Conflict, Detail: "Several applications have this name; use the id."}
}

func owns(p auth.Principal, a *access.Application) bool {
	return a.Owner == p.Name || p.Has(auth.RoleAdmin)
}

func adminOnly(d *doc.Document, pointer string) error {
	return wrongAt(d, problem.Forbidden, pointer, "can be set by an administrator only")
}
