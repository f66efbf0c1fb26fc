package admin

import (
	"encoding/base64"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

// guard runs before every operation: what the document says of it is checked here, once for all.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		op := s.contract.find(c.Request().Method, c.Path())
		if op == nil {
			return next(c) // the router's own 404 or 405
		}
		if err := s.admit(c, op); err != nil {
			return err
		}
		return next(c)
	}
}

// admit checks origin, caller, role, media types and parameters, in this order.
func (s *Server) admit(c echo.Context, op *operation) error {
	r := c.Request()
	if err := s.origins.Check(r); err != nil {
		return &problem.Error{Kind: problem.CrossOrigin, Err: err}
	}
	if !op.open {
		caller, err := s.authenticate(c)
		if err != nil {
			return err
		}
		c.Set(callerKey, caller)
		if !op.allows(caller) {
			return problem.Forbidden
		}
	}
	if err := checkMedia(r, op); err != nil {
		return err
	}
	path := map[string]string{}
	for i, name := range c.ParamNames() {
		path[name] = c.ParamValues()[i]
	}
	return op.checkParams(r, path)
}

const callerKey = "caller"

// callerOf returns who is signed in; the zero Principal where nobody needs to be.
func callerOf(c echo.Context) auth.Principal {
	p, _ := c.Get(callerKey).(auth.Principal)
	return p
}

// authenticate reads the one credential of a request; the session cookie counts where there is no Authorization.
func (s *Server) authenticate(c echo.Context) (auth.Principal, error) {
	r := c.Request()
	fields := r.Header.Values("Authorization")
	if len(fields) > 1 {
		return auth.Principal{}, problem.DuplicateHeader
	}
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	credential = strings.TrimSpace(credential)
	switch {
	case strings.EqualFold(scheme, "bearer") && credential != "":
		return s.accounts.Token(r.Context(), c.RealIP(), credential)
	case strings.EqualFold(scheme, "basic"):
		raw, err := base64.StdEncoding.DecodeString(credential)
		name, password, ok := strings.Cut(string(raw), ":")
		if err != nil || !ok {
			return auth.Principal{}, problem.Unauthenticated
		}
		return s.accounts.Basic(r.Context(), c.RealIP(), name, password)
	}
	if token := auth.CookieToken(r); token != "" && len(fields) == 0 {
		return s.accounts.Token(r.Context(), c.RealIP(), token)
	}
	return auth.Principal{}, problem.Unauthenticated
}

// checkMedia checks that a body is of a type that the operation takes, and that the client takes what it gives.
func checkMedia(r *http.Request, op *operation) error {
	if len(op.takes) > 0 && r.ContentLength != 0 {
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || !slices.Contains(op.takes, media) {
			return &problem.Error{Kind: problem.UnsupportedMediaType, Detail: "Send " + strings.Join(op.takes, " or ") + "."}
		}
	}
	if len(op.takes) == 0 && r.ContentLength != 0 {
		return problem.UnexpectedBody
	}
	if len(op.gives) > 0 && !acceptable(r.Header.Values("Accept"), op.gives) {
		return &problem.Error{Kind: problem.NotAcceptable, Detail: "There is " + strings.Join(op.gives, ", ") + "."}
	}
	return nil
}

// acceptable tells whether a client that accepts these takes one of the types given.
func acceptable(accept, gives []string) bool {
	any := false
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		any = true
		if q := params["q"]; strings.Trim(q, "0.") == "" && q != "" {
			continue
		}
		for _, g := range gives {
			if media == "*/*" || media == g || strings.HasSuffix(media, "/*") && strings.HasPrefix(g, media[:len(media)-1]) {
				return true
			}
		}
	}
	return !any
}
