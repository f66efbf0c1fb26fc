package main

import (
	"context"
	"errors"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
)

// buildControl makes the streams of all APIs and what the nodes share, then keeps them as the catalog says. Only the control
// role creates streams. What the broker can never give ends the start; what it does not give yet is tried again.
func (p *process) buildControl(ctx context.Context) error {
	p.health.Ready("catalog", p.catalogHealth)
	if !p.cfg.Has(config.RoleControl) {
		return nil
	}
	k := &streamKeeper{p: p}
	p.health.Ready("streams", k.health)
	if p.broker.Link().Up {
		err := k.round(ctx, streamSpecs(p.store.Snapshot()))
		switch {
		case errors.Is(err, broker.ErrUnfit):
			return withCode(exitInvalid, err)
		case err != nil && p.broker.Embedded():
			return withCode(exitFailed, err)
		}
	}
	p.start("streams", k.run)
	if p.manager != nil {
		p.start("purge", p.newPurger().run)
	}
	return nil
}

// prepareTimeout bounds how long new definitions wait for their streams: a broker that is away must not keep back what needs
// nothing of it.
const prepareTimeout = 5 * time.Second

// prepareStreams makes the streams of definitions that are about to be seen, so that no feed is opened before there is a
// place for its events. What fails is left to the streamKeeper, which says so.
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

// streamSpecs is what the APIs of a snapshot ask of the broker.
func streamSpecs(snap *catalog.Snapshot) []broker.StreamSpec {
	var specs []broker.StreamSpec
	for _, api := range snap.APIs() {
		if !api.Spec.State.Runs() {
			continue
		}
		specs = append(specs, streamSpec(api))
	}
	return specs
}

// streamSpec is what one API asks of the broker.
func streamSpec(api *catalog.API) broker.StreamSpec {
	r := api.Retention()
	return broker.StreamSpec{
		API: broker.APIToken(api.Name(), api.Version()), Name: api.ID(),
		MaxAge: time.Duration(r.MaxAge), MaxEvents: int64(r.MaxEvents), MaxBytes: int64(r.MaxBytes),
		Durable: string(api.Spec.Durability),
	}
}
