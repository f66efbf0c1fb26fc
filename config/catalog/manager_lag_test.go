package catalog

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// A watch that went silent without an error is found by control's beacon, long before everything is compared.
func TestSilentWatchIsHealedByTheBeacon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := brokertest.NewMemory(t)
		defer n.Close()
		control, end := startEnding(t, n)
		defer end()
		synctest.Wait()
		bucket, err := n.Admin().Bucket(t.Context(), Bucket, BucketHistory)
		if err != nil {
			t.Fatal(err)
		}
		lag := broker.NewLag(time.Now)
		var watches atomic.Int32
		edge, endEdge := startEnding(t, n.Peer(), func(o *ManagerOptions) {
			open := o.Open
			o.Lag = lag
			o.Open = func(ctx context.Context) (broker.Bucket, error) {
				b, err := open(ctx)
				return silentFirst{b, &watches}, err
			}
		})
		defer endEdge()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- broker.TellRevisions(ctx, n.Bus(), "n", map[string]broker.Bucket{Bucket: bucket}) }()
		go func() { done <- broker.HearRevisions(ctx, n.Bus(), map[string]*broker.Lag{Bucket: lag}) }()
		defer func() { cancel(); <-done; <-done }()
		time.Sleep(10 * time.Second)
		must(t)(control.Create(t.Context(), ann, yamlAPI("a", "1", "/a", published)))
		time.Sleep(time.Second)
		if serves(edge.Group("default"), "/a/1/ticks") || watches.Load() != 1 {
			t.Fatal("the watch is not silent")
		}
		time.Sleep(2*time.Second + 100*time.Millisecond)
		if !serves(edge.Group("default"), "/a/1/ticks") || watches.Load() != 2 {
			t.Errorf("not healed within 3 s, after %d watches", watches.Load())
		}
	})
}

// silentFirst is a bucket whose first watch never tells of a change.
type silentFirst struct {
	broker.Bucket
	watches *atomic.Int32
}

func (b silentFirst) Watch(ctx context.Context, pattern string) (<-chan broker.Entry, error) {
	in, err := b.Bucket.Watch(ctx, pattern)
	if err != nil || b.watches.Add(1) > 1 {
		return in, err
	}
	out := make(chan broker.Entry)
	go func() {
		defer close(out)
		for e := range in {
			out <- e
			if e.Key == "" {
				break
			}
		}
		for range in { // until ctx ends
		}
	}()
	return out, nil
}
