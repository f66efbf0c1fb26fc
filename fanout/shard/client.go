//go:build linux

package shard

import (
	"math"
	"slices"
	"syscall"
	"time"

	"sluice/fanout"
)

// class is what many clients have in common: their limits in ticks and bytes.
type class struct {
	policy     fanout.Policy
	stall      uint32
	lag        uint64
	softLag    uint64
	softTime   uint32
	maxAge     time.Duration
	heartbeats uint32
}

// extra is what only some clients need, for a while.
type extra struct {
	owed  []byte // goes before anything else: head, gap, rest of an event or a heartbeat
	room  []byte // where owed is built; owed may be the log's bytes, never to be changed
	half  bool   // owed begins with the rest of an event
	block *fanout.Block
	off   int // in block
	then  after
	saved bool        // at is where the client stands once owed is sent
	at    fanout.Mark // last event it has then
	best  uint64      // smallest distance to the log's floor so far, in sequences
	tries uint8       // blocks read since then, no more than maxRounds
	since uint32      // tick of it
	end   fanout.End  // of a closing client
}

// owe adds to what goes first.
func (x *extra) owe(b []byte) {
	if len(x.owed) > 0 {
		x.owed = append(slices.Clip(x.owed), b...)
		return
	}
	x.room = append(x.room[:0], b...)
	x.owed = x.room
}

// after is what is done once owed is sent, instead of going on.
type after uint8

const (
	thenGoOn after = iota
	thenSkip       // policy latest: tell a gap, go on at the newest event
	thenAsk        // policy backlog, or a block is read: ask where to go on
	asked          // waits for the answer
)

// classOf returns the number of the class of sub. A node has few; should there ever be
// more than fit, newcomers share the last one's limits.
func (s *shard) classOf(sub *fanout.Subscriber) uint16 {
	slow := fill(sub.Slow, s.cfg.Slow)
	beat := sub.Heartbeat
	if beat <= 0 {
		beat = s.cfg.Heartbeat
	}
	c := class{policy: slow.Policy, stall: ticks(slow.Stall), lag: uint64(slow.Lag), softLag: uint64(slow.SoftLag),
		softTime: ticks(slow.SoftTime), maxAge: slow.MaxAge, heartbeats: ticks(beat)}
	at, ok := s.byClass[c]
	if !ok {
		if len(s.classes) > math.MaxUint16 {
			return math.MaxUint16
		}
		at = uint16(len(s.classes))
		s.classes = append(s.classes, c)
		s.byClass[c] = at
	}
	return at
}

// ticks rounds up.
func ticks(d time.Duration) uint32 {
	return uint32(min((d+tickLen-1)/tickLen, math.MaxInt32))
}

func (s *shard) joinSome() {
	for n := turnJoins; n > 0 && s.joins.len() > 0; n-- {
		s.join(s.joins.pop())
	}
}

// join gives a client its slot and sends its head together with the first log bytes.
func (s *shard) join(j *joining) {
	sub := &j.sub
	slot, e := s.slab.alloc()
	e.fd, e.meta, e.class = j.fd, sub.Meta, s.classOf(sub)
	e.sent = s.tick
	if sub.Framing == fanout.Chunked {
		e.flags |= flagChunked
	}
	if !sub.Ends.IsZero() {
		e.end = max(1, uint32(int64(s.tick)+int64(sub.Ends.Sub(s.now)/tickLen)))
	}
	if sub.EndsFor == fanout.EndMaxDuration {
		e.flags |= flagPlanned
	}
	if sub.Meter != nil {
		s.slab.setMeter(slot, sub.Meter)
	}
	s.enter(slot, e, s.roster(sub.Log, sub.Next))
	s.stats.joins++
	x := s.extra(slot, e)
	x.owe(sub.Head)
	s.startAt(e, x, sub.Start)
	if err := s.poll.add(e.fd, slot, e.gen); err != nil {
		s.drop(slot, e, fanout.EndError, false)
		return
	}
	if sub.Recheck != nil {
		if r := sub.Recheck(e.meta); r != "" {
			s.tell(slot, e, r)
			return
		}
	}
	gen := e.gen
	s.advance(slot, e)
	if s.draining && e.gen == gen && e.state != stClosing {
		s.tell(slot, e, fanout.EndDrain)
	}
}

// startAt places a client that is nowhere.
func (s *shard) startAt(e *entry, x *extra, at fanout.Start) {
	x.owe(at.Gap) // framed by the feed
	x.then, x.saved = thenGoOn, false
	s.trail = trail{}
	if at.Block != nil {
		x.block, x.off, x.at.Pos = at.Block, at.Offset, at.At.Pos
		e.events -= at.Block.MarkAt(at.Offset).Ord
		return
	}
	x.block = nil
	if !at.At.Held {
		at.At = s.markAt(s.rosters[e.log], at.Cursor)
	}
	x.at, x.saved = at.At, at.At.Held
	s.toLog(e, at.Cursor, at.At.Ord)
}

// toLog puts a client's cursor at c, before which there are ord events; fromLog makes its
// counts independent of the cursor.
func (s *shard) toLog(e *entry, c fanout.Cursor, ord uint32) {
	e.cursor = c
	e.extra -= uint64(c)
	e.events -= ord
}

func (s *shard) fromLog(e *entry, m fanout.Mark) {
	e.extra += uint64(e.cursor)
	e.cursor = 0
	e.events += m.Ord
}

// appendFramed appends gateway bytes the way the client's body needs them.
func appendFramed(dst, b []byte, flags uint16) []byte {
	if flags&flagChunked != 0 {
		return fanout.AppendChunk(dst, b)
	}
	return append(dst, b...)
}

// extra returns the client's extra, made if it has none.
func (s *shard) extra(slot uint32, e *entry) *extra {
	if e.flags&flagExtra != 0 {
		return s.side[slot]
	}
	var x *extra
	if n := len(s.spare); n > 0 {
		x, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		x = new(extra)
	}
	s.side[slot] = x
	e.flags |= flagExtra
	return x
}

const (
	spareExtras = 1024
	spareOwed   = 4 << 10
)

func (s *shard) freeExtra(slot uint32, e *entry) {
	if e.flags&flagExtra == 0 {
		return
	}
	x := s.side[slot]
	delete(s.side, slot)
	e.flags &^= flagExtra
	if len(s.spare) < spareExtras && cap(x.room) <= spareOwed {
		*x = extra{room: x.room[:0]}
		s.spare = append(s.spare, x)
	}
}

// later puts a client on the catch-up list.
func (s *shard) later(slot uint32, e *entry) {
	e.state = stCatchup
	if e.flags&flagQueued == 0 {
		e.flags |= flagQueued
		s.catchup.push(ref{slot, e.gen})
	}
}

func (s *shard) catchUp() {
	for n := min(turnOthers, s.catchup.len()); n > 0; n-- {
		r := s.catchup.pop()
		e := s.slab.at(r.slot)
		if e.gen != r.gen {
			continue
		}
		e.flags &^= flagQueued
		if e.state == stCatchup {
			s.advance(r.slot, e)
		}
	}
}

// advance sends a client what it is owed, what is left of its block, then the log, at
// most turnBytes, and puts it into the state that follows from how far it came. It is
// the one way forward for all but live clients that only lack log bytes.
func (s *shard) advance(slot uint32, e *entry) {
	gen, budget := e.gen, turnBytes
	e.state = stCatchup
	for budget > 0 {
		var more bool
		if e.flags&flagExtra != 0 {
			more = s.sendExtra(slot, e, &budget)
		} else {
			more = s.sendLog(slot, e, &budget)
		}
		if e.gen != gen || e.state == stClosing {
			return
		}
		if !more {
			break
		}
	}
	if e.state == stCatchup {
		s.save(slot, e)
		s.later(slot, e)
	}
	if armed := e.flags&flagOut != 0; armed != (e.state == stBlocked) {
		s.arm(slot, e, !armed)
	}
}

// sendExtra does the next thing of a client with an extra. It reports whether to go on.
func (s *shard) sendExtra(slot uint32, e *entry, budget *int) bool {
	x := s.side[slot]
	switch {
	case len(x.owed) > 0:
		return s.sendOwed(slot, e, x, budget)
	case x.then == asked:
		e.state = stWaiting
		return false
	case x.then == thenSkip:
		s.skip(slot, e, x)
		return true
	case x.then == thenAsk:
		s.ask(slot, e, x)
		return false
	case x.block != nil:
		return s.sendBlock(slot, e, x, budget)
	}
	if x.saved {
		s.trail = trail{ref{slot, e.gen}, e.cursor, fanout.Sent{At: x.at, Then: x.at}}
	}
	s.freeExtra(slot, e)
	return true
}

// sendOwed sends the owed bytes and, in the same send, as much of the log as follows.
func (s *shard) sendOwed(slot uint32, e *entry, x *extra, budget *int) bool {
	b := x.owed[:min(len(x.owed), turnBytes)]
	own := len(b)
	var v fanout.View
	if own == len(x.owed) && x.then == thenGoOn && x.block == nil && e.flags&flagMetered == 0 {
		v = s.rosters[e.log].log.View()
		if log, held := v.Bytes(e.cursor, turnBytes-own); held && len(log) > 0 {
			b = append(append(s.scratch[:0], b...), log...)
		}
	}
	n, errno := send(e.fd, b)
	s.stats.sends++
	paid := min(n, own)
	x.owed = x.owed[paid:]
	e.extra += uint64(paid)
	s.stats.bytes += uint64(paid)
	*budget -= n
	if n > 0 {
		e.sent = s.tick
	}
	if len(x.owed) == 0 {
		x.half = false
	}
	if n > own || errno != 0 || n < len(b) {
		return s.accepted(slot, e, v, b[own:], max(0, n-own), errno)
	}
	return true
}

// sendLog sends one slice of the log. It reports whether to go on.
func (s *shard) sendLog(slot uint32, e *entry, budget *int) bool {
	v := s.rosters[e.log].log.View()
	if e.cursor >= v.Head() {
		s.caughtUp(slot, e)
		return false
	}
	b, held := v.Bytes(e.cursor, *budget)
	if !held {
		s.slow(slot, e)
		return e.state == stCatchup
	}
	granted := 0
	if e.flags&flagMetered != 0 {
		if b, granted = s.grant(slot, e, b); len(b) == 0 {
			s.parkDry(slot, e)
			return false
		}
	}
	from := e.cursor
	n, errno := send(e.fd, b)
	s.stats.sends++
	*budget -= n
	if granted > 0 && n < len(b) {
		l := s.rosters[e.log]
		sent := s.ordAt(l, from+fanout.Cursor(n)) - s.ordAt(l, from)
		s.slab.meter(slot).Give(granted - int(sent))
	}
	return s.accepted(slot, e, v, b, n, errno)
}

// accepted books n log bytes of b, from v, that the kernel took, and what it did not.
func (s *shard) accepted(slot uint32, e *entry, v fanout.View, b []byte, n int, errno syscall.Errno) bool {
	if n < len(b) || errno != 0 {
		s.fellShort(slot, e, v, n, errno)
		return false
	}
	if n > 0 {
		s.move(slot, e, v, n)
	}
	return true
}

// caughtUp makes a client live: it has all there is.
func (s *shard) caughtUp(slot uint32, e *entry) {
	e.state = stLive
	e.flags |= flagCaught
	e.flags &^= flagSlow
	e.soft = 0
	l := s.rosters[e.log]
	l.note(e.cursor, s.standing(slot, e))
	if l.ended != "" {
		s.tell(slot, e, l.ended)
	}
}

// block waits for the socket to take more. Who may have to go on elsewhere gets the
// rest of a half-sent event copied now, since the log may be trimmed meanwhile.
func (s *shard) block(slot uint32, e *entry) {
	e.state = stBlocked
	if e.flags&flagWatched == 0 || e.sent > e.block { // a new spell, or it took something
		e.block = s.tick
	}
	if e.flags&flagWatched == 0 {
		e.flags |= flagWatched
		s.watched = append(s.watched, ref{slot, e.gen})
	}
	if e.flags&flagOut == 0 {
		s.arm(slot, e, true)
	}
	s.save(slot, e)
}

// arm turns the watch for room in the socket on or off. A socket that cannot be
// watched is broken, which its stall shows.
func (s *shard) arm(slot uint32, e *entry, out bool) {
	e.flags &^= flagOut
	if out {
		e.flags |= flagOut
	}
	_ = s.poll.want(e.fd, slot, e.gen, true, out)
}

// pollSockets handles what happened to sockets. It reports whether there is more.
func (s *shard) pollSockets() bool {
	n := s.poll.ready
	if n == 0 {
		n = s.poll.wait()
	}
	s.poll.ready = 0
	for i := range n {
		ev := &s.poll.events[i]
		slot, gen := uint32(ev.Fd), uint32(ev.Pad)
		e := s.slab.at(slot)
		if e.gen != gen || e.state == stFree {
			continue // of an earlier client
		}
		switch {
		case ev.Events&evBroken != 0:
			s.broken(slot, socketError(e.fd))
			continue
		case ev.Events&evGone != 0:
			s.gone(slot, e)
			continue
		case ev.Events&evIn != 0 && !s.throwAway(slot, e):
			continue
		}
		if ev.Events&evOut == 0 {
			continue
		}
		if e.state == stBlocked {
			s.advance(slot, e)
			continue
		}
		s.arm(slot, e, false)
	}
	return n == len(s.poll.events)
}
