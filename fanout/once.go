package fanout

import (
	"context"
	"sync"
)

const maxOnce = 4096

// onceMap remembers up to maxOnce values, each made once however many ask for it at
// the same time.
type onceMap[K comparable, V any] struct {
	mu   sync.Mutex // guards all below
	vals map[K]V
	runs map[K]*onceRun[V]
}

type onceRun[V any] struct {
	done chan struct{}
	val  V // set before done is closed
	err  error
}

// get returns the value of k. build makes it and says whether it may be remembered;
// who waits for a build that fails builds for itself.
func (m *onceMap[K, V]) get(ctx context.Context, k K, build func() (V, bool, error)) (V, error) {
	for {
		m.mu.Lock()
		if v, ok := m.vals[k]; ok {
			m.mu.Unlock()
			return v, nil
		}
		r := m.runs[k]
		if r == nil {
			break
		}
		m.mu.Unlock()
		select {
		case <-r.done:
			if r.err == nil {
				return r.val, nil
			}
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
	if m.runs == nil {
		m.vals, m.runs = map[K]V{}, map[K]*onceRun[V]{}
	}
	r := &onceRun[V]{done: make(chan struct{})}
	m.runs[k] = r
	m.mu.Unlock()

	v, keep, err := build()
	m.mu.Lock()
	defer m.mu.Unlock()
	r.val, r.err = v, err
	delete(m.runs, k)
	close(r.done)
	if keep && err == nil {
		if len(m.vals) >= maxOnce {
			clear(m.vals)
		}
		m.vals[k] = v
	}
	return v, err
}

// forget drops the values whose key matches.
func (m *onceMap[K, V]) forget(match func(K) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.vals {
		if match(k) {
			delete(m.vals, k)
		}
	}
}
