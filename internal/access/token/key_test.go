package token

import (
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/problem"
)

// T16, and what makes a good key bad afterwards.
func TestKeys(t *testing.T) {
	pepper := []byte("a pepper of some bytes")
	for _, c := range []struct {
		name   string
		change func(r *rig)
		text   func(r *rig) string
		bad    bool
	}{
		{name: "good"},
		{name: "one letter off", text: func(r *rig) string { return flip(r.apiKey, 30) }, bad: true},
		{name: "bad sum", text: func(r *rig) string { return flip(r.apiKey, len(r.apiKey)-1) }, bad: true},
		{name: "cut", text: func(r *rig) string { return r.apiKey[:len(r.apiKey)-1] }, bad: true},
		{name: "another secret of that id", text: func(r *rig) string { return access.MakeKey(access.APIKeySecret, r.recs.Keys[0].ID) }, bad: true},
		{name: "unknown id", text: func(*rig) string { return access.MakeKey(access.APIKeySecret, access.NewID()) }, bad: true},
		{name: "a client secret", text: func(r *rig) string { return access.MakeKey(access.ClientSecret, r.recs.Keys[0].ID) }, bad: true},
		{name: "revoked", change: func(r *rig) { r.recs.Keys[0].State = access.KeyRevoked }, bad: true},
		{name: "expired", change: func(r *rig) { r.recs.Keys[0].Expires = r.clock.now() }, bad: true},
		{name: "half a second left", change: func(r *rig) { r.recs.Keys[0].Expires = r.clock.now().Add(time.Second / 2) }, bad: true},
		{name: "a minute left", change: func(r *rig) { r.recs.Keys[0].Expires = r.clock.now().Add(time.Minute) }},
		{name: "application gone", change: func(r *rig) { r.recs.Applications = nil }, bad: true},
		{name: "application revoked", bad: true, change: func(r *rig) {
			r.recs.Revocations = []*access.Revocation{{Kind: access.RevokeApplication, Value: r.app(), Before: r.clock.now()}}
		}},
		{name: "revoked before it was made", change: func(r *rig) {
			r.recs.Revocations = []*access.Revocation{{Kind: access.RevokeApplication, Value: r.app(), Before: r.clock.now().Add(-2 * time.Hour)}}
		}},
		{name: "with the pepper", change: func(r *rig) {
			r.recs.Keys[0].Hash, r.recs.Keys[0].HashAlg = access.HashKey(r.apiKey, pepper)
		}},
		{name: "with another pepper", bad: true, change: func(r *rig) {
			r.recs.Keys[0].Hash, r.recs.Keys[0].HashAlg = access.HashKey(r.apiKey, []byte("x"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.Issuers, cfg.Pepper = nil, pepper })
			if c.change != nil {
				c.change(r)
				r.index()
			}
			text := r.apiKey
			if c.text != nil {
				text = c.text(r)
			}
			p, err := r.verify(Credential{Kind: access.APIKey, Value: text})
			if c.bad {
				if problem.KindOf(orInvalid(err)) != problem.InvalidToken || p != nil {
					t.Errorf("%+v, %v", p, err)
				}
				return
			}
			k := r.recs.Keys[0]
			if err != nil || p.Kind != access.APIKey || p.Key != k.ID || p.App != r.app() || !p.Expires.Equal(k.Expires) || !p.Issued.Equal(k.CreatedAt) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// flip changes one letter of a secret into another that could stand there.
func flip(s string, at int) string {
	other := byte('a')
	if s[at] == other {
		other = 'b'
	}
	return s[:at] + string(other) + s[at+1:]
}
