package token

import (
	"sluice/internal/access"
	"sluice/internal/problem"
)

// verifyKey returns who an API key belongs to. Whatever is wrong with it is told in the same bytes and after the same work.
func (v *Verifier) verifyKey(snap *access.Snapshot, text string) (*access.Principal, error) {
	id, whole := access.ParseKey(access.APIKeySecret, text)
	var k *access.Key
	if whole {
		k = snap.Key(id)
	}
	if !k.Matches(text, v.cfg.Pepper) {
		return nil, refused(problem.InvalidToken, "", "key")
	}
	p, why := v.keyHolder(snap, k)
	if why != "" {
		return nil, refused(problem.InvalidToken, "", why)
	}
	return p, nil
}

// keyHolder returns who a key belongs to, or why it does not count any more.
func (v *Verifier) keyHolder(snap *access.Snapshot, k *access.Key) (p *access.Principal, why string) {
	switch {
	case k == nil:
		return nil, "key deleted"
	case k.State != access.KeyActive:
		return nil, "key revoked"
	case !k.Expires.IsZero() && k.Expires.Sub(v.now()) < leastLife:
		return nil, "key expired"
	case snap.Application(k.Application) == nil:
		return nil, "application deleted"
	}
	p = &access.Principal{Kind: access.APIKey, App: k.Application, Key: k.ID, Issued: k.CreatedAt, Expires: k.Expires}
	if snap.Revoked(p) != nil {
		return nil, "revoked"
	}
	return p, ""
}
