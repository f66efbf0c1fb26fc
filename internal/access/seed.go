package access

import (
	"context"
	"fmt"
	"time"
)

// firstPlans are those that a new cluster begins with.
func firstPlans() []Plan {
	plan := func(name, about string, events int64, connections int) Plan {
		p := Plan{Name: name, Description: about, Enforce: true, Rate: Rate{Per: time.Second}, Connections: Connections{PerSubscription: connections}}
		if events > 0 {
			p.Quota = Quota{Events: events, Every: 1, Unit: Day}
		}
		p.defaults()
		return p
	}
	return []Plan{
		plan("AsyncUnlimited", "Not metered.", 0, 0),
		plan("AsyncGold", "50,000 events a day, 50 connections.", 50_000, 50),
		plan("AsyncSilver", "25,000 events a day, 20 connections.", 25_000, 20),
		plan("AsyncBronze", "5,000 events a day, 5 connections.", 5_000, 5),
	}
}

// seed makes the first plans, once per cluster: a plan that was deleted does not come back. It tries until it is done or ctx ends.
func (s *Store) seed(ctx context.Context) {
	for {
		s.mu.Lock()
		moved, can := s.moved, s.access.bucket != nil
		s.mu.Unlock()
		wait := time.Minute
		if can {
			_, err := s.change(ctx, Write{By: "first start"}, "first plans", seeds)
			if err == nil {
				return
			}
			s.log.Debug("access: first plans not made", "error", err)
			moved, wait = nil, time.Second
		}
		select {
		case <-moved:
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func seeds(d *draft) error {
	if d.at(seededKey) > 0 {
		return nil
	}
	for _, p := range firstPlans() {
		if find[Plan](d.table, planKey(p.Name)) != nil {
			continue
		}
		if err := d.put(planKey(p.Name), p); err != nil {
			return err
		}
	}
	return d.put(seededKey, map[string]string{"at": d.now.Format(time.RFC3339)})
}

func inUse(grants, apps int) string {
	return fmt.Sprintf("%d subscriptions and %d applications have it.", grants, apps)
}
