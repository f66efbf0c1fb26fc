package access

import (
	"context"
	"slices"

	"sluice/internal/problem"
)

// CreatePlan adds a plan. PlanExists.
func (s *Store) CreatePlan(ctx context.Context, w Write, p Plan) (*Plan, error) {
	p.defaults()
	if err := p.check(); err != nil {
		return nil, err
	}
	d, err := s.change(ctx, w, "plan created", func(d *draft) error {
		if find[Plan](d.table, planKey(p.Name)) != nil {
			return taken(problem.PlanExists, "/name", "is taken")
		}
		if d.count(planRecord) >= mostPlans {
			return tooMany("plans")
		}
		p.Applied = w.applied(p.sum(), "")
		return d.put(planKey(p.Name), p)
	})
	return answer(d, err, p, planKey(p.Name), func(p *Plan, rev uint64) { p.Rev = rev })
}

// UpdatePlan replaces a plan. It acts at once: what was given stays given, the limits change.
func (s *Store) UpdatePlan(ctx context.Context, w Write, p Plan) (*Plan, error) {
	p.defaults()
	if err := p.check(); err != nil {
		return nil, err
	}
	d, err := s.change(ctx, w, "plan changed", func(d *draft) error {
		old := find[Plan](d.table, planKey(p.Name))
		if old == nil {
			return notFound("plan")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		p.Applied = w.applied(p.sum(), old.Applied)
		return d.put(planKey(p.Name), p)
	})
	return answer(d, err, p, planKey(p.Name), func(p *Plan, rev uint64) { p.Rev = rev })
}

// DeletePlan removes a plan. PlanInUse while a subscription or an application has it; that an API offers it is for the caller to ask.
func (s *Store) DeletePlan(ctx context.Context, w Write, name string) error {
	_, err := s.change(ctx, w, "plan deleted", func(d *draft) error {
		old := find[Plan](d.table, planKey(name))
		if old == nil {
			return notFound("plan")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		grants := each(d.table, func(g *Grant) bool { return g.Plan == name })
		apps := each(d.table, func(a *Application) bool { return a.Plan == name })
		if len(grants)+len(apps) > 0 {
			return &problem.Error{Kind: problem.PlanInUse, Detail: inUse(len(grants), len(apps))}
		}
		d.remove(planKey(name))
		return nil
	})
	return err
}

func (p *Plan) defaults() {
	p.Rev = 0
	if p.OnQuotaEnd == "" {
		p.OnQuotaEnd = QuotaAuto
	}
	if p.WhenSourceDown == "" {
		p.WhenSourceDown = FailOpen
	}
	if p.Quota.Events > 0 && p.Quota.Every == 0 {
		p.Quota.Every = 1
	}
}

func (p *Plan) check() error {
	var c checker
	c.name("/name", p.Name)
	c.line("/displayName", p.DisplayName, longestLine)
	c.text("/description", p.Description)
	c.number("/quota/events", p.Quota.Events, 0, mostEvents)
	units := []Unit{Minute, Hour, Day, Month, Year}
	if p.Quota.Events > 0 {
		c.number("/quota/every", int64(p.Quota.Every), 1, mostEvery)
		c.value(slices.Contains(units, p.Quota.Unit), "/quota/unit", "must be one of minute, hour, day, month, year")
	} else {
		c.number("/quota/every", int64(p.Quota.Every), 0, mostEvery)
		c.value(p.Quota.Unit == "" || slices.Contains(units, p.Quota.Unit), "/quota/unit", "must be one of minute, hour, day, month, year")
	}
	c.number("/rate/events", int64(p.Rate.Events), 0, mostSeats)
	if p.Rate.Events > 0 || p.Rate.Per != 0 {
		c.duration("/rate/per", p.Rate.Per, leastPer, mostPer)
	}
	c.number("/connections/perSubscription", int64(p.Connections.PerSubscription), 0, mostSeats)
	c.number("/connections/perKey", int64(p.Connections.PerKey), 0, mostSeats)
	if p.MaxDuration != 0 {
		c.duration("/maxDuration", p.MaxDuration, leastDuration, mostDuration)
	}
	c.value(slices.Contains([]QuotaEnd{QuotaAuto, QuotaPause, QuotaClose}, p.OnQuotaEnd), "/onQuotaEnd", "must be one of auto, pause, close")
	c.value(slices.Contains([]FailPolicy{FailOpen, FailClosed}, p.WhenSourceDown), "/whenSourceDown", "must be one of open, closed")
	return c.err()
}

// answer is what a change gives back: the record as it was written, with its revision.
func answer[T any](d *draft, err error, record T, key string, set func(*T, uint64)) (*T, error) {
	if err != nil {
		return nil, err
	}
	set(&record, d.made(key))
	return &record, nil
}
