package auth

import "net/http"

// The names of the session cookie: the prefix makes browsers insist on https, this host and the whole path; plain http is for loopback.
const (
	secureCookie = "__Host-sluice_admin"
	plainCookie  = "sluice_admin"
)

// Cookie returns the session cookie for a token, as browsers must keep it: no script reads it, no other site sends it. secure tells
// whether it travels by https.
func Cookie(token string, secure bool) *http.Cookie {
	name := plainCookie
	if secure {
		name = secureCookie
	}
	c := &http.Cookie{Name: name, Value: token, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// CookieToken returns the token of a request's session cookie, "" without one.
func CookieToken(r *http.Request) string {
	c, err := r.Cookie(Cookie("", r.TLS != nil).Name)
	if err != nil {
		return ""
	}
	return c.Value
}
