// Package latest holds one immutable value that is replaced whole, and shows each new one to whoever watches; and it remembers the newest
// changes of what such values are made of.
package latest

import (
	"context"
	"sync"
	"sync/atomic"
)

// Value is the newest of a kind of value. The zero Value is ready. Safe for concurrent use.
type Value[T any] struct {
	current  atomic.Pointer[T]
	mu       sync.Mutex // guards watchers; sends and closes happen under it
	watchers map[chan *T]bool
}

// Get returns the newest value, a zero one before the first Set: never nil, never blocks. Never change what it points to.
func (v *Value[T]) Get() *T {
	if t := v.current.Load(); t != nil {
		return t
	}
	return new(T)
}

// Watch returns a channel that yields the newest value at once and then after each Set; a newer one replaces one that was not taken yet.
// Closed when ctx ends.
func (v *Value[T]) Watch(ctx context.Context) <-chan *T {
	ch := make(chan *T, 1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watchers == nil {
		v.watchers = map[chan *T]bool{}
	}
	v.watchers[ch] = true
	ch <- v.Get()
	context.AfterFunc(ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers, ch)
		close(ch)
	})
	return ch
}

// Set makes t the newest value and tells the watchers. It takes t over; it never waits for a watcher.
func (v *Value[T]) Set(t *T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current.Store(t)
	for ch := range v.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- t
	}
}
