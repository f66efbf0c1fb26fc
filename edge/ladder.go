package edge

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/problem"
)

// verifyWithin bounds the verification of one credential, whatever has to be asked for it.
const verifyWithin = 3 * time.Second

// AccessStore shows who may read what; *access.Store is one.
type AccessStore interface {
	// Snapshot returns the current snapshot: never nil, never blocks.
	Snapshot() *access.Snapshot
	// Watch yields the current snapshot, then the newest after each change. Closed when ctx ends.
	Watch(ctx context.Context) <-chan *access.Snapshot
	// Fresh is when control last confirmed that the snapshot is up to date; zero = not yet.
	Fresh() time.Time
}

// Verifier says who a credential belongs to; *token.Verifier is one.
type Verifier interface {
	// Redeem fails with an error of a problem's kind.
	Redeem(ctx context.Context, snap *access.Snapshot, c token.Credential) (token.Redeemed, error)
	// Cached tells whether Redeem costs no more than a look-up.
	Cached(c token.Credential) bool
}

// authenticate finds out who asks, and refuses whom it does not know: nothing else about the API is told before. Topics without security
// read no credential.
func (s *Server) authenticate(q *request) error {
	a, err := readQuery(q.query)
	if err == nil && a.token && !s.cfg.QueryToken {
		return refuse(problem.TokenInQuery, "Credentials are not taken from the query.")
	}
	if topic := q.route.Topic; topic == nil && q.api.Open() || topic != nil && topic.Security == catalog.SecurityNone {
		return nil
	}
	c, err := s.readCredential(q)
	if err != nil {
		return err
	}
	if s.access == nil || s.verifier == nil {
		return refuse(problem.InvalidToken, "")
	}
	snap := s.access.Snapshot()
	if snap.Revision() == 0 {
		return refuse(problem.NotReady, "It is not known yet who may read.")
	}
	if most := s.cfg.MaxStale; most > 0 && s.now().Sub(s.access.Fresh()) > most {
		return refuse(problem.NotReady, "It is not known for sure who may read.")
	}
	if !s.admit.mayTry(q.ip) && !s.verifier.Cached(c) {
		return refuse(problem.TooManyConnections, "This address sent too many credentials that do not count.")
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), verifyWithin)
	defer cancel()
	got, err := s.verifier.Redeem(ctx, snap, c)
	switch {
	case err == nil:
	case q.r.Context().Err() != nil:
		return errGone
	default:
		switch problem.KindOf(err) {
		case problem.InvalidToken, problem.ExpiredToken, problem.InvalidTicket:
			s.admit.triedInVain(q.ip)
		}
		return err
	}
	q.access, q.principal, q.cookie = snap, got.Principal, got.Cookie
	if q.api.Spec.State != catalog.StatePrototyped && !q.principal.Bound.Try {
		q.grant = snap.Grant(q.principal.App, q.api.Name(), q.api.Version())
		if q.grant != nil {
			q.plan = snap.Plan(q.grant.Plan)
		}
	}
	return s.asked(q).known().err()
}

// subscribed refuses whom the application, or somebody's decision, does not let in. It does not ask which topic is wanted: its answers are
// the same for all, also for those that do not exist.
func (s *Server) subscribed(q *request) error {
	if q.principal == nil {
		return nil
	}
	x := s.asked(q)
	if no := x.denied(); no.found() {
		return no.err()
	}
	return x.subscribed().err()
}

// entitled refuses who may read the API, but not this topic of it.
func (s *Server) entitled(q *request) error {
	if q.principal == nil {
		return nil
	}
	return s.asked(q).entitled().err()
}

// askAgain asks once more of what may have changed while the client waited for its turn and its feed.
func (s *Server) askAgain(q *request) error {
	if q.principal == nil {
		return nil
	}
	x := s.asked(q)
	x.snap = s.access.Snapshot()
	return x.all().err()
}

// ask is what the ladder is asked about one credential at one place, when a client comes and for as long as it stays.
type ask struct {
	snap   *access.Snapshot
	now    time.Time
	p      *access.Principal
	api    *catalog.API
	topic  *catalog.Topic // nil = not known
	path   string         // of the feed, below the API's base
	ip     netip.Addr     // invalid = not asked about
	origin string
	issued func(name string) string // iss by the name of an issuer
}

func (s *Server) asked(q *request) ask {
	return ask{snap: q.access, now: s.now(), p: q.principal, api: q.api, topic: q.route.Topic, path: q.route.FeedPath, ip: q.ip, origin: q.origin,
		issued: s.issuerNamed}
}

// issuerNamed is the iss of a configured issuer, "" for none.
func (s *Server) issuerNamed(name string) string { return s.cfg.Issuers[name] }

// no is why somebody may not read: what a client that comes is told, and how the stream of one that reads ends. The zero value = may.
type no struct {
	kind  problem.Kind
	end   fanout.Reason
	event string   // of the log
	want  []string // scopes, one of which would do
}

func (n no) found() bool { return n.kind != "" }

// err is what a client that comes is told.
func (n no) err() error {
	if !n.found() {
		return nil
	}
	e := &problem.Error{Kind: n.kind}
	if n.event != "" || n.want != nil {
		e.Err = n
	}
	return e
}

// Error makes a no the cause of a refusal, for the log and the header.
func (n no) Error() string { return string(n.end) }

// noOf is the no behind an error, zero if it is none.
func noOf(err error) no {
	var n no
	errors.As(err, &n)
	return n
}

// all asks everything, in the ladder's order.
func (x ask) all() no {
	for _, step := range []func() no{x.known, x.denied, x.subscribed, x.entitled} {
		if n := step(); n.found() {
			return n
		}
	}
	return no{}
}

// known asks whether the credential still counts, and here.
func (x ask) known() no {
	if v := x.snap.Revoked(x.p); v != nil {
		if v.Hard {
			return no{kind: problem.InvalidToken, end: fanout.EndRevokedHard}
		}
		return no{kind: problem.InvalidToken, end: endRevoked}
	}
	if x.p.Key != "" {
		if k := x.snap.Key(x.p.Key); k == nil || k.State != access.KeyActive || k.Application != x.p.App {
			return no{kind: problem.InvalidToken, end: endRevoked}
		}
	}
	if at := x.expires(); !at.IsZero() && !x.now.Before(at) {
		return no{kind: problem.ExpiredToken, end: endTokenExpired}
	}
	if names := x.api.Spec.Auth.Issuers; x.p.Issuer != "" && !slices.ContainsFunc(names, x.isIssuer) {
		return no{kind: problem.InvalidToken, end: endAccessChanged, event: "token.issuer"}
	}
	if !x.schemeTaken() {
		return no{kind: problem.InvalidToken, end: endAccessChanged}
	}
	return no{}
}

// isIssuer tells whether a name of spec.auth.issuers means the credential's.
func (x ask) isIssuer(name string) bool { return name == "all" || x.issued(name) == x.p.Issuer }

// schemeTaken tells whether the API takes the kind of credential. A cookie may be what a ticket was changed for.
func (x ask) schemeTaken() bool {
	return takes(x.api, x.p.Kind) || x.p.Kind == access.Cookie && takes(x.api, access.Ticket)
}

// expires is when the credential ends; the key that it is, or that bought it, may have been given a shorter life since. Zero = never.
func (x ask) expires() time.Time {
	at := x.p.Expires
	if x.p.Key != "" {
		if k := x.snap.Key(x.p.Key); k != nil && !k.Expires.IsZero() && (at.IsZero() || k.Expires.Before(at)) {
			at = k.Expires
		}
	}
	return at
}

// grant is the subscription that lets in, nil if none is needed or there is none.
func (x ask) grant() *access.Grant {
	if x.free() {
		return nil
	}
	return x.snap.Grant(x.p.App, x.api.Name(), x.api.Version())
}

// free tells whether a credential alone lets in.
func (x ask) free() bool { return x.api.Spec.State == catalog.StatePrototyped || x.p.Bound.Try }

// denied asks for what somebody forbade, and where a key counts.
func (x ask) denied() no {
	if x.snap.Denied(x.now, x.ip, x.p, x.api.Name(), x.api.Version(), x.grant()) != nil {
		return no{kind: problem.Denied, end: endDenied, event: "authz.denied"}
	}
	return x.fromElsewhere()
}

// fromElsewhere asks for the addresses and origins of a key.
func (x ask) fromElsewhere() no {
	if x.p.Key == "" || !x.ip.IsValid() {
		return no{}
	}
	k := x.snap.Key(x.p.Key)
	if k == nil {
		return no{}
	}
	here := len(k.AllowedIPs) == 0 || slices.ContainsFunc(k.AllowedIPs, func(n netip.Prefix) bool { return n.Contains(x.ip.WithZone("")) })
	if !here || len(k.AllowedOrigins) > 0 && !slices.Contains(k.AllowedOrigins, x.origin) {
		return no{kind: problem.Denied, end: endDenied, event: "key.origin"}
	}
	return no{}
}

// subscribed asks for the application and its subscription.
func (x ask) subscribed() no {
	if x.free() {
		return no{}
	}
	refused := no{kind: problem.NotSubscribed, end: endNotSubscribed, event: "authz.denied"}
	if app := x.snap.Application(x.p.App); app == nil || app.State != access.AppActive {
		refused.end = endAppBlocked
		return refused
	}
	g := x.grant()
	switch {
	case g == nil, g.State != access.SubUnblocked, !g.Expires.IsZero() && !x.now.Before(g.Expires), x.snap.Plan(g.Plan) == nil:
		return refused
	}
	return no{}
}

// entitled asks for the topics of subscription and key, and for the topic's scopes.
func (x ask) entitled() no {
	if x.topic == nil {
		return no{}
	}
	lists := [2][]string{}
	if g := x.grant(); g != nil {
		lists[0] = g.Topics
	}
	if k := x.snap.Key(x.p.Key); k != nil {
		lists[1] = k.Topics
	}
	for _, topics := range lists {
		if len(topics) > 0 && !slices.Contains(topics, x.topic.Name) && !slices.Contains(topics, x.path) {
			return no{kind: problem.NotEntitled, end: endAccessChanged, event: "authz.denied"}
		}
	}
	if !x.p.HasScope(x.topic.Scopes) {
		return no{kind: problem.InsufficientScope, end: endAccessChanged, want: x.topic.Scopes}
	}
	return no{}
}
