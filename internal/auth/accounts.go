package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/problem"
)

// Bucket is the name of the key-value bucket that holds users and sessions. Only the control role reads it.
const Bucket = "user"

const (
	userKey  = "user."
	loginKey = "login."

	mostUsers    = 1_000
	mostSessions = 32 // of one user; the oldest goes
	idleTime     = 30 * time.Minute
	absoluteTime = 12 * time.Hour
	seenStep     = 5 * time.Minute // how often the use of a session is written down
)

// Config is what Accounts is made from.
type Config struct {
	// Open opens the bucket; it is called again until it works.
	Open func(context.Context) (broker.Bucket, error)
	// FirstPassword is the first administrator's; "" = one is made up.
	FirstPassword string
	// FirstFile is where a password that was made up is kept until it is changed, readable by the owner only; "" = nowhere.
	FirstFile string
	// Reset makes a new password for the first administrator even if there are users, once.
	Reset bool
	// Announce is told a password that was made up, once. Nil = nobody is told.
	Announce func(name, password string)
	Cost     Cost
	Logger   *slog.Logger
	// Clock is the wall clock; nil = time.Now.
	Clock func() time.Time
}

// Accounts are the local users and their sessions, as the broker keeps them. Make it with New, start it with Run. Safe for concurrent
// use.
type Accounts struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	hasher   *hasher
	throttle *throttle
	verified *verified
	reset    bool // Config.Reset, until it was done; owned by Run
	ready    chan struct{}
	once     sync.Once // closes ready

	mu       sync.Mutex // guards what follows
	bucket   broker.Bucket
	loaded   bool
	users    map[string]userRecord
	sessions map[string]sessionRecord // by SHA-256 of the token, in hex
	removed  map[string]uint64        // keys deleted here, by the revision that was deleted, until the watch says so too

	admins sync.Mutex // held while users change, so that two changes cannot each leave the other administrator; taken before mu
}

// userRecord is a user as stored.
type userRecord struct {
	Hash      string    `json:"hash"`
	Roles     []Role    `json:"roles"`
	CreatedAt time.Time `json:"createdAt"`
	// Generation changes with password and roles; sessions of another one are over.
	Generation string `json:"generation"`
	// First marks the first administrator's password that was made up.
	First bool `json:"first,omitempty"`

	rev uint64
}

// sessionRecord is a session as stored.
type sessionRecord struct {
	User       string    `json:"user"`
	Generation string    `json:"generation"`
	Created    time.Time `json:"created"`
	Seen       time.Time `json:"seen"`

	rev uint64
}

// New checks the settings. It starts nothing.
func New(cfg Config) (*Accounts, error) {
	if cfg.Open == nil {
		return nil, errors.New("auth: no bucket")
	}
	if cfg.FirstPassword != "" {
		if err := CheckPassword(firstName, cfg.FirstPassword); err != nil {
			return nil, fmt.Errorf("password of the first administrator: %w", err)
		}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Announce == nil {
		cfg.Announce = func(string, string) {}
	}
	return &Accounts{
		cfg: cfg, log: cfg.Logger, now: cfg.Clock, hasher: newHasher(cfg.Cost), throttle: newThrottle(cfg.Clock), verified: newVerified(cfg.Clock),
		users: map[string]userRecord{}, sessions: map[string]sessionRecord{}, removed: map[string]uint64{},
		ready: make(chan struct{}), reset: cfg.Reset,
	}, nil
}

// Run follows the bucket until ctx ends: it loads the users, makes the first administrator if there is none, and takes over what other
// nodes change.
func (a *Accounts) Run(ctx context.Context) error {
	wait := time.Second
	for ctx.Err() == nil {
		began := a.now()
		err := a.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if a.now().Sub(began) > time.Minute {
			wait = time.Second
		}
		a.log.Warn("users not followed", "error", err, "retry", wait)
		select {
		case <-time.After(wait + rand.N(wait)):
		case <-ctx.Done():
		}
		wait = min(2*wait, 30*time.Second)
	}
	return ctx.Err()
}

// Ready is closed once the users were loaded for the first time and there is one.
func (a *Accounts) Ready() <-chan struct{} { return a.ready }

// follow watches the bucket once, until the watch ends.
func (a *Accounts) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bucket, err := a.cfg.Open(ctx)
	if err != nil {
		return err
	}
	entries, err := bucket.Watch(ctx, ">")
	if err != nil {
		return err
	}
	seen := map[string]bool{} // while the present entries come in
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case e, open := <-entries:
			switch {
			case !open:
				return errors.New("watch ended")
			case e.Key != "":
				if seen != nil {
					seen[e.Key] = true
				}
				a.apply(e)
			default:
				a.present(bucket, seen)
				seen = nil
				if err := a.ensureFirst(ctx); err != nil {
					return fmt.Errorf("first administrator: %w", err)
				}
			}
			a.noteReady()
		case <-tick.C:
			a.forgetSessions(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noteReady closes ready as soon as there is a user.
func (a *Accounts) noteReady() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded && len(a.users) > 0 {
		a.once.Do(func() { close(a.ready) })
	}
}

// present notes that all present entries were applied, and forgets what is not among them.
func (a *Accounts) present(bucket broker.Bucket, seen map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.users {
		if !seen[userKey+name] {
			delete(a.users, name)
		}
	}
	for id := range a.sessions {
		if !seen[loginKey+id] {
			delete(a.sessions, id)
		}
	}
	clear(a.removed)
	a.bucket, a.loaded = bucket, true
}

// apply takes over one entry unless a newer one of the key is known.
func (a *Accounts) apply(e broker.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rev, gone := a.removed[e.Key]; gone {
		if !e.Deleted && e.Revision <= rev {
			return
		}
		if e.Revision > rev {
			delete(a.removed, e.Key)
		}
	}
	if name, ok := strings.CutPrefix(e.Key, userKey); ok {
		if old, known := a.users[name]; known && old.rev > e.Revision {
			return
		}
		delete(a.users, name)
		var r userRecord
		if !e.Deleted && a.decode(e, &r) {
			r.rev = e.Revision
			a.users[name] = r
		}
	}
	if id, ok := strings.CutPrefix(e.Key, loginKey); ok {
		if old, known := a.sessions[id]; known && old.rev > e.Revision {
			return
		}
		delete(a.sessions, id)
		var r sessionRecord
		if !e.Deleted && a.decode(e, &r) {
			r.rev = e.Revision
			a.sessions[id] = r
		}
	}
}

func (a *Accounts) decode(e broker.Entry, into any) bool {
	if err := json.Unmarshal(e.Value, into); err != nil {
		a.log.Error("stored account cannot be read", "key", e.Key, "error", err)
		return false
	}
	return true
}

// put stores a record if its key is still at rev, and takes it over here at once.
func (a *Accounts) put(ctx context.Context, key string, record any, rev uint64) error {
	bucket, err := a.open()
	if err != nil {
		return err
	}
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	now, err := bucket.Put(ctx, key, value, rev)
	if err != nil {
		return stored(err)
	}
	a.apply(broker.Entry{Key: key, Value: value, Revision: now})
	return nil
}

// remove deletes a key that is at rev, and forgets it here at once.
func (a *Accounts) remove(ctx context.Context, key string, rev uint64) error {
	bucket, err := a.open()
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.removed[key] = rev
	a.mu.Unlock()
	if err := bucket.Delete(ctx, key, rev); err != nil {
		a.mu.Lock()
		delete(a.removed, key)
		a.mu.Unlock()
		return stored(err)
	}
	a.apply(broker.Entry{Key: key, Deleted: true, Revision: rev})
	return nil
}

func (a *Accounts) open() (broker.Bucket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.loaded {
		return nil, &problem.Error{Kind: problem.StoreUnavailable, Detail: "The users are not loaded yet.", RetryAfter: 2 * time.Second}
	}
	return a.bucket, nil
}

// stored says what a failed write means for the caller.
func stored(err error) error {
	if errors.Is(err, broker.ErrConflict) {
		return fmt.Errorf("%w: %w", problem.VersionMismatch, err)
	}
	return &problem.Error{Kind: problem.StoreUnavailable, RetryAfter: 2 * time.Second, Err: err}
}

// user returns the record of a name. The error says that there are none yet.
func (a *Accounts) user(name string) (r userRecord, known bool, err error) {
	if _, err := a.open(); err != nil {
		return r, false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r, known = a.users[name]
	return r, known, nil
}

// forgetSessions deletes what is over, so that the bucket does not fill up. What fails is tried again a minute later.
func (a *Accounts) forgetSessions(ctx context.Context) {
	a.mu.Lock()
	old := map[string]uint64{}
	for id, s := range a.sessions {
		if !a.lives(s) {
			old[id] = s.rev
		}
	}
	a.mu.Unlock()
	for id, rev := range old {
		if err := a.remove(ctx, loginKey+id, rev); err != nil {
			a.log.Debug("old session not deleted", "error", err)
		}
	}
}

// lives tells whether a session still counts; mu is held.
func (a *Accounts) lives(s sessionRecord) bool {
	u, known := a.users[s.User]
	now := a.now()
	return known && u.Generation == s.Generation && now.Before(s.Created.Add(absoluteTime)) && now.Before(s.Seen.Add(idleTime))
}

// tokenID is what a token is stored under.
func tokenID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
