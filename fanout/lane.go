package fanout

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"sluice/internal/broker"
)

const (
	laneBuffer = 256
	drainWait  = 10 * time.Millisecond
)

// lane fills the logs of its feeds from its own live connection. It never waits for
// a broker read or a reader.
type lane struct {
	hub  *Hub
	live broker.Live

	mu    sync.RWMutex // guards feeds
	feeds map[broker.FeedID]*Feed
}

func (h *Hub) laneOf(f broker.FeedID) *lane {
	sum := fnv.New32a()
	sum.Write([]byte(f.API))
	sum.Write([]byte{0})
	sum.Write([]byte(f.Key))
	return h.lanes[sum.Sum32()%uint32(len(h.lanes))]
}

// add subscribes to f's live events. The hub may drop f meanwhile, and even hold the
// same feed anew: a subscription that nobody has a use for is ended.
func (l *lane) add(ctx context.Context, f *Feed) error {
	l.mu.Lock()
	l.feeds[f.id] = f
	l.mu.Unlock()
	err := l.live.Add(ctx, f.id)
	if f.gone() {
		l.remove(f)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.feeds[f.id] == nil {
		l.live.Remove(f.id)
		return ErrUnavailable
	}
	return err
}

func (l *lane) remove(f *Feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.feeds[f.id] == f {
		delete(l.feeds, f.id)
		l.live.Remove(f.id)
	}
}

func (l *lane) find(id broker.FeedID) *Feed {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.feeds[id]
}

func (l *lane) all() []*Feed {
	l.mu.RLock()
	defer l.mu.RUnlock()
	fs := make([]*Feed, 0, len(l.feeds))
	for _, f := range l.feeds {
		fs = append(fs, f)
	}
	return fs
}

// run drains the live connection until ctx ends: all that waits is appended, then
// published once per feed.
func (l *lane) run(ctx context.Context) error {
	buf := make([]broker.Delivery, laneBuffer)
	var grown []*Feed
	cut := false
	for {
		n, err := l.next(ctx, buf, cut)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("lane: %w", err)
		}
		now := time.Now()
		for i := range buf[:n] {
			d := &buf[i]
			if d.Kind == broker.KindDirty && d.Feed == (broker.FeedID{}) {
				cut = true
				l.cut()
				continue
			}
			f := l.find(d.Feed)
			if f != nil && f.handle(d, now) && !f.unread {
				f.unread = true
				grown = append(grown, f)
			}
		}
		for i, f := range grown {
			f.publish(now)
			f.unread = false
			grown[i] = nil
		}
		grown = grown[:0]
		clear(buf[:n])
		if cut && n < len(buf) {
			cut = false
			l.drained()
		}
	}
}

// next waits for deliveries; after a cut only for a moment, to find out that no more
// are queued: then it returns 0.
func (l *lane) next(ctx context.Context, buf []broker.Delivery, cut bool) (int, error) {
	if !cut {
		return l.live.Next(ctx, buf)
	}
	soon, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	n, err := l.live.Next(soon, buf)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		return 0, nil
	}
	return n, err
}

// publish makes what the lane appended visible.
func (f *Feed) publish(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.Publish()
	f.pace.Add(f.fresh, now)
	f.fresh = 0
	f.hub.met.visible(now, f.rx)
}

// cut: any feed may have missed something, or the store may be another one. Live
// events are kept back until a sweep has seen that the newest one held is still the
// broker's newest.
func (l *lane) cut() {
	for _, f := range l.all() {
		f.mu.Lock()
		f.cutting = true
		if f.phase == phaseSynced {
			f.phase, f.suspected = phaseDirty, true
		}
		f.mu.Unlock()
	}
}

// drained: all that was received before the cut has been handled. Feeds that are
// being read are read once more, the others are compared with the broker.
func (l *lane) drained() {
	for _, f := range l.all() {
		f.mu.Lock()
		f.cutting, f.overflowed = false, true
		f.mu.Unlock()
	}
	l.hub.spawn(func(ctx context.Context) { l.hub.sweep(ctx, l.all()) })
}

// sweep compares the newest event of each feed with the broker's and repairs those
// that differ.
func (h *Hub) sweep(ctx context.Context, feeds []*Feed) {
	byAPI := map[string][]*Feed{}
	for _, f := range feeds {
		byAPI[f.id.API] = append(byAPI[f.id.API], f)
	}
	for api, fs := range byAPI {
		ids := make([]broker.FeedID, len(fs))
		cur := make([]broker.Position, len(fs))
		for i, f := range fs {
			ids[i] = f.id
			f.mu.Lock()
			cur[i] = f.cur
			if f.suspected {
				f.overflowed, f.asked = false, len(f.kept)
			}
			f.mu.Unlock()
		}
		last := make([]broker.Position, len(fs))
		for pause := backoff(0); ; {
			err := h.direct.LastOf(ctx, api, ids, last)
			if err == nil {
				break
			}
			if sleep(ctx, pause.next(5*time.Second)) != nil {
				return
			}
		}
		for i, f := range fs {
			f.swept(cur[i], last[i])
		}
	}
}

// swept compares what was the newest event before the broker was asked with its
// answer.
func (f *Feed) swept(cur, last broker.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.phase == phaseGone:
	case f.suspected && last == cur && cur == f.cur:
		f.suspected = false
		if f.settle(!cur.IsZero()) {
			f.log.Publish()
			return
		}
		f.log.Publish()
		f.dirty("cut")
	case f.suspected:
		f.dirty("cut")
	case f.phase == phaseSynced && !last.IsZero() && (last.Seq > f.cur.Seq || last.Seq == f.cur.Seq && last != f.cur):
		f.dirty("sweep")
	}
}
