package catalog

import (
	"context"
	"slices"
	"strings"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Subscriptions is what a Manager asks of, and has done by, whoever keeps plans and subscriptions.
type Subscriptions interface {
	// HasPlan tells whether there is a plan of that name; true while that cannot be told yet.
	HasPlan(name string) bool
	// Count is how many subscriptions an API version has, as far as this node knows.
	Count(name, version string) int
	// Drop deletes all subscriptions of an API version.
	Drop(ctx context.Context, name, version string) error
	// Carry subscribes the subscribers of one version to another, with the plans they have if the other offers them, else with the
	// first that it offers. What an application has subscribed to already stays.
	Carry(ctx context.Context, name, from, to string, plans []string, by string) error
}

// offered reports plans of a definition that nobody has made. more count as made.
func (m *Manager) offered(c *checker, more []string) {
	if m.opt.Subscriptions == nil {
		return
	}
	for i, name := range c.api.Spec.Plans {
		if !m.opt.Subscriptions.HasPlan(name) && !slices.Contains(more, name) {
			c.fail("unknown-plan", doc.Join("/spec/plans", i), "names no plan that exists")
		}
	}
}

// unsubscribed lets an API go if nobody has subscribed to it, or the caller takes the subscriptions too.
func (m *Manager) unsubscribed(p *plan, api *API) error {
	if m.opt.Subscriptions == nil {
		return nil
	}
	n := m.opt.Subscriptions.Count(api.Name(), api.Version())
	if n > 0 && !p.by.Cascade {
		return &problem.Error{Kind: HasSubscriptions, Detail: "The API has " + count(n, "subscription") + "; delete them first, or all with cascade."}
	}
	p.drops = n > 0 || p.by.Cascade
	return nil
}

// dropSubscriptions removes the subscriptions of what a plan deletes, or of what had the name of an API that it makes: before it is
// written, so that nothing is left for an API that gets the name later.
func (m *Manager) dropSubscriptions(ctx context.Context, p *plan) error {
	if m.opt.Subscriptions == nil || !p.drops {
		return nil
	}
	if err := m.opt.Subscriptions.Drop(ctx, p.result.Record.API.Name(), p.result.Record.API.Version()); err != nil {
		return unavailable("The subscriptions of the API cannot be deleted.", err)
	}
	return nil
}

// carrySubscriptions gives a version that was published those who have subscribed to the version before it.
func (m *Manager) carrySubscriptions(ctx context.Context, p *plan) error {
	if m.opt.Subscriptions == nil || p.carryFrom == "" {
		return nil
	}
	api := p.result.Record.API
	err := m.opt.Subscriptions.Carry(ctx, api.Name(), p.carryFrom, api.Version(), api.Spec.Plans, p.by.By.Name)
	if err != nil {
		return unavailable("The API is published, but not all subscriptions were copied from version "+p.carryFrom+".", err)
	}
	return nil
}

// versionBefore is the newest version of an API's name that is older than it, "" if there is none.
func (s *seen) versionBefore(api *API) string {
	var older []string
	for _, e := range s.family(api.Name()) {
		if v := e.rec.API.Version(); compareVersions(v, api.Version()) < 0 {
			older = append(older, v)
		}
	}
	if len(older) == 0 {
		return ""
	}
	return slices.MaxFunc(older, func(a, b string) int { return compareVersions(strings.ToLower(a), strings.ToLower(b)) })
}
