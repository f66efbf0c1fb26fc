package ingest

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/broker"
	"sluice/internal/sse"
)

// batch is what one commit carries: bodies back to back in one buffer. The queue fills it; once taken it belongs to the
// committer, until it is given back.
type batch struct {
	buf   []byte
	ids   []byte
	items []item
	first time.Time // when its oldest event arrived
	cost  int64     // bytes accounted for

	events []broker.Event // made by seal
}

// stamp is when an event arrived: at for measuring ages, rx in µs since 1970 by the injected clock.
type stamp struct {
	at time.Time
	rx int64
}

// item is one event of a batch, as ends of its parts in buf and ids.
type item struct {
	end          int
	idFrom, idTo int
	rx           int64
	gap          bool
}

// Batches above this size are not pooled: one huge event must not be paid for ever after.
const keepBatch = 1 << 20

func (b *batch) reset() {
	b.buf, b.ids, b.items, b.cost = b.buf[:0], b.ids[:0], b.items[:0], 0
	clear(b.events)
	b.events = b.events[:0]
}

// seal makes the events. buf and ids do not change any more.
func (b *batch) seal() []broker.Event {
	ids := string(b.ids)
	from := 0
	for _, it := range b.items {
		b.events = append(b.events, broker.Event{Body: b.buf[from:it.end:it.end], UpstreamID: ids[it.idFrom:it.idTo],
			Rx: it.rx, Gap: it.gap})
		from = it.end
	}
	return b.events
}

// budget is what the queues of a node may hold together. Safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64
	feeds atomic.Int64 // queues in being
}

// over says that a queue that holds own bytes must stop: at three quarters of the budget those above their fair share, at
// the whole of it all.
func (b *budget) over(own int64) bool {
	used := b.used.Load()
	return used >= b.limit || used >= b.limit/4*3 && own > b.share()
}

func (b *budget) share() int64 { return b.limit / max(b.feeds.Load(), 1) }

// queueLimits bounds a queue and its batches.
type queueLimits struct {
	bytes  int64
	age    time.Duration
	events int // per batch
	batch  int // bytes per batch
}

// itemCost is what an event costs beyond its bytes.
const itemCost = 64

// queue holds what was read and is not yet stored, oldest first. One reader adds, one committer takes; it never drops.
type queue struct {
	limits queueLimits
	node   *budget
	pool   *sync.Pool // of *batch
	seed   maphash.Seed
	ready  chan struct{} // something to take, or closed
	space  chan struct{} // something was given back

	mu     sync.Mutex // guards what follows
	sealed []*batch
	open   *batch // being filled
	taken  *batch // with the committer
	bytes  int64  // in all of them
	closed bool
}

func newQueue(l queueLimits, node *budget, pool *sync.Pool, seed maphash.Seed) *queue {
	node.feeds.Add(1)
	return &queue{limits: l, node: node, pool: pool, seed: seed, ready: make(chan struct{}, 1),
		space: make(chan struct{}, 1)}
}

// add appends an event, made of type and data as sse.AppendBody does, and returns its body's hash and whether reading
// should stop.
func (q *queue) add(typ, data, id []byte, when stamp) (hash uint64, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.room(len(typ)+len(data), when.at)
	from := len(b.buf)
	b.buf = sse.AppendBody(b.buf, typ, data)
	hash = maphash.Bytes(q.seed, b.buf[from:])
	q.added(b, from, id, when.rx, false)
	return hash, q.fullAt(when.at)
}

// addBody appends an event whose body is made already. cut begins a new batch with it: a marker is the first event of its
// commit.
func (q *queue) addBody(body, id []byte, when stamp, gap, cut bool) (full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cut {
		q.sealOpen()
	}
	b := q.room(len(body), when.at)
	from := len(b.buf)
	b.buf = append(b.buf, body...)
	q.added(b, from, id, when.rx, gap)
	return q.fullAt(when.at)
}

// room returns the batch for an event of about n bytes.
func (q *queue) room(n int, at time.Time) *batch {
	if b := q.open; b != nil && len(b.items) > 0 && len(b.buf)+n > q.limits.batch {
		q.sealOpen()
	}
	if q.open == nil {
		q.open, _ = q.pool.Get().(*batch)
		if q.open == nil {
			q.open = &batch{}
		}
		q.open.first = at
	}
	return q.open
}

// added accounts for the event at b.buf[from:].
func (q *queue) added(b *batch, from int, id []byte, rx int64, gap bool) {
	it := item{end: len(b.buf), rx: rx, gap: gap}
	if n := len(b.items); n > 0 && string(b.ids[b.items[n-1].idFrom:b.items[n-1].idTo]) == string(id) {
		it.idFrom, it.idTo = b.items[n-1].idFrom, b.items[n-1].idTo
	} else {
		it.idFrom = len(b.ids)
		b.ids = append(b.ids, id...)
		it.idTo = len(b.ids)
	}
	b.items = append(b.items, it)
	cost := int64(len(b.buf)-from+it.idTo-it.idFrom) + itemCost
	b.cost += cost
	q.bytes += cost
	q.node.used.Add(cost)
	if len(b.items) >= q.limits.events || len(b.buf) >= q.limits.batch {
		q.sealOpen()
	}
	signal(q.ready)
}

func (q *queue) sealOpen() {
	if q.open != nil && len(q.open.items) > 0 {
		q.sealed = append(q.sealed, q.open)
		q.open = nil
	}
}

// signal wakes whoever waits on a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fullAt says that reading must stop: the queue holds too much, or something too old, or the node does.
func (q *queue) fullAt(now time.Time) bool {
	if q.bytes >= q.limits.bytes || q.node.over(q.bytes) {
		return true
	}
	oldest, any := q.oldest()
	return any && now.Sub(oldest) >= q.limits.age
}

func (q *queue) oldest() (time.Time, bool) {
	switch {
	case q.taken != nil:
		return q.taken.first, true
	case len(q.sealed) > 0:
		return q.sealed[0].first, true
	case q.open != nil && len(q.open.items) > 0:
		return q.open.first, true
	}
	return time.Time{}, false
}

// calm says that reading may go on after it was stopped: half of every bound is free again.
func (q *queue) calm(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > q.limits.bytes/2 {
		return false
	}
	if oldest, any := q.oldest(); any && now.Sub(oldest) > q.limits.age/2 {
		return false
	}
	used := q.node.used.Load()
	return used < q.node.limit/4*3 || used < q.node.limit && q.bytes <= q.node.share()/2
}

// stop says, between two events, whether reading should stop.
func (q *queue) stop(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fullAt(now)
}

// take returns the oldest batch, sealed, or nil if nothing waits. The committer gives it back before it takes another.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sealed) == 0 {
		q.sealOpen()
	}
	if len(q.sealed) == 0 {
		return nil
	}
	b := q.sealed[0]
	q.sealed[0] = nil
	q.sealed = q.sealed[1:]
	if len(q.sealed) == 0 {
		q.sealed = nil
	}
	q.taken = b
	return b
}

// give ends the committer's use of the batch it took.
func (q *queue) give(b *batch) {
	q.mu.Lock()
	q.taken = nil
	q.bytes -= b.cost
	q.mu.Unlock()
	q.node.used.Add(-b.cost)
	q.free(b)
	signal(q.space)
}

func (q *queue) free(b *batch) {
	if cap(b.buf) > keepBatch {
		return
	}
	b.reset()
	q.pool.Put(b)
}

// close says that nothing more is added.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.ready)
}

// done says that nothing waits and nothing more will come.
func (q *queue) done() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && len(q.sealed) == 0 && (q.open == nil || len(q.open.items) == 0)
}

// drop gives up everything that waits and ends the queue. Neither reader nor committer may use it any more.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.node.used.Add(-q.bytes)
	q.node.feeds.Add(-1)
	q.bytes, q.sealed, q.open, q.taken, q.closed = 0, nil, nil, nil, true
}

// waits is how long the oldest event has been waiting; 0 = none is.
func (q *queue) waits(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest, any := q.oldest()
	if !any {
		return 0
	}
	return max(0, now.Sub(oldest))
}

// size is the bytes that wait.
func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
