package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/config/catalog"
	"sluice/internal/broker"
)

// purgeEvery is how often is looked for events that nobody can read any more.
const purgeEvery = time.Minute

// purger removes stored events that nobody can read any more: of retired APIs and of deleted topics, catalog.purgeGrace after that
// happened. The catalog knows since when, so that it does not matter how often control restarts meanwhile, nor how many control nodes
// there are: what is purged twice was empty.
type purger struct {
	manager *catalog.Manager
	admin   broker.Admin
	grace   time.Duration
	now     func() time.Time
	log     *slog.Logger
	done    map[string]time.Time // by uid: all that was past by then has been purged
}

func (p *process) newPurger() *purger {
	return &purger{manager: p.manager, admin: p.broker.Admin(), grace: p.cfg.Catalog.PurgeGrace, now: time.Now, log: p.log, done: map[string]time.Time{}}
}

// run looks until ctx ends.
func (g *purger) run(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.round(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round purges what is due. What fails is tried in the next one.
func (g *purger) round(ctx context.Context) {
	if s := g.manager.Status(); !s.Loaded || s.Suspect != "" {
		return
	}
	done := map[string]time.Time{} // of what still exists
	for _, r := range g.manager.List() {
		past, due := r.Past(g.now().Add(-g.grace))
		if !due {
			continue
		}
		if done[r.UID] = g.done[r.UID]; !past.Since.After(done[r.UID]) {
			continue
		}
		n, err := g.purge(ctx, r, past)
		if err != nil && !errors.Is(err, broker.ErrNoStream) {
			g.log.Warn("events of what is gone were not purged", "api", r.ID(), "error", err, "retry", purgeEvery)
			continue
		}
		done[r.UID] = past.Since
		if n > 0 || past.Whole {
			g.log.Info("events of what is gone were purged", "api", r.ID(), "retired", past.Whole, "feeds", n)
		}
	}
	g.done = done
}

// purge removes what is past of one API, and tells of how many feeds.
func (g *purger) purge(ctx context.Context, r *catalog.Record, past catalog.Past) (feeds int, err error) {
	name, version := r.API.Name(), r.API.Version()
	token := broker.APIToken(name, version)
	if past.Whole {
		return 0, g.admin.PurgeStream(ctx, token)
	}
	stored, err := g.admin.Feeds(ctx, token)
	if err != nil {
		return 0, err
	}
	snap := g.manager.Snapshot() // of all edge groups
	for _, f := range stored {
		path, query, readable := f.Resource()
		if !readable || !past.Has(path) {
			continue // a name too long for a subject is a hash: retention ends it
		}
		if _, err := snap.Feed(catalog.FeedRef{API: name, Version: version, Path: path, Query: query}); err == nil {
			continue // another topic has it now
		}
		if err := g.admin.PurgeFeed(ctx, f); err != nil {
			return feeds, err
		}
		feeds++
	}
	return feeds, nil
}
