//go:build linux

package shard

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/fanout"
)

// tickLen is the grain of all times kept per client.
const tickLen = 100 * time.Millisecond

// lazyTicks is how many ticks an idle shard sleeps.
const lazyTicks = 5

// What one turn of the loop may do of each kind of work, so that none starves.
const (
	turnSends  = 256      // of passes, about half a millisecond
	turnVisits = 4096     // of passes, members that need nothing included
	turnBytes  = 48 << 10 // to one client, and of one send: see below
	turnOthers = 64       // clients on the catch-up list
	turnJoins  = 256
	turnSweep  = 2048 // slots looked at by sweep or cut
	turnEnds   = 256  // clients ended by sweep, cut or the end of a log
)

// A send of 64 KiB fills exactly one segment of a loopback connection (65,483 bytes), for
// example to a proxy on this machine, and with it the send buffer: the reader's kernel
// then waits 40 ms for a second segment before it acknowledges. Backlog came at 2.4 MB/s
// so, and at more than 30 times that with shorter sends (measured).

// shard owns a part of the clients. All but in and count belongs to its goroutine.
type shard struct {
	in    inbox
	count atomic.Int64 // clients, those in the inbox included

	cfg   *Config
	epoch time.Time // of tick 1
	poll  *poller
	slab  slab
	side  map[uint32]*extra
	spare []*extra

	rosters []*roster // by entry.log; nil = free
	holes   []uint32  // free places of rosters
	byLog   map[*fanout.Log]uint32
	classes []class
	byClass map[class]uint16

	dirty   fifo[*roster]
	cooling fifo[*roster] // passed less than Coalesce ago
	ending  fifo[*roster] // their log was closed
	catchup fifo[ref]
	joins   fifo[*joining]
	closing fifo[due]
	watched []ref                   // blocked clients
	dry     []ref                   // whose meter says when to ask again
	gates   map[*fanout.Gate]*[]ref // parked until the gate opens
	cuts    []*cut
	notes   []note  // for clients that stood in an event
	ahead   ahead   // between pass and settle
	over    []ended // to be reported

	tick      uint32
	now       time.Time
	sweepAt   uint32
	sweepLeft uint32
	draining  bool
	scratch   []byte
	trash     []byte
	mark      markCache
	trail     trail
	gaps      map[uint32]uint32 // slot → gaps told

	messages   []message
	dirtyTaken []*roster
	dates      []fanout.Dates // of the events of one pass
	stats      stats
	metrics    *shardMetrics
	idle       time.Duration // parked since busyFrom
	busyFrom   time.Time
}

// ref names a client that may be gone when it is looked at.
type ref struct{ slot, gen uint32 }

// due is a client whose close has begun.
type due struct {
	ref
	tick uint32
}

// ended is an end not yet reported.
type ended struct {
	meta uint32
	end  fanout.End
}

func newShard(cfg *Config, m *shardMetrics, epoch time.Time) *shard {
	return &shard{
		cfg: cfg, epoch: epoch, now: epoch, busyFrom: epoch, tick: 1, metrics: m,
		slab: newSlab(), side: map[uint32]*extra{}, gates: map[*fanout.Gate]*[]ref{}, gaps: map[uint32]uint32{},
		byLog: map[*fanout.Log]uint32{}, byClass: map[class]uint16{},
		stats:   stats{ends: map[fanout.Reason]uint64{}},
		scratch: make([]byte, 0, turnBytes), trash: make([]byte, 4<<10),
	}
}

// run opens the shard's epoll and turns until ctx ends.
func (s *shard) run(ctx context.Context) error {
	if err := s.open(); err != nil {
		s.closeAll()
		return err
	}
	defer s.poll.close()
	defer s.closeAll()
	stop := context.AfterFunc(ctx, s.poll.wake)
	defer stop()
	for ctx.Err() == nil {
		if s.turn(time.Now()) {
			continue
		}
		if err := s.park(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *shard) open() error {
	p, err := newPoller(s.in.empty)
	if err != nil {
		return err
	}
	s.poll = p
	s.in.wake = p.wake
	return nil
}

// park sleeps until something is to be done. It says that it will before it looks at
// the inbox for the last time; who puts something in after that look wakes it.
func (s *shard) park(ctx context.Context) error {
	if err := s.poll.alarm(s.nextAlarm()); err != nil {
		return err
	}
	s.in.parked.Store(true)
	if ctx.Err() != nil { // its wake may have come before the alarm was set
		return nil
	}
	from := time.Now()
	err := s.poll.park()
	s.in.parked.Store(false)
	s.idle += time.Since(from)
	return err
}

// nextAlarm is the next tick or, if only heartbeats and lifetimes are to be watched,
// one some ticks ahead: every wake of a sleeping process also wakes Go's monitor thread,
// which costs more than an idle tick does.
func (s *shard) nextAlarm() time.Time {
	ahead := uint32(1)
	if len(s.watched)+len(s.dry)+len(s.cuts)+len(s.notes)+s.closing.len() == 0 {
		ahead = lazyTicks - (s.tick-1)%lazyTicks
	}
	at := s.epoch.Add(time.Duration(s.tick-1+ahead) * tickLen)
	if s.cooling.len() > 0 {
		if warm := s.cooling.first().warm; warm.Before(at) {
			at = warm
		}
	}
	return at
}

// turn does a bounded share of everything there is to do, and says whether more is left.
func (s *shard) turn(now time.Time) bool {
	s.now = now
	s.clock()
	s.readInbox()
	s.warmUp()
	s.passes()
	more := s.pollSockets()
	s.catchUp()
	s.endLogs()
	more = s.sweep() || more
	more = s.runCuts() || more
	s.joinSome()
	s.report()
	return more || s.dirty.len() > 0 || s.catchup.len() > 0 || s.ending.len() > 0 || s.joins.len() > 0
}

// clock does what is due once per tick.
func (s *shard) clock() {
	tick := uint32(s.now.Sub(s.epoch)/tickLen) + 1
	if tick <= s.tick {
		return
	}
	passed := tick - s.tick
	s.tick = tick
	s.planSweep(passed)
	s.checkWatched()
	s.retryDry()
	s.retryNotes()
	s.finishClosing()
	s.copyStats()
	s.showBusy()
}

func (s *shard) readInbox() {
	s.messages, s.dirtyTaken = s.in.take(s.messages[:0], s.dirtyTaken[:0])
	for _, l := range s.dirtyTaken {
		s.enqueue(l)
	}
	for _, m := range s.messages {
		switch {
		case m.join != nil:
			s.joins.push(m.join)
		case m.answer != nil:
			s.answered(m.answer)
		case m.cut != nil:
			s.beginCut(m.cut)
		case m.cull != nil:
			m.cull.Offer(s.laggards(m.cull.Most()))
		case m.culled != nil:
			s.culled(*m.culled)
		case m.opened != nil:
			s.opened(m.opened)
		case m.hard:
			s.closeClients()
		}
	}
	clear(s.messages)
	clear(s.dirtyTaken)
}

// report tells of the ends, outside all loops over clients.
func (s *shard) report() {
	for _, o := range s.over {
		s.cfg.Ended(o.meta, o.end)
	}
	s.count.Add(-int64(len(s.over)))
	clear(s.over)
	s.over = s.over[:0]
}

// fifo is a queue that gives its memory back when it empties after a rush.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }
func (q *fifo[T]) first() T { return q.items[q.head] }
func (q *fifo[T]) push(v T) {
	if q.head > len(q.items)/2 && q.head > 64 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 4096 {
			q.items = nil
		}
	}
	return v
}
