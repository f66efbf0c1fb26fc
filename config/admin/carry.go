package admin

import (
	"context"
	"errors"
	"slices"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/problem"
)

// Subscriptions lets a catalog ask and change what a store keeps of plans and subscriptions.
type Subscriptions struct {
	// Store returns the store, which may be made after the catalog; it is asked for at each use.
	Store func() *access.Store
}

var _ catalog.Subscriptions = Subscriptions{}

// HasPlan implements catalog.Subscriptions.
func (s Subscriptions) HasPlan(name string) bool {
	snap := s.Store().Snapshot()
	return snap.Revision() == 0 || snap.Plan(name) != nil
}

// Count implements catalog.Subscriptions.
func (s Subscriptions) Count(name, version string) int {
	return len(s.Store().Snapshot().GrantsTo(name, version))
}

// Drop implements catalog.Subscriptions.
func (s Subscriptions) Drop(ctx context.Context, name, version string) error {
	_, err := s.Store().DeleteGrantsOf(ctx, access.Write{}, name, version)
	return err
}

// Carry implements catalog.Subscriptions. States and topics go with the subscriptions; blocked and rejected ones stay behind.
func (s Subscriptions) Carry(ctx context.Context, name, from, to string, plans []string, by string) error {
	if len(plans) == 0 {
		return nil
	}
	var errs []error
	for _, g := range s.Store().Snapshot().GrantsTo(name, from) {
		if g.State == access.SubBlocked || g.State == access.SubRejected {
			continue
		}
		next := access.Grant{Application: g.Application, API: name, Version: to, Plan: g.Plan, State: g.State, Topics: g.Topics, Expires: g.Expires, CreatedBy: by}
		if !slices.Contains(plans, next.Plan) {
			next.Plan = plans[0]
		}
		_, err := s.Store().CreateGrant(ctx, access.Write{By: by}, next)
		if err != nil && problem.KindOf(err) != problem.SubscriptionExists {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
