package edge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/problem"
)

// keyAlias is a second name of the header with an API key, which many clients know.
const keyAlias = "X-Api-Key"

// Names of credentials in spec.auth.schemes.
var schemeOf = map[access.Kind]string{access.Token: "jwt", access.APIKey: "apiKey", access.Ticket: "ticket", access.Cookie: "cookie"}

// takes tells whether an API takes a kind of credential; others are ignored where they are sent.
func takes(api *catalog.API, k access.Kind) bool {
	return slices.Contains(api.Spec.Auth.Schemes, schemeOf[k])
}

// readCredential finds the one credential of a request: one that was sent on purpose, in a header or the query, beats the cookie, which
// browsers send by themselves. Nothing is verified.
func (s *Server) readCredential(q *request) (token.Credential, error) {
	c := token.Credential{TLS: q.tls, Origin: q.origin, Look: q.r.Method == http.MethodHead,
		For: access.Bound{API: q.api.Name(), Version: q.api.Version()}, Path: q.route.FeedPath}
	if q.route.Topic != nil {
		c.For.Topic = q.route.Topic.Name
	}
	var found []token.Credential
	add := func(k access.Kind, value string) {
		if value != "" && takes(q.api, k) {
			c.Kind, c.Value = k, value
			found = append(found, c)
		}
	}
	auth := q.api.Spec.Auth
	for _, h := range []struct {
		kind access.Kind
		name string
	}{{access.Token, auth.Header}, {access.APIKey, auth.APIKeyHeader}, {access.APIKey, keyAlias}} {
		values := q.r.Header[http.CanonicalHeaderKey(h.name)]
		if len(values) > 1 && takes(q.api, h.kind) {
			return c, refuse(problem.DuplicateHeader, "A header with a credential was sent more than once.")
		}
		if len(values) == 1 && (h.name != keyAlias || !strings.EqualFold(auth.APIKeyHeader, keyAlias)) {
			add(h.kind, headerValue(h.kind, h.name, values[0]))
		}
	}
	if err := queryCredentials(q.query, s.cfg.QueryToken, add); err != nil {
		return c, err
	}
	cookie := q.streamCookie()
	switch {
	case len(found) > 1:
		return c, refuse(problem.AmbiguousCredentials, "Send one credential.")
	case len(found) == 1 && found[0].Kind == access.Ticket:
		found[0].Cookie = cookie
	case len(found) == 0:
		add(access.Cookie, cookie)
	}
	if len(found) == 0 {
		return c, refuse(problem.MissingToken, "")
	}
	return found[0], nil
}

// headerValue takes the scheme off a bearer token; "" is none. Authorization may hold other schemes, which are none of ours.
func headerValue(k access.Kind, name, value string) string {
	value = strings.TrimSpace(value)
	if k != access.Token {
		return value
	}
	scheme, rest, _ := strings.Cut(value, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(rest)
	case strings.EqualFold(name, "Authorization"):
		return ""
	}
	return value
}

// queryCredentials adds the credentials of a raw query: a ticket and, only if that is allowed, a token or key.
func queryCredentials(raw string, tokens bool, add func(k access.Kind, value string)) error {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(raw, "&") {
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			continue
		}
		var kind access.Kind
		switch {
		case name == "ticket":
			kind = access.Ticket
		case tokens && name == "access_token":
			kind = access.Token
		case tokens && name == "apikey":
			kind = access.APIKey
		default:
			continue
		}
		if seen[name] {
			return badParam(name, "repeated")
		}
		seen[name] = true
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return badParam(name, "broken percent escape")
		}
		add(kind, value)
	}
	return nil
}

// streamCookie is the cookie that counts, "" for none: browsers send it by themselves, so it counts only for what a page may have asked
// for, else a foreign one could spend the quota.
func (q *request) streamCookie() string {
	if q.r.Method != http.MethodGet || !q.tls || !q.fromListedPage() {
		return ""
	}
	cookies := q.r.CookiesNamed(token.CookieName)
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// fromListedPage tells whether a page of this site sent the request, or one of an origin that the API lists for requests with credentials.
func (q *request) fromListedPage() bool {
	switch site := q.r.Header["Sec-Fetch-Site"]; {
	case len(site) == 1 && (site[0] == "same-origin" || site[0] == "same-site"):
		return true
	}
	return q.api.Spec.CORS.Credentials && slices.Contains(q.api.Spec.CORS.Origins, q.origin)
}
