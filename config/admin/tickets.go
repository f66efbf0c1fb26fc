package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// CreateTicket implements ServerInterface.
func (s *Server) CreateTicket(c echo.Context, id ID) error {
	p := callerOf(c)
	r, err := s.catalog.Get(id)
	if err != nil || !s.meets(p, r) {
		return problem.NotFound
	}
	if s.tickets == nil {
		return &problem.Error{Kind: problem.Unavailable, Detail: "No tickets are made here."}
	}
	if state := r.API.Spec.State; !state.Served() {
		e := &problem.Error{Kind: problem.NotPublished, Detail: "The API is in state " + string(state) + ": no edge gives a stream of it."}
		if state == catalog.StateCreated {
			e.Detail += " Prototype it to try it out before it is published."
		}
		return e
	}
	var in NewTicket
	at, err := s.decodeAt(c, &in)
	if err != nil {
		return err
	}
	api := s.served(r)
	if api.Topic(in.Topic) == nil && !strings.HasPrefix(in.Topic, "/") {
		return wrongAt(at, problem.InvalidValue, "/topic", "names no topic of the API")
	}
	bound := access.Bound{API: r.API.Name(), Version: r.API.Version(), Topic: in.Topic}
	reader := access.Principal{Kind: access.Token, Subject: p.Name, Issued: time.Now()} // the session stands for a token
	makes := (p.Has(auth.RoleCreator) || p.Has(auth.RolePublisher)) && manages(p, r)
	if makes && in.Application == "" {
		bound.Try = true
		for _, scope := range r.API.Spec.Scopes {
			reader.Scopes = append(reader.Scopes, scope.Name)
		}
	} else if reader.App, err = s.subscriber(c, r, in.Application, at); err != nil {
		return err
	}
	text, until, err := s.tickets.SellTicket(c.Request().Context(), &reader, bound, "")
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, TicketMade{Ticket: text, Expires: when(until)})
}

// subscriber is the id of an application of the caller's that may read an API: the one named, or the only one.
func (s *Server) subscriber(c echo.Context, r *catalog.Record, named string, at *doc.Document) (string, error) {
	snap := s.access.Snapshot()
	if named != "" {
		a, err := s.application(c, named)
		if err != nil {
			return "", wrongAt(at, problem.UnknownApplication, "/application", "names no application of yours")
		}
		if !subscribed(snap, a.ID, r) {
			return "", &problem.Error{Kind: problem.NotSubscribed, Detail: "The application may not read the API."}
		}
		return a.ID, nil
	}
	var only string
	for _, a := range snap.Records().Applications {
		if a.Owner != callerOf(c).Name || !subscribed(snap, a.ID, r) {
			continue
		}
		if only != "" {
			return "", wrongAt(at, problem.InvalidValue, "/application", "is needed: several of your applications have subscribed")
		}
		only = a.ID
	}
	if only == "" {
		return "", &problem.Error{Kind: problem.NotSubscribed, Detail: "No application of yours may read the API."}
	}
	return only, nil
}

func subscribed(snap *access.Snapshot, app string, r *catalog.Record) bool {
	a, g := snap.Application(app), snap.Grant(app, r.API.Name(), r.API.Version())
	return a != nil && a.State == access.AppActive && g != nil && g.State == access.SubUnblocked && (g.Expires.IsZero() || time.Now().Before(g.Expires))
}
