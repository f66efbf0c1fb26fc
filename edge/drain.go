package edge

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Grace of a drain after its window: then what is left is cut.
const drainGrace = 5 * time.Second

// Drain lets the node's streams go: not ready at once, listeners closed after
// edge.drain.delay, then streams ended one by one, evenly over fanout.drain.over, and
// what is left five seconds later is cut. It returns when no stream is left or ctx
// ended; then cancel Run's context. The first call counts, later ones return at once.
func (s *Server) Drain(ctx context.Context) error {
	var err error
	s.drained.Do(func() { err = s.drain(ctx) })
	return err
}

func (s *Server) drain(ctx context.Context) error {
	s.phase.Store(phaseLeaving)
	s.metrics.drain(true)
	s.log.Info("drain", "streams", s.Open(), "delay", s.cfg.Edge.Drain.Delay.String(), "over", s.cfg.Fanout.Drain.Over.String())
	pause(ctx, s.cfg.Edge.Drain.Delay)

	s.phase.Store(phaseClosed)
	s.mu.Lock()
	listeners := s.listeners
	s.closeListeners()
	s.mu.Unlock()

	bounded, cancel := context.WithTimeout(ctx, s.cfg.Fanout.Drain.Over+drainGrace)
	defer cancel()
	var g errgroup.Group
	for _, l := range listeners {
		if !l.multiplexes() {
			// Not Shutdown yet: net/http would close a connection whose request is still on its way without an answer.
			l.srv.SetKeepAlivesEnabled(false)
			continue
		}
		// Tells HTTP/2 clients to go elsewhere and waits for handlers.
		g.Go(func() error { _ = l.srv.Shutdown(bounded); return nil })
	}
	for _, e := range s.engines() {
		g.Go(func() error { return e.Drain(bounded, s.cfg.Fanout.Drain.Over) })
	}
	err := g.Wait()
	for _, l := range listeners {
		_ = l.srv.Shutdown(bounded) // waits for handlers
		_ = l.srv.Close()
	}
	s.log.Info("drained", "streams", s.Open())
	if err != nil && ctx.Err() == nil && bounded.Err() == nil {
		return fmt.Errorf("edge: drain: %w", err)
	}
	return nil
}

// multiplexes says that clients may speak HTTP/2 to the listener.
func (l *listener) multiplexes() bool {
	return l.srv.Protocols.HTTP2() || l.srv.Protocols.UnencryptedHTTP2()
}

// pause waits d, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
