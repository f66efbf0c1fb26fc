package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

const (
	firstWait   = 5 * time.Second  // how long a start waits for servers that are there; without them it goes on
	readyWithin = 10 * time.Second // how long a lost link leaves the node ready
)

// brokerConfig is what the settings ask of package broker.
func brokerConfig(cfg config.Config) broker.Config {
	b := cfg.Broker
	c := broker.Config{
		Dir: filepath.Join(cfg.Data, "nats"), URLs: b.URLs, Durability: string(b.Durability),
		MaxMemory: int64(b.Store.MaxMemory), MaxStore: int64(b.Store.MaxBytes), MaxEvent: int(cfg.Upstream.MaxEvent),
	}
	if b.Embedded() {
		return c
	}
	c.Name, c.Inbox = "sluice "+nodeName(cfg), inboxOf(cfg)
	c.Login = broker.Login{File: b.Credentials, User: b.User, Password: b.Password.Reveal(), PasswordFile: b.PasswordFile}
	c.TLS = broker.TLS{CA: b.TLS.CA, Cert: b.TLS.Cert, Key: b.TLS.Key, ServerName: b.TLS.ServerName, MinVersion: tls.VersionTLS12}
	if b.TLS.MinVersion == config.TLS13 {
		c.TLS.MinVersion = tls.VersionTLS13
	}
	return c
}

// inboxOf is where answers to this process come, so that one role cannot listen to another's: a process of several roles has
// that of the role that may do most. The permissions in deploy/nats are written for these names.
func inboxOf(cfg config.Config) string {
	switch {
	case cfg.Has(config.RoleControl):
		return "_INBOX_ctl"
	case cfg.Has(config.RoleIngest):
		return "_INBOX_ing"
	}
	return "_INBOX_edge"
}

// checkDurability finds definitions whose durability this process's broker cannot give, as far as the settings tell.
func checkDurability(cfg config.Config, snap *catalog.Snapshot) error {
	var errs []error
	for _, spec := range streamSpecs(snap) {
		if spec.Durable == "" {
			continue
		}
		if err := brokerConfig(cfg).Honours(spec.Durable); err != nil {
			errs = append(errs, fmt.Errorf("api %s: spec.durability: %w", spec.Name, err))
		}
	}
	return errors.Join(errs...)
}

// buildBroker starts the embedded broker, or connects to another. One that does not answer is waited for as long as it takes,
// but not here: what can be served without it is.
func (p *process) buildBroker(ctx context.Context) error {
	c := brokerConfig(p.cfg)
	if err := c.CheckFiles(); err != nil {
		return withCode(exitInvalid, err)
	}
	node, err := broker.Open(ctx, c, p.log, p.reg)
	if err != nil {
		return withCode(exitFailed, fmt.Errorf("broker: %w", err))
	}
	p.broker = node
	p.guardBroker()
	p.health.Ready("broker", p.brokerHealth)
	if !p.linkWithin(ctx, firstWait) {
		p.log.Warn("no broker yet: starting without it, not ready until it answers", "urls", p.cfg.Broker.URLs, "why", node.Link().Why)
	}
	return nil
}

// brokerHealth keeps a node ready over a short loss of the link, so that a restart of a broker moves no clients.
func (p *process) brokerHealth() (obs.Grade, string) {
	l := p.broker.Link()
	switch denied := p.broker.Denied(); {
	case l.Never:
		return obs.Failed, "never connected: " + l.Why
	case !l.Up && time.Since(l.Since) >= readyWithin:
		return obs.Failed, "link lost since " + l.Since.Format(time.RFC3339) + ": " + l.Why
	case denied != "":
		return obs.Failed, "permission denied: " + denied
	case !l.Up:
		return obs.Degraded, "link lost: " + l.Why
	}
	return obs.OK, ""
}

// linkWithin waits until the link is up, at most d.
func (p *process) linkWithin(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		changed := p.broker.LinkChanged()
		if p.broker.Link().Up {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
