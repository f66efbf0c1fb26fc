package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// operations of TestCatalogLosesNoUpdate, over how many APIs, by how many writers.
const (
	operations  = 10_000
	edited      = 4
	editors     = 24
	leaderKills = 3
)

// edit is one compare-and-set on an API: put value where old was seen. Values are never used twice.
type edit struct {
	api        int
	old, value string
}

// outcome is what an edit answered.
type outcome int

const (
	made    outcome = iota
	refused         // version-mismatch
	unsure          // no answer in time: it may have been made
	nothing         // refused without being tried: the broker was away
)

// register is one API as a register with compare-and-set. Of edits without answer only those that were made are in the history, see
// decided.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, edited)
		for _, op := range history {
			i := op.Input.(edit).api
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		e := input.(edit)
		if output.(outcome) == refused {
			return state != e.old, state
		}
		return state == e.old, e.value
	},
}

// decided leaves out the edits that changed nothing. One without answer was made if and only if a later one was made on its value:
// every edit names what it replaces, and the last one of each API is known to have been made.
func decided(history []porcupine.Operation) []porcupine.Operation {
	type key struct {
		api   int
		value string
	}
	replaced := map[key]bool{}
	for more := true; more; { // an edit without answer may have been replaced by another one
		more = false
		for _, op := range history {
			e := op.Input.(edit)
			counts := op.Output == made || op.Output == unsure && replaced[key{e.api, e.value}]
			if counts && !replaced[key{e.api, e.old}] {
				replaced[key{e.api, e.old}], more = true, true
			}
		}
	}
	var out []porcupine.Operation
	for _, op := range history {
		e := op.Input.(edit)
		if op.Output == unsure && !replaced[key{e.api, e.value}] {
			continue
		}
		out = append(out, op)
	}
	return out
}

// manage follows the shared catalog of three servers as one of the users of the deployment.
func manage(t *testing.T, s *brokertest.Servers, k *keys, user string) *catalog.Manager {
	t.Helper()
	return manageWith(t, s, k, user, broker.ProfileCluster)
}

func manageWith(t *testing.T, s *brokertest.Servers, k *keys, user, durability string) *catalog.Manager {
	t.Helper()
	inbox := map[string]string{"control": "_INBOX_ctl", "ingest": "_INBOX_ing", "edge": "_INBOX_edge"}[user]
	n := s.Open(broker.Config{Inbox: inbox, Login: broker.Login{File: k.file[user]}, Durability: durability})
	m := catalog.NewManager(catalog.ManagerOptions{Logger: slog.New(slog.DiscardHandler), Open: func(ctx context.Context) (broker.Bucket, error) {
		if user == "control" {
			return n.Admin().Bucket(ctx, catalog.Bucket, catalog.BucketHistory)
		}
		return n.Bucket(catalog.Bucket), nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	until(t, "the catalog is read", func() bool { return m.Status().Loaded })
	return m
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(5 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within five minutes: %s", what)
		}
	}
}

func editedID(i int) string { return fmt.Sprintf("api%d@1", i) }

func editedAPI(i int, value string) catalog.Source {
	return catalog.Source{Name: "a.json", Data: fmt.Appendf(nil,
		`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"api%d","description":%q},"spec":{"context":"/api%d","version":"1"}}`, i, value, i)}
}

// TestCatalogLosesNoUpdate edits a few APIs through two control nodes while the leader of their bucket is killed, and has a checker
// say whether what was answered could have happened one by one: no update lost, none made on something old. The users have the
// permissions of the deployment; edge and ingest follow.
func TestCatalogLosesNoUpdate(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := startServers(t, 3, k, "cluster.conf")
	controls := []*catalog.Manager{manage(t, s, k, "control"), manage(t, s, k, "control")}
	followers := []*catalog.Manager{manage(t, s, k, "edge"), manage(t, s, k, "ingest")}
	for i := range edited {
		if _, err := controls[0].Create(t.Context(), catalog.Write{By: catalog.Actor{Name: "test"}}, editedAPI(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range controls {
		until(t, "all APIs are seen", func() bool { return len(m.List()) == edited })
	}
	var mu sync.Mutex
	var history []porcupine.Operation
	var left, called, away atomic.Int64
	left.Store(operations)
	began := time.Now()
	var wg sync.WaitGroup
	for w := range editors {
		m := controls[w%2]
		wg.Go(func() {
			known := map[int]*catalog.Record{}
			pause := time.NewTicker(10 * time.Millisecond)
			defer pause.Stop()
			for n := 0; left.Add(-1) >= 0; n++ {
				op := editOnce(t, m, known, w, n, began)
				for ; op.Output == nothing && !t.Failed(); op = editOnce(t, m, known, w, n, began) { // that is no operation: it does not count
					away.Add(1)
					<-pause.C
				}
				called.Add(1)
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	for i := range leaderKills {
		until(t, "a share of the operations is done", func() bool { return called.Load() > int64(operations*(i+1)/(leaderKills+1)) })
		leader := bucketLeader(t, s)
		s.Kill(leader)
		at := called.Load()
		until(t, "operations go on", func() bool { return called.Load() > at+editors*2 || left.Load() < 0 })
		s.Restart(leader)
		s.WaitReady()
	}
	wg.Wait()
	counts := map[outcome]int{}
	for _, op := range history {
		counts[op.Output.(outcome)]++
	}
	t.Logf("%d operations in %s: %d made, %d refused, %d without answer; %d more were not tried while the broker was away", len(history),
		time.Since(began).Round(time.Second), counts[made], counts[refused], counts[unsure], away.Load())
	if len(history) < operations {
		t.Errorf("%d operations, want %d", len(history), operations)
	}
	if counts[made] < operations/100 || counts[refused] < operations/20 {
		t.Errorf("outcomes %v say little", counts)
	}
	// What is there in the end is the last thing that happened: an edit on it must be possible.
	for i := range edited {
		op := porcupine.Operation{ClientId: editors, Call: time.Since(began).Nanoseconds()}
		e := edit{api: i, value: "end"}
		until(t, "the last edit is made", func() bool {
			rec, err := controls[i%2].Get(editedID(i))
			if err != nil {
				return false
			}
			e.old = rec.API.Metadata.Description
			_, err = controls[i%2].Update(t.Context(), catalog.Write{By: catalog.Actor{Name: "end"}, Expect: rec.Rev}, editedID(i), editedAPI(i, e.value))
			return err == nil
		})
		op.Input, op.Output, op.Return = e, made, time.Since(began).Nanoseconds()
		history = append(history, op)
	}
	if got := porcupine.CheckOperationsTimeout(register, decided(history), time.Minute); got != porcupine.Ok {
		t.Errorf("what was answered cannot have happened one by one: %s", got)
	}
	for _, m := range append(controls, followers...) {
		until(t, "all nodes know the end", func() bool {
			for i := range edited {
				if rec, err := m.Get(editedID(i)); err != nil || rec.API.Metadata.Description != "end" {
					return false
				}
			}
			return true
		})
	}
	wantNothingDenied(t, s)
}

// editOnce makes one edit of what the worker knows, which it looks up one time in four only.
func editOnce(t *testing.T, m *catalog.Manager, known map[int]*catalog.Record, worker, n int, began time.Time) porcupine.Operation {
	e := edit{api: rand.N(edited), value: fmt.Sprintf("%d-%d", worker, n)}
	rec, err := known[e.api], error(nil)
	if rec == nil || rand.N(4) == 0 {
		if rec, err = m.Get(editedID(e.api)); err != nil {
			t.Error(err)
		}
		known[e.api] = rec
	}
	e.old = rec.API.Metadata.Description
	op := porcupine.Operation{ClientId: worker, Input: e, Call: time.Since(began).Nanoseconds()}
	_, err = m.Update(context.Background(), catalog.Write{By: catalog.Actor{Name: "test"}, Expect: rec.Rev}, editedID(e.api), editedAPI(e.api, e.value))
	op.Return = time.Since(began).Nanoseconds()
	switch {
	case err == nil:
		op.Output = made
	case problem.KindOf(err) == catalog.VersionMismatch:
		op.Output = refused
	case errors.Is(err, catalog.ErrUnsure):
		op.Output, op.Return = unsure, int64(1)<<62
	case problem.KindOf(err) == catalog.StoreUnavailable:
		op.Output = nothing
	default:
		t.Errorf("edit: %v", err)
		op.Output = nothing
	}
	return op
}

// bucketLeader is the index of the server that leads the catalog's bucket.
func bucketLeader(t *testing.T, s *brokertest.Servers) int {
	t.Helper()
	leader := -1
	until(t, "the bucket has a leader", func() bool {
		answer, err := s.Ask(t.Context(), "$JS.API.STREAM.INFO.KV_"+catalog.Bucket, "")
		var info struct {
			Cluster struct {
				Leader string `json:"leader"`
			} `json:"cluster"`
		}
		if err != nil || json.Unmarshal(answer, &info) != nil {
			return false
		}
		_, err = fmt.Sscanf(info.Cluster.Leader, "nats-%d", &leader)
		return err == nil
	})
	return leader - 1
}
