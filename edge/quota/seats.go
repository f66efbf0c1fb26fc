package quota

import (
	"context"
	"sync"
	"time"
)

// seatScope is what this edge holds of one scope's seats. Seats asked for while a call is under way go with the next one.
type seatScope struct {
	name string

	mu    sync.Mutex // guards what follows
	held  int
	limit int
	dirty bool // held is not what was told last
	busy  bool
	queue []*sitting
}

// sitting waits for a seat.
type sitting struct {
	done chan struct{} // closed with ok and err set
	ok   bool
	err  error
	left bool // nobody waits any more; guarded by seatScope.mu
}

// sit takes a seat of a scope; false means that there is none. The seat is held until stand.
func (l *Limiter) sit(ctx context.Context, scope string, limit int) (bool, error) {
	w := &sitting{done: make(chan struct{})}
	s := l.queue(scope, limit, w)
	if s == nil {
		return false, context.Canceled
	}
	select {
	case <-w.done:
		return w.ok, w.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.done: // it came meanwhile
		return w.ok, w.err
	default:
		w.left = true
		return false, ctx.Err()
	}
}

// queue puts w into the queue of its scope, made if there is none, and has calls made for it. It returns nil once Run is ending.
func (l *Limiter) queue(scope string, limit int, w *sitting) *seatScope {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	s := l.seats[scope]
	if s == nil {
		s = &seatScope{name: scope}
		l.seats[scope] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.queue = append(s.queue, w)
	if !s.busy {
		s.busy = true
		l.calls.Go(func() { l.seatCalls(s) }) // not under the caller's context: others wait for it, too
	}
	return s
}

// seatCalls asks for the seats of all who wait, until nobody does.
func (l *Limiter) seatCalls(s *seatScope) {
	for {
		s.mu.Lock()
		list := s.queue
		s.queue = nil
		if len(list) == 0 {
			s.busy = false
			s.mu.Unlock()
			return
		}
		ask := SeatAsk{Scope: s.name, Edge: l.edge, Have: s.held, More: len(list), Limit: s.limit}
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), l.wait)
		got, err := l.src.Seats(ctx, ask)
		cancel()
		l.heard(err)
		s.mu.Lock()
		if err != nil {
			s.dirty = true // it may have been done
		}
		for i, w := range list {
			w.ok, w.err = err == nil && i < got, err
			if w.ok {
				s.held++
				if w.left {
					s.held--
					s.dirty = true
				}
			}
			close(w.done)
		}
		s.mu.Unlock()
	}
}

// sitAnyway counts a seat that nobody gave, while the source is away and the policy is open: up to the limit on this edge.
func (l *Limiter) sitAnyway(scope string, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seats[scope]
	if s == nil {
		s = &seatScope{name: scope}
		l.seats[scope] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held >= limit {
		return false
	}
	s.limit, s.dirty = limit, true
	s.held++
	return true
}

// stand gives a seat back.
func (l *Limiter) stand(scope string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.seats[scope]; s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held--
		s.dirty = true
	}
}

// refresh tells the source what changed, or all, so that it does not forget us; scopes without a seat are let go.
func (l *Limiter) refresh(all bool) {
	var list []SeatAsk
	var told []*seatScope
	l.mu.Lock()
	for name, s := range l.seats {
		s.mu.Lock()
		switch {
		case s.dirty, all && s.held > 0:
			list = append(list, SeatAsk{Scope: name, Edge: l.edge, Have: s.held, Limit: s.limit})
			told = append(told, s)
		case s.held == 0 && !s.busy:
			delete(l.seats, name)
		}
		s.mu.Unlock()
	}
	l.mu.Unlock()
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, callTime)
	defer cancel()
	err := l.src.Refresh(ctx, list)
	l.heard(err)
	if err != nil {
		return
	}
	for i, s := range told {
		s.mu.Lock()
		if s.held == list[i].Have {
			s.dirty = false
		}
		s.mu.Unlock()
	}
}

// giveSeatsBack tells the source that this edge holds nothing.
func (l *Limiter) giveSeatsBack(ctx context.Context) {
	var list []SeatAsk
	l.mu.Lock()
	for name := range l.seats {
		list = append(list, SeatAsk{Scope: name, Edge: l.edge})
	}
	l.mu.Unlock()
	if len(list) > 0 && ctx.Err() == nil {
		_ = l.src.Refresh(ctx, list) //nolint:errcheck // they expire by themselves
	}
}

// connectTime is what a connect may wait for the source, all together.
const connectTime = 100 * time.Millisecond
