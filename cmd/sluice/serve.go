package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/outbound"
)

// closeTimeout bounds what is left to do once all streams have ended.
const closeTimeout = 15 * time.Second

func newServe(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: "serve runs the roles of this process: edge, ingest and control in one by default, with NATS JetStream embedded.\n" +
			"SIGTERM drains and ends with 0, a second one ends at once; SIGHUP reads definitions, certificates and the broker's login files again.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, warnings, err := loadSettings(c, e, "")
			if err != nil {
				return err
			}
			guard := newGuard(cfg)
			store, err := openCatalog(cfg, guard)
			if err != nil {
				return withCode(exitInvalid, err)
			}
			return serve(c.Context(), e, cfg, warnings, guard, store, nil)
		},
	}
	addSettings(c)
	c.Flags().BoolVar(&e.resetAdmin, "reset-admin", false, "make a new password for the user admin of the management API")
	return c
}

// reloader is a catalog that can be read again.
type reloader interface {
	catalog.Store
	// ReloadAfter calls prepare with what it read before anybody sees it.
	ReloadAfter(ctx context.Context, prepare func(*catalog.Snapshot)) (catalog.Diff, error)
}

// fixedCatalog is a catalog that stays as it is: reading it again changes nothing.
type fixedCatalog struct{ *catalog.StaticStore }

func (fixedCatalog) ReloadAfter(context.Context, func(*catalog.Snapshot)) (catalog.Diff, error) {
	return catalog.Diff{}, nil
}

// openCatalog loads the API definitions of the folder that is set; without one it returns nil, which stands for the catalog that the
// broker keeps.
func openCatalog(cfg config.Config, guard *outbound.Guard) (reloader, error) {
	if cfg.Catalog.APIs == "" {
		return nil, nil
	}
	return catalog.OpenDir(cfg.Catalog.APIs, catalogOptions(cfg, guard))
}

// openFixed makes a catalog of definitions given as bytes.
func openFixed(opt catalog.Options, sources ...catalog.Source) (reloader, error) {
	store, err := catalog.NewStatic(opt, sources...)
	return fixedCatalog{store}, err
}

// serve builds the process, runs it until a signal or a failure and takes it down in order. ready, if not nil, is called
// once everything listens.
func serve(ctx context.Context, e env, cfg config.Config, warnings []config.Warning, guard *outbound.Guard, store reloader,
	ready func(*process)) error {
	p, err := build(ctx, e, cfg, guard, store)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		p.log.Warn("setting deserves a look", "where", w.Where, "why", w.Message)
	}
	p.warnOfDefinitions()
	if cfg.Has(config.RoleEdge) && len(p.shown.Snapshot().APIs()) == 0 {
		p.log.Warn("no APIs: every request will answer 404",
			"hint", "create one through the management API, or write a definition file and start with --apis DIR")
	}
	if ready != nil {
		ready(p)
	}
	p.log.Info("ready", "roles", cfg.Roles, "apis", len(p.store.Snapshot().APIs()))
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	return p.wait(ctx, e)
}

// wait runs until a signal, ctx or a failure ends the process, then shuts it down. A second signal during the shutdown
// ends it at once.
func (p *process) wait(ctx context.Context, e env) error {
	failure := p.untilStop(ctx, e.signals)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	done := make(chan error, 1)
	go func() { done <- p.shutdown() }()
	for {
		select {
		case err := <-done:
			p.log.Info("stopped")
			return withCode(exitFailed, errors.Join(failure, err))
		case s := <-e.signals:
			if s != syscall.SIGHUP {
				return withCode(exitFailed, fmt.Errorf("second %v: ended without finishing the drain", s))
			}
		}
	}
}

// untilStop serves signals until one of them, ctx or a component's failure ends the process.
func (p *process) untilStop(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.group.failed:
			p.log.Error("component failed", "error", err)
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				p.log.Info("draining", "signal", s.String())
				return nil
			}
			p.reload(ctx)
		}
	}
}

// reload reads definitions and certificates again; what is wrong is logged and the last good state stays.
func (p *process) reload(ctx context.Context) {
	notifyReloading()
	_, err := p.store.ReloadAfter(ctx, func(next *catalog.Snapshot) { p.prepareStreams(ctx, next) })
	p.catalog.reloaded(err)
	if err != nil {
		p.log.Error("definitions not reloaded: the last good ones stay", "error", err)
	} else {
		p.log.Info("definitions reloaded", "apis", len(p.store.Snapshot().APIs()))
		p.warnOfDefinitions()
	}
	if p.edge != nil {
		p.edge.Reload()
	}
	if p.manage != nil {
		p.manage.Reload()
	}
	if err := p.broker.Reload(); err != nil {
		p.log.Error("login files of the broker not reloaded: its connections stay as they are", "error", err)
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
}

// warnOfDefinitions logs what the definitions may say but had better not.
func (p *process) warnOfDefinitions() {
	for _, w := range p.store.Snapshot().Warnings() {
		p.log.Warn("definition deserves a look", "why", w.Error())
	}
}

// notifyReloading tells systemd that a reload began, with the clock reading it asks for.
func notifyReloading() {
	if usec := monotonicMicros(); usec > 0 {
		_, _ = daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, usec))
	}
}

// shutdown takes the process down in order: refuse new clients and drain the edge over its window, hand the feeds over,
// stop the lanes, close the broker, export the last spans, then close the ops listener, so that health can be asked to the
// end. The data folder is let go last.
func (p *process) shutdown() error {
	var errs []error
	if p.edge != nil {
		ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Edge.Drain.Delay+p.cfg.Fanout.Drain.Over+closeTimeout)
		errs = append(errs, p.edge.Drain(ctx))
		cancel()
	}
	p.handOver()
	for i := len(p.stops) - 1; i >= 0; i-- {
		p.stops[i]()
	}
	if p.broker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		errs = append(errs, p.broker.Close(ctx))
		cancel()
	}
	p.stopTraces() // all spans have ended by now
	p.stopOps()
	if p.lock != nil {
		p.lock.release()
	}
	return errors.Join(errs...)
}

// bindError maps a listener that cannot be opened to its exit code.
func bindError(err error, log *slog.Logger) error {
	if err != nil {
		log.Error("cannot listen", "error", err)
	}
	return withCode(exitOS, err)
}
