package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"

	"sluice/internal/broker"
)

// How an issuer's keys are kept.
const (
	refreshEvery = time.Hour
	refreshOwn   = time.Minute      // of the built-in issuer's, which are as near as the broker
	refreshLeast = 10 * time.Second // between two fetches, whatever asks for them
	refreshWait  = 2 * time.Second  // how long a token of an unknown key waits for a fetch
	fetchTimeout = 5 * time.Second
	fetchBytes   = 1 << 20
	keysLast     = 24 * time.Hour // how long the last good keys serve
	mostKeys     = 100
	leastRSABits = 2048
)

var (
	errKeysUnavailable = errors.New("the issuer's keys cannot be had")
	errUnknownKey      = errors.New("the issuer has no such key")
	errEmptySet        = errors.New("holds no key that can be used")
)

// keyName names one key. Not its id alone: another algorithm's key of that id is another key.
type keyName struct{ id, alg string }

// keySet has one issuer's keys as jwkset's storage, so that keyfunc reads from it. It refuses an empty set, which jwkset would take for the
// end of all keys, leaves out keys that no signature may be checked with, and never waits for a limiter: who names an unknown key waits
// for at most one fetch, and there is at most one per 10 s.
type keySet struct {
	jwkset.Storage // only for the methods that nobody calls
	issuer         string
	every          time.Duration
	fetch          func(ctx context.Context, into jwkset.Storage) error
	observe        func(issuer, result string)
	log            *slog.Logger
	now            func() time.Time
	wake           chan struct{} // capacity 1: flight was made

	mu     sync.Mutex
	keys   map[keyName]jwkset.JWK // guarded by mu
	gen    uint64                 // guarded by mu: counts sets that lack a key of the one before
	good   time.Time              // guarded by mu: when the last good fetch began
	tried  time.Time              // guarded by mu: when the last fetch began
	failed error                  // guarded by mu: of the last fetch
	told   time.Time              // guarded by mu: when that was last logged
	flight chan struct{}          // guarded by mu: closed when the fetch that runs, or was asked for, is over; nil = there is none
}

func newKeySet(issuer string, every time.Duration, fetch func(context.Context, jwkset.Storage) error, cfg Config) *keySet {
	return &keySet{Storage: jwkset.NewMemoryStorage(), issuer: issuer, every: every, fetch: fetch, observe: cfg.Observe, log: cfg.Logger, now: cfg.Now,
		wake: make(chan struct{}, 1), keys: map[keyName]jwkset.JWK{}, flight: make(chan struct{})}
}

// run fetches at once, hourly and when asked, until ctx ends.
func (s *keySet) run(ctx context.Context) {
	for {
		s.refresh(ctx)
		timer := time.NewTimer(s.pause())
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// pause is how long to leave the issuer alone.
func (s *keySet) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return refreshLeast
	}
	return s.every
}

func (s *keySet) refresh(ctx context.Context) {
	s.mu.Lock()
	s.tried = s.now()
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err := s.fetch(ctx, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	result := "ok"
	if err != nil {
		result = "failed"
		if s.told.IsZero() || s.now().Sub(s.told) >= time.Minute {
			s.told = s.now()
			s.log.Error("jwks.refresh", "issuer", s.issuer, "error", err, "good", s.good)
		}
	} else {
		s.good, s.told = s.tried, time.Time{}
	}
	s.observe(s.issuer, result)
	close(s.flight)
	s.flight = nil
}

// KeyReplaceAll implements jwkset.Storage: the fetched set becomes the issuer's.
func (s *keySet) KeyReplaceAll(_ context.Context, set []jwkset.JWK) error {
	keys := map[keyName]jwkset.JWK{}
	for _, k := range set {
		for _, alg := range algorithmsOf(k) {
			if len(keys) < mostKeys {
				keys[keyName{k.Marshal().KID, alg}] = k
			}
		}
	}
	if len(keys) == 0 {
		return errEmptySet
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	added, removed := differ(s.keys, keys), differ(keys, s.keys)
	if removed > 0 {
		s.gen++
	}
	if len(s.keys) > 0 && added+removed > 0 {
		s.log.Info("jwks.rotated", "issuer", s.issuer, "keys", len(keys), "added", added, "removed", removed)
	}
	s.keys = keys
	return nil
}

// differ counts the keys of b that a does not have.
func differ(a, b map[keyName]jwkset.JWK) (n int) {
	for name, k := range b {
		old, there := a[name]
		if !there || thumbprint(old) != thumbprint(k) {
			n++
		}
	}
	return n
}

// thumbprint is equal for equal public keys.
func thumbprint(k jwkset.JWK) string {
	m := k.Marshal()
	return string(m.KTY) + " " + string(m.CRV) + " " + m.X + " " + m.Y + " " + m.N + " " + m.E
}

// algorithmsOf says which signatures a key may check; none for one that is for something else, is too weak, or no public key.
func algorithmsOf(k jwkset.JWK) []string {
	m := k.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig {
		return nil
	}
	var fit []string
	switch key := publicOf(k).(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= leastRSABits {
			fit = []string{"RS256", "PS256"}
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			fit = []string{"ES256"}
		}
	case ed25519.PublicKey:
		fit = []string{"EdDSA"}
	}
	if m.ALG == "" {
		return fit
	}
	for _, alg := range fit {
		if alg == string(m.ALG) {
			return []string{alg}
		}
	}
	return nil
}

// publicOf is the public half of a key: an issuer that shows its private one is trusted no less.
func publicOf(k jwkset.JWK) any {
	switch key := k.Key().(type) {
	case *rsa.PrivateKey:
		return &key.PublicKey
	case *ecdsa.PrivateKey:
		return &key.PublicKey
	case ed25519.PrivateKey:
		return key.Public()
	default:
		return key
	}
}

type algKey struct{}

// withAlg tells KeyRead and KeyReadAll, which keyfunc calls, the token's algorithm.
func withAlg(ctx context.Context, alg string) context.Context {
	return context.WithValue(ctx, algKey{}, alg)
}

// KeyRead implements jwkset.Storage: the key of this id and of the algorithm in ctx.
func (s *keySet) KeyRead(ctx context.Context, id string) (jwkset.JWK, error) {
	alg, _ := ctx.Value(algKey{}).(string)
	return s.find(ctx, func() (jwkset.JWK, bool) {
		k, ok := s.keys[keyName{id, alg}]
		return k, ok
	})
}

// KeyReadAll implements jwkset.Storage for a token that names no key: the only one of its algorithm, if there is just one.
func (s *keySet) KeyReadAll(ctx context.Context) ([]jwkset.JWK, error) {
	alg, _ := ctx.Value(algKey{}).(string)
	k, err := s.find(ctx, func() (k jwkset.JWK, ok bool) {
		n := 0
		for name, have := range s.keys {
			if name.alg == alg {
				k, n = have, n+1
			}
		}
		return k, n == 1
	})
	if err != nil {
		return nil, err
	}
	return []jwkset.JWK{k}, nil
}

// find returns what look finds, or what it finds after a fetch, if one is due. look is called with mu held.
func (s *keySet) find(ctx context.Context, look func() (jwkset.JWK, bool)) (jwkset.JWK, error) {
	k, wait, err := s.known(look)
	if wait == nil {
		return k, err
	}
	timer := time.NewTimer(refreshWait)
	defer timer.Stop()
	select {
	case <-wait:
	case <-timer.C:
		return jwkset.JWK{}, errKeysUnavailable
	case <-ctx.Done():
		return jwkset.JWK{}, errKeysUnavailable
	}
	k, _, err = s.known(look)
	return k, err
}

// known looks without waiting. wait, if not nil, is closed when a fetch is over that may bring the key.
func (s *keySet) known(look func() (jwkset.JWK, bool)) (k jwkset.JWK, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	usable := s.usable(now)
	if usable {
		if k, ok := look(); ok {
			return k, nil, nil
		}
	}
	if s.flight == nil && now.Sub(s.tried) >= refreshLeast {
		s.flight = make(chan struct{})
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	err = errUnknownKey
	if !usable || s.failed != nil {
		err = errKeysUnavailable
	}
	if s.flight == nil {
		return jwkset.JWK{}, nil, err
	}
	return jwkset.JWK{}, s.flight, err
}

// usable tells whether there are keys, and they are not too old; mu is held.
func (s *keySet) usable(now time.Time) bool { return !s.good.IsZero() && now.Sub(s.good) <= keysLast }

// generation changes when a key was taken away, or all of them are too old.
func (s *keySet) generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable(s.now()) {
		return 0
	}
	return s.gen + 1
}

// fetchURL gets a set by HTTP. Only jwkset's own decoding is used: no refresh of its own, no limit to wait for.
func fetchURL(client *http.Client, address string) func(context.Context, jwkset.Storage) error {
	return func(ctx context.Context, into jwkset.Storage) error {
		_, err := jwkset.NewStorageFromHTTP(address, jwkset.HTTPClientStorageOptions{
			Client: client, Ctx: ctx, HTTPTimeout: fetchTimeout, Storage: into,
			ValidateOptions: jwkset.JWKValidateOptions{SkipUse: true, SkipKeyOps: true}, // keys for other uses are left out, not refused
		})
		return err
	}
}

// fetchBucket gets the built-in issuer's set.
func fetchBucket(bucket broker.Bucket) func(context.Context, jwkset.Storage) error {
	return func(ctx context.Context, into jwkset.Storage) error {
		e, err := bucket.Get(ctx, KeysKey)
		if err != nil {
			return err
		}
		var set jwkset.JWKSMarshal
		if err := json.Unmarshal(e.Value, &set); err != nil {
			return fmt.Errorf("keys of the built-in issuer: %w", err)
		}
		var keys []jwkset.JWK
		for _, m := range set.Keys {
			k, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
			if err != nil {
				return fmt.Errorf("keys of the built-in issuer: %w", err)
			}
			keys = append(keys, k)
		}
		return into.KeyReplaceAll(ctx, keys)
	}
}

// newClient is for the operator's own URLs: private hosts are allowed, redirects, long answers and proxies are not.
func newClient() *http.Client {
	return &http.Client{
		Transport: capped{&http.Transport{
			DialContext: (&net.Dialer{Timeout: fetchTimeout}).DialContext, TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, // an hour later it is closed anyway, and then one fetch would be two requests
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       fetchTimeout,
	}
}

// capped ends bodies after 1 MiB with an error.
type capped struct{ next *http.Transport }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		resp.Body = &cappedBody{ReadCloser: resp.Body, left: fetchBytes}
	}
	return resp, err
}

// CloseIdleConnections is for http.Client's.
func (c capped) CloseIdleConnections() { c.next.CloseIdleConnections() }

type cappedBody struct {
	io.ReadCloser
	left int
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("is longer than %d bytes", fetchBytes)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
