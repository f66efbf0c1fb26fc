package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

// Login implements ServerInterface.
func (s *Server) Login(c echo.Context) error {
	var in Credentials
	if err := s.decode(c, &in); err != nil {
		return err
	}
	if in.Cookie {
		if err := mayKeepCookie(c.Request()); err != nil {
			return err
		}
	}
	session, err := s.accounts.Login(c.Request().Context(), c.RealIP(), in.Name, in.Password)
	if err != nil {
		return err
	}
	out := Session{Token: session.Token, Expires: session.Expires, Name: session.Name, Roles: rolesOf(session.Roles)}
	if in.Cookie {
		c.SetCookie(auth.Cookie(session.Token, c.Request().TLS != nil))
		out.Token = ""
	}
	return answer(c, http.StatusOK, out)
}

// mayKeepCookie refuses a session cookie where anybody on the way could read it.
func mayKeepCookie(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if r.TLS != nil || host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return &problem.Error{Kind: problem.HTTPSRequired, Detail: "A session cookie travels by https only, or to localhost."}
}

// Logout implements ServerInterface.
func (s *Server) Logout(c echo.Context) error {
	r := c.Request()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		token = ""
	}
	if token == "" && scheme == "" {
		if token = auth.CookieToken(r); token != "" {
			c.SetCookie(auth.Cookie("", r.TLS != nil))
		}
	}
	if token != "" {
		if err := s.accounts.Logout(r.Context(), strings.TrimSpace(token)); err != nil {
			return err
		}
	}
	return c.NoContent(http.StatusNoContent)
}

// WhoAmI implements ServerInterface.
func (s *Server) WhoAmI(c echo.Context) error {
	p := callerOf(c)
	return answer(c, http.StatusOK, Me{Name: p.Name, Roles: rolesOf(p.Roles)})
}

// ChangePassword implements ServerInterface.
func (s *Server) ChangePassword(c echo.Context) error {
	var in PasswordChange
	if err := s.decode(c, &in); err != nil {
		return err
	}
	err := s.accounts.ChangePassword(c.Request().Context(), c.RealIP(), callerOf(c).Name, in.Current, in.Password)
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// ListUsers implements ServerInterface.
func (s *Server) ListUsers(c echo.Context) error {
	users, err := s.accounts.Users()
	if err != nil {
		return err
	}
	out := UserList{Items: []User{}, Total: len(users)}
	for _, u := range users {
		out.Items = append(out.Items, userOf(u))
	}
	return answer(c, http.StatusOK, out)
}

// CreateUser implements ServerInterface.
func (s *Server) CreateUser(c echo.Context) error {
	var in NewUser
	if err := s.decode(c, &in); err != nil {
		return err
	}
	u, err := s.accounts.CreateUser(c.Request().Context(), in.Name, in.Password, authRoles(in.Roles))
	if err != nil {
		return err
	}
	s.log.Info("user created", "user", u.Name, "roles", u.Roles, "by", callerOf(c).Name)
	c.Response().Header().Set("Location", "/api/v1/users/"+url.PathEscape(u.Name))
	return answer(c, http.StatusCreated, userOf(u))
}

// GetUser implements ServerInterface.
func (s *Server) GetUser(c echo.Context, name UserName) error {
	u, err := s.accounts.User(name)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, userOf(u))
}

// UpdateUser implements ServerInterface.
func (s *Server) UpdateUser(c echo.Context, name UserName) error {
	var in UserUpdate
	if err := s.decode(c, &in); err != nil {
		return err
	}
	u, err := s.accounts.UpdateUser(c.Request().Context(), name, in.Password, authRoles(in.Roles))
	if err != nil {
		return err
	}
	s.log.Info("user changed", "user", u.Name, "roles", u.Roles, "password", in.Password != "", "by", callerOf(c).Name)
	return answer(c, http.StatusOK, userOf(u))
}

// DeleteUser implements ServerInterface.
func (s *Server) DeleteUser(c echo.Context, name UserName) error {
	if err := s.accounts.DeleteUser(c.Request().Context(), name); err != nil {
		return err
	}
	s.log.Info("user deleted", "user", name, "by", callerOf(c).Name)
	return c.NoContent(http.StatusNoContent)
}

func userOf(u auth.User) User {
	return User{Name: u.Name, Roles: rolesOf(u.Roles), CreatedAt: u.CreatedAt}
}

func rolesOf(in []auth.Role) []Role {
	out := make([]Role, 0, len(in))
	for _, r := range in {
		out = append(out, Role(r))
	}
	return out
}

func authRoles(in []Role) []auth.Role {
	out := make([]auth.Role, 0, len(in))
	for _, r := range in {
		out = append(out, auth.Role(r))
	}
	return out
}
