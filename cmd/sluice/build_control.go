package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

// brokerTLS is the TLS configuration for broker URLs: the system's authorities unless a file names others.
func brokerTLS(b config.Broker) (*tls.Config, error) {
	if b.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(b.CA)
	if err != nil {
		return nil, fmt.Errorf("broker.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("broker.ca: %s holds no certificate", b.CA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// buildControl makes the streams of all APIs, then keeps them as the catalog says. Only the control role creates streams.
func (p *process) buildControl(ctx context.Context) error {
	p.health.Ready("catalog", func() (obs.Grade, string) {
		if p.store.Snapshot() == nil {
			return obs.Failed, "no snapshot yet"
		}
		return obs.OK, ""
	})
	if !p.cfg.Has(config.RoleControl) {
		return nil
	}
	for _, spec := range streamSpecs(p.store.Snapshot()) {
		if err := p.broker.Admin().EnsureStream(ctx, spec); err != nil {
			return withCode(exitFailed, fmt.Errorf("stream of %s: %w", spec.Name, err))
		}
	}
	p.start("streams", p.keepStreams)
	return nil
}

// prepareTimeout bounds how long new definitions wait for their streams: a broker that is away must not keep back what needs
// nothing of it.
const prepareTimeout = 5 * time.Second

// prepareStreams makes the streams of definitions that are about to be seen, so that no feed is opened before there is a
// place for its events. What fails is left to keepStreams, which says so.
func (p *process) prepareStreams(ctx context.Context, next *catalog.Snapshot) {
	if !p.cfg.Has(config.RoleControl) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	for _, spec := range streamSpecs(next) {
		if err := p.broker.Admin().EnsureStream(ctx, spec); err != nil {
			p.log.Debug("stream not ensured before its definition", "api", spec.Name, "error", err)
		}
	}
}

// keepStreams makes or adapts streams when definitions change.
func (p *process) keepStreams(ctx context.Context) error {
	for snap := range p.store.Watch(ctx) {
		for _, spec := range streamSpecs(snap) {
			p.ensureStream(ctx, spec)
		}
	}
	return ctx.Err()
}

// ensureStream tries until it works or ctx ends: a broker that is away comes back.
func (p *process) ensureStream(ctx context.Context, spec broker.StreamSpec) {
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := p.broker.Admin().EnsureStream(ctx, spec)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.log.Error("stream not ensured", "api", spec.Name, "error", err, "retry", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// streamSpecs is what the APIs of a snapshot ask of the broker.
func streamSpecs(snap *catalog.Snapshot) []broker.StreamSpec {
	var specs []broker.StreamSpec
	for _, api := range snap.APIs() {
		if !api.Spec.State.Runs() {
			continue
		}
		r := api.Retention()
		specs = append(specs, broker.StreamSpec{
			API: broker.NewFeedID(api.Name(), api.Version(), "/", "").API, Name: api.ID(),
			MaxAge: time.Duration(r.MaxAge), MaxEvents: int64(r.MaxEvents), MaxBytes: int64(r.MaxBytes),
		})
	}
	return specs
}
