//go:build linux

package shard

import (
	"cmp"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/fanout"
)

// roster is one log's clients in one shard, and the log's way to wake the shard.
type roster struct {
	shard *shard
	log   *fanout.Log
	next  fanout.Next // of the log's feed
	at    uint32      // in shard.rosters

	// latched is set by the appender that queues the roster, and cleared by the shard
	// before it reads the head: publishes in between need no second message.
	latched atomic.Bool

	// The rest belongs to the shard.
	members []uint32
	queued  bool // in shard.dirty
	running bool // a pass has begun and not ended
	again   bool // published since the pass began, or while cooling
	cool    bool // in shard.cooling
	gone    bool // the last member left; nobody uses it any more
	leaving bool // in shard.ending
	visit   int  // place of the next member to look at
	left    int  // members to look at in this pass
	offset  int  // where passes begin; moves
	endAt   int  // where the ends of a closed log go on
	ended   fanout.Reason
	began   time.Time     // of the running pass
	warm    time.Time     // from when on the next pass may begin
	seen    fanout.Cursor // head as the running pass knows it
	aged    fanout.Cursor // head when the pass before ended: what is above was not observed
	stands  []stand       // where live members may be, ascending
	low     fanout.Cursor // head when the pass before began: none of them is below
}

// stand is a head that live members reached, and what lies before it, looked up when it
// was reached: the log may have given it up when it is needed.
type stand struct {
	cursor fanout.Cursor
	mark   fanout.Mark
}

// maxStands bounds stands: more quanta than two passes over a million members take.
// Who stands at one that is given up is taken for lost when it is overrun.
const maxStands = 16 << 10

// note remembers a head and what lies before it. Heads only grow.
func (l *roster) note(c fanout.Cursor, m fanout.Mark) {
	if n := len(l.stands); !m.Held || n > 0 && l.stands[n-1].cursor >= c {
		return
	}
	if len(l.stands) == maxStands {
		l.stands = slices.Delete(l.stands, 0, maxStands/2)
	}
	l.stands = append(l.stands, stand{c, m})
}

// stand returns what lies before a noted head.
func (l *roster) stand(c fanout.Cursor) (fanout.Mark, bool) {
	i, ok := slices.BinarySearchFunc(l.stands, c, func(s stand, c fanout.Cursor) int { return cmp.Compare(s.cursor, c) })
	if !ok {
		return fanout.Mark{}, false
	}
	return l.stands[i].mark, true
}

// look returns the log as it is, its head noted. An appender that trims a head between
// the two look-ups has moved on by a whole window: it is looked at again.
func (l *roster) look() fanout.View {
	v := l.log.View()
	for range 16 {
		if n := len(l.stands); n > 0 && l.stands[n-1].cursor == v.Head() {
			break
		}
		if m := l.log.Mark(v.Head()); m.Held {
			l.note(v.Head(), m)
			break
		}
		v = l.log.View()
	}
	return v
}

// Wake queues the log for a pass. The appender calls it after each publish.
func (l *roster) Wake() {
	if l.latched.Load() || l.latched.Swap(true) {
		return
	}
	l.shard.in.putDirty(l)
}

// roster returns the roster of a log, made for its first member.
func (s *shard) roster(log *fanout.Log, next fanout.Next) *roster {
	if at, ok := s.byLog[log]; ok {
		return s.rosters[at]
	}
	l := &roster{shard: s, log: log, next: next}
	if n := len(s.holes); n > 0 {
		l.at, s.holes = s.holes[n-1], s.holes[:n-1]
		s.rosters[l.at] = l
	} else {
		l.at = uint32(len(s.rosters))
		s.rosters = append(s.rosters, l)
	}
	s.byLog[log] = l.at
	log.Attach(l) // before any look at the head
	l.aged = log.View().Head()
	if log.Closed() {
		l.ended = log.Ended()
	}
	return l
}

func (s *shard) enter(slot uint32, e *entry, l *roster) {
	e.log, e.pos = l.at, uint32(len(l.members))
	l.members = append(l.members, slot)
	if l.running {
		l.left++ // the place behind the last one is looked at too
	}
}

// leave takes a client off its roster. The member that takes its place may come from
// the part that a running pass has not reached; it would sleep until the next event,
// so it goes to the catch-up list if it is behind.
func (s *shard) leave(e *entry) {
	l := s.rosters[e.log]
	last := len(l.members) - 1
	moved := l.members[last]
	l.members[e.pos] = moved
	m := s.slab.at(moved)
	m.pos = e.pos
	l.members = l.members[:last]
	if l.running && m != e && m.state == stLive && m.cursor < l.seen {
		s.later(moved, m)
	}
	if last == 0 {
		s.dismiss(l)
		return
	}
	if c := cap(l.members); c > 1024 && last < c/4 {
		l.members = slices.Clone(l.members)
	}
}

func (s *shard) dismiss(l *roster) {
	l.log.Detach(l)
	l.gone = true
	if s.mark.log == l.log {
		s.mark = markCache{}
	}
	delete(s.byLog, l.log)
	s.rosters[l.at] = nil
	s.holes = append(s.holes, l.at)
}

// enqueue takes up a log that was published to. One that is being passed, or was just
// passed while writes are coalesced, is passed again afterwards; its latch stays set.
func (s *shard) enqueue(l *roster) {
	switch {
	case l.gone:
	case l.running || l.cool: // also between two quanta of a pass, when it is queued too
		l.again = true
	case l.queued:
	default:
		l.queued = true
		s.dirty.push(l)
	}
}

// warmUp queues the logs whose pause between passes is over.
func (s *shard) warmUp() {
	for s.cooling.len() > 0 && !s.cooling.first().warm.After(s.now) {
		l := s.cooling.pop()
		l.cool = false
		if l.again {
			l.again = false
			s.enqueue(l)
		}
	}
}

// passes spends the turn's share on the dirty logs, in turn: one with more members
// than the share goes to the end of the queue.
func (s *shard) passes() {
	sends, visits := turnSends, turnVisits
	for s.dirty.len() > 0 && sends > 0 && visits > 0 {
		l := s.dirty.pop()
		l.queued = false
		if l.gone {
			continue
		}
		if !l.running {
			s.beginPass(l)
		}
		s.pass(l, &sends, &visits)
		s.settle()
		switch {
		case l.gone:
		case l.left > 0:
			l.queued = true
			s.dirty.push(l)
		default:
			s.endPass(l)
		}
	}
}

func (s *shard) beginPass(l *roster) {
	l.latched.Store(false) // before the head is read
	l.running, l.again = true, false
	l.began = s.now
	n := len(l.members)
	l.offset += max(1, n/8) // else the same members would always be last
	if l.offset >= n {
		l.offset = 0
	}
	l.visit, l.left = l.offset, n
	gone, _ := slices.BinarySearchFunc(l.stands, l.low, func(s stand, c fanout.Cursor) int { return cmp.Compare(s.cursor, c) })
	l.stands = slices.Delete(l.stands, 0, gone)
	l.low = l.look().Head()
}

// pass sends to the next members what they lack. Each quantum reads the head anew: who
// is not reached yet gets newer events in the same send.
func (s *shard) pass(l *roster, sends, visits *int) {
	v := l.look()
	head := v.Head()
	l.seen = head
	var bytes []byte // what a member at from lacks
	var events uint32
	from, known, whole := fanout.Cursor(0), false, false // whole: bytes are entries in full
	for l.left > 0 && *sends > 0 && *visits > 0 {
		if l.visit >= len(l.members) {
			l.visit = 0
		}
		slot := l.members[l.visit]
		l.visit++
		l.left--
		*visits--
		e := s.slab.at(slot)
		if e.state != stLive || e.cursor >= head {
			continue
		}
		*sends--
		if e.cursor != from || !known {
			var held bool
			if bytes, held = v.Bytes(e.cursor, turnBytes); !held {
				s.advance(slot, e) // overrun
				if l.gone {
					return
				}
				continue
			}
			from, known = e.cursor, true
			at := s.markAt(l, from)
			events = s.ordAt(l, from+fanout.Cursor(len(bytes))) - at.Ord
			whole = at.Held && at.Next == from && from+fanout.Cursor(len(bytes)) == head
		}
		var granted fanout.Taken
		if e.flags&flagMetered != 0 {
			paid := false
			if whole {
				granted, paid = s.prepay(slot, int(events))
			}
			if !paid {
				s.advance(slot, e)
				if l.gone {
					return
				}
				continue
			}
		}
		n, errno := send(e.fd, bytes)
		s.stats.sends++
		if n == len(bytes) && errno == 0 && e.cursor+fanout.Cursor(n) == head {
			e.cursor = head
			e.sent = s.tick
			s.stats.bytes += uint64(n)
			s.stats.events += uint64(events)
			continue
		}
		if granted.Events > 0 && n < len(bytes) {
			s.giveBack(slot, e, granted, from, n)
		}
		if n == len(bytes) && errno == 0 {
			s.move(slot, e, v, n)
			s.save(slot, e)
			s.later(slot, e)
			continue
		}
		s.fellShort(slot, e, v, n, errno)
		if l.gone {
			return
		}
	}
}

// fellShort handles a send of log bytes that the kernel did not take whole.
func (s *shard) fellShort(slot uint32, e *entry, v fanout.View, n int, errno syscall.Errno) {
	if n > 0 {
		s.move(slot, e, v, n)
	}
	if errno != 0 && errno != syscall.EAGAIN {
		s.broken(slot, errno)
		return
	}
	s.stats.short++
	s.block(slot, e)
}

func (s *shard) endPass(l *roster) {
	l.running = false
	s.stats.passes++
	now := time.Now()
	s.dates = s.metrics.pass(now.Sub(l.began), now, l.log, l.aged, l.seen, s.dates)
	l.aged = l.seen
	if l.ended == "" && l.log.Closed() {
		l.ended = l.log.Ended()
	}
	if l.ended != "" {
		l.endAt = 0 // who was behind when it was looked at may have everything now
		if !l.leaving {
			l.leaving = true
			s.ending.push(l)
		}
	}
	if s.cfg.Coalesce > 0 {
		l.cool, l.warm = true, l.began.Add(s.cfg.Coalesce)
		s.cooling.push(l)
		return
	}
	if l.again {
		l.again = false
		s.enqueue(l)
	}
}

// trail is what is known of the client that was sent log bytes last: its place as of
// its cursor, which the log may have given up by now.
type trail struct {
	ref
	cursor fanout.Cursor
	sent   fanout.Sent
}

// move books n log bytes that the kernel took out of v. Where the client stands then is
// looked up at once, or read from the bytes if the log was faster.
func (s *shard) move(slot uint32, e *entry, v fanout.View, n int) {
	l, from := s.rosters[e.log], s.standing(slot, e)
	e.cursor += fanout.Cursor(n)
	e.sent = s.tick
	s.stats.bytes += uint64(n)
	at := s.markAt(l, e.cursor)
	sent, ok := fanout.Sent{At: at, Then: at}, at.Held
	if ok && at.Next > e.cursor {
		var held bool
		sent.Rest, held = v.Bytes(e.cursor, int(at.Next-e.cursor))
		sent.Then = s.markAt(l, at.Next)
		ok = held && sent.Then.Held
	}
	if !ok && from.Held && from.Next == e.cursor-fanout.Cursor(n) {
		sent, ok = from.Past(v, n, framingOf(e))
	}
	s.trail = trail{}
	if ok {
		s.trail = trail{ref{slot, e.gen}, e.cursor, sent}
	}
	if from.Held && ok {
		s.stats.events += uint64(sent.At.Ord - from.Ord)
	}
	if e.flags&flagExtra != 0 {
		s.side[slot].saved = false
	}
}

// standing returns what a client has, as remembered when it came to its cursor, else as
// the log says.
func (s *shard) standing(slot uint32, e *entry) fanout.Mark {
	if t := &s.trail; t.slot == slot && t.gen == e.gen && t.cursor == e.cursor {
		return t.sent.At
	}
	if e.flags&flagExtra != 0 {
		if x := s.side[slot]; x.saved && !x.half {
			return x.at
		}
	}
	l := s.rosters[e.log]
	if m, ok := l.stand(e.cursor); ok {
		return m
	}
	return s.markAt(l, e.cursor)
}

func framingOf(e *entry) fanout.Framing {
	if e.flags&flagChunked != 0 {
		return fanout.Chunked
	}
	return fanout.Identity
}

// endLogs ends the members of closed logs once they have everything. Who is still
// behind is ended when it has caught up.
func (s *shard) endLogs() {
	for ends := turnEnds; s.ending.len() > 0 && ends > 0; {
		l := s.ending.first()
		for !l.gone && l.endAt < len(l.members) && ends > 0 {
			slot := l.members[l.endAt]
			ends--
			e := s.slab.at(slot)
			if e.state == stLive && e.cursor >= l.log.View().Head() {
				s.tell(slot, e, l.ended) // another takes its place
				continue
			}
			l.endAt++
		}
		if l.gone || l.endAt >= len(l.members) {
			l.leaving = false
			s.ending.pop()
		}
	}
}

// markCache remembers what was looked up last: many clients stand at the same place.
type markCache struct {
	log    *fanout.Log
	cursor [2]fanout.Cursor
	mark   [2]fanout.Mark
	last   int
}

// markAt looks a cursor up in a roster's log. What it says of a cursor that is not
// above the head never changes, but for being held no longer.
func (s *shard) markAt(l *roster, c fanout.Cursor) fanout.Mark {
	k := &s.mark
	if k.log != l.log {
		*k = markCache{log: l.log}
	}
	for i := range k.cursor {
		if k.cursor[i] == c && k.mark[i].Held {
			return k.mark[i]
		}
	}
	k.last = 1 - k.last
	k.cursor[k.last], k.mark[k.last] = c, l.log.Mark(c)
	return k.mark[k.last]
}

func (s *shard) ordAt(l *roster, c fanout.Cursor) uint32 { return s.markAt(l, c).Ord }
