package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/access"
	"sluice/internal/broker"
)

// KeysKey is where the built-in issuer's public keys are in bucket access: a JWKS.
const KeysKey = "jwks"

// How long keys are listed, and how often it is looked after.
const (
	listedBefore = 10 * time.Minute // its first use
	listedAfter  = 10 * time.Minute // the end of the last token made with it
	keepEvery    = time.Minute
	mostListed   = 32
	askPeers     = time.Second
	writeTries   = 8
)

// ErrOtherKeys says that another control node signs with keys of its own: edges would have to trust both, and a copied data folder would
// make a third.
var ErrOtherKeys = errors.New("another control node signs with other keys: give all of them the same auth.issuer.keyFile")

// IssuerConfig is what an Issuer works with.
type IssuerConfig struct {
	// Name is the iss and aud of its tokens.
	Name string
	// Keys sign: the first that has been listed for 10 minutes, else the first. At least one.
	Keys []*ecdsa.PrivateKey
	// Lifetime of tokens.
	Lifetime time.Duration
	// Open opens bucket access, where the public keys are listed.
	Open func(ctx context.Context) (broker.Bucket, error)
	// Bus brings requests, and the word of other control nodes.
	Bus broker.Bus
	// Boot names this start of the node.
	Boot string
	// Snapshot is who exists; Verifier checks what buys tickets; Tickets sells them.
	Snapshot func() *access.Snapshot
	Verifier *Verifier
	Tickets  *Tickets
	// Revoke stores the revocation of a token.
	Revoke func(ctx context.Context, r access.Revocation) error
	// MayRead says why p may not read what b names with a ticket or cookie, from where it asks; nil if it may.
	MayRead func(p *access.Principal, b access.Bound, from Sender, kind access.Kind) error
	// Scopes are those that an application may have in its tokens.
	Scopes func(app string) []string
	Logger *slog.Logger     // nil = none
	Now    func() time.Time // nil = the system's
}

// Issuer makes tokens for applications, and sells tickets and stream cookies. Make it with NewIssuer; Open it, then Run it.
type Issuer struct {
	cfg  IssuerConfig
	now  func() time.Time
	log  *slog.Logger
	own  []listedKey   // as they will be listed; Since is set once they are
	jobs chan struct{} // one place per request that is being answered

	mu       sync.Mutex
	ended    bool           // guarded by mu: no request is taken any more
	all      sync.WaitGroup // of requests; added to while mu is held and ended is not set
	listed   []listedKey    // guarded by mu: all that the bucket lists
	conflict bool           // guarded by mu: another control node signs with other keys
}

// listedKey is a public key in the bucket: a JWK with members of ours, which other readers ignore.
type listedKey struct {
	jwkset.JWKMarshal
	Since time.Time `json:"since"`
	// Retired is since when no control node has it; zero = one does.
	Retired time.Time `json:"retired,omitzero"`
}

type listedKeys struct {
	Keys []listedKey `json:"keys"`
}

// NewIssuer checks the settings. It starts and writes nothing.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Keys) == 0 || cfg.Name == "" || cfg.Lifetime <= 0 {
		return nil, errors.New("issuer: a name, a lifetime and a key are needed")
	}
	i := &Issuer{cfg: cfg, now: cfg.Now, log: cfg.Logger, jobs: make(chan struct{}, mostJobs)}
	for _, k := range cfg.Keys {
		m, err := publicJWK(&k.PublicKey)
		if err != nil {
			return nil, err
		}
		i.own = append(i.own, listedKey{JWKMarshal: m})
	}
	return i, nil
}

// publicJWK describes a key; its id is its thumbprint (RFC 7638).
func publicJWK(k *ecdsa.PublicKey) (jwkset.JWKMarshal, error) {
	meta := jwkset.JWKMetadataOptions{ALG: jwkset.AlgES256, USE: jwkset.UseSig}
	j, err := jwkset.NewJWKFromKey(k, jwkset.JWKOptions{Metadata: meta})
	if err != nil {
		return jwkset.JWKMarshal{}, fmt.Errorf("issuer: %w", err)
	}
	m := j.Marshal()
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, m.CRV, m.KTY, m.X, m.Y))
	m.KID = base64.RawURLEncoding.EncodeToString(sum[:])
	return m, nil
}

// Open lists the keys once. ErrOtherKeys must end the start; anything else is tried again by Run.
func (i *Issuer) Open(ctx context.Context) error { return i.list(ctx) }

// Run answers requests and keeps the keys listed until ctx ends, then returns when all is answered.
func (i *Issuer) Run(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	stop := func() {}
	defer func() {
		stop()
		i.mu.Lock()
		i.ended = true
		i.mu.Unlock()
		i.all.Wait()
	}()
	listening := false
	for {
		if !listening {
			end, err := i.listen(ctx)
			if err == nil {
				stop, listening = end, true
			}
			i.note("requests not heard", err)
		}
		i.note("oauth.keys", i.list(ctx))
		wait := tick.C
		var soon *time.Timer
		if ok, _ := i.Ready(); !ok || !listening {
			soon = time.NewTimer(time.Second)
			wait = soon.C
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil
		}
	}
}

func (i *Issuer) note(what string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrOtherKeys):
		i.log.Error(what, "error", err)
	default:
		i.log.Debug(what, "error", err)
	}
}

// Ready tells whether tokens can be made, and why not.
func (i *Issuer) Ready() (ok bool, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.conflict:
		return false, ErrOtherKeys.Error()
	case len(i.listed) == 0:
		return false, "keys not listed yet"
	}
	return true, ""
}

// list makes the bucket list our keys, and no longer those that nobody has and no token needs.
func (i *Issuer) list(ctx context.Context) error {
	bucket, err := i.cfg.Open(ctx)
	if err != nil {
		return err
	}
	for range writeTries {
		e, err := bucket.Last(ctx, KeysKey)
		if err != nil {
			return err
		}
		var have listedKeys
		if !e.Deleted && len(e.Value) > 0 {
			if err := json.Unmarshal(e.Value, &have); err != nil {
				return fmt.Errorf("keys of the built-in issuer: %w", err)
			}
		}
		want, err := i.next(ctx, have.Keys)
		i.mu.Lock()
		i.conflict = errors.Is(err, ErrOtherKeys)
		i.mu.Unlock()
		if err != nil {
			return err
		}
		if !slices.EqualFunc(have.Keys, want, sameListing) {
			text, err := json.Marshal(listedKeys{want})
			if err != nil {
				return err
			}
			_, err = bucket.Put(ctx, KeysKey, text, e.Revision)
			if errors.Is(err, broker.ErrConflict) {
				continue // another node was faster
			}
			if err != nil {
				return err
			}
			i.log.Info("oauth.keys", "listed", len(want))
		}
		i.mu.Lock()
		i.listed = want
		i.mu.Unlock()
		return nil
	}
	return broker.ErrConflict
}

func sameListing(a, b listedKey) bool {
	return a.KID == b.KID && a.Since.Equal(b.Since) && a.Retired.Equal(b.Retired)
}

// next is what is to be listed after have.
func (i *Issuer) next(ctx context.Context, have []listedKey) ([]listedKey, error) {
	now := i.now().UTC()
	var out []listedKey
	foreign := false
	for _, k := range have {
		switch {
		case i.isOwn(k.KID):
			k.Retired = time.Time{}
		case k.Retired.IsZero():
			foreign = true
		case now.Sub(k.Retired) > i.cfg.Lifetime+listedAfter:
			continue
		}
		out = append(out, k)
	}
	if foreign {
		shared, err := i.peers(ctx)
		if err != nil {
			return nil, err
		}
		for n := range out {
			if k := &out[n]; !shared && k.Retired.IsZero() && !i.isOwn(k.KID) {
				k.Retired = now
			}
		}
	}
	for _, k := range i.own {
		if !slices.ContainsFunc(out, func(l listedKey) bool { return l.KID == k.KID }) {
			k.Since = now
			out = append(out, k)
		}
	}
	if len(out) > mostListed {
		return nil, fmt.Errorf("issuer: %d keys are listed: too many", len(out))
	}
	return out, nil
}

func (i *Issuer) isOwn(id string) bool {
	return slices.ContainsFunc(i.own, func(k listedKey) bool { return k.KID == id })
}

// peers asks the other control nodes what they sign with: ErrOtherKeys if one has none of our keys. shared is true if one has some.
func (i *Issuer) peers(ctx context.Context) (shared bool, err error) {
	if i.cfg.Bus == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askPeers)
	defer cancel()
	text, err := i.cfg.Bus.Request(ctx, SubjectPeers, []byte(i.cfg.Boot))
	if err != nil {
		return false, nil //nolint:nilerr // nobody is there
	}
	ids := strings.Fields(string(text))
	if !slices.ContainsFunc(ids, i.isOwn) {
		return false, ErrOtherKeys
	}
	return true, nil
}

// answerPeers tells another control node what this one signs with.
func (i *Issuer) answerPeers(_ string, body []byte, reply func([]byte) error) {
	if reply == nil || string(body) == i.cfg.Boot {
		return
	}
	var ids []string
	for _, k := range i.own {
		ids = append(ids, k.KID)
	}
	i.note("oauth.keys", reply([]byte(strings.Join(ids, " "))))
}

// signer is the key to sign with now; ok is false as long as none is listed.
func (i *Issuer) signer() (key *ecdsa.PrivateKey, id string, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.conflict {
		return nil, "", false
	}
	for n, own := range i.own {
		for _, k := range i.listed {
			if k.KID != own.KID {
				continue
			}
			if i.now().Sub(k.Since) >= listedBefore {
				return i.cfg.Keys[n], own.KID, true
			}
			if key == nil {
				key, id, ok = i.cfg.Keys[n], own.KID, true
			}
		}
	}
	return key, id, ok
}

// sign makes a token for an application.
func (i *Issuer) sign(app string, scopes []string) (text string, err error) {
	key, id, ok := i.signer()
	if !ok {
		return "", errors.New("no key to sign with")
	}
	var jti [16]byte
	_, _ = rand.Read(jti[:]) //nolint:errcheck // never fails
	now := i.now()
	c := jwt.MapClaims{"iss": i.cfg.Name, "aud": []string{i.cfg.Name}, "sub": app, "client_id": app, "iat": now.Unix(),
		"exp": now.Add(i.cfg.Lifetime).Unix(), "jti": hex.EncodeToString(jti[:])}
	if len(scopes) > 0 {
		c["scope"] = strings.Join(scopes, " ")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["typ"], t.Header["kid"] = accessType, id
	return t.SignedString(key)
}

// keySet is the JWKS to show.
func (i *Issuer) keySet() jwkset.JWKSMarshal {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range i.listed {
		out.Keys = append(out.Keys, k.JWKMarshal)
	}
	return out
}
