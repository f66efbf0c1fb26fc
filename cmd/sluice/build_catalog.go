package main

import (
	"context"
	"path/filepath"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

// sharedCatalog is the catalog that the broker keeps. It is always as new as the broker's: a reload reads nothing.
type sharedCatalog struct{ *catalog.Manager }

func (sharedCatalog) ReloadAfter(context.Context, func(*catalog.Snapshot)) (catalog.Diff, error) {
	return catalog.Diff{}, nil
}

// firstLoad is how long a start waits for the shared catalog; without it the node goes on, and is not ready.
const firstLoad = 5 * time.Second

// openShared makes the catalog that the broker keeps the one that this process works by: ingest reads for all edge groups, the edge
// serves its own.
func (p *process) openShared() {
	p.lag = broker.NewLag(time.Now)
	p.manager = catalog.NewManager(catalog.ManagerOptions{
		Options: catalogOptions(p.cfg, p.guard), Dir: filepath.Join(p.cfg.Data, "catalog"), Logger: p.log, Lag: p.lag,
		Open: func(ctx context.Context) (broker.Bucket, error) {
			if p.cfg.Has(config.RoleControl) {
				return p.broker.Admin().Bucket(ctx, catalog.Bucket, catalog.BucketHistory)
			}
			return p.broker.Bucket(catalog.Bucket), nil
		},
		Prepare: func(ctx context.Context, api *catalog.API) error {
			return p.broker.Admin().EnsureStream(ctx, streamSpec(api))
		},
		Forget: func(ctx context.Context, api *catalog.API) error {
			return p.broker.Admin().DeleteStream(ctx, streamSpec(api).API)
		},
	})
	p.store = sharedCatalog{p.manager}
	p.shown = p.manager.Group(p.cfg.Edge.Group)
}

// buildCatalog follows the shared catalog, if that is what this process works by, and waits a while for its first answer.
func (p *process) buildCatalog(ctx context.Context) error {
	if p.manager == nil {
		return nil
	}
	p.start("catalog", p.manager.Run)
	ctx, cancel := context.WithTimeout(ctx, firstLoad)
	defer cancel()
	for snap := range p.manager.Watch(ctx) {
		if snap.Revision() > 0 {
			break
		}
	}
	return nil
}

// catalogHealth tells whether definitions are there, and whether they are the newest.
func (p *process) catalogHealth() (obs.Grade, string) {
	if p.manager == nil {
		if p.store.Snapshot() == nil {
			return obs.Failed, "no snapshot yet"
		}
		return obs.OK, ""
	}
	s := p.manager.Status()
	switch {
	case p.shown.Snapshot().Revision() == 0:
		return obs.Failed, "not loaded yet: " + s.Why
	case s.Suspect != "":
		return obs.Degraded, s.Suspect
	case !s.Loaded:
		return obs.Degraded, "stale: the last good copy is served; " + s.Why
	}
	return obs.OK, ""
}
