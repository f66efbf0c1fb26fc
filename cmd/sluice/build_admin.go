package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/config"
	"sluice/config/admin"
	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/auth"
	"sluice/internal/broker"
	"sluice/internal/certs"
	"sluice/internal/obs"
	"sluice/internal/presence"
	"sluice/internal/version"
)

// firstPasswordFile, in the data folder, keeps a password that was made up until it is changed.
const firstPasswordFile = "first-admin-password"

// buildAdmin opens the control listener: the management API over the catalog that the broker keeps, or read-only over definitions of
// this process's own.
func (p *process) buildAdmin(ctx context.Context, e env) error {
	if !p.cfg.Has(config.RoleControl) || p.cfg.Control.Addr == "" {
		return nil
	}
	shown := p.manager
	if shown == nil {
		shown = catalog.NewReadOnly(p.store, catalogOptions(p.cfg, p.guard), p.notHere())
		p.start("catalog", shown.Run)
	}
	password, err := firstPassword(p.cfg.Control.AdminPasswordFile)
	if err != nil {
		return withCode(exitInvalid, err)
	}
	if err := os.MkdirAll(p.cfg.Data, 0o700); err != nil {
		return withCode(exitOS, fmt.Errorf("data folder: %w", err))
	}
	accounts, err := auth.New(auth.Config{
		Open:          func(ctx context.Context) (broker.Bucket, error) { return p.broker.Admin().Bucket(ctx, auth.Bucket, 1) },
		FirstPassword: password, FirstFile: filepath.Join(p.cfg.Data, firstPasswordFile), Reset: e.resetAdmin,
		Announce: func(name, password string) { announceFirst(e.stderr, name, password) }, Logger: p.log,
	})
	if err != nil {
		return withCode(exitInvalid, err)
	}
	roster := presence.NewRoster(p.broker.Bus(), p.log)
	pages, err := p.buildPortal(accounts, shown, roster.Edges)
	if err != nil {
		return withCode(exitFailed, err)
	}
	if err := p.viewQuota(); err != nil {
		return err
	}
	d := admin.Deps{Accounts: accounts, Catalog: shown, Nodes: nodes{roster, p}, Access: p.access, Tickets: p.tickets(),
		Options: catalogOptions(p.cfg, p.guard), Guard: p.guard, NoImport: !p.cfg.Control.ImportURL,
		Build: version.Read(), Portal: pages, Logger: p.log, HSTS: p.cfg.Control.HTTPS.HSTS}
	if h := p.cfg.Control.HTTPS; h.Enabled() {
		d.Certs, err = certs.Load(certs.Options{Listener: "control", Cert: h.Cert, Key: h.Key, Logger: p.log, Registerer: p.reg})
		if err != nil {
			return withCode(exitInvalid, err)
		}
	}
	server, err := admin.New(d)
	if err != nil {
		return withCode(exitFailed, err)
	}
	if err := server.Listen(ctx, p.cfg.Control.Addr); err != nil {
		return bindError(err, p.log)
	}
	p.control, p.manage = server.Addr(), server
	p.guardListeners()
	p.start("users", accounts.Run)
	p.start("edges", roster.Run)
	p.start("control listener", server.Run)
	select { // whoever waits for the node to be ready can sign in then
	case <-accounts.Ready():
	case <-time.After(firstLoad):
	case <-ctx.Done():
	}
	p.health.Ready("users", func() (obs.Grade, string) {
		select {
		case <-accounts.Ready():
			return obs.OK, ""
		default:
			return obs.Degraded, "not loaded yet: nobody can sign in"
		}
	})
	return nil
}

// notHere tells where definitions that come from files are changed.
func (p *process) notHere() string {
	if p.cfg.Catalog.APIs == "" {
		return "The definitions are the demo's and cannot be changed; 'sluice serve' without --apis has a catalog that can."
	}
	return "The definitions come from folder " + p.cfg.Catalog.APIs + " of the server: change the files there and send SIGHUP. " +
		"Without catalog.apis (--apis) the server keeps a catalog that can be changed here."
}

// tickets sells tickets for streams out of the management API.
func (p *process) tickets() *token.Tickets {
	return token.NewTickets(p.broker.Bucket(access.TicketBucket), nil)
}

// firstPassword reads the first line of a file; "" without a file.
func firstPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("control.adminPasswordFile: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", errors.New("control.adminPasswordFile: the first line is empty")
	}
	return line, nil
}

// announceFirst tells a person, once, how to sign in for the first time. Not by the log: it is kept and sent elsewhere.
func announceFirst(w io.Writer, name, password string) {
	fmt.Fprintf(w, "\nFirst start: sign in to the management API as %q with the password\n\n    %s\n\n"+
		"It is shown once, and kept in %s of the data folder until you change it.\n\n", name, password, firstPasswordFile)
}
