package admin

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// ValidateAPI implements ServerInterface.
func (s *Server) ValidateAPI(c echo.Context) error {
	src, err := source(c)
	if err != nil {
		return err
	}
	warnings, err := s.catalog.Validate(src)
	var wrong doc.Errors
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	out := Verdict{Valid: err == nil, Errors: findingsOf(wrong, "error"), Warnings: findingsOf(warnings, "warning")}
	return answer(c, http.StatusOK, out)
}

// applied is what happened to one object of a bundle.
type applied struct {
	ID      string           `json:"id"`
	Result  string           `json:"result"`
	Rev     uint64           `json:"rev,omitempty"`
	Diff    []catalog.Change `json:"diff,omitempty"`
	Impact  *catalog.Impact  `json:"impact,omitempty"`
	Problem *Problem         `json:"problem,omitempty"`
}

// Apply implements ServerInterface.
func (s *Server) Apply(c echo.Context, params ApplyParams) error {
	src, err := source(c)
	if err != nil {
		return err
	}
	if err := s.mayApply(callerOf(c), src); err != nil {
		return err
	}
	w := s.write(c, precondition{}, params.DryRun)
	results, err := s.catalog.Apply(c.Request().Context(), w, catalog.ApplyOptions{Set: params.Set, Prune: params.Prune, Force: params.Force}, src)
	if err != nil {
		return err
	}
	out := struct {
		DryRun  bool           `json:"dryRun"`
		Results []applied      `json:"results"`
		Counts  map[string]int `json:"counts"`
		Edges   *EdgesReached  `json:"edges,omitempty"`
	}{DryRun: params.DryRun, Results: []applied{}, Counts: map[string]int{}}
	ids := []string{}
	for _, a := range results {
		ids = append(ids, a.ID)
		out.Counts[a.Outcome]++
		out.Results = append(out.Results, s.appliedOf(c, a))
	}
	status := http.StatusOK
	if out.Edges = s.missed(c, w, ids...); out.Edges != nil {
		status = http.StatusAccepted
	}
	return answer(c, status, out)
}

func (s *Server) appliedOf(c echo.Context, a catalog.Applied) applied {
	out := applied{ID: a.ID, Result: a.Outcome, Diff: a.Result.Diff}
	if a.Result.Record != nil {
		out.Rev = a.Result.Record.Rev
	}
	if a.Result.Changed {
		out.Impact = &a.Result.Impact
	}
	if a.Err != nil {
		p, kind, _ := problemOf(a.Err, c.Response().Header().Get(echo.HeaderXRequestID))
		s.logFailure(c, a.Err, p.Status, kind, p.Instance)
		out.Problem = &p
	}
	return out
}

// mayApply checks that a bundle changes no state unless the caller is a publisher, and nothing that the caller does not see.
func (s *Server) mayApply(p auth.Principal, src catalog.Source) error {
	docs, err := doc.Parse(src.Name, src.Data)
	if err != nil {
		return nil // the catalog tells what is wrong with it
	}
	for _, d := range docs {
		name, spec := textAt(d, "/metadata/name"), d.Root.Get("spec")
		held := catalog.StateCreated
		r, err := s.catalog.Get(name + "@" + textAt(d, "/spec/version"))
		if err == nil {
			held = r.API.Spec.State
			if !manages(p, r) {
				return problem.NotFound
			}
		}
		if spec == nil || spec.Get("state") == nil || spec.Get("state").Kind == doc.Null || p.Has(auth.RolePublisher) {
			continue
		}
		if asked := spec.Get("state").Text; State(asked).Valid() && asked != string(held) {
			return publisherOnly()
		}
	}
	return nil
}

// textAt is the text at a pointer, "" if there is none.
func textAt(d *doc.Document, pointer string) string {
	n := d.Root
	for key := range strings.SplitSeq(pointer[1:], "/") {
		if n = n.Get(key); n == nil {
			return ""
		}
	}
	return n.Text
}

// ExportAll implements ServerInterface.
func (s *Server) ExportAll(c echo.Context, params ExportAllParams) error {
	var out []byte
	for _, r := range s.catalog.List() {
		if !manages(callerOf(c), r) || !matchesLabel(r.API.Metadata.Labels, params.Label) {
			continue
		}
		text, err := definitionFile(r)
		if err != nil {
			return err
		}
		out = append(append(out, "---\n"...), text...)
	}
	return c.Blob(http.StatusOK, mediaYAML, out)
}

// definitionFile is an API as a file that apply takes: without what the server owns.
func definitionFile(r *catalog.Record) ([]byte, error) {
	d, err := doc.ParseJSON("", r.Definition)
	if err != nil {
		return nil, err
	}
	bare := *d.Root
	bare.Fields = slices.DeleteFunc(slices.Clone(bare.Fields), func(f doc.Field) bool { return f.Key == "status" })
	return doc.WriteYAML(&bare)
}
