package access

import (
	"context"
	"time"

	"sluice/internal/problem"
)

// CreateKey adds an API key to an application and returns the key's text, which is shown once, here: what is stored is its hash. Of k
// count Name, Application, Expires, AllowedIPs, AllowedOrigins and Topics. KeyLimit if ten are active; UnknownApplication.
func (s *Store) CreateKey(ctx context.Context, w Write, k Key) (*Key, string, error) {
	k.ID, k.State, k.Rev = NewID(), KeyActive, 0
	text := MakeKey(APIKeySecret, k.ID)
	k.Hash, k.HashAlg = HashKey(text, s.opt.Pepper)
	if err := k.check(time.Time{}, s.now()); err != nil {
		return nil, "", err
	}
	d, err := s.change(ctx, w, "key created", func(d *draft) error {
		k.CreatedAt = d.now
		if find[Application](d.table, appKey(k.Application)) == nil {
			return taken(problem.UnknownApplication, "/application", "there is no such application")
		}
		active := 0
		all := each(d.table, func(o *Key) bool { return o.Application == k.Application })
		for _, o := range all {
			if o.Active(d.now) {
				active++
			}
		}
		switch {
		case active >= mostActiveKeys:
			return &problem.Error{Kind: problem.KeyLimit, Detail: "The application has 10 active keys: revoke or delete one first."}
		case len(all) >= mostKeys:
			return tooMany("keys of the application")
		}
		return d.put(keyKey(k.ID), k)
	})
	made, err := answer(d, err, k, keyKey(k.ID), setKeyRev)
	if err != nil {
		return nil, "", err
	}
	return made, text, nil
}

// UpdateKey replaces a key's Name, Expires, AllowedIPs, AllowedOrigins and Topics; a State of REVOKED revokes it.
func (s *Store) UpdateKey(ctx context.Context, w Write, k Key) (*Key, error) {
	return s.changeKey(ctx, w, "key changed", k.ID, func(d *draft, old Key) (Key, error) {
		next := old
		next.Name, next.Expires, next.Topics = k.Name, k.Expires, k.Topics
		next.AllowedIPs, next.AllowedOrigins = k.AllowedIPs, k.AllowedOrigins
		if k.State != "" {
			next.State = k.State
		}
		if err := next.check(old.Expires, d.now); err != nil {
			return next, err
		}
		if k.Application != "" && k.Application != old.Application {
			return next, taken(problem.ImmutableField, "/application", "cannot change: make another key")
		}
		if old.State == KeyRevoked && next.State != KeyRevoked {
			return next, taken(problem.ImmutableField, "/state", "a revoked key stays revoked: make another")
		}
		return next, nil
	})
}

// RevokeKey ends a key for good, and every stream, ticket and cookie that it opened. Revoking it again changes nothing.
func (s *Store) RevokeKey(ctx context.Context, w Write, id string) (*Key, error) {
	return s.changeKey(ctx, w, "key revoked", id, func(_ *draft, k Key) (Key, error) {
		k.State = KeyRevoked
		return k, nil
	})
}

func (s *Store) changeKey(ctx context.Context, w Write, what, id string, f func(d *draft, old Key) (Key, error)) (*Key, error) {
	var k Key
	d, err := s.change(ctx, w, what, func(d *draft) error {
		old := find[Key](d.table, keyKey(id))
		if old == nil {
			return notFound("key")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		var err error
		if k, err = f(d, *old); err != nil {
			return err
		}
		return d.put(keyKey(id), k)
	})
	return answer(d, err, k, keyKey(id), setKeyRev)
}

// DeleteKey removes a key; it ends as if it was revoked.
func (s *Store) DeleteKey(ctx context.Context, w Write, id string) error {
	_, err := s.change(ctx, w, "key deleted", func(d *draft) error {
		old := find[Key](d.table, keyKey(id))
		if old == nil {
			return notFound("key")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		d.remove(keyKey(id))
		return nil
	})
	return err
}

// Active tells whether the key counts at now; its application may not.
func (k *Key) Active(now time.Time) bool {
	return k.State == KeyActive && (k.Expires.IsZero() || now.Before(k.Expires))
}

func setKeyRev(k *Key, rev uint64) { k.Rev = rev }

func (k *Key) check(wasExpires, now time.Time) error {
	k.AllowedIPs, k.AllowedOrigins, k.Topics = orNil(k.AllowedIPs), orNil(k.AllowedOrigins), orNil(k.Topics)
	var c checker
	c.line("/name", k.Name, longestLine)
	c.value(k.State == KeyActive || k.State == KeyRevoked, "/state", "must be one of ACTIVE, REVOKED")
	c.later("/expires", k.Expires, wasExpires, now)
	c.addresses(k.AllowedIPs)
	c.origins(k.AllowedOrigins)
	c.topics(k.Topics)
	return c.err()
}
