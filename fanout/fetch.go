package fanout

import (
	"context"
	"sync"
)

// turns hands out a bounded number of places, in turn between APIs: one API's storm
// delays another's first read by one place, not by its queue.
type turns struct {
	mu     sync.Mutex
	free   int
	queues map[string][]chan struct{} // per API that waits, oldest first
	order  []string                   // APIs that wait, next first
}

func newTurns(n int) *turns { return &turns{free: n, queues: map[string][]chan struct{}{}} }

// take waits for a place until ctx ends; give it back with give.
func (t *turns) take(ctx context.Context, api string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	if len(t.queues[api]) == 0 {
		t.order = append(t.order, api)
	}
	t.queues[api] = append(t.queues[api], ch)
	t.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[api]
	for i := range q {
		if q[i] == ch {
			t.remove(api, i)
			return ctx.Err()
		}
	}
	t.pass() // it was given to us meanwhile
	return ctx.Err()
}

func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a place to the next API's oldest, or puts it back.
func (t *turns) pass() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	api := t.order[0]
	close(t.queues[api][0])
	t.remove(api, 0)
	if len(t.queues[api]) > 0 { // behind the others now
		t.order = append(t.order[1:], api)
	}
}

func (t *turns) remove(api string, i int) {
	q := t.queues[api]
	q = append(q[:i:i], q[i+1:]...)
	if len(q) > 0 {
		t.queues[api] = q
		return
	}
	delete(t.queues, api)
	for k := range t.order {
		if t.order[k] == api {
			t.order = append(t.order[:k:k], t.order[k+1:]...)
			return
		}
	}
}
