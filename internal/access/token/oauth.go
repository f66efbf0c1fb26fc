package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/access"
	"sluice/internal/problem"
)

// How edges ask control: subjects SubjectOAuth and a verb, one of the group Group answers. Control nodes ask each other on SubjectPeers.
const (
	SubjectOAuth = "rpc.oauth."
	SubjectPeers = "ctl.oauth"
	Group        = "control"
)

// Bounds of a request.
const (
	MaxBody   = 8 << 10
	RelayTime = 2 * time.Second
	mostJobs  = 64
)

// Verb is what is asked of the built-in issuer.
type Verb string

// The verbs, each a path of the edge.
const (
	VerbToken    Verb = "token"
	VerbRevoke   Verb = "revoke"
	VerbTicket   Verb = "ticket"
	VerbCookie   Verb = "cookie"
	VerbKeys     Verb = "keys"
	VerbMetadata Verb = "metadata"
)

// VerbOf finds the verb of a path, and the method it takes; false if it is none of the issuer's.
func VerbOf(path string) (v Verb, method string, ok bool) {
	switch path {
	case "/oauth2/token", "/oauth2/revoke", "/oauth2/ticket", "/oauth2/cookie":
		return Verb(path[len("/oauth2/"):]), http.MethodPost, true
	case "/.well-known/jwks.json":
		return VerbKeys, http.MethodGet, true
	case "/.well-known/oauth-authorization-server":
		return VerbMetadata, http.MethodGet, true
	}
	return "", "", false
}

// Sender is who sent a request, as the edge knows it.
type Sender struct {
	IP        netip.Addr `json:"ip"`
	Origin    string     `json:"origin,omitempty"`
	Base      string     `json:"base"` // scheme://host that it used
	TLS       bool       `json:"tls"`
	CrossSite bool       `json:"crossSite,omitempty"` // a page of another site sent it
}

// Ask is a request as the edge passes it on.
type Ask struct {
	V             int      `json:"v"` // 1
	From          Sender   `json:"from"`
	Authorization []string `json:"authorization,omitempty"`
	APIKey        []string `json:"apiKey,omitempty"`
	ContentType   string   `json:"contentType,omitempty"`
	Body          []byte   `json:"body,omitempty"`
}

// Answer is what the edge sends back. With a Problem it writes that in place of a body.
type Answer struct {
	V       int               `json:"v"` // 1
	Status  int               `json:"status"`
	Header  map[string]string `json:"header,omitempty"`
	Body    []byte            `json:"body,omitempty"`
	Problem problem.Kind      `json:"problem,omitempty"`
	Detail  string            `json:"detail,omitempty"`
}

// listen takes requests until stop, which Run calls when ctx ends.
func (i *Issuer) listen(ctx context.Context) (stop func(), err error) {
	peers, err := i.cfg.Bus.Subscribe(SubjectPeers, i.answerPeers)
	if err != nil {
		return nil, err
	}
	asks, err := i.cfg.Bus.Serve(SubjectOAuth+"*", Group, func(subject string, body []byte, reply func([]byte) error) {
		if reply == nil {
			return
		}
		verb := Verb(strings.TrimPrefix(subject, SubjectOAuth))
		select {
		case i.jobs <- struct{}{}:
		default:
			i.send(reply, Answer{Problem: problem.ControlUnavailable})
			return
		}
		i.start(func() {
			defer func() { <-i.jobs }()
			ctx, cancel := context.WithTimeout(ctx, RelayTime)
			defer cancel()
			i.send(reply, i.serve(ctx, verb, body))
		})
	})
	if err != nil {
		peers()
		return nil, err
	}
	return func() { asks(); peers() }, nil
}

// start runs f, which Run awaits; after its end nothing is started.
func (i *Issuer) start(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ended {
		i.all.Go(f)
	}
}

func (i *Issuer) send(reply func([]byte) error, a Answer) {
	a.V = 1
	text, err := json.Marshal(a)
	if err == nil {
		err = reply(text)
	}
	i.note("oauth answer not sent", err)
}

// serve answers one request.
func (i *Issuer) serve(ctx context.Context, verb Verb, body []byte) Answer {
	var ask Ask
	if err := json.Unmarshal(body, &ask); err != nil || ask.V != 1 || len(ask.Body) > MaxBody {
		return Answer{Problem: problem.Invalid}
	}
	switch verb {
	case VerbToken:
		return i.token(ask)
	case VerbRevoke:
		return i.revoke(ctx, ask)
	case VerbTicket, VerbCookie:
		return problemOr(i.sell(ctx, verb, ask))
	case VerbKeys:
		if ok, _ := i.Ready(); !ok {
			return Answer{Problem: problem.ControlUnavailable}
		}
		a := answerJSON(http.StatusOK, i.keySet())
		a.Header["Cache-Control"] = "public, max-age=300"
		return a
	case VerbMetadata:
		return i.metadata(ask)
	}
	return Answer{Problem: problem.NotFound}
}

// problemOr makes an error the answer.
func problemOr(a Answer, err error) Answer {
	if err == nil {
		return a
	}
	out := Answer{Problem: problem.KindOf(err)}
	var p *problem.Error
	if errors.As(err, &p) {
		out.Detail = p.Detail
	}
	return out
}

func answerJSON(status int, v any) Answer {
	body, err := json.Marshal(v)
	if err != nil {
		return Answer{Problem: problem.Internal}
	}
	return Answer{Status: status, Body: body, Header: map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"}}
}

// oauthError is an error of RFC 6749 §5.2: texts that nobody can choose.
func oauthError(status int, code string) Answer {
	a := answerJSON(status, map[string]string{"error": code})
	if status == http.StatusUnauthorized {
		a.Header["WWW-Authenticate"] = `Basic realm="sluice"`
	}
	return a
}

// client reads the form and finds out which application sent it, by Basic or by the form, never both.
func (i *Issuer) client(ask Ask) (form url.Values, app *access.Application, bad *Answer) {
	refuse := func(status int, code string) (url.Values, *access.Application, *Answer) {
		a := oauthError(status, code)
		return nil, nil, &a
	}
	media, _, err := mime.ParseMediaType(ask.ContentType)
	if err != nil || media != "application/x-www-form-urlencoded" || len(ask.Authorization) > 1 {
		return refuse(http.StatusBadRequest, "invalid_request")
	}
	form, err = url.ParseQuery(string(ask.Body))
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_request")
	}
	for _, v := range form {
		if len(v) > 1 { // RFC 6749 §3.2
			return refuse(http.StatusBadRequest, "invalid_request")
		}
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if len(ask.Authorization) == 1 {
		name, password, ok := basic(ask.Authorization[0])
		switch {
		case !ok:
			return refuse(http.StatusUnauthorized, "invalid_client")
		case form.Has("client_secret") || id != "" && id != name:
			return refuse(http.StatusBadRequest, "invalid_request")
		}
		id, secret = name, password
	}
	inSecret, whole := access.ParseKey(access.ClientSecret, secret)
	app = i.cfg.Snapshot().Application(id)
	if !app.SecretMatches(secret) || !whole || inSecret != id || app.State != access.AppActive {
		i.log.Warn("oauth.client", "why", "unknown client, wrong secret, or blocked")
		return refuse(http.StatusUnauthorized, "invalid_client")
	}
	return form, app, nil
}

// basic reads credentials of RFC 6749 §2.3.1, whose parts are form-encoded.
func basic(field string) (name, password string, ok bool) {
	scheme, text, _ := strings.Cut(field, " ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	name, password, ok = strings.Cut(string(raw), ":")
	if !ok || err != nil || !strings.EqualFold(scheme, "basic") {
		return "", "", false
	}
	name, err1 := url.QueryUnescape(name)
	password, err2 := url.QueryUnescape(password)
	return name, password, err1 == nil && err2 == nil
}

// token is POST /oauth2/token.
func (i *Issuer) token(ask Ask) Answer {
	form, app, bad := i.client(ask)
	if bad != nil {
		return *bad
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type")
	}
	scopes := strings.Fields(form.Get("scope"))
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	may := i.cfg.Scopes(app.ID)
	if len(scopes) > maxScopes || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(may, s) }) {
		return oauthError(http.StatusBadRequest, "invalid_scope")
	}
	text, err := i.sign(app.ID, scopes)
	if err != nil {
		return Answer{Problem: problem.ControlUnavailable}
	}
	out := map[string]any{"access_token": text, "token_type": "Bearer", "expires_in": int(i.cfg.Lifetime / time.Second)}
	if len(scopes) > 0 {
		out["scope"] = strings.Join(scopes, " ")
	}
	return answerJSON(http.StatusOK, out)
}

// revoke is POST /oauth2/revoke (RFC 7009): a client ends a token of its own. Of any other there is nothing to end.
func (i *Issuer) revoke(ctx context.Context, ask Ask) Answer {
	form, app, bad := i.client(ask)
	if bad != nil {
		return *bad
	}
	done := Answer{Status: http.StatusOK, Header: map[string]string{"Cache-Control": "no-store"}}
	p, err := i.cfg.Verifier.Verify(ctx, i.cfg.Snapshot(), Credential{Kind: access.Token, Value: form.Get("token")})
	switch kind := problem.KindOf(orInvalid(err)); {
	case kind == problem.KeysUnavailable:
		return Answer{Problem: problem.ControlUnavailable}
	case err != nil || p.Issuer != i.cfg.Name || p.App != app.ID || p.TokenID == "":
		return done
	}
	err = i.cfg.Revoke(ctx, access.Revocation{Kind: access.RevokeToken, Value: p.Issuer + " " + p.TokenID, Before: i.now().Add(time.Second),
		Until: p.Expires, Reason: "revoked by its client", By: "application " + app.ID})
	if err != nil {
		i.log.Warn("oauth.revoke", "error", err)
		return Answer{Problem: problem.ControlUnavailable}
	}
	return done
}

// metadata is RFC 8414's document. Its addresses are the issuer's, if its name is a URL, else those the client used.
func (i *Issuer) metadata(ask Ask) Answer {
	base := ask.From.Base
	if strings.HasPrefix(i.cfg.Name, "https://") || strings.HasPrefix(i.cfg.Name, "http://") {
		base = strings.TrimSuffix(i.cfg.Name, "/")
	}
	a := answerJSON(http.StatusOK, map[string]any{
		"issuer": i.cfg.Name, "token_endpoint": base + "/oauth2/token", "revocation_endpoint": base + "/oauth2/revoke",
		"jwks_uri": base + "/.well-known/jwks.json", "grant_types_supported": []string{"client_credentials"},
		"response_types_supported": []string{}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"revocation_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	})
	a.Header["Cache-Control"] = "public, max-age=300"
	return a
}

// credential reads the one credential of a request that buys something.
func (a Ask) credential() (Credential, error) {
	switch {
	case len(a.Authorization) > 1 || len(a.APIKey) > 1:
		return Credential{}, problem.DuplicateHeader
	case len(a.Authorization) == 1 && len(a.APIKey) == 1:
		return Credential{}, problem.AmbiguousCredentials
	case len(a.APIKey) == 1:
		return Credential{Kind: access.APIKey, Value: a.APIKey[0]}, nil
	case len(a.Authorization) == 1:
		scheme, text, _ := strings.Cut(a.Authorization[0], " ")
		if strings.EqualFold(scheme, "bearer") {
			return Credential{Kind: access.Token, Value: strings.TrimSpace(text)}, nil
		}
	}
	return Credential{}, problem.MissingToken
}

// sell is POST /oauth2/ticket and /oauth2/cookie: {api, version, topic?} for a token or a key.
func (i *Issuer) sell(ctx context.Context, verb Verb, ask Ask) (Answer, error) {
	if verb == VerbCookie && !ask.From.TLS {
		return Answer{}, &problem.Error{Kind: problem.HTTPSRequired, Detail: "A stream cookie is given over https only."}
	}
	c, err := ask.credential()
	if err != nil {
		return Answer{}, err
	}
	p, err := i.cfg.Verifier.Verify(ctx, i.cfg.Snapshot(), c)
	if err != nil {
		return Answer{}, err
	}
	b, err := boundOf(ask)
	if err != nil {
		return Answer{}, err
	}
	if err := i.cfg.MayRead(p, b, ask.From, map[Verb]access.Kind{VerbTicket: access.Ticket, VerbCookie: access.Cookie}[verb]); err != nil {
		return Answer{}, err
	}
	if verb == VerbTicket {
		text, until, err := i.cfg.Tickets.SellTicket(ctx, p, b, ask.From.Origin)
		if err != nil {
			return Answer{}, err
		}
		return answerJSON(http.StatusCreated, map[string]any{"ticket": text, "expires_in": int(until.Sub(i.now()) / time.Second)}), nil
	}
	text, until, err := i.cfg.Tickets.SellCookie(ctx, p, b, ask.From.Origin)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: http.StatusNoContent, Header: map[string]string{"Set-Cookie": StreamCookie(text, until, ask.From.CrossSite).String(),
		"Cache-Control": "no-store"}}, nil
}

// boundOf reads what a ticket is bought for.
func boundOf(ask Ask) (access.Bound, error) {
	media, _, err := mime.ParseMediaType(ask.ContentType)
	if err != nil || media != "application/json" {
		return access.Bound{}, &problem.Error{Kind: problem.UnsupportedMediaType, Detail: "Send application/json."}
	}
	bad := &problem.Error{Kind: problem.Invalid, Detail: `The body is {"api": …, "version": …}, and "topic" for one topic only.`}
	body, err := walk(ask.Body)
	if err != nil {
		return access.Bound{}, bad
	}
	var b access.Bound
	for name := range body {
		to := map[string]*string{"api": &b.API, "version": &b.Version, "topic": &b.Topic}[name]
		s, ok := body[name].(string)
		if to == nil || !ok || s == "" || len(s) > 1024 {
			return access.Bound{}, bad
		}
		*to = s
	}
	if b.API == "" || b.Version == "" {
		return access.Bound{}, bad
	}
	return b, nil
}
