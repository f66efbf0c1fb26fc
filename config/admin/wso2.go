package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/config/asyncapi"
	"sluice/config/wso2"
)

// ImportWSO2 implements ServerInterface.
func (s *Server) ImportWSO2(c echo.Context, params ImportWSO2Params) error {
	data, media, err := readBody(c, maxImport)
	if err != nil {
		return err
	}
	var p *wso2.Project
	switch media {
	case mediaZip:
		p, err = wso2.ReadZip("project.zip", data)
	case mediaJSON:
		p, err = wso2.Single("api.json", data)
	default:
		p, err = wso2.Single("api.yaml", data)
	}
	if err != nil {
		return err
	}
	in, err := wso2.Read(p, wso2.Options{Catalog: s.options, Plans: s.planNames()})
	if err != nil {
		return err
	}
	report := []Finding{}
	for _, f := range in.Report {
		report = append(report, Finding{Level: FindingLevel(f.Level), Type: f.Code, File: f.File, Pointer: f.Pointer, Line: f.Line, Column: f.Column, Detail: f.Message})
	}
	return s.createImported(c, in.API, report, params.DryRun)
}

// ExportAPI implements ServerInterface.
func (s *Server) ExportAPI(c echo.Context, id ID, params ExportAPIParams) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	if params.Format != "wso2" {
		text, err := definitionFile(r)
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, mediaYAML, text)
	}
	d, err := asyncapi.Export(r.API, asyncapi.ExportOptions{Profile: asyncapi.ProfileWSO2})
	if err != nil {
		return err
	}
	text, err := d.YAML()
	if err != nil {
		return err
	}
	p, _, err := wso2.Write(r.API, text)
	if err != nil {
		return err
	}
	zip, err := p.Zip(r.API.Name() + "-" + r.API.Version())
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Disposition", `attachment; filename="`+r.API.Name()+"-"+r.API.Version()+`.zip"`)
	return c.Blob(http.StatusOK, mediaZip, zip)
}
