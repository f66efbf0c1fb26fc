package access

import (
	"context"
	"slices"
	"time"

	"sluice/internal/problem"
)

// CreateGrant subscribes an application to a version of an API; ID, CreatedAt and CreatedBy are the store's; ended and made anew, it
// has the ID it had. Without a State it is UNBLOCKED, or ON_HOLD if the plan requires approval. That the API exists and offers the plan is
// for the caller to ask. SubscriptionExists, UnknownApplication, UnknownPlan.
func (s *Store) CreateGrant(ctx context.Context, w Write, g Grant) (*Grant, error) {
	g.ID, g.CreatedBy, g.Rev = grantID(g.Application, g.API, g.Version), w.By, 0
	asked := g.State
	key := subKey(g.Application, g.API, g.Version)
	d, err := s.change(ctx, w, "subscription created", func(d *draft) error {
		g.CreatedAt, g.State = d.now, asked
		plan := find[Plan](d.table, planKey(g.Plan))
		if g.State == "" {
			g.State = SubUnblocked
			if plan != nil && plan.RequiresApproval {
				g.State = SubOnHold
			}
		}
		if err := g.check(plan, time.Time{}, d.now); err != nil {
			return err
		}
		if find[Application](d.table, appKey(g.Application)) == nil {
			return taken(problem.UnknownApplication, "/application", "there is no such application")
		}
		if find[Grant](d.table, key) != nil {
			return &problem.Error{Kind: problem.SubscriptionExists, Detail: "The application is subscribed to this version of the API already."}
		}
		if len(each(d.table, func(o *Grant) bool { return o.Application == g.Application })) >= mostGrants {
			return tooMany("subscriptions of the application")
		}
		g.Applied = w.applied(g.sum(), "")
		return d.put(key, g)
	})
	return answer(d, err, g, key, setGrantRev)
}

// UpdateGrant replaces a subscription's Plan, State, Topics and Expires.
func (s *Store) UpdateGrant(ctx context.Context, w Write, g Grant) (*Grant, error) {
	var next Grant
	var key string
	d, err := s.change(ctx, w, "subscription changed", func(d *draft) error {
		old := grantOf(d, g.ID)
		if old == nil {
			return notFound("subscription")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		next, key = *old, subKey(old.Application, old.API, old.Version)
		next.Plan, next.State, next.Topics, next.Expires = g.Plan, g.State, g.Topics, g.Expires
		if next.State == "" {
			next.State = old.State
		}
		next.Applied = w.applied(next.sum(), old.Applied)
		if err := next.check(find[Plan](d.table, planKey(g.Plan)), old.Expires, d.now); err != nil {
			return err
		}
		for _, f := range []struct{ pointer, is, was string }{
			{"/application", g.Application, old.Application}, {"/api", g.API, old.API}, {"/version", g.Version, old.Version},
		} {
			if f.is != "" && f.is != f.was {
				return taken(problem.ImmutableField, f.pointer, "cannot change: subscribe anew")
			}
		}
		return d.put(key, next)
	})
	return answer(d, err, next, key, setGrantRev)
}

// DeleteGrant ends a subscription.
func (s *Store) DeleteGrant(ctx context.Context, w Write, id string) error {
	_, err := s.change(ctx, w, "subscription deleted", func(d *draft) error {
		old := grantOf(d, id)
		if old == nil {
			return notFound("subscription")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		d.remove(subKey(old.Application, old.API, old.Version))
		return nil
	})
	return err
}

// DeleteGrantsOf ends all subscriptions to a version of an API and tells how many there were. When it fails half-way it can be called
// again.
func (s *Store) DeleteGrantsOf(ctx context.Context, w Write, api, version string) (int, error) {
	w.Expect = 0
	for deleted := 0; ; {
		now, left := 0, 0
		_, err := s.change(ctx, w, "subscriptions deleted", func(d *draft) error {
			all := each(d.table, func(g *Grant) bool { return g.API == api && g.Version == version })
			now = min(len(all), d.room())
			left = len(all) - now
			for _, g := range all[:now] {
				d.remove(subKey(g.Application, g.API, g.Version))
			}
			return nil
		})
		if err != nil {
			return deleted, err
		}
		if w.DryRun {
			return now + left, nil
		}
		if deleted += now; left == 0 {
			return deleted, nil
		}
	}
}

func grantOf(d *draft, id string) *Grant {
	if all := each(d.table, func(g *Grant) bool { return g.ID == id }); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Active tells whether the subscription lets anybody read at now; its application may not.
func (g *Grant) Active(now time.Time) bool {
	return g.State == SubUnblocked && (g.Expires.IsZero() || now.Before(g.Expires))
}

func setGrantRev(g *Grant, rev uint64) { g.Rev = rev }

func (g *Grant) check(plan *Plan, wasExpires, now time.Time) error {
	g.Topics = orNil(g.Topics)
	var c checker
	c.value(isName(g.API), "/api", "must be the name of an API")
	c.value(isName(g.Version), "/version", "must be a version of the API")
	if plan == nil {
		c.add(problem.UnknownPlan, "/plan", "there is no such plan")
	}
	states := []SubState{SubUnblocked, SubOnHold, SubBlocked, SubRejected}
	c.value(slices.Contains(states, g.State), "/state", "must be one of UNBLOCKED, ON_HOLD, BLOCKED, REJECTED")
	c.topics(g.Topics)
	c.later("/expires", g.Expires, wasExpires, now)
	return c.err()
}
