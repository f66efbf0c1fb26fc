package access

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/problem"
)

// CreateApplication adds an application; ID, SecretHash and CreatedAt are the store's. ApplicationExists if the owner has one of that
// name, case ignored; ClientTaken; UnknownPlan.
func (s *Store) CreateApplication(ctx context.Context, w Write, a Application) (*Application, error) {
	a.ID, a.SecretHash, a.Rev = NewID(), "", 0
	a.defaults()
	if err := a.check(); err != nil {
		return nil, err
	}
	d, err := s.change(ctx, w, "application created", func(d *draft) error {
		a.CreatedAt = d.now
		if err := a.fits(d); err != nil {
			return err
		}
		if d.count(appRecord) >= mostApplications {
			return tooMany("applications")
		}
		a.Applied = w.applied(a.sum(), "")
		return d.put(appKey(a.ID), a)
	})
	return answer(d, err, a, appKey(a.ID), setAppRev)
}

// UpdateApplication replaces an application but for what is the store's. Errors as of CreateApplication.
func (s *Store) UpdateApplication(ctx context.Context, w Write, a Application) (*Application, error) {
	a.Rev = 0
	a.defaults()
	if err := a.check(); err != nil {
		return nil, err
	}
	return s.changeApplication(ctx, w, "application changed", a.ID, func(d *draft, old Application) (Application, error) {
		next := a
		next.SecretHash, next.CreatedAt, next.Applied = old.SecretHash, old.CreatedAt, w.applied(next.sum(), old.Applied)
		return next, next.fits(d)
	})
}

// MakeSecret gives an application a new secret for the built-in issuer, in the place of the one before. It is shown once, here.
func (s *Store) MakeSecret(ctx context.Context, w Write, app string) (*Application, string, error) {
	if !isID(app) {
		return nil, "", notFound("application")
	}
	secret := MakeKey(ClientSecret, app)
	a, err := s.changeApplication(ctx, w, "secret made", app, func(_ *draft, a Application) (Application, error) {
		a.SecretHash, _ = HashKey(secret, nil)
		return a, nil
	})
	if err != nil {
		return nil, "", err
	}
	return a, secret, nil
}

// RemoveSecret takes an application's secret away: the built-in issuer gives it no more tokens. Those it has are not revoked.
func (s *Store) RemoveSecret(ctx context.Context, w Write, app string) (*Application, error) {
	return s.changeApplication(ctx, w, "secret removed", app, func(_ *draft, a Application) (Application, error) {
		a.SecretHash = ""
		return a, nil
	})
}

// changeApplication writes what f makes of an application.
func (s *Store) changeApplication(ctx context.Context, w Write, what, id string, f func(d *draft, old Application) (Application, error)) (*Application, error) {
	var a Application
	d, err := s.change(ctx, w, what, func(d *draft) error {
		old := find[Application](d.table, appKey(id))
		if old == nil {
			return notFound("application")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		var err error
		if a, err = f(d, *old); err != nil {
			return err
		}
		return d.put(appKey(id), a)
	})
	return answer(d, err, a, appKey(id), setAppRev)
}

// DeleteApplication removes an application with its keys and subscriptions: all at once if they fit into one batch, else it is blocked
// first and deleted last. When it fails half-way it can be called again.
func (s *Store) DeleteApplication(ctx context.Context, w Write, id string) error {
	for {
		done := false
		_, err := s.change(ctx, w, "application deleted", func(d *draft) error {
			done = false
			a := find[Application](d.table, appKey(id))
			if a == nil {
				return notFound("application")
			}
			if err := w.expected(a.Rev); err != nil {
				return err
			}
			belongs := belongings(d, id)
			if len(belongs) < d.room() {
				done = true
			} else if a.State != AppBlocked {
				blocked := *a
				blocked.State = AppBlocked
				return d.put(appKey(id), blocked)
			}
			for _, key := range belongs[:min(len(belongs), d.room())] {
				d.remove(key)
			}
			if done {
				d.remove(appKey(id))
			}
			return nil
		})
		if err != nil || done || w.DryRun {
			return err
		}
		w.Expect = 0 // it is ours now: nobody unblocks what is being deleted without meaning it
	}
}

// belongings are the keys under which an application's keys and subscriptions are stored: API keys first.
func belongings(d *draft, app string) (out []string) {
	for _, k := range each(d.table, func(k *Key) bool { return k.Application == app }) {
		out = append(out, keyKey(k.ID))
	}
	for _, g := range each(d.table, func(g *Grant) bool { return g.Application == app }) {
		out = append(out, subKey(g.Application, g.API, g.Version))
	}
	return out
}

func setAppRev(a *Application, rev uint64) { a.Rev = rev }

func (a *Application) defaults() {
	if a.State == "" {
		a.State = AppActive
	}
	a.Clients = orNil(a.Clients)
	if len(a.Labels) == 0 {
		a.Labels = nil
	}
}

func (a *Application) check() error {
	var c checker
	c.name("/name", a.Name)
	c.line("/displayName", a.DisplayName, longestLine)
	c.text("/description", a.Description)
	c.word("/owner", a.Owner, longestOwner)
	c.value(a.State == AppActive || a.State == AppBlocked, "/state", "must be one of ACTIVE, BLOCKED")
	c.value(len(a.Clients) <= mostClients, "/clients", "must be at most %d", mostClients)
	for i, r := range a.Clients {
		c.word(at("/clients", i)+"/issuer", r.Issuer, longestText)
		c.value(r.ID != "" && isLine(r.ID, longestLine), at("/clients", i)+"/id", "must be 1 to %d bytes on one line", longestLine)
		c.value(!slices.Contains(a.Clients[:i], r), at("/clients", i), "is listed twice")
	}
	c.value(len(a.Labels) <= mostLabels, "/labels", "must be at most %d", mostLabels)
	for k, v := range a.Labels {
		pointer := "/labels/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
		c.value(k != "" && isLine(k, longestOwner), pointer, "must have a name of 1 to %d bytes", longestOwner)
		c.line(pointer, v, longestLine)
	}
	return c.err()
}

// fits checks an application against what else there is.
func (a *Application) fits(d *draft) error {
	if a.Plan != "" && find[Plan](d.table, planKey(a.Plan)) == nil {
		return taken(problem.UnknownPlan, "/plan", "there is no such plan")
	}
	for _, other := range each(d.table, func(o *Application) bool { return o.ID != a.ID }) {
		if other.Owner == a.Owner && strings.EqualFold(other.Name, a.Name) {
			return taken(problem.ApplicationExists, "/name", "another application of the owner has it")
		}
		for i, r := range a.Clients {
			if slices.Contains(other.Clients, r) {
				return taken(problem.ClientTaken, "/clients/"+strconv.Itoa(i), "belongs to another application")
			}
		}
	}
	return nil
}
