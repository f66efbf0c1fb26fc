package main

import (
	"context"
	"os"

	"sluice/config"
	"sluice/ingest"
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

// ownBucket says which node runs which feed. Role control makes it; until then feeds wait.
const ownBucket = "own"

// buildIngest makes and starts the part that reads upstreams.
func (p *process) buildIngest(context.Context) error {
	sup, err := ingest.New(p.cfg.Ingest, p.cfg.Upstream, ingest.Deps{
		Node: nodeName(p.cfg), Catalog: p.store, Writer: p.broker.Writer(), Bus: p.broker.Bus(), Own: p.broker.Bucket(ownBucket),
		Guard:   p.guard,
		Product: "sluice/" + version.Read().Version, Log: p.log, Metrics: p.reg,
	})
	if err != nil {
		return withCode(exitFailed, err)
	}
	p.ingest = sup
	p.start("ingest", sup.Run)
	return nil
}
