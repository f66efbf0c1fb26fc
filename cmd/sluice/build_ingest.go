package main

import (
	"context"
	"os"
	"time"

	"sluice/config"
	"sluice/ingest"
	"sluice/ingest/lease"
	"sluice/internal/version"
)

// nodeName is what other nodes and beacons call this one.
func nodeName(cfg config.Config) string {
	if cfg.Node != "" {
		return cfg.Node
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return host
	}
	return "sluice"
}

// buildMembers makes and starts what knows the ingest nodes that share this broker: this one among them if it has that role.
// An embedded broker is nobody else's.
func (p *process) buildMembers(context.Context) error {
	if p.broker.Embedded() {
		return nil
	}
	m, err := lease.NewMembers(lease.MembersConfig{
		Node: nodeName(p.cfg), Boot: p.boot, Capacity: p.cfg.Ingest.Demand.MaxFeeds, Observe: !p.cfg.Has(config.RoleIngest),
		Bus: p.broker.Bus(), Log: p.log,
	})
	if err != nil {
		return withCode(exitFailed, err)
	}
	p.members = m
	p.start("beats", m.Run)
	return nil
}

// handOverTime is how long an ingest node that ends tries to hand its feeds over; then it lets go of them.
const handOverTime = 20 * time.Second

// handOver gives this node's feeds to others, if others can be there. What is left is given back when ingest is stopped.
func (p *process) handOver() {
	if p.ingest == nil || p.members == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	if err := p.ingest.Drain(ctx); err != nil {
		p.log.Warn("not all feeds were handed over", "error", err)
	}
}

// ownBucket says which node runs which feed. Role control makes it; until then feeds wait.
const ownBucket = "own"

// buildIngest makes and starts the part that reads upstreams.
func (p *process) buildIngest(context.Context) error {
	sup, err := ingest.New(p.cfg.Ingest, p.cfg.Upstream, ingest.Deps{
		Node: nodeName(p.cfg), Boot: p.boot, Members: p.members, Catalog: p.store, Writer: p.broker.Writer(), Bus: p.broker.Bus(), Own: p.broker.Bucket(ownBucket),
		Guard:   p.guard,
		Product: "sluice/" + version.Read().Version, Log: p.log, Metrics: p.reg, Tracer: p.traces.Tracer(),
	})
	if err != nil {
		return withCode(exitFailed, err)
	}
	p.ingest = sup
	p.start("ingest", sup.Run)
	return nil
}
