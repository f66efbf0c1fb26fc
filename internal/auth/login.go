package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/problem"
)

const tokenPrefix = "slm_"

// Login checks a password and opens a session. address is who asks, for the count of wrong attempts.
func (a *Accounts) Login(ctx context.Context, address, name, password string) (Session, error) {
	u, err := a.verify(ctx, address, name, password)
	if err != nil {
		return Session{}, err
	}
	if err := a.makeRoom(ctx, name); err != nil {
		return Session{}, err
	}
	token := tokenPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random(32)))
	now := a.now()
	s := sessionRecord{User: name, Generation: u.Generation, Created: now, Seen: now}
	if err := a.put(ctx, loginKey+tokenID(token), s, 0); err != nil {
		return Session{}, err
	}
	return Session{Principal: Principal{Name: name, Roles: slices.Clone(u.Roles)}, Token: token, Expires: now.Add(absoluteTime)}, nil
}

// makeRoom deletes the oldest session of a user who has too many.
func (a *Accounts) makeRoom(ctx context.Context, name string) error {
	a.mu.Lock()
	oldest, count := "", 0
	for id, s := range a.sessions {
		if s.User != name {
			continue
		}
		count++
		if oldest == "" || s.Created.Before(a.sessions[oldest].Created) {
			oldest = id
		}
	}
	rev := a.sessions[oldest].rev
	a.mu.Unlock()
	if count < mostSessions {
		return nil
	}
	return a.remove(ctx, loginKey+oldest, rev)
}

// Logout ends the session of a token; of an unknown one there is nothing to end.
func (a *Accounts) Logout(ctx context.Context, token string) error {
	a.mu.Lock()
	s, known := a.sessions[tokenID(token)]
	a.mu.Unlock()
	if !known {
		return nil
	}
	return a.remove(ctx, loginKey+tokenID(token), s.rev)
}

// Token returns who a token belongs to.
func (a *Accounts) Token(ctx context.Context, address, token string) (Principal, error) {
	if _, err := a.open(); err != nil {
		return Principal{}, err
	}
	id := tokenID(token)
	if p, ok := a.session(ctx, id); ok {
		return p, nil
	}
	if err := a.throttle.allow("", address); err != nil {
		return Principal{}, err
	}
	if a.fetch(ctx, id) {
		if p, ok := a.session(ctx, id); ok {
			return p, nil
		}
	}
	a.throttle.failed("", address)
	return Principal{}, problem.Unauthenticated
}

// session returns the user of a session that lives, and notes its use.
func (a *Accounts) session(ctx context.Context, id string) (Principal, bool) {
	a.mu.Lock()
	s, known := a.sessions[id]
	if !known || !a.lives(s) {
		a.mu.Unlock()
		return Principal{}, false
	}
	p := Principal{Name: s.User, Roles: slices.Clone(a.users[s.User].Roles)}
	stale := a.now().Sub(s.Seen) > seenStep
	a.mu.Unlock()
	if stale {
		rev := s.rev
		s.Seen = a.now()
		if err := a.put(ctx, loginKey+id, s, rev); err != nil {
			a.log.Debug("use of a session not noted", "error", err)
		}
	}
	return p, true
}

// fetch asks the broker for a session that another node may just have opened, and for its user, whom that may just have changed.
func (a *Accounts) fetch(ctx context.Context, id string) bool {
	bucket, err := a.open()
	if err != nil {
		return false
	}
	e, err := bucket.Get(ctx, loginKey+id)
	var s sessionRecord
	if err != nil || json.Unmarshal(e.Value, &s) != nil {
		return false
	}
	u, err := bucket.Get(ctx, userKey+s.User)
	if err != nil {
		return false
	}
	a.apply(u)
	a.apply(e)
	return true
}

// Basic returns who a name and a password belong to.
func (a *Accounts) Basic(ctx context.Context, address, name, password string) (Principal, error) {
	u, err := a.verify(ctx, address, name, password)
	if err != nil {
		return Principal{}, err
	}
	return Principal{Name: name, Roles: slices.Clone(u.Roles)}, nil
}

// verify checks a password. It takes as long for a name that does not exist.
func (a *Accounts) verify(ctx context.Context, address, name, password string) (userRecord, error) {
	u, known, err := a.user(name)
	if err != nil {
		return userRecord{}, err
	}
	if known && a.verified.has(name, password, u.Generation) {
		return u, nil
	}
	leave, err := a.hasher.enter(ctx)
	if err != nil {
		return userRecord{}, err
	}
	defer leave()
	account := name
	if len(account) > 64 {
		account = account[:64]
	}
	if err := a.throttle.allow("n"+account, address); err != nil {
		return userRecord{}, err
	}
	hash := a.hasher.dummy
	if known {
		hash = u.Hash
	}
	if len(password) > 4*mostLetters || !a.hasher.matches(hash, password) || !known {
		a.throttle.failed("n"+account, address)
		return userRecord{}, problem.Unauthenticated
	}
	a.verified.add(name, password, u.Generation)
	return u, nil
}

// verified remembers for a short time which passwords were right, so that a program that sends its password with every call does not
// pay for a hash each time. Keys are an HMAC under a key of this process.
type verified struct {
	key []byte
	now func() time.Time

	mu    sync.Mutex // guards until
	until map[[sha256.Size]byte]time.Time
}

const (
	verifiedFor  = 5 * time.Minute
	mostVerified = 1024
)

func newVerified(now func() time.Time) *verified {
	return &verified{key: random(32), now: now, until: map[[sha256.Size]byte]time.Time{}}
}

func (v *verified) sum(name, password, generation string) (out [sha256.Size]byte) {
	m := hmac.New(sha256.New, v.key)
	for _, s := range []string{name, generation, password} {
		m.Write([]byte(s))
		m.Write([]byte{0})
	}
	m.Sum(out[:0])
	return out
}

func (v *verified) has(name, password, generation string) bool {
	k := v.sum(name, password, generation)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.until[k].After(v.now())
}

func (v *verified) add(name, password, generation string) {
	k := v.sum(name, password, generation)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.until) >= mostVerified {
		clear(v.until)
	}
	v.until[k] = v.now().Add(verifiedFor)
}

// conflict tells whether a write lost against another.
func conflict(err error) bool { return errors.Is(err, broker.ErrConflict) }
