package token

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/problem"
)

// How tickets and cookies begin, and how long they last at most. The bucket forgets all after an hour.
const (
	ticketSecret access.SecretKind = "slt"
	cookieSecret access.SecretKind = "slc"

	TicketLife = 30 * time.Second
	CookieLife = time.Hour

	brokerTime = time.Second // of all round trips of one redemption
)

// CookieName is the name of the stream cookie.
const CookieName = "__Host-sluice_stream"

// record is a ticket or cookie as stored, under the SHA-256 of its text.
type record struct {
	Kind    access.SecretKind `json:"kind"`
	App     string            `json:"app,omitempty"`
	Issuer  string            `json:"iss,omitempty"`
	Subject string            `json:"sub,omitempty"`
	TokenID string            `json:"jti,omitempty"`
	Key     string            `json:"key,omitempty"`
	Scopes  []string          `json:"scopes,omitempty"`
	Issued  time.Time         `json:"issued,omitzero"`
	Ends    time.Time         `json:"ends,omitzero"` // of what bought it; zero = never
	Until   time.Time         `json:"until"`         // of this
	API     string            `json:"api"`
	Version string            `json:"version"`
	Topic   string            `json:"topic,omitempty"`
	Try     bool              `json:"try,omitempty"`
	Origin  string            `json:"origin,omitempty"`
	Ticket  string            `json:"ticket,omitempty"` // of a cookie: the hash of the ticket it was changed for
}

// Tickets sells tickets and cookies. Safe for concurrent use.
type Tickets struct {
	bucket broker.Bucket
	now    func() time.Time
}

// NewTickets sells into a bucket, access.TicketBucket; now may be nil.
func NewTickets(bucket broker.Bucket, now func() time.Time) *Tickets {
	if now == nil {
		now = time.Now
	}
	return &Tickets{bucket, now}
}

// SellTicket makes a ticket for one connection to what b names, within TicketLife. p is who buys, with a token or a key: the ticket counts no
// longer than p does. Without an application it must be one to try out. origin is the page that buys, "" if it is none. The caller has
// checked that p may read it.
func (t *Tickets) SellTicket(ctx context.Context, p *access.Principal, b access.Bound, origin string) (text string, until time.Time, err error) {
	return t.sell(ctx, ticketSecret, p, b, origin, TicketLife)
}

// SellCookie makes a stream cookie for what b names; it ends with p, and after CookieLife.
func (t *Tickets) SellCookie(ctx context.Context, p *access.Principal, b access.Bound, origin string) (text string, until time.Time, err error) {
	return t.sell(ctx, cookieSecret, p, b, origin, CookieLife)
}

func (t *Tickets) sell(ctx context.Context, kind access.SecretKind, p *access.Principal, b access.Bound, origin string, life time.Duration) (string, time.Time, error) {
	if p.Kind != access.Token && p.Kind != access.APIKey && !b.Try || p.App == "" && !b.Try || b.API == "" || b.Version == "" {
		return "", time.Time{}, problem.Invalid
	}
	r := record{Kind: kind, App: p.App, Issuer: p.Issuer, Subject: p.Subject, TokenID: p.TokenID, Key: p.Key, Scopes: p.Scopes, Issued: p.Issued,
		Ends: p.Expires, Until: sooner(t.now().Add(life), p.Expires), API: b.API, Version: b.Version, Topic: b.Topic, Try: b.Try, Origin: origin}
	text, write := r.write()
	if _, err := t.bucket.Put(ctx, write.Key, write.Value, 0); err != nil {
		return "", time.Time{}, unavailable(err)
	}
	return text, r.Until, nil
}

// write makes the secret of a record, and what to store of it.
func (r record) write() (text string, w broker.BucketWrite) {
	value, err := json.Marshal(r)
	if err != nil {
		panic("token: a record holds only texts and times: " + err.Error())
	}
	text = access.MakeKey(r.Kind, access.NewID())
	return text, broker.BucketWrite{Key: hashOf(text), Value: value}
}

func hashOf(text string) string {
	hash, _ := access.HashKey(text, nil)
	return hash
}

// sooner is the earlier of two times, of which the second may be never.
func sooner(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func unavailable(err error) error { return &problem.Error{Kind: problem.BrokerUnavailable, Err: err} }

// load reads a record as the leader has it; nil if there is none of this kind, or none any more.
func (v *Verifier) load(ctx context.Context, kind access.SecretKind, hash string) (*record, uint64, error) {
	e, err := v.cfg.Tickets.Last(ctx, hash)
	if err != nil {
		return nil, 0, unavailable(err)
	}
	var r record
	if e.Revision == 0 || e.Deleted || json.Unmarshal(e.Value, &r) != nil || r.Kind != kind {
		return nil, 0, nil
	}
	return &r, e.Revision, nil
}

// redeemTicket spends a ticket: of many who try, the broker lets one do it. One that was spent counts together with the cookie it was changed
// for.
func (v *Verifier) redeemTicket(ctx context.Context, snap *access.Snapshot, c Credential, wantCookie bool) (Redeemed, error) {
	if v.cfg.Tickets == nil {
		return Redeemed{}, refused(problem.InvalidTicket, "", "no tickets here")
	}
	if _, ok := access.ParseKey(ticketSecret, c.Value); !ok {
		return Redeemed{}, refused(problem.InvalidTicket, "", "form")
	}
	ctx, cancel := context.WithTimeout(ctx, v.within)
	defer cancel()
	hash := hashOf(c.Value)
	r, rev, err := v.load(ctx, ticketSecret, hash)
	if err != nil {
		return Redeemed{}, err
	}
	if r == nil {
		p, err := v.verifyCookie(ctx, snap, Credential{Kind: access.Cookie, Value: c.Cookie, TLS: c.TLS, Origin: c.Origin, For: c.For, Path: c.Path}, hash)
		if problem.KindOf(orInvalid(err)) == problem.BrokerUnavailable {
			return Redeemed{}, err
		}
		if err != nil {
			return Redeemed{}, refused(problem.InvalidTicket, "", "unknown or spent")
		}
		return Redeemed{Principal: p}, nil
	}
	p, why := v.holder(snap, r, c)
	if why != "" {
		return Redeemed{}, refused(problem.InvalidTicket, "", why)
	}
	out := Redeemed{Principal: p}
	p.Kind, p.Expires = access.Ticket, sooner(v.now().Add(CookieLife), r.Ends)
	if c.Look {
		return out, nil
	}
	writes := []broker.BucketWrite{{Key: hash, Delete: true, Revision: rev}}
	if wantCookie && c.TLS {
		next := *r
		next.Kind, next.Until, next.Ticket = cookieSecret, p.Expires, hash
		text, w := next.write()
		out.Cookie, writes = text, append(writes, w)
	}
	if len(writes) == 1 {
		err = v.cfg.Tickets.Delete(ctx, hash, rev)
	} else {
		_, err = v.cfg.Tickets.Batch(ctx, writes)
	}
	switch {
	case errors.Is(err, broker.ErrConflict):
		return Redeemed{}, refused(problem.InvalidTicket, "", "spent meanwhile")
	case err != nil:
		return Redeemed{}, unavailable(err)
	}
	return out, nil
}

// orInvalid gives KindOf something to look at when nothing is wrong.
func orInvalid(err error) error {
	if err == nil {
		return problem.Invalid
	}
	return err
}

// verifyCookie returns who a stream cookie belongs to. ticket is the hash of the spent ticket it must have been changed for, "" for none.
func (v *Verifier) verifyCookie(ctx context.Context, snap *access.Snapshot, c Credential, ticket string) (*access.Principal, error) {
	if !c.TLS || v.cfg.Tickets == nil {
		return nil, problem.MissingToken // as if it had not been sent
	}
	if _, ok := access.ParseKey(cookieSecret, c.Value); !ok {
		return nil, refused(problem.InvalidTicket, "", "form")
	}
	ctx, cancel := context.WithTimeout(ctx, v.within)
	defer cancel()
	r, _, err := v.load(ctx, cookieSecret, hashOf(c.Value))
	if err != nil {
		return nil, err
	}
	if r == nil || ticket != "" && subtle.ConstantTimeCompare([]byte(r.Ticket), []byte(ticket)) != 1 {
		return nil, refused(problem.InvalidTicket, "", "unknown cookie")
	}
	p, why := v.holder(snap, r, c)
	if why != "" {
		return nil, refused(problem.InvalidTicket, "", why)
	}
	p.Kind, p.Expires = access.Cookie, r.Until
	return p, nil
}

// holder returns who bought a ticket or cookie, or why it does not count: its time, what it is for, or what became of the buyer.
func (v *Verifier) holder(snap *access.Snapshot, r *record, c Credential) (p *access.Principal, why string) {
	now := v.now()
	switch {
	case r.Until.Sub(now) <= 0 || !r.Ends.IsZero() && r.Ends.Sub(now) < leastLife:
		return nil, "expired"
	case r.API != c.For.API || r.Version != c.For.Version:
		return nil, "other api"
	case r.Topic != "" && r.Topic != c.For.Topic && r.Topic != c.Path:
		return nil, "other topic"
	case r.Origin != "" && c.Origin != "" && r.Origin != c.Origin:
		return nil, "other origin"
	}
	if r.Key != "" {
		if p, why = v.keyHolder(snap, snap.Key(r.Key)); why == "" && p.App != r.App {
			why = "other application"
		}
		if why != "" {
			return nil, why
		}
	}
	p = &access.Principal{App: r.App, Issuer: r.Issuer, Subject: r.Subject, TokenID: r.TokenID, Key: r.Key, Scopes: r.Scopes, Issued: r.Issued,
		Bound: access.Bound{API: r.API, Version: r.Version, Topic: r.Topic, Try: r.Try}}
	switch {
	case !r.Try && snap.Application(r.App) == nil:
		return nil, "application deleted"
	case snap.Revoked(p) != nil:
		return nil, "revoked"
	}
	return p, ""
}

// StreamCookie is the cookie to set for a text, until it ends. crossSite is for pages of other sites that an API lists, with credentials.
func StreamCookie(text string, until time.Time, crossSite bool) *http.Cookie {
	c := &http.Cookie{Name: CookieName, Value: text, Path: "/", Expires: until.UTC(), HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode}
	if crossSite {
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	return c
}
