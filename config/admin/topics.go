package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/problem"
)

// ListTopics implements ServerInterface.
func (s *Server) ListTopics(c echo.Context, id ID, params ListTopicsParams) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	topics := r.API.Spec.Topics
	if params.Name != "" {
		t := r.API.Topic(params.Name)
		if t == nil {
			return problem.NotFound
		}
		topics = []catalog.Topic{*t}
	}
	setETag(c, r.Rev)
	return answer(c, http.StatusOK, TopicList{Items: topics, Total: len(topics)})
}

// SetTopics implements ServerInterface.
func (s *Server) SetTopics(c echo.Context, id ID, params SetTopicsParams) error {
	w, _, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	src, err := source(c)
	if err != nil {
		return err
	}
	res, err := s.catalog.SetTopics(c.Request().Context(), w, id, src)
	if err != nil {
		return err
	}
	return s.changed(c, w, res)
}

// AddTopic implements ServerInterface.
func (s *Server) AddTopic(c echo.Context, id ID, params AddTopicParams) error {
	w, _, err := s.mayMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	src, err := source(c)
	if err != nil {
		return err
	}
	res, err := s.catalog.AddTopic(c.Request().Context(), w, id, src)
	if err != nil {
		return err
	}
	return s.created(c, w, res)
}

// DeleteTopic implements ServerInterface.
func (s *Server) DeleteTopic(c echo.Context, id ID, params DeleteTopicParams) error {
	w, _, err := s.mustMatch(c, id, params.DryRun)
	if err != nil {
		return err
	}
	res, err := s.catalog.DeleteTopic(c.Request().Context(), w, id, params.Name)
	if err != nil {
		return err
	}
	if !w.DryRun {
		setETag(c, res.Record.Rev)
	}
	return s.gone(c, w, res)
}
