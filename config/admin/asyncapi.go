package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"sluice/config/asyncapi"
	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/outbound"
	"sluice/internal/problem"
)

// ExportAsyncAPI implements ServerInterface.
func (s *Server) ExportAsyncAPI(c echo.Context, id ID, params ExportAsyncAPIParams) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	profile := asyncapi.Profile(params.Profile)
	return s.asyncDocument(c, r.API, string(params.Format), asyncapi.ExportOptions{
		Version: string(params.Version), Profile: profile, Endpoint: profile == asyncapi.ProfileInternal,
	})
}

// ExportPublicAsyncAPI implements ServerInterface.
func (s *Server) ExportPublicAsyncAPI(c echo.Context, id ID, params ExportPublicAsyncAPIParams) error {
	r, err := s.findPublic(c, id)
	if err != nil {
		return err
	}
	return s.asyncDocument(c, s.served(r), string(params.Format), asyncapi.ExportOptions{Version: string(params.Version)})
}

func (s *Server) asyncDocument(c echo.Context, a *catalog.API, format string, o asyncapi.ExportOptions) error {
	for _, p := range s.options.Public {
		o.Servers = append(o.Servers, asyncapi.Server{Group: p.Group, URL: p.URL})
	}
	d, err := asyncapi.Export(a, o)
	if err != nil {
		return err
	}
	if format == "json" {
		text, err := d.JSON()
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, mediaJSON, text)
	}
	text, err := d.YAML()
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, mediaYAML, text)
}

// imported is what an import answers.
type imported struct {
	DryRun bool             `json:"dryRun,omitempty"`
	API    json.RawMessage  `json:"api,omitempty"`
	Report []Finding        `json:"report"`
	Diff   []catalog.Change `json:"diff,omitempty"`
}

// ImportAsyncAPI implements ServerInterface.
func (s *Server) ImportAsyncAPI(c echo.Context, params ImportAsyncAPIParams) error {
	data, media, err := s.asyncBody(c, params.URL)
	if err != nil {
		return err
	}
	api, report := asyncapi.Import(data, asyncapi.ImportOptions{File: nameOf(media), Name: params.Name, Context: params.Context,
		Endpoint: params.Endpoint, Server: params.Server, Lenient: params.Mode == "lenient", Catalog: s.options})
	if api == nil {
		return report.Err()
	}
	if params.Version != "" {
		api.Spec.Version = params.Version
	}
	return s.createImported(c, api, findingsOfAsync(report), params.DryRun)
}

// createImported adds an API that an import made, and answers with the report.
func (s *Server) createImported(c echo.Context, api *catalog.API, report []Finding, dryRun bool) error {
	src, err := sourceOf(api)
	if err != nil {
		return err
	}
	if _, err := mayChangeState(callerOf(c), src, catalog.StateCreated); err != nil {
		return err
	}
	w := s.write(c, precondition{}, dryRun)
	res, err := s.catalog.Create(c.Request().Context(), w, src)
	if err != nil {
		return withoutPositions(err)
	}
	if !dryRun {
		setETag(c, res.Record.Rev)
		c.Response().Header().Set("Location", "/api/v1/apis/"+url.PathEscape(res.Record.ID()))
	}
	return answer(c, statusOfCreate(dryRun), imported{DryRun: dryRun, API: res.Record.Definition, Report: report, Diff: res.Diff})
}

func statusOfCreate(dryRun bool) int {
	if dryRun {
		return http.StatusOK
	}
	return http.StatusCreated
}

// UpdateFromAsyncAPI implements ServerInterface.
func (s *Server) UpdateFromAsyncAPI(c echo.Context, id ID, params UpdateFromAsyncAPIParams) error {
	w, r, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	data, media, err := s.asyncBody(c, "")
	if err != nil {
		return err
	}
	api, report := asyncapi.Import(data, asyncapi.ImportOptions{File: nameOf(media), Lenient: params.Mode == "lenient", Base: r.API, Catalog: s.options})
	if api == nil {
		return report.Err()
	}
	src, err := sourceOf(api)
	if err != nil {
		return err
	}
	if _, err := mayChangeState(callerOf(c), src, r.API.Spec.State); err != nil {
		return err
	}
	if err := pin(&w, r); err != nil { // the document was laid over this one
		return err
	}
	res, err := s.catalog.Update(c.Request().Context(), w, id, src)
	if err != nil {
		return withoutPositions(err)
	}
	if !w.DryRun {
		setETag(c, res.Record.Rev)
	}
	return answer(c, http.StatusOK, imported{DryRun: w.DryRun, API: res.Record.Definition, Report: findingsOfAsync(report), Diff: res.Diff})
}

// ValidateAsyncAPI implements ServerInterface.
func (s *Server) ValidateAsyncAPI(c echo.Context) error {
	data, media, err := s.asyncBody(c, "")
	if err != nil {
		return err
	}
	out := Verdict{Errors: []Finding{}, Warnings: []Finding{}}
	for _, f := range findingsOfAsync(asyncapi.Check(nameOf(media), data)) {
		if f.Level == "error" {
			out.Errors = append(out.Errors, f)
		} else {
			out.Warnings = append(out.Warnings, f)
		}
	}
	out.Valid = len(out.Errors) == 0
	return answer(c, http.StatusOK, out)
}

// asyncBody is the document that a request carries, or the one at an address that it names.
func (s *Server) asyncBody(c echo.Context, address string) (data []byte, media string, err error) {
	data, media, err = readBody(c, maxImport)
	switch {
	case err != nil:
		return nil, "", err
	case address == "" && len(data) == 0:
		return nil, "", doc.Errors{{Type: "invalid-document", Message: "there is no document"}}
	case address == "":
		return data, media, nil
	case len(data) > 0:
		return nil, "", &problem.Error{Kind: problem.InvalidQuery, Errors: []problem.Part{{Parameter: "url", Reason: "cannot go with a body"}}}
	case s.reach == nil || s.noImport:
		return nil, "", &problem.Error{Kind: problem.Forbidden, Detail: "Documents are not fetched here (control.importURL); send the file."}
	}
	data, err = outbound.Fetch(c.Request().Context(), s.reach, address, maxImport)
	if errors.Is(err, outbound.ErrTooLarge) {
		return nil, "", problem.Kind("document-too-large")
	}
	if err != nil {
		return nil, "", &problem.Error{Kind: "import-fetch-failed", Detail: "The document could not be fetched from its address.", Err: err}
	}
	return data, mediaYAML, nil // a JSON document is YAML too
}

// sourceOf writes an API as a definition that the catalog reads.
func sourceOf(a *catalog.API) (catalog.Source, error) {
	tree, err := a.Definition()
	if err != nil {
		return catalog.Source{}, err
	}
	text, err := doc.WriteJSON(tree)
	return catalog.Source{Name: bodyJSON, Data: text}, err
}

// withoutPositions takes lines and columns out of errors about a definition that nobody wrote.
func withoutPositions(err error) error {
	var docs doc.Errors
	if errors.As(err, &docs) {
		for _, e := range docs {
			e.Line, e.Column = 0, 0
		}
	}
	return err
}

func findingsOfAsync(report asyncapi.Report) []Finding {
	out := []Finding{}
	for _, f := range report {
		out = append(out, Finding{Level: FindingLevel(f.Level), Type: f.Code, Pointer: f.Pointer, Line: f.Line, Column: f.Column, Detail: f.Message})
	}
	return out
}
