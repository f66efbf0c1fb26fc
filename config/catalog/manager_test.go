package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// nodes is what a managed catalog needs of a broker's node.
type node interface{ Admin() broker.Admin }

// startManager runs a manager on a node until the test ends, and waits until it has read the bucket.
func startManager(t *testing.T, n node, change ...func(*ManagerOptions)) *Manager {
	t.Helper()
	m, _ := startEnding(t, n, change...)
	return m
}

// startEnding is startManager; the second result ends it.
func startEnding(t *testing.T, n node, change ...func(*ManagerOptions)) (*Manager, func()) {
	t.Helper()
	opt := ManagerOptions{
		Open:    func(ctx context.Context) (broker.Bucket, error) { return n.Admin().Bucket(ctx, Bucket, BucketHistory) },
		Options: Options{MaxEvent: 1 << 20, Linger: time.Second, Idle: time.Minute, ConnectTimeout: time.Second},
		Logger:  slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&opt)
	}
	m := NewManager(opt)
	m.Group("default")
	m.Group("eu")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once sync.Once
	end := func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(end)
	return m, end
}

// loaded waits until the manager has read the bucket.
func (m *Manager) loadedOrFail(t *testing.T) *Manager {
	t.Helper()
	await(t, func() bool { return m.Status().Loaded })
	return m
}

// await polls until ok, for what no channel tells.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("not within 20 s")
		}
	}
}

var ann = Write{By: Actor{Name: "ann"}}

// yamlAPI is a definition; more is added below spec.
func yamlAPI(name, version, context, more string) Source {
	return Source{Name: "body.yaml", Data: fmt.Appendf(nil, `apiVersion: sluice/v1
kind: API
metadata: {name: %s}
spec:
  context: %s
  version: %s
  endpoint: http://127.0.0.1:8090
%s`, name, context, version, more)}
}

const openTicks = "  topics: [{name: /ticks, security: none}]\n"

func must(t *testing.T) func(Result, error) Result {
	return func(r Result, err error) Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func wantKind(t *testing.T, err error, kind problem.Kind) {
	t.Helper()
	if err == nil || problem.KindOf(err) != kind {
		t.Fatalf("error %v, want %s", err, kind)
	}
}

func TestManagerFromCreateToServed(t *testing.T) {
	t.Parallel()
	m := startManager(t, brokertest.Start(t)).loadedOrFail(t)
	edge := m.Group("default")
	r := must(t)(m.Create(t.Context(), ann, yamlAPI("market", "1.0.0", "/market", openTicks)))
	if r.Record.Rev == 0 || r.Record.API.Spec.State != StateCreated || r.Record.API.Metadata.Owner != "ann" || r.Record.UID == "" || !r.Changed {
		t.Fatalf("record %+v", r.Record)
	}
	if _, err := edge.Snapshot().Match("/market/1.0.0/ticks", ""); !errors.Is(err, problem.NoSuchAPI) {
		t.Errorf("CREATED matches: %v", err)
	}
	r = must(t)(m.Lifecycle(t.Context(), ann, "market@1.0.0", Publish, LifecycleOptions{}))
	if r.Revision != 1 || r.Record.Deployments["default"] != 1 {
		t.Errorf("published: %+v", r)
	}
	route, err := edge.Snapshot().Match("/market/1.0.0/ticks", "")
	if err != nil || route.Upstream != "http://127.0.0.1:8090/ticks" {
		t.Fatalf("route %+v, %v", route, err)
	}
	if _, err := m.Group("eu").Snapshot().Match("/market/1.0.0/ticks", ""); !errors.Is(err, problem.NoSuchAPI) {
		t.Errorf("group eu serves what is not deployed there: %v", err)
	}
	got, err := m.Get("market@1.0.0")
	if err != nil || got.Rev != r.Record.Rev || !strings.Contains(string(got.Definition), `"state":"PUBLISHED"`) {
		t.Errorf("get %+v, %v", got, err)
	}
	// The definition that GET answers is one that PUT takes, and changes nothing.
	again := must(t)(m.Update(t.Context(), Write{By: ann.By, Expect: got.Rev}, "market@1.0.0", Source{Name: "x.json", Data: got.Definition}))
	if again.Changed || len(again.Diff) > 0 {
		t.Errorf("unchanged PUT: %+v", again)
	}
}
