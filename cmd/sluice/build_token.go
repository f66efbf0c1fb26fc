package main

import (
	"bytes"
	"fmt"
	"os"

	"sluice/internal/access"
	"sluice/internal/access/token"
)

// buildVerifier makes and starts what says who a client's credential belongs to.
func (p *process) buildVerifier() (*token.Verifier, error) {
	a := p.cfg.Auth
	pepper, err := secretOf(a.PepperFile)
	if err != nil {
		return nil, err
	}
	cfg := token.Config{Own: a.Issuer.Name, Access: p.broker.Bucket(access.Bucket), Tickets: p.broker.Bucket(access.TicketBucket), Pepper: pepper, Logger: p.log}
	for _, i := range a.Issuers {
		secret, err := secretOf(i.SecretFile)
		if err != nil {
			return nil, err
		}
		cfg.Issuers = append(cfg.Issuers, token.ExternalIssuer{Name: i.Name, Issuer: i.Issuer, JWKS: i.JWKS, Audiences: i.Audiences,
			Algorithms: i.Signs(), AppClaim: i.AppClaim, RequireTyp: i.RequireTyp, Secret: secret})
	}
	v, err := token.New(cfg)
	if err != nil {
		return nil, withCode(exitInvalid, err)
	}
	p.start("issuers' keys", v.Run)
	return v, nil
}

// issuerNames have the iss of the issuers that definitions name.
func (p *process) issuerNames() map[string]string {
	names := map[string]string{token.OwnName: p.cfg.Auth.Issuer.Name}
	for _, i := range p.cfg.Auth.Issuers {
		names[i.Name] = i.Issuer
	}
	return names
}

// secretOf reads a file with a secret; nil for no file. A line break at its end does not belong to it.
func secretOf(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, withCode(exitInvalid, fmt.Errorf("auth: %w", err))
	}
	return bytes.TrimSpace(text), nil
}
