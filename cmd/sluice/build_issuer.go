package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice/config"
	"sluice/edge"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

// buildIssuer makes the built-in issuer, on control: it signs, edges ask it. That another control node signs with other keys ends the
// start; what the broker does not answer yet is tried again.
func (p *process) buildIssuer(ctx context.Context) error {
	if !p.cfg.Has(config.RoleControl) {
		return nil
	}
	keys, err := signingKeys(p.cfg)
	if err != nil {
		return withCode(exitInvalid, err)
	}
	issuer, err := token.NewIssuer(token.IssuerConfig{
		Name: p.cfg.Auth.Issuer.Name, Keys: keys, Lifetime: p.cfg.Auth.Issuer.Lifetime, Bus: p.broker.Bus(), Boot: p.boot,
		Open: func(ctx context.Context) (broker.Bucket, error) {
			return p.broker.Admin().EnsureBucket(ctx, access.Spec(access.Bucket))
		},
		Snapshot: p.access.Snapshot, Verifier: p.verifier, Tickets: token.NewTickets(p.broker.Bucket(access.TicketBucket), nil), Logger: p.log,
		Revoke: func(ctx context.Context, r access.Revocation) error {
			_, err := p.access.Revoke(ctx, access.Write{By: r.By}, r)
			return err
		},
		MayRead: func(who *access.Principal, what access.Bound, from token.Sender, kind access.Kind) error {
			buyer := edge.Buyer{Principal: who, IP: from.IP, Origin: from.Origin, Kind: kind}
			return edge.MayBuy(p.access.Snapshot(), p.store.Snapshot(), buyer, what, p.issuerNames(), time.Now())
		},
		Scopes: p.scopesOf,
	})
	if err != nil {
		return withCode(exitInvalid, err)
	}
	if p.broker.Link().Up {
		if err := issuer.Open(ctx); errors.Is(err, token.ErrOtherKeys) {
			return withCode(exitInvalid, err)
		}
	}
	p.start("issuer", issuer.Run)
	p.health.Ready("issuer", func() (obs.Grade, string) {
		if ok, why := issuer.Ready(); !ok {
			return obs.Degraded, "no tokens are given: " + why
		}
		return obs.OK, ""
	})
	return nil
}

// scopesOf are the scopes that an application's tokens may have: those of the APIs it subscribed to.
func (p *process) scopesOf(app string) []string {
	var out []string
	snap := p.store.Snapshot()
	for _, g := range p.access.Snapshot().Records().Grants {
		if g.Application != app || g.State != access.SubUnblocked {
			continue
		}
		if api := snap.API(g.API, g.Version); api != nil {
			for _, s := range api.Spec.Scopes {
				out = append(out, s.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// signingKeys are those of the settings, or one of this node's own, made when there is none yet.
func signingKeys(cfg config.Config) ([]*ecdsa.PrivateKey, error) {
	file, made := cfg.Auth.Issuer.KeyFile, false
	if file == "" {
		file, made = filepath.Join(cfg.Data, "secrets", "issuer.pem"), true
	}
	text, err := os.ReadFile(file)
	if made && errors.Is(err, os.ErrNotExist) {
		if text, err = newSigningKey(); err == nil {
			err = writeOnce(file, text)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("auth.issuer.keyFile: %w", err)
	}
	keys, err := config.SigningKeys(text)
	if err != nil {
		return nil, fmt.Errorf("auth.issuer.keyFile: %s %w", file, err)
	}
	return keys, nil
}

func newSigningKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeOnce writes a secret to a file that only its owner may read, whole or not at all.
func writeOnce(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
