package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/broker"
)

// memoryBucket keeps the last entry of each key. Fields are guarded by store.mu.
type memoryBucket struct {
	rev     uint64
	last    map[string]broker.Entry
	at      map[string]time.Time // when the last entry came
	maxAge  time.Duration        // 0 = none
	watches []*memoryWatch
}

func cloneBuckets(buckets map[string]*memoryBucket) map[string]*memoryBucket {
	out := map[string]*memoryBucket{}
	for name, b := range buckets {
		out[name] = &memoryBucket{rev: b.rev, last: maps.Clone(b.last), at: maps.Clone(b.at), maxAge: b.maxAge}
	}
	return out
}

// bucketHandle implements broker.Bucket. It names the bucket, because a restored store
// has others.
type bucketHandle struct {
	m    *Memory
	name string
}

// open returns the bucket; store.mu is held.
func (h bucketHandle) open() (*memoryBucket, error) {
	if !h.m.link.Up {
		return nil, fmt.Errorf("bucket %s: %w", h.name, broker.ErrUnavailable)
	}
	b := h.m.store.buckets[h.name]
	if b == nil {
		return nil, fmt.Errorf("bucket %s: %w", h.name, broker.ErrNoStream)
	}
	for key, at := range b.at {
		if b.maxAge > 0 && time.Since(at) > b.maxAge {
			delete(b.last, key)
			delete(b.at, key)
		}
	}
	return b, nil
}

func (h bucketHandle) Newest(context.Context) (uint64, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return 0, err
	}
	return b.rev, nil
}

func (h bucketHandle) Get(_ context.Context, key string) (broker.Entry, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return broker.Entry{}, err
	}
	e, ok := b.last[key]
	if !ok || e.Deleted {
		return broker.Entry{}, fmt.Errorf("bucket %s: get %q: %w", h.name, key, broker.ErrNotFound)
	}
	e.Value = bytes.Clone(e.Value)
	return e, nil
}

func (h bucketHandle) Put(_ context.Context, key string, value []byte, rev uint64) (uint64, error) {
	return h.write(broker.Entry{Key: key, Value: bytes.Clone(value)}, rev)
}

func (h bucketHandle) Delete(_ context.Context, key string, rev uint64) error {
	_, err := h.write(broker.Entry{Key: key, Deleted: true}, rev)
	return err
}

func (h bucketHandle) write(e broker.Entry, rev uint64) (uint64, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return 0, err
	}
	old := b.last[e.Key]
	if old.Revision != rev && (rev != 0 || !old.Deleted) {
		return 0, fmt.Errorf("bucket %s: %q is at revision %d: %w", h.name, e.Key, old.Revision, broker.ErrConflict)
	}
	return b.store(e), nil
}

func (h bucketHandle) Last(_ context.Context, key string) (broker.Entry, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return broker.Entry{}, err
	}
	e := b.last[key] // absent: revision 0
	e.Key, e.Value = key, bytes.Clone(e.Value)
	return e, nil
}

func (h bucketHandle) Batch(_ context.Context, writes []broker.BucketWrite) (uint64, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return 0, err
	}
	if len(writes) == 0 || len(writes) > broker.MaxBucketBatch {
		return 0, fmt.Errorf("bucket %s: batch of %d writes: %w", h.name, len(writes), broker.ErrRefused)
	}
	for _, w := range writes {
		if have := b.last[w.Key].Revision; have != w.Revision {
			return 0, fmt.Errorf("bucket %s: %q is at revision %d: %w", h.name, w.Key, have, broker.ErrConflict)
		}
	}
	for _, w := range writes {
		e := broker.Entry{Key: w.Key, Deleted: w.Delete}
		if !w.Delete {
			e.Value = bytes.Clone(w.Value)
		}
		b.store(e)
	}
	return b.rev, nil
}

// store gives e the next revision and shows it to the watches; store.mu is held.
func (b *memoryBucket) store(e broker.Entry) uint64 {
	b.rev++
	e.Revision = b.rev
	b.last[e.Key], b.at[e.Key] = e, time.Now()
	for _, w := range b.watches {
		w.add(e)
	}
	return e.Revision
}

// memoryWatch is one watch: a queue and a goroutine that hands it on. It ends with its
// context or its node's link.
type memoryWatch struct {
	node    *Memory
	pattern []string
	queue   []broker.Entry // guarded by store.mu
	wake    chan struct{}  // capacity 1
	cancel  context.CancelFunc
}

func (w *memoryWatch) add(e broker.Entry) {
	if e.Key != "" && !matches(w.pattern, strings.Split(e.Key, ".")) {
		return
	}
	w.queue = append(w.queue, e)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (h bucketHandle) Watch(ctx context.Context, pattern string) (<-chan broker.Entry, error) {
	h.m.store.mu.Lock()
	defer h.m.store.mu.Unlock()
	b, err := h.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &memoryWatch{node: h.m, pattern: strings.Split(pattern, "."), wake: make(chan struct{}, 1), cancel: cancel}
	present := slices.SortedFunc(maps.Values(b.last), func(x, y broker.Entry) int { return int(int64(x.Revision - y.Revision)) })
	for _, e := range present {
		w.add(e)
	}
	w.add(broker.Entry{})
	b.watches = append(b.watches, w)
	out := make(chan broker.Entry)
	go w.run(ctx, b, h.m.store, out)
	return out, nil
}

func (w *memoryWatch) run(ctx context.Context, b *memoryBucket, s *store, out chan<- broker.Entry) {
	defer close(out)
	defer func() {
		w.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		b.watches = slices.DeleteFunc(b.watches, func(x *memoryWatch) bool { return x == w })
	}()
	for {
		s.mu.Lock()
		queue := w.queue
		w.queue = nil
		s.mu.Unlock()
		for _, e := range queue {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}

// endWatches ends the node's watches; store.mu is held.
func (b *memoryBucket) endWatches(m *Memory) {
	for _, w := range b.watches {
		if w.node == m {
			w.cancel()
		}
	}
}
