package access

import (
	"context"
	"time"

	"sluice/internal/problem"
)

// Store follows and changes what says who may read what. Its methods answer Unavailable until their bodies come.
type Store struct{}

func New(opt Options) *Store                                              { return &Store{} }
func (s *Store) Run(ctx context.Context) error                            { return nil }
func (s *Store) Ready() <-chan struct{}                                   { return nil }
func (s *Store) Snapshot() *Snapshot                                      { return &Snapshot{} }
func (s *Store) Watch(ctx context.Context) <-chan *Snapshot               { return nil }
func (s *Store) Fresh() time.Time                                         { return time.Time{} }
func (s *Store) Status() Status                                           { return Status{} }
func (s *Store) Updated(ctx context.Context, access, revoke uint64) error { return problem.Unavailable }

func (s *Store) CreatePlan(ctx context.Context, w Write, p Plan) (*Plan, error) {
	return nil, problem.Unavailable
}
func (s *Store) UpdatePlan(ctx context.Context, w Write, p Plan) (*Plan, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeletePlan(ctx context.Context, w Write, name string) error {
	return problem.Unavailable
}
func (s *Store) CreateApplication(ctx context.Context, w Write, a Application) (*Application, error) {
	return nil, problem.Unavailable
}
func (s *Store) UpdateApplication(ctx context.Context, w Write, a Application) (*Application, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeleteApplication(ctx context.Context, w Write, id string) error {
	return problem.Unavailable
}
func (s *Store) MakeSecret(ctx context.Context, w Write, app string) (*Application, string, error) {
	return nil, "", problem.Unavailable
}
func (s *Store) RemoveSecret(ctx context.Context, w Write, app string) (*Application, error) {
	return nil, problem.Unavailable
}
func (s *Store) CreateKey(ctx context.Context, w Write, k Key) (*Key, string, error) {
	return nil, "", problem.Unavailable
}
func (s *Store) UpdateKey(ctx context.Context, w Write, k Key) (*Key, error) {
	return nil, problem.Unavailable
}
func (s *Store) RevokeKey(ctx context.Context, w Write, id string) (*Key, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeleteKey(ctx context.Context, w Write, id string) error { return problem.Unavailable }
func (s *Store) CreateGrant(ctx context.Context, w Write, g Grant) (*Grant, error) {
	return nil, problem.Unavailable
}
func (s *Store) UpdateGrant(ctx context.Context, w Write, g Grant) (*Grant, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeleteGrant(ctx context.Context, w Write, id string) error {
	return problem.Unavailable
}
func (s *Store) DeleteGrantsOf(ctx context.Context, w Write, api, version string) (int, error) {
	return 0, problem.Unavailable
}
func (s *Store) CreateDeny(ctx context.Context, w Write, d Deny) (*Deny, error) {
	return nil, problem.Unavailable
}
func (s *Store) UpdateDeny(ctx context.Context, w Write, d Deny) (*Deny, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeleteDeny(ctx context.Context, w Write, id string) error { return problem.Unavailable }
func (s *Store) Revoke(ctx context.Context, w Write, r Revocation) (*Revocation, error) {
	return nil, problem.Unavailable
}
func (s *Store) DeleteRevocation(ctx context.Context, w Write, kind RevokeKind, value string) error {
	return problem.Unavailable
}
