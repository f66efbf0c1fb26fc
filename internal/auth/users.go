package auth

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"sluice/internal/problem"
)

// Users returns all users, by name.
func (a *Accounts) Users() ([]User, error) {
	if _, err := a.open(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []User
	for name, r := range a.users {
		out = append(out, r.shown(name))
	}
	slices.SortFunc(out, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// User returns one user.
func (a *Accounts) User(name string) (User, error) {
	r, known, err := a.user(name)
	if err != nil {
		return User{}, err
	}
	if !known {
		return User{}, problem.NotFound
	}
	return r.shown(name), nil
}

func (r userRecord) shown(name string) User {
	return User{Name: name, Roles: slices.Clone(r.Roles), CreatedAt: r.CreatedAt}
}

// CreateUser adds a user.
func (a *Accounts) CreateUser(ctx context.Context, name, password string, roles []Role) (User, error) {
	users, err := a.Users()
	if err != nil {
		return User{}, err
	}
	if !validName(name) {
		return User{}, wrong("/name", "invalid-name", "must be 1 to 63 lower-case letters, digits, underscores or dashes, a letter or digit first")
	}
	if len(users) >= mostUsers {
		return User{}, &problem.Error{Kind: problem.Conflict, Detail: "There are as many users as can be."}
	}
	r := userRecord{CreatedAt: a.now()}
	if err := a.set(ctx, &r, name, password, roles); err != nil {
		return User{}, err
	}
	err = a.put(ctx, userKey+name, r, 0)
	if conflict(err) {
		return User{}, &problem.Error{Kind: problem.UserExists, Errors: []problem.Part{{Pointer: "/name", Type: string(problem.UserExists), Reason: "is taken"}}}
	}
	if err != nil {
		return User{}, err
	}
	return r.shown(name), nil
}

// UpdateUser sets a user's roles, and the password unless it is "". A new password, and a role taken away, end the user's sessions.
func (a *Accounts) UpdateUser(ctx context.Context, name, password string, roles []Role) (User, error) {
	a.admins.Lock()
	defer a.admins.Unlock()
	r, known, err := a.user(name)
	if err != nil {
		return User{}, err
	}
	if !known {
		return User{}, problem.NotFound
	}
	if slices.Contains(r.Roles, RoleAdmin) && !slices.Contains(roles, RoleAdmin) && a.lastAdmin(name) {
		return User{}, lastAdmin()
	}
	if password != "" {
		err = a.set(ctx, &r, name, password, roles)
	} else {
		err = a.setRoles(&r, roles)
	}
	if err != nil {
		return User{}, err
	}
	if err := a.put(ctx, userKey+name, r, r.rev); err != nil {
		return User{}, err
	}
	a.forgetFirst(name)
	return r.shown(name), nil
}

// ChangePassword sets a user's own password and ends the user's sessions.
func (a *Accounts) ChangePassword(ctx context.Context, address, name, current, password string) error {
	if err := CheckPassword(name, password); err != nil {
		return err
	}
	if _, err := a.verify(ctx, address, name, current); err != nil {
		if problem.KindOf(err) == problem.Unauthenticated {
			return &problem.Error{Kind: problem.Forbidden, Detail: "The current password is wrong."}
		}
		return err
	}
	u, err := a.User(name)
	if err != nil {
		return err
	}
	_, err = a.UpdateUser(ctx, name, password, u.Roles)
	return err
}

// DeleteUser removes a user and with it the user's sessions.
func (a *Accounts) DeleteUser(ctx context.Context, name string) error {
	a.admins.Lock()
	defer a.admins.Unlock()
	r, known, err := a.user(name)
	if err != nil {
		return err
	}
	if !known {
		return problem.NotFound
	}
	if a.lastAdmin(name) {
		return lastAdmin()
	}
	return a.remove(ctx, userKey+name, r.rev)
}

// set gives a record a password and roles.
func (a *Accounts) set(ctx context.Context, r *userRecord, name, password string, roles []Role) error {
	if err := CheckPassword(name, password); err != nil {
		return err
	}
	if err := a.setRoles(r, roles); err != nil {
		return err
	}
	leave, err := a.hasher.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r.Hash, r.First, r.Generation = a.hasher.hash(password), false, newGeneration()
	return nil
}

func (a *Accounts) setRoles(r *userRecord, roles []Role) error {
	if len(roles) == 0 || slices.ContainsFunc(roles, func(x Role) bool { return !x.Valid() }) {
		return wrong("/roles", "invalid-value", "must be at least one of admin, creator, publisher, subscriber")
	}
	roles = slices.Clone(roles)
	slices.Sort(roles)
	roles = slices.Compact(roles)
	if slices.ContainsFunc(r.Roles, func(x Role) bool { return !slices.Contains(roles, x) }) {
		r.Generation = newGeneration()
	}
	r.Roles = roles
	return nil
}

func newGeneration() string { return hex.EncodeToString(random(8)) }

// lastAdmin tells whether a user is the only administrator.
func (a *Accounts) lastAdmin(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.users[name].Roles, RoleAdmin) {
		return false
	}
	for other, r := range a.users {
		if other != name && slices.Contains(r.Roles, RoleAdmin) {
			return false
		}
	}
	return true
}

func lastAdmin() error {
	return &problem.Error{Kind: problem.LastAdmin, Detail: "Nobody could manage the users any more."}
}

func wrong(pointer string, kind problem.Kind, reason string) error {
	return &problem.Error{Kind: kind, Errors: []problem.Part{{Pointer: pointer, Type: string(kind), Reason: reason}}}
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}
