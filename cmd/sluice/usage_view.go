package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/edge/quota"
	"sluice/internal/presence"
)

// viewer is what counts plans' limits, as far as this process knows of it.
type viewer struct {
	quota.Viewer
	shared bool
}

// usage tells how limits stand by what counts them here.
func (v *viewer) usage(ctx context.Context, limits []presence.Limit) presence.Usage {
	out := presence.Usage{Shared: v.shared}
	for _, l := range limits {
		kind := quota.Kind(l.Kind)
		if kind != quota.PerSubscription && kind != quota.PerApplication {
			return presence.Usage{Shared: v.shared, Why: "not a limit that is counted"}
		}
		u, err := v.Usage(ctx, kind.Scope(l.ID), quota.Limit{Events: l.Events, Every: l.Every, Unit: quota.Unit(l.Unit)})
		if err != nil { // its text names a server that is nobody's business
			return presence.Usage{Shared: v.shared, Why: "what counts plans does not answer"}
		}
		out.At = u.Now
		out.Used = append(out.Used, presence.Used{Start: u.Window.Start, End: u.Window.End, Given: u.Given, Spent: u.Spent, Streams: u.Seats})
	}
	return out
}

// viewQuota makes a control node that has no edge look into the Redis that edges count in, if the settings name it.
func (p *process) viewQuota() error {
	if p.viewer != nil || len(p.cfg.Quota.Redis.URLs) == 0 {
		return nil
	}
	src, err := p.quotaSource()
	if err != nil {
		return withCode(exitFailed, err)
	}
	p.viewer = &viewer{src, src.Shared()}
	p.start("quota view", func(ctx context.Context) error {
		<-ctx.Done()
		return src.Close()
	})
	return nil
}

// usageTime is how long edges have to tell how limits are used: less than who asks waits.
const usageTime = time.Second

// Usage implements admin.Nodes: what all share is looked at here; else every edge is asked for its part.
func (n nodes) Usage(ctx context.Context, limits []presence.Limit) (u presence.Usage, silent int) {
	ctx, cancel := context.WithTimeout(ctx, usageTime)
	defer cancel()
	var answers []presence.Usage
	if v := n.p.viewer; v != nil {
		own := v.usage(ctx, limits)
		if v.shared && own.Why == "" {
			return own, 0
		}
		answers = append(answers, own)
	}
	var mu sync.Mutex // guards answers and silent
	var asking errgroup.Group
	asking.SetLimit(asksAtOnce)
	for _, e := range n.Edges() {
		if e.Node == nodeName(n.p.cfg) && e.Boot == n.p.boot {
			continue // asked above
		}
		asking.Go(func() error {
			got, err := presence.AskUsage(ctx, n.p.broker.Bus(), e.Node, limits)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got.Why != "" {
				silent++
			}
			if err == nil {
				answers = append(answers, got)
			}
			return nil
		})
	}
	_ = asking.Wait() //nolint:errcheck // who did not answer is in silent
	u = presence.Sum(answers)
	if u.Shared && u.Why == "" {
		silent = 0 // one that knows all is enough
	}
	return u, silent
}
