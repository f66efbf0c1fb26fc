package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/obs"
)

// TestAccessIsFollowed starts a process of all roles, with the shared catalog and with a folder's: it has the first plans, writes, shows
// what it wrote, and hears from itself that it is up to date. A second life goes on with what there was.
func TestAccessIsFollowed(t *testing.T) {
	for _, folder := range []bool{false, true} {
		name := map[bool]string{false: "shared catalog", true: "folder"}[folder]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.Data = t.TempDir()
			cfg.Edge.HTTP.Addr, cfg.Edge.HTTPS.Addr, cfg.Control.Addr, cfg.Ops.Addr = "127.0.0.1:0", "", "", "127.0.0.1:0"
			cfg.Edge.Drain.Delay, cfg.Fanout.Drain.Over = 0, 0
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := func() *process {
				t.Helper()
				var store reloader
				if folder {
					store = folderOf(t, cfg)
				}
				p, err := build(ctx, env{stdout: io.Discard, stderr: io.Discard, lookup: func(string) (string, bool) { return "", false }}, cfg, newGuard(cfg), store)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			end := func(p *process) {
				if err := p.shutdown(); err != nil {
					t.Error(err)
				}
			}
			p := begin()
			app, err := p.access.CreateApplication(ctx, access.Write{By: "ann"}, access.Application{Name: "shop", Owner: "ann", Plan: firstPlan(ctx, t, p)})
			if err != nil {
				end(p)
				t.Fatal(err)
			}
			if grade, why := p.accessHealth(); grade != obs.OK {
				t.Errorf("health %v: %s", grade, why)
			}
			metricsSay(ctx, t, p, `sluice_access_records{kind="plan"} 4`, `sluice_access_records{kind="application"} 1`, "sluice_access_age_seconds ",
				"sluice_access_stale 0", "sluice_access_resyncs_total 0")
			end(p)
			p = begin()
			defer end(p)
			if got := p.access.Snapshot().Application(app.ID); got == nil || got.Rev != app.Rev {
				t.Errorf("after a restart: %+v, want %+v", got, app)
			}
		})
	}
}

// firstPlan waits for the first plans and names one.
func firstPlan(ctx context.Context, t *testing.T, p *process) string {
	t.Helper()
	for snap := range p.access.Watch(ctx) {
		if snap.Plan("AsyncGold") != nil {
			return "AsyncGold"
		}
	}
	t.Fatal("no first plans")
	return ""
}

// metricsSay polls /metrics until it has lines that begin so.
func metricsSay(ctx context.Context, t *testing.T, p *process, lines ...string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + p.opsAt.String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		missing := ""
		for _, l := range lines {
			if !strings.Contains(string(text), "\n"+l) {
				missing = l
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("/metrics never says %q", missing)
		}
	}
}

// folderOf is a catalog of an empty folder.
func folderOf(t *testing.T, cfg config.Config) reloader {
	t.Helper()
	store, err := catalog.OpenDir(t.TempDir(), catalogOptions(cfg, newGuard(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	return store
}
