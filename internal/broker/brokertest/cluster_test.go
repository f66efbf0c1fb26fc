package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
)

// Three servers keep the promises in profile cluster, one after the other: they share
// the servers.
func TestClusterConformance(t *testing.T) {
	s := Cluster(t, 3, ClusterOptions{})
	var turn sync.Mutex
	conformance(t, func(t *testing.T) Broker {
		s.Clear()
		return s.As(t).Join(broker.ProfileCluster)
	}, func(t *testing.T, f func(*testing.T)) {
		turn.Lock()
		defer turn.Unlock()
		f(t)
	}, restoreCase)
}

// Many feeds of one API that burst at once are all stored, whatever the servers' bound
// on open batches: A42.
func TestClusterBurst(t *testing.T) {
	const feeds, commits, events = 60, 5, 20
	s := Cluster(t, 3, ClusterOptions{})
	n := s.Join(broker.ProfileCluster)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	api := broker.APIToken("burst", "1")
	if err := n.Admin().EnsureStream(ctx, broker.StreamSpec{API: api, Name: "burst 1", MaxBytes: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for i := range feeds {
		f := broker.NewFeedID("burst", "1", fmt.Sprintf("/f%d", i), "")
		writers.Go(func() {
			var prev uint64
			for tx := range commits {
				c := &broker.Commit{Epoch: 1, Tx: uint64(tx), Prev: prev}
				for j := range events {
					c.Events = append(c.Events, broker.Event{Body: fmt.Appendf(nil, "data: %d\n", tx*events+j)})
				}
				p, err := n.Writer().Commit(ctx, f, c)
				for errors.Is(err, broker.ErrUnknownOutcome) { // a slow machine; the same commit says what became of it
					p, err = n.Writer().Commit(ctx, f, c)
				}
				if err != nil {
					t.Errorf("feed %d, commit %d: %v", i, tx, err)
					return
				}
				prev = p.Seq
			}
		})
	}
	writers.Wait()
	for i := range feeds { // one by one: it is the writing that bursts
		f := broker.NewFeedID("burst", "1", fmt.Sprintf("/f%d", i), "")
		var tail []broker.Message
		s.retry("what was stored cannot be read", func(ctx context.Context) (err error) {
			tail, err = n.Writer().Tail(ctx, f, commits*events)
			return err
		})
		if len(tail) != commits*events {
			t.Fatalf("feed %d: %d events kept", i, len(tail))
		}
		for j, m := range tail {
			if want := fmt.Sprintf("data: %d\n", j); string(m.Body) != want {
				t.Fatalf("feed %d, event %d is %q", i, j, m.Body)
			}
		}
	}
}

// A stream becomes replicated and loses its replicas as its profile says, with all that
// it keeps; between memory and disk it is left alone, and the error says what to do.
func TestProfileChanges(t *testing.T) {
	s := Cluster(t, 3, ClusterOptions{})
	n := s.Join(broker.ProfileProcess)
	f := broker.NewFeedID("p", "1", "/x", "")
	spec := broker.StreamSpec{API: f.API, Name: "p 1", MaxBytes: 64 << 20}
	var prev uint64
	for tx, profile := range []string{broker.ProfileProcess, broker.ProfileCluster, broker.ProfilePower} {
		spec.Durable = profile
		if err := n.Node.Admin().EnsureStream(t.Context(), spec); err != nil {
			t.Fatalf("%s: %v", profile, err)
		}
		want := map[string]int{broker.ProfileCluster: 3}[profile]
		s.retry("the stream has no "+profile+" replicas", func(ctx context.Context) error {
			info, err := s.info(ctx, f.API)
			if got := len(info.Cluster.Replicas) + 1; err == nil && got != max(want, 1) {
				err = fmt.Errorf("%d replicas", got)
			}
			return err
		})
		s.retry("nothing can be stored", func(ctx context.Context) error {
			p, err := n.Writer().Commit(ctx, f, &broker.Commit{Epoch: 1, Tx: uint64(tx), Prev: prev,
				Events: []broker.Event{{Body: []byte("data: a\n")}, {Body: []byte("data: b\n")}}})
			if err == nil {
				prev = p.Seq
			}
			return err
		})
	}
	if tail, err := n.Writer().Tail(t.Context(), f, 10); err != nil || len(tail) != 6 {
		t.Errorf("%d events kept over the changes, want 6: %v", len(tail), err)
	}
	spec.Durable = broker.ProfileMemory
	err := n.Node.Admin().EnsureStream(t.Context(), spec)
	if !errors.Is(err, broker.ErrUnfit) || !strings.Contains(err.Error(), "set durability power again, or delete stream EV_"+f.API) {
		t.Errorf("from disk to memory: %v", err)
	}
}

// One server alone refuses profile cluster for ever, and keeps the others. Its buckets
// have one replica.
func TestSingleServerIsUnfitForCluster(t *testing.T) {
	s := Cluster(t, 1, ClusterOptions{})
	n := s.Join(broker.ProfilePower)
	for _, profile := range []string{broker.ProfileMemory, broker.ProfileProcess, broker.ProfilePower} {
		err := n.Node.Admin().EnsureStream(t.Context(), broker.StreamSpec{API: broker.APIToken(profile, "1"), Durable: profile, MaxBytes: 64 << 20})
		if err != nil {
			t.Errorf("%s: %v", profile, err)
		}
	}
	err := n.Node.Admin().EnsureStream(t.Context(), broker.StreamSpec{API: "c_v1", Durable: broker.ProfileCluster})
	if !errors.Is(err, broker.ErrUnfit) || !strings.Contains(err.Error(), "this is one alone") {
		t.Errorf("cluster: %v", err)
	}
	if _, err := n.Admin().Bucket(t.Context(), "own", 1); err != nil {
		t.Errorf("bucket: %v", err)
	}
}
