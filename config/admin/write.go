package admin

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// plan is what a dry run answers.
type plan struct {
	DryRun   bool             `json:"dryRun"`
	API      json.RawMessage  `json:"api,omitempty"`
	Diff     []catalog.Change `json:"diff"`
	Impact   catalog.Impact   `json:"impact"`
	Warnings []Finding        `json:"warnings,omitempty"`
}

// source is a body as the catalog reads it.
func source(c echo.Context) (catalog.Source, error) {
	data, media, err := readBody(c, maxBody)
	if err == nil && media == "" {
		err = &problem.Error{Kind: problem.UnsupportedMediaType, Detail: "Send " + mediaJSON + " or " + mediaYAML + "."}
	}
	return catalog.Source{Name: nameOf(media), Data: data}, err
}

// Names by which the catalog knows the format of a body; clients do not see them.
const (
	bodyJSON = "body.json"
	bodyYAML = "body.yaml"
)

func nameOf(media string) string {
	if media == mediaJSON {
		return bodyJSON
	}
	return bodyYAML
}

// write says how a change is made that may, or must, name the revision it is made on.
func (s *Server) write(c echo.Context, pre precondition, dryRun bool) catalog.Write {
	return catalog.Write{By: actorOf(c), Expect: pre.rev, DryRun: dryRun}
}

func actorOf(c echo.Context) catalog.Actor {
	p := callerOf(c)
	return catalog.Actor{Name: p.Name, Admin: p.Has(auth.RoleAdmin)}
}

// changed answers a change with the API as it is now, or a dry run with its plan.
func (s *Server) changed(c echo.Context, w catalog.Write, res catalog.Result) error {
	if w.DryRun {
		return planned(c, res)
	}
	setETag(c, res.Record.Rev)
	if told, err := s.everywhere(c, w, res.Record.ID()); told {
		return err
	}
	return definition(c, http.StatusOK, res.Record)
}

// created answers with a new API.
func (s *Server) created(c echo.Context, w catalog.Write, res catalog.Result) error {
	if w.DryRun {
		return planned(c, res)
	}
	setETag(c, res.Record.Rev)
	c.Response().Header().Set("Location", "/api/v1/apis/"+url.PathEscape(res.Record.ID()))
	if told, err := s.everywhere(c, w, res.Record.ID()); told {
		return err
	}
	return definition(c, http.StatusCreated, res.Record)
}

// gone answers a deletion.
func (s *Server) gone(c echo.Context, w catalog.Write, res catalog.Result) error {
	if w.DryRun {
		return planned(c, res)
	}
	if told, err := s.everywhere(c, w, res.Record.ID()); told {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func planned(c echo.Context, res catalog.Result) error {
	p := plan{DryRun: true, Diff: res.Diff, Impact: res.Impact, Warnings: findingsOf(res.Warnings, "warning")}
	if res.Record != nil {
		p.API = res.Record.Definition
	}
	return answer(c, http.StatusOK, p)
}

func definition(c echo.Context, status int, r *catalog.Record) error {
	return c.Blob(status, mediaJSON, append(append([]byte(nil), r.Definition...), '\n'))
}

// find returns an API that the caller may see; any other is not there.
func (s *Server) find(c echo.Context, id string) (*catalog.Record, error) {
	r, err := s.catalog.Get(id)
	if err != nil || !manages(callerOf(c), r) {
		return nil, problem.NotFound
	}
	return r, nil
}

// manages tells whether a caller sees an API in the management API: a private one is its owner's and the administrators'.
func manages(p auth.Principal, r *catalog.Record) bool { return sees(p, r.Face()) }

func sees(p auth.Principal, f catalog.Face) bool {
	return f.Visibility != catalog.VisibilityPrivate || f.Owner == p.Name || p.Has(auth.RoleAdmin)
}

// mayChangeState checks that who asks for another state by a definition may: that is a publisher's. held is the state that the API
// is in. named tells that the definition names a state at all.
func mayChangeState(p auth.Principal, src catalog.Source, held catalog.State) (named bool, err error) {
	docs, err := doc.Parse(src.Name, src.Data)
	if err != nil || len(docs) == 0 {
		return false, nil // the catalog tells what is wrong with it
	}
	for _, d := range docs {
		n := d.Root.Get("spec")
		if n == nil || n.Get("state") == nil || n.Get("state").Kind == doc.Null {
			continue
		}
		named = true
		if asked := n.Get("state").Text; State(asked).Valid() && asked != string(held) && !p.Has(auth.RolePublisher) {
			return true, publisherOnly()
		}
	}
	return named, nil
}

func publisherOnly() error {
	return &problem.Error{Kind: problem.Forbidden, Detail: "Another state needs the role publisher."}
}
