package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"sluice/config"
	"sluice/edge"
	"sluice/fanout"
	"sluice/fanout/shard"
	"sluice/internal/obs"
)

// buildEdge makes and starts the part that serves clients: hub, engines and listeners.
func (p *process) buildEdge(ctx context.Context) error {
	f := p.cfg.Fanout
	hub, err := fanout.NewHub(fanout.HubConfig{
		Node: nodeName(p.cfg), Boot: p.boot,
		Log:        fanout.LogConfig{WindowBytes: int(f.Window.Bytes), WindowAge: f.Window.Age},
		BlockBytes: int64(f.Blocks.Bytes), Fetches: f.Blocks.Fetches,
		Linger: lingerOf(f.Linger), Memory: int64(float64(f.Memory) * float64(memoryLimit())),
	}, fanout.HubDeps{
		NewLive: p.broker.NewLive, Direct: p.broker.Direct(), Bus: p.broker.Bus(), Logger: p.log, Registerer: p.reg,
		Tracer: p.traces.Tracer(),
	})
	if err != nil {
		return withCode(exitFailed, fmt.Errorf("hub: %w", err))
	}
	slow := slowDefaults(f.Slow)
	portable := fanout.NewPortable(fanout.PortableConfig{
		Heartbeat: f.Heartbeat, Slow: slow, EndBytes: edge.EndBytes, Coalesce: f.Coalesce.HTTP1, Registerer: p.reg,
	})
	var server *edge.Server
	adopter, err := p.newShards(slow, func(meta uint32, e fanout.End) { server.Ended(meta, e) })
	if err != nil {
		return err
	}
	deps := edge.Deps{Link: p.broker.Link, Catalog: p.shown, Hub: hub, Portable: portable, Logger: p.log, Registerer: p.reg,
		Tracer: p.traces.Tracer()}
	if adopter != nil {
		deps.Adopter = adopter
	}
	deps.Access, deps.Verifier, deps.Bus = p.access, p.verifier, p.broker.Bus()
	server, err = edge.New(edge.Config{Edge: p.cfg.Edge, Fanout: f, Data: p.cfg.Data, QueryToken: p.cfg.Auth.InsecureQueryToken,
		MaxStale: p.cfg.Auth.MaxStale, Issuers: p.issuerNames()}, deps)
	if err != nil {
		return withCode(exitInvalid, err)
	}
	if err := server.Listen(ctx); err != nil {
		return bindError(err, p.log)
	}
	p.edge, p.hub = server, hub
	p.guardListeners()
	p.start("hub", hub.Run)
	select { // nobody may be answered before feeds can be opened
	case <-hub.Started():
	case err := <-p.group.failed:
		return withCode(exitFailed, err)
	case <-ctx.Done():
		return withCode(exitFailed, ctx.Err())
	}
	if adopter != nil {
		p.start("shards", adopter.Run)
	}
	p.start("edge", server.Run)
	p.start("memory", p.giveBack)
	p.start("read lag", fanout.NewReadLag(p.reg).Run)
	p.health.Ready("drain", func() (obs.Grade, string) {
		if server.Draining() {
			return obs.Failed, "draining"
		}
		return obs.OK, ""
	})
	p.health.Ready("memory", func() (obs.Grade, string) {
		if server.Full() {
			return obs.Degraded, "new streams are refused"
		}
		return obs.OK, ""
	})
	return nil
}

// newShards makes the Linux engine, or nil where the settings or the system want the portable one alone.
func (p *process) newShards(slow fanout.Slow, ended func(uint32, fanout.End)) (*shard.Engine, error) {
	f := p.cfg.Fanout
	if f.Engine == "portable" {
		return nil, nil
	}
	e, err := shard.New(shard.Config{
		Shards: shardCount(p.cfg), Slow: slow, Heartbeat: f.Heartbeat, EndBytes: edge.EndBytes, Coalesce: f.Coalesce.HTTP1,
		Ended: ended, Logger: p.log, Registerer: p.reg,
	})
	if errors.Is(err, shard.ErrUnsupported) {
		p.log.Info("shard engine not available here: all clients are served by the portable engine")
		return nil, nil
	}
	return e, withCode(exitFailed, err)
}

// lingerOf is the setting as the hub takes it: there 0 is the default and a negative time closes at once.
func lingerOf(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// slowDefaults are the limits of readers whose API or topic sets none.
func slowDefaults(s config.FanoutSlow) fanout.Slow {
	return fanout.Slow{
		Policy: map[config.SlowPolicy]fanout.Policy{config.SlowBacklog: fanout.Backlog, config.SlowLatest: fanout.Latest}[s.Policy],
		Stall:  s.Stall, Lag: int(s.Lag), SoftLag: int(s.SoftLag), SoftTime: s.SoftTime, MaxAge: s.MaxAge,
	}
}

// memoryLimit is what Go's runtime may use, in bytes; without a limit 4 GiB are assumed.
func memoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit > 0 && limit < 1<<50 {
		return limit
	}
	return 4 << 30
}
