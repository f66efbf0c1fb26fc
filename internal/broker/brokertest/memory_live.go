package brokertest

import (
	"context"
	"fmt"
	"net"

	"sluice/internal/broker"
)

const memoryQueue = 16384 // deliveries that wait in one receiver

// memoryLive implements broker.Live. Its fields are guarded by store.mu.
type memoryLive struct {
	m      *Memory
	feeds  map[broker.FeedID]struct{}
	queue  []broker.Delivery
	all    bool
	dirty  map[broker.FeedID]struct{}
	closed bool
	wake   chan struct{} // something is there, or the end; capacity 1
}

// NewLive returns a receiver of live events.
func (m *Memory) NewLive(string) (broker.Live, error) {
	l := &memoryLive{
		m: m, feeds: map[broker.FeedID]struct{}{}, dirty: map[broker.FeedID]struct{}{}, wake: make(chan struct{}, 1),
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.lives[l] = struct{}{}
	return faultyLive{l, &m.faults}, nil
}

func (l *memoryLive) Add(ctx context.Context, f broker.FeedID) error {
	l.m.store.mu.Lock()
	defer l.m.store.mu.Unlock()
	if !l.m.link.Up {
		return fmt.Errorf("add feed %s: %w", f, broker.ErrUnavailable)
	}
	l.feeds[f] = struct{}{}
	return ctx.Err()
}

func (l *memoryLive) Remove(f broker.FeedID) {
	l.m.store.mu.Lock()
	defer l.m.store.mu.Unlock()
	delete(l.feeds, f)
}

func (l *memoryLive) Next(ctx context.Context, buf []broker.Delivery) (int, error) {
	if len(buf) == 0 {
		return 0, fmt.Errorf("no room for deliveries")
	}
	for {
		n, closed := l.take(buf)
		if n > 0 {
			return n, nil
		}
		if closed {
			return 0, net.ErrClosed
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (l *memoryLive) take(buf []broker.Delivery) (n int, closed bool) {
	l.m.store.mu.Lock()
	defer l.m.store.mu.Unlock()
	if l.all {
		l.all = false
		clear(l.dirty)
		buf[0], n = broker.Delivery{Kind: broker.KindDirty}, 1
	}
	for f := range l.dirty {
		if n == len(buf) {
			break
		}
		buf[n] = broker.Delivery{Kind: broker.KindDirty, Feed: f}
		delete(l.dirty, f)
		n++
	}
	k := copy(buf[n:], l.queue)
	if l.queue = l.queue[k:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return n + k, l.closed
}

func (l *memoryLive) Close() {
	l.m.store.mu.Lock()
	defer l.m.store.mu.Unlock()
	l.closed = true
	clear(l.feeds)
	delete(l.m.lives, l)
	l.signal()
}

func (l *memoryLive) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *memoryLive) markAll() {
	l.all = true
	l.signal()
}

func (l *memoryLive) deliver(d broker.Delivery) {
	if _, wanted := l.feeds[d.Feed]; !wanted {
		return
	}
	l.signal()
	if len(l.queue) >= memoryQueue {
		l.dirty[d.Feed] = struct{}{}
		return
	}
	d.Message = own(d.Message)
	l.queue = append(l.queue, d)
}

// republish hands a stored event to every receiver of every connected node.
func (s *store) republish(f broker.FeedID, msg broker.Message, last uint64) {
	s.deliver(broker.Delivery{Kind: broker.KindMessage, Feed: f, Message: msg, Last: last})
}

func (s *store) deliver(d broker.Delivery) {
	for _, n := range s.nodes {
		if !n.link.Up {
			continue
		}
		for l := range n.lives {
			l.deliver(d)
		}
	}
}
