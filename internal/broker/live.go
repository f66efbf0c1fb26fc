package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// live receives on one bounded channel that all its subscriptions share: the
// connection's reader fills it, the lane drains it, nothing runs in between.
type live struct {
	name   string
	nc     *nats.Conn
	met    *metrics
	forget func(*live)
	queue  chan *nats.Msg
	wake   chan struct{} // a dirty mark is there; capacity 1
	closed chan struct{}

	mu    sync.RWMutex
	subs  map[*nats.Subscription]*liveSub // guarded by mu
	feeds map[FeedID][2]*nats.Subscription
	once  sync.Once

	dirtyMu sync.Mutex
	all     bool                // guarded by dirtyMu: every feed may have missed something
	dirty   map[FeedID]struct{} // guarded by dirtyMu: these may have
}

// liveSub says what the messages of one subscription are.
type liveSub struct {
	feed    FeedID
	subject string // under which the feed's events are stored
	beacon  bool
}

func newLive(name string, nc *nats.Conn, queue int, met *metrics, forget func(*live)) *live {
	return &live{
		name: name, nc: nc, met: met, forget: forget,
		queue: make(chan *nats.Msg, queue), wake: make(chan struct{}, 1), closed: make(chan struct{}),
		subs: map[*nats.Subscription]*liveSub{}, feeds: map[FeedID][2]*nats.Subscription{},
		dirty: map[FeedID]struct{}{},
	}
}

const addTimeout = 5 * time.Second

// Add implements Live.
func (l *live) Add(ctx context.Context, f FeedID) error {
	if !l.nc.IsConnected() {
		return fmt.Errorf("live %s: add feed %s: %w", l.name, f, ErrUnavailable)
	}
	if err := l.subscribe(f); err != nil {
		l.Remove(f)
		return fmt.Errorf("live %s: add feed %s: %w", l.name, f, mapError(err))
	}
	wait, cancel := withTimeout(ctx, addTimeout)
	defer cancel()
	if err := l.nc.FlushWithContext(wait); err != nil {
		l.Remove(f)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("live %s: add feed %s: %w", l.name, f, mapError(err))
	}
	return nil
}

func (l *live) subscribe(f FeedID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.feeds[f]; there {
		return nil
	}
	var pair [2]*nats.Subscription
	for i, subject := range []string{f.LiveSubject(), f.BeaconSubject()} {
		sub, err := l.nc.ChanSubscribe(subject, l.queue)
		if err != nil {
			return err
		}
		pair[i] = sub
		l.feeds[f] = pair
		l.subs[sub] = &liveSub{feed: f, subject: f.Subject(), beacon: i == 1}
	}
	return nil
}

// Remove implements Live.
func (l *live) Remove(f FeedID) {
	l.mu.Lock()
	pair := l.feeds[f]
	delete(l.feeds, f)
	for _, sub := range pair {
		delete(l.subs, sub)
	}
	l.mu.Unlock()
	for _, sub := range pair {
		if sub != nil {
			_ = sub.Unsubscribe() //nolint:errcheck // only a closed connection refuses
		}
	}
}

// Next implements Live.
func (l *live) Next(ctx context.Context, buf []Delivery) (int, error) {
	if len(buf) == 0 {
		return 0, fmt.Errorf("live %s: no room for deliveries", l.name)
	}
	for {
		n := l.drain(buf, l.takeDirty(buf))
		if n > 0 {
			return n, nil
		}
		select {
		case m := <-l.queue:
			if n = l.convert(m, &buf[0]); n > 0 {
				return l.drain(buf, n), nil
			}
		case <-l.wake:
		case <-l.closed:
			return 0, fmt.Errorf("live %s: %w", l.name, net.ErrClosed)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// drain fills buf from n on with what waits and returns the new count.
func (l *live) drain(buf []Delivery, n int) int {
	for n < len(buf) {
		select {
		case m := <-l.queue:
			n += l.convert(m, &buf[n])
		default:
			return n
		}
	}
	return n
}

// convert fills d from m; 0 if its feed was removed.
func (l *live) convert(m *nats.Msg, d *Delivery) int {
	l.mu.RLock()
	sub := l.subs[m.Sub]
	l.mu.RUnlock()
	if sub == nil {
		return 0
	}
	*d = Delivery{Kind: KindMessage, Feed: sub.feed}
	if sub.beacon {
		d.Kind = KindBeacon
		d.Beacon, d.Err = DecodeBeacon(m.Data)
		l.count("beacon", d.Err)
		return 1
	}
	s, err := parseReceived(sub.subject, m.Header, m.Data)
	d.Message, d.Last, d.Err = s.Message, s.last, err
	l.count("message", err)
	return 1
}

func (l *live) count(kind string, err error) {
	if err != nil {
		kind = "foreign"
	}
	l.met.delivered(kind, 1)
}

func (l *live) takeDirty(buf []Delivery) int {
	l.dirtyMu.Lock()
	defer l.dirtyMu.Unlock()
	if l.all {
		l.all = false
		clear(l.dirty)
		buf[0] = Delivery{Kind: KindDirty}
		return 1
	}
	n := 0
	for f := range l.dirty {
		if n == len(buf) {
			l.signal() // the rest at the next call
			break
		}
		buf[n] = Delivery{Kind: KindDirty, Feed: f}
		delete(l.dirty, f)
		n++
	}
	return n
}

// allDirty marks every feed: the connection was cut, or is back.
func (l *live) allDirty(cause string) {
	l.dirtyMu.Lock()
	defer l.dirtyMu.Unlock()
	l.all = true
	l.met.feedDirty(cause)
	l.signal()
}

// feedDirty marks the feed of a subscription whose message did not fit, if it is ours.
func (l *live) feedDirty(sub *nats.Subscription) bool {
	l.mu.RLock()
	s := l.subs[sub]
	l.mu.RUnlock()
	if s == nil {
		return false
	}
	l.dirtyMu.Lock()
	defer l.dirtyMu.Unlock()
	l.dirty[s.feed] = struct{}{}
	l.met.feedDirty("overflow")
	l.signal()
	return true
}

func (l *live) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close implements Live.
func (l *live) Close() {
	l.once.Do(func() {
		close(l.closed)
		l.mu.RLock()
		feeds := make([]FeedID, 0, len(l.feeds))
		for f := range l.feeds {
			feeds = append(feeds, f)
		}
		l.mu.RUnlock()
		for _, f := range feeds {
			l.Remove(f)
		}
		l.forget(l)
	})
}
