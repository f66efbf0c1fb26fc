package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/problem"
)

// GetVersion implements ServerInterface.
func (s *Server) GetVersion(c echo.Context) error {
	b := s.build
	return answer(c, http.StatusOK, Version{Version: b.Version, Commit: b.Commit, Date: b.Date, Go: b.Go})
}

// GetOpenAPI implements ServerInterface.
func (s *Server) GetOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, mediaYAML, openapi)
}

// GetAPISchema implements ServerInterface.
func (s *Server) GetAPISchema(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/schema+json", catalog.Schema())
}

// GetProblem implements ServerInterface.
func (s *Server) GetProblem(c echo.Context, slug string) error {
	k := problem.Kind(slug)
	if !k.Known() {
		return problem.NotFound
	}
	return answer(c, http.StatusOK, ProblemType{Type: "/problems/" + slug, Title: k.Title(), Status: k.Status()})
}

// GetDocs implements ServerInterface.
func (s *Server) GetDocs(c echo.Context) error {
	c.Response().Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash+"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	return c.HTMLBlob(http.StatusOK, s.page)
}
