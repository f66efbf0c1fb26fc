package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/access"
	"sluice/internal/presence"
)

// usageTime is how long those who count have to tell.
const usageTime = 2 * time.Second

// usage is SubscriptionUsage as it is written.
type usage struct {
	ID          string            `json:"id"`
	Known       bool              `json:"known"`
	Why         string            `json:"why,omitempty"`
	At          time.Time         `json:"at,omitempty"`
	Silent      int               `json:"silent,omitempty"`
	Plan        string            `json:"plan"`
	Enforced    bool              `json:"enforced"`
	Events      *EventUsage       `json:"events,omitempty"`
	Streams     *StreamUsage      `json:"streams,omitempty"`
	Application *applicationUsage `json:"application,omitempty"`
}

// applicationUsage is ApplicationUsage as it is written.
type applicationUsage struct {
	Plan     string       `json:"plan,omitempty"`
	Enforced bool         `json:"enforced,omitempty"`
	Events   *EventUsage  `json:"events,omitempty"`
	Streams  *StreamUsage `json:"streams"`
}

// GetSubscriptionUsage implements ServerInterface.
func (s *Server) GetSubscriptionUsage(c echo.Context, id SubscriptionID) error {
	g, _, err := s.subscription(c, id)
	if err != nil {
		return err
	}
	snap := s.access.Snapshot()
	plan, own := snap.Plan(g.Plan), (*access.Plan)(nil)
	if a := snap.Application(g.Application); a != nil {
		own = snap.Plan(a.Plan)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), usageTime)
	defer cancel()
	u, silent := s.nodes.Usage(ctx, []presence.Limit{limitOf("sub", g.ID, plan), limitOf("app", g.Application, own)})
	out := usage{ID: g.ID, Known: len(u.Used) == 2, Why: u.Why, Silent: silent, Plan: g.Plan, Enforced: plan != nil && plan.Enforce}
	if !out.Known {
		return answer(c, http.StatusOK, out)
	}
	out.Why, out.At = "", when(u.At)
	if plan != nil {
		out.Events = eventsOf(plan, u.Used[0])
		if most := plan.Connections.PerSubscription; plan.Enforce && most > 0 {
			out.Streams = &StreamUsage{Open: u.Used[0].Streams, Limit: most}
		}
	}
	out.Application = &applicationUsage{Streams: &StreamUsage{Open: u.Used[1].Streams}}
	if own != nil {
		out.Application.Plan, out.Application.Enforced = own.Name, own.Enforce
		out.Application.Events = eventsOf(own, u.Used[1])
	}
	return answer(c, http.StatusOK, out)
}

// limitOf is what a plan counts of somebody; without a plan only streams are.
func limitOf(kind, id string, p *access.Plan) presence.Limit {
	l := presence.Limit{Kind: kind, ID: id}
	if p != nil && p.Quota.Events > 0 {
		l.Events, l.Every, l.Unit = p.Quota.Events, p.Quota.Every, string(p.Quota.Unit)
	}
	return l
}

// eventsOf shows the events of a plan's window; nil if it counts none.
func eventsOf(p *access.Plan, u presence.Used) *EventUsage {
	if p.Quota.Events <= 0 {
		return nil
	}
	return &EventUsage{Used: u.Spent, Reserved: max(0, u.Given-u.Spent), Limit: p.Quota.Events, Every: max(p.Quota.Every, 1), Unit: EventUsageUnit(p.Quota.Unit),
		From: when(u.Start), ResetAt: when(u.End)}
}
