package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/internal/access"
	"sluice/internal/access/token"
)

// buildVerifier makes what says who sent a credential: the edge asks it of clients, control of who buys tickets.
func (p *process) buildVerifier(context.Context) error {
	if p.access == nil {
		return nil
	}
	a := p.cfg.Auth
	pepper, err := secretOf(a.PepperFile)
	if err != nil {
		return err
	}
	refreshes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_jwks_refresh_total",
		Help: "Times that the keys of an issuer of tokens were fetched, by how it ended."}, []string{"issuer", "result"})
	p.reg.MustRegister(refreshes)
	cfg := token.Config{Own: a.Issuer.Name, Access: p.broker.Bucket(access.Bucket), Tickets: p.broker.Bucket(access.TicketBucket), Pepper: pepper,
		Observe: func(issuer, result string) { refreshes.WithLabelValues(issuer, result).Inc() }, Logger: p.log}
	for _, i := range a.Issuers {
		secret, err := secretOf(i.SecretFile)
		if err != nil {
			return err
		}
		cfg.Issuers = append(cfg.Issuers, token.ExternalIssuer{Name: i.Name, Issuer: i.Issuer, JWKS: i.JWKS, Audiences: i.Audiences,
			Algorithms: i.Signs(), AppClaim: i.AppClaim, RequireTyp: i.RequireTyp, Secret: secret})
	}
	if p.verifier, err = token.New(cfg); err != nil {
		return withCode(exitInvalid, err)
	}
	p.insecureSettings()
	return nil
}

// startVerifier fetches the issuers' keys, once the built-in one has listed its own.
func (p *process) startVerifier(context.Context) error {
	if p.verifier != nil {
		p.start("issuers' keys", p.verifier.Run)
	}
	return nil
}

// insecureSettings shows what was allowed though it should not be; the start has warned of it.
func (p *process) insecureSettings() {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_insecure_settings",
		Help: "1 for each kind of setting that was allowed though it is insecure."}, []string{"type"})
	p.reg.MustRegister(g)
	keys := slices.ContainsFunc(p.cfg.Auth.Issuers, func(i config.AuthIssuer) bool { return strings.HasPrefix(i.JWKS, "http://") })
	for name, on := range map[string]bool{"auth.insecureQueryToken": p.cfg.Auth.InsecureQueryToken, "auth.issuers.jwks": keys} {
		g.WithLabelValues(name).Set(map[bool]float64{true: 1}[on])
	}
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
