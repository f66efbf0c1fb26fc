package auth

import (
	"slices"
	"time"
)

// Role is what a user may do.
type Role string

// The roles.
const (
	RoleAdmin      Role = "admin"      // everything
	RoleCreator    Role = "creator"    // write definitions
	RolePublisher  Role = "publisher"  // move them on in their life, deploy them
	RoleSubscriber Role = "subscriber" // see what is published
)

// Valid tells whether r is one of the roles.
func (r Role) Valid() bool {
	return r == RoleAdmin || r == RoleCreator || r == RolePublisher || r == RoleSubscriber
}

// Principal is a caller once known.
type Principal struct {
	Name  string
	Roles []Role
}

// Has tells whether the caller has role r; an administrator has every role.
func (p Principal) Has(r Role) bool {
	return slices.Contains(p.Roles, r) || slices.Contains(p.Roles, RoleAdmin)
}

// Session is what a login gives: a bearer token, shown once.
type Session struct {
	Principal
	Token string
	// Expires is when the token ends at the latest.
	Expires time.Time
}

// User is a local account, without its password.
type User struct {
	Name      string
	Roles     []Role
	CreatedAt time.Time
}
