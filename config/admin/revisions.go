package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
)

// revision is a revision as it is answered; API only where one is read.
type revision struct {
	N           int             `json:"n"`
	At          time.Time       `json:"at"`
	By          string          `json:"by"`
	Auto        bool            `json:"auto"`
	Description string          `json:"description,omitempty"`
	Groups      []string        `json:"groups"`
	SHA256      string          `json:"sha256,omitempty"`
	API         json.RawMessage `json:"api,omitempty"`
}

func revisionOf(r *catalog.Record, info catalog.RevisionInfo) revision {
	out := revision{N: info.N, At: when(info.At), By: info.By, Auto: info.Auto, Description: info.Description, SHA256: info.SHA256}
	for _, group := range slices.Sorted(maps.Keys(r.Deployments)) {
		if r.Deployments[group] == info.N {
			out.Groups = append(out.Groups, group)
		}
	}
	return out
}

// ListRevisions implements ServerInterface.
func (s *Server) ListRevisions(c echo.Context, id ID) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	items := []revision{}
	for _, info := range slices.Backward(r.Revisions) {
		items = append(items, revisionOf(r, info))
	}
	return answer(c, http.StatusOK, struct {
		Items []revision `json:"items"`
		Total int        `json:"total"`
	}{items, len(items)})
}

// CreateRevision implements ServerInterface.
func (s *Server) CreateRevision(c echo.Context, id ID, _ CreateRevisionParams) error {
	w, _, err := s.mayMatch(c, id, false)
	if err != nil {
		return err
	}
	var in NewRevision
	if err := s.decode(c, &in); err != nil {
		return err
	}
	res, err := s.catalog.Cut(c.Request().Context(), w, id, in.Description)
	if err != nil {
		return err
	}
	setETag(c, res.Record.Rev)
	c.Response().Header().Set("Location", "/api/v1/apis/"+url.PathEscape(id)+"/revisions/"+strconv.Itoa(res.Revision))
	at := slices.IndexFunc(res.Record.Revisions, func(i catalog.RevisionInfo) bool { return i.N == res.Revision })
	return answer(c, http.StatusCreated, revisionOf(res.Record, res.Record.Revisions[at]))
}

// GetRevision implements ServerInterface.
func (s *Server) GetRevision(c echo.Context, id ID, n N) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	rev, err := s.catalog.Revision(id, n)
	if err != nil {
		return err
	}
	out := revisionOf(r, rev.RevisionInfo)
	out.API = rev.Definition
	return answer(c, http.StatusOK, out)
}

// DeleteRevision implements ServerInterface.
func (s *Server) DeleteRevision(c echo.Context, id ID, n N, _ DeleteRevisionParams) error {
	w, _, err := s.mustMatch(c, id, false)
	if err != nil {
		return err
	}
	if _, err := s.catalog.DeleteRevision(c.Request().Context(), w, id, n); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// DiffRevision implements ServerInterface.
func (s *Server) DiffRevision(c echo.Context, id ID, n N, params DiffRevisionParams) error {
	if _, err := s.find(c, id); err != nil {
		return err
	}
	diff, err := s.catalog.DiffRevision(id, n, params.Against)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, Changes{Diff: diff})
}

// RestoreRevision implements ServerInterface.
func (s *Server) RestoreRevision(c echo.Context, id ID, n N, params RestoreRevisionParams) error {
	w, _, err := s.mayMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	res, err := s.catalog.Restore(c.Request().Context(), w, id, n)
	if err != nil {
		return err
	}
	return s.changed(c, w, res)
}
