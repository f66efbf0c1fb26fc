package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group runs the components of a process. Each has its own context, so that shutdown can stop them one by one in order.
// The first component that fails ends the process.
type group struct {
	failed chan error // the first failure; buffered
	wg     sync.WaitGroup
}

func newGroup() *group { return &group{failed: make(chan error, 1)} }

// start runs f until the returned stop is called; stop waits for f to return.
func (g *group) start(name string, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		defer close(done)
		err := f(ctx)
		if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		select {
		case g.failed <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
	return func() { cancel(); <-done }
}
