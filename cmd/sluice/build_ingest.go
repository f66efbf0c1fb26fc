package main

import (
	"context"
	"fmt"
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

// buildIngest makes and starts the part that reads upstreams.
func (p *process) buildIngest(ctx context.Context) error {
	own, err := p.broker.Admin().Bucket(ctx, "own", 1)
	if err != nil {
		return withCode(exitFailed, fmt.Errorf("bucket own: %w", err))
	}
	sup, err := ingest.New(p.cfg.Ingest, p.cfg.Upstream, ingest.Deps{
		Node: nodeName(p.cfg), Catalog: p.store, Writer: p.broker.Writer(), Bus: p.broker.Bus(), Own: own,
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
