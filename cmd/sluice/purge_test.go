package main

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// Events of a deleted topic and of a retired API are stored until the grace is over, whoever looks; what another topic has now, and
// what came back, stays.
func TestWhatIsGoneIsPurgedAfterTheGrace(t *testing.T) {
	node := brokertest.NewMemory(t)
	manager := catalog.NewManager(catalog.ManagerOptions{
		Open: func(ctx context.Context) (broker.Bucket, error) {
			return node.Admin().Bucket(ctx, catalog.Bucket, catalog.BucketHistory)
		},
		Prepare: func(ctx context.Context, api *catalog.API) error {
			return node.Admin().EnsureStream(ctx, streamSpec(api))
		},
		Options: catalog.OptionsFrom(config.Default()),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manager.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for range manager.Watch(ctx) {
		if manager.Status().Loaded {
			break
		}
	}
	w := catalog.Write{By: catalog.Actor{Name: "ann"}}
	check := func(_ catalog.Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	define := func(topics string) catalog.Source {
		return catalog.Source{Name: "a.yaml", Data: []byte("apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\n" +
			"spec: {context: /a, version: '1', endpoint: 'http://127.0.0.1:1', state: PUBLISHED, topics: [" + topics + "]}\n")}
	}
	const stays = "{name: /stays, security: none}"
	check(manager.Create(ctx, w, define(stays+", {name: /goes, security: none}, {name: '/q/{s}', security: none}, {name: '/deep/x', security: none}, {name: /back, security: none}")))
	var tx uint64
	for _, path := range []string{"/stays", "/goes", "/q/a", "/q/b%20c", "/deep/x", "/back"} {
		tx++
		if _, err := node.Writer().Commit(ctx, broker.NewFeedID("a", "1", path, ""), &broker.Commit{Epoch: 1, Tx: tx, Events: []broker.Event{{Body: []byte("data: x\n")}}}); err != nil {
			t.Fatal(err)
		}
	}
	check(manager.Update(ctx, w, "a@1", define(stays+", {name: '/deep/*', security: none}")))
	check(manager.Update(ctx, w, "a@1", define(stays+", {name: '/deep/*', security: none}, {name: /back, security: none}")))
	look := func(after time.Duration, want ...string) {
		t.Helper()
		// Each time another control node, which was not there before.
		g := &purger{manager: manager, admin: node.Admin(), grace: 24 * time.Hour, now: func() time.Time { return time.Now().Add(after) },
			log: slog.New(slog.DiscardHandler), done: map[string]time.Time{}}
		for range 2 {
			g.round(ctx)
		}
		left, err := node.Admin().Feeds(ctx, broker.APIToken("a", "1"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range left {
			path, _, _ := f.Resource()
			got = append(got, path)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("after %v there are %v, want %v", after, got, want)
		}
	}
	look(23*time.Hour, "/back", "/deep/x", "/goes", "/q/a", "/q/b%20c", "/stays")
	look(25*time.Hour, "/back", "/deep/x", "/stays")
	for _, step := range []catalog.Transition{catalog.Deprecate, catalog.Retire} {
		check(manager.Lifecycle(ctx, w, "a@1", step, catalog.LifecycleOptions{}))
	}
	look(23*time.Hour, "/back", "/deep/x", "/stays")
	look(25 * time.Hour)
}
