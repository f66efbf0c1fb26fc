//go:build linux

package shard

import (
	"syscall"

	"sluice/fanout"
)

// maxThrown is how many bytes a client may send after its request.
const maxThrown = 16 << 10

// linger is how long a client may take to close after our side is shut down.
const lingerTicks = 10

// throwAway reads what a client sent, which means nothing. It reports whether the
// client is still there.
func (s *shard) throwAway(slot uint32, e *entry) bool {
	n, errno := receive(e.fd, s.trash)
	switch {
	case errno == syscall.EAGAIN:
		return true
	case errno != 0:
		s.broken(slot, errno)
		return false
	case n == 0:
		s.gone(slot, e)
		return false
	}
	if thrown := int(e.thrown) + n; thrown <= maxThrown {
		e.thrown = uint16(thrown)
		return true
	}
	if e.state == stClosing {
		s.finish(slot, e, true)
		return false
	}
	s.drop(slot, e, fanout.EndAbuse, true)
	return false
}

// gone ends a client that closed its side; a half-close is one too.
func (s *shard) gone(slot uint32, e *entry) {
	if e.state == stClosing {
		s.finish(slot, e, false)
		return
	}
	s.drop(slot, e, fanout.EndClient, false)
}

// broken ends a client whose socket failed. It is ended on first sight: the event
// would repeat for ever.
func (s *shard) broken(slot uint32, errno syscall.Errno) {
	e := s.slab.at(slot)
	if e.state == stClosing {
		s.finish(slot, e, true)
		return
	}
	switch errno {
	case 0, syscall.ECONNRESET, syscall.EPIPE:
		s.drop(slot, e, fanout.EndClient, false)
	default:
		s.drop(slot, e, fanout.EndError, true)
	}
}

// drop closes a client's socket now; hard throws away what the kernel still holds.
func (s *shard) drop(slot uint32, e *entry, r fanout.Reason, hard bool) {
	end := s.endOf(slot, e, r)
	s.leave(e)
	s.release(slot, e, end, hard)
}

// shut begins a graceful close: what was sent still arrives. The socket is still
// watched, as a close with unread input would make the kernel reset the connection.
func (s *shard) shut(slot uint32, e *entry, r fanout.Reason) {
	end := s.endOf(slot, e, r)
	s.leave(e)
	if shutdownWrite(e.fd) != nil {
		s.release(slot, e, end, false) // the client is gone already
		return
	}
	e.state = stClosing
	x := s.extra(slot, e)
	*x = extra{end: end}
	s.closing.push(due{ref{slot, e.gen}, s.tick + lingerTicks})
	if e.flags&flagOut != 0 {
		s.arm(slot, e, false)
	}
}

// finishClosing closes those whose time is over.
func (s *shard) finishClosing() {
	for s.closing.len() > 0 && s.closing.first().tick <= s.tick {
		d := s.closing.pop()
		if e := s.slab.at(d.slot); e.gen == d.gen {
			s.finish(d.slot, e, false)
		}
	}
}

// finish ends a closing client.
func (s *shard) finish(slot uint32, e *entry, hard bool) {
	s.release(slot, e, s.side[slot].end, hard)
}

func (s *shard) release(slot uint32, e *entry, end fanout.End, hard bool) {
	fd, meta := e.fd, e.meta
	s.freeExtra(slot, e)
	delete(s.gaps, slot)
	s.slab.release(slot) // the generation changes before the descriptor is closed
	if hard {
		closeHard(fd)
	} else {
		closeSoft(fd)
	}
	s.stats.ends[end.Reason]++
	s.over = append(s.over, ended{meta, end})
}

// tell ends a client with the end bytes of r, at an entry boundary: the rest of a
// begun event goes first. Who cannot take it all at once is told nothing, nor is who must
// not even get what the kernel holds.
func (s *shard) tell(slot uint32, e *entry, r fanout.Reason) {
	if r == fanout.EndRevokedHard {
		s.drop(slot, e, r, true)
		return
	}
	if e.state == stBlocked {
		s.shut(slot, e, r)
		return
	}
	b, ok := s.restOfEntry(slot, e)
	if !ok {
		s.shut(slot, e, r)
		return
	}
	rest := len(b)
	b = appendFramed(b, s.cfg.EndBytes(nil, r), e.flags)
	if e.flags&flagChunked != 0 {
		b = append(b, fanout.LastChunk...)
	}
	if len(b) == 0 {
		s.shut(slot, e, r)
		return
	}
	n, errno := send(e.fd, b)
	s.stats.sends++
	s.stats.bytes += uint64(n)
	e.extra += uint64(max(0, n-rest))
	if n >= rest {
		s.sentRest(slot, e, rest)
	} else {
		e.extra += uint64(n)
	}
	if errno != 0 && errno != syscall.EAGAIN {
		s.broken(slot, errno)
		return
	}
	s.shut(slot, e, r)
}

// restOfEntry copies to scratch what is missing of the entry a client is in; false if
// it cannot be had.
func (s *shard) restOfEntry(slot uint32, e *entry) ([]byte, bool) {
	b := s.scratch[:0]
	if e.flags&flagExtra != 0 {
		x := s.side[slot]
		b = append(b, x.owed...)
		if x.block != nil {
			return append(b, x.block.Bytes[x.off:int(x.block.MarkAt(x.off).Next)]...), true
		}
		if x.then != thenGoOn || x.saved {
			return b, true
		}
	}
	sent, known := s.sentTo(slot, e)
	return append(b, sent.Rest...), known
}

// sentRest books what restOfEntry gave: n bytes.
func (s *shard) sentRest(slot uint32, e *entry, n int) {
	if e.flags&flagExtra != 0 {
		x := s.side[slot]
		n -= len(x.owed)
		e.extra += uint64(len(x.owed))
		x.owed, x.half = nil, false
		if x.block != nil {
			x.off += n
			e.extra += uint64(n)
			return
		}
	}
	e.cursor += fanout.Cursor(n)
}

// endOf sums a client up.
func (s *shard) endOf(slot uint32, e *entry, r fanout.Reason) fanout.End {
	end := fanout.End{Reason: r, Bytes: uint64(e.cursor) + e.extra, Gaps: s.gaps[slot]}
	events := e.events
	m := fanout.Mark{Held: true}
	var x *extra
	if e.flags&flagExtra != 0 {
		x = s.side[slot]
	}
	l := s.rosters[e.log]
	switch {
	case x != nil && x.block != nil:
		m = x.block.MarkAt(x.off)
		if m.Pos.IsZero() {
			m.Pos = x.at.Pos
		}
		events += m.Ord
	case x != nil && x.then == asked:
		m = x.at // events does not depend on the cursor
	case x != nil && x.half:
		m = s.markAt(l, e.cursor-1) // the last event is not whole yet
		if !m.Held {
			m = fanout.Mark{Ord: x.at.Ord - 1, Held: x.saved}
		}
		events += m.Ord
	default:
		m = s.standing(slot, e)
		if !m.Held && x != nil && x.saved {
			m = x.at
		}
		events += m.Ord
	}
	if m.Held && events > 0 {
		end.Events, end.Last = uint64(events), m.Pos
	}
	return end
}

// closeClients closes everybody at once.
func (s *shard) closeClients() {
	for slot := range s.slab.top {
		e := s.slab.at(slot)
		switch e.state {
		case stFree:
		case stClosing:
			s.finish(slot, e, false)
		default:
			s.drop(slot, e, fanout.EndDrain, true)
		}
	}
}

// closeAll ends the shard: whoever is left is closed, who comes later is refused.
func (s *shard) closeAll() {
	for _, m := range s.in.close() {
		if m.join != nil {
			s.joins.push(m.join)
		}
	}
	for s.joins.len() > 0 {
		j := s.joins.pop()
		closeSoft(j.fd)
		s.over = append(s.over, ended{j.sub.Meta, fanout.End{Reason: fanout.EndDrain}})
	}
	s.closeClients()
	s.report()
	s.copyStats()
}
