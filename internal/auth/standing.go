package auth

import "slices"

// Standing returns a function that tells, for an answer that takes long, whether the caller may still be answered and with which roles.
// It is false once the session of the token has ended or, without a token, the password of the user is another one. Asking is no use of
// the session, so that it ends idle although the answer goes on. The function asks nobody and may be called often.
func (a *Accounts) Standing(name, token string) func() (Principal, bool) {
	id := tokenID(token)
	a.mu.Lock()
	generation := a.users[name].Generation
	a.mu.Unlock()
	return func() (Principal, bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		u, known := a.users[name]
		if token != "" {
			s, open := a.sessions[id]
			known = known && open && s.User == name && a.lives(s)
		} else {
			known = known && u.Generation == generation
		}
		return Principal{Name: name, Roles: slices.Clone(u.Roles)}, known
	}
}
