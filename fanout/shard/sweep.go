//go:build linux

package shard

import (
	"time"

	"sluice/fanout"
)

const (
	sweepRound = 50   // ticks in which every slot is looked at
	sweepFloor = 8192 // slots looked at per tick at least
)

const (
	heartbeat      = ":\n"
	heartbeatChunk = "2\r\n:\n\r\n"
)

// planSweep says how many slots this tick's sweep looks at: all of a small slab, a
// fiftieth of a large one, so that heartbeats of many silent clients are spread.
func (s *shard) planSweep(passed uint32) {
	share := max(s.slab.top/sweepRound+1, sweepFloor)
	s.sweepLeft = min(s.slab.top, s.sweepLeft+share*min(passed, sweepRound))
}

// sweep looks at the next slots. It reports whether some of this tick are left.
func (s *shard) sweep() bool {
	sends := turnSends
	for visits := turnSweep; visits > 0 && sends > 0 && s.sweepLeft > 0; visits-- {
		if s.sweepAt >= s.slab.top {
			s.sweepAt = 0
		}
		slot := s.sweepAt
		s.sweepAt++
		s.sweepLeft--
		e := s.slab.at(slot)
		if e.state == stFree || e.state == stClosing {
			continue
		}
		if e.end != 0 && s.tick >= e.end {
			sends--
			r := fanout.EndLifetime
			if e.flags&flagPlanned != 0 {
				r = fanout.EndMaxDuration
			}
			s.tell(slot, e, r)
			continue
		}
		if s.tick-e.sent >= s.classes[e.class].heartbeats && e.state != stBlocked {
			sends--
			s.beat(slot, e)
		}
	}
	return s.sweepLeft > 0
}

// beat sends a heartbeat to a client that stands between entries. What the socket
// does not take is owed; that it took nothing starts the stall clock.
func (s *shard) beat(slot uint32, e *entry) {
	if !s.betweenEntries(slot, e) {
		return
	}
	b := heartbeat
	if e.flags&flagChunked != 0 {
		b = heartbeatChunk
	}
	s.scratch = append(s.scratch[:0], b...)
	n, errno := send(e.fd, s.scratch)
	s.stats.sends++
	if n == len(b) {
		e.sent = s.tick
		e.extra += uint64(n)
		s.stats.bytes += uint64(n)
		return
	}
	if n > 0 {
		e.sent = s.tick
		e.extra += uint64(n)
		s.extra(slot, e).owe(s.scratch[n:])
	}
	s.fellShort(slot, e, fanout.View{}, 0, errno)
}

func (s *shard) betweenEntries(slot uint32, e *entry) bool {
	if e.flags&flagExtra != 0 {
		x := s.side[slot]
		switch {
		case len(x.owed) > 0:
			return false
		case x.block != nil:
			return int(x.block.MarkAt(x.off).Next) == x.off
		case x.then != thenGoOn:
			return true
		}
	}
	m := s.standing(slot, e)
	return m.Held && m.Next == e.cursor
}

// note is gateway bytes for a client that stood in an event when they came.
type note struct {
	ref
	bytes []byte
	until uint32 // tick at which they are given up
}

const (
	noteTicks      = 100
	notesPerClient = 16 // on average; beyond, a client that stands in an event is not told
)

// slip sends gateway bytes to a client between two events, or remembers them until it
// stands there, behind those that it remembers already. What the socket does not take is owed.
func (s *shard) slip(slot uint32, e *entry, b []byte) {
	if e.flags&flagNoted == 0 && s.slipped(slot, e, b) || len(s.notes) >= notesPerClient*s.slab.live {
		return
	}
	e.flags |= flagNoted
	s.notes = append(s.notes, note{ref{slot, e.gen}, b, s.tick + noteTicks})
}

func (s *shard) slipped(slot uint32, e *entry, b []byte) bool {
	if e.state == stBlocked || !s.betweenEntries(slot, e) {
		return false
	}
	s.scratch = appendFramed(s.scratch[:0], b, e.flags)
	b = s.scratch
	n, errno := send(e.fd, b)
	s.stats.sends++
	if n > 0 {
		e.sent = s.tick
		e.extra += uint64(n)
		s.stats.bytes += uint64(n)
	}
	if n < len(b) {
		s.extra(slot, e).owe(b[n:])
		s.fellShort(slot, e, fanout.View{}, 0, errno)
	}
	return true
}

// retryNotes looks again, once per tick, at the clients that were not told. The notes of a client stand in order,
// and while one waits those behind it do: it stands in the same event for all.
func (s *shard) retryNotes() {
	kept := 0
	for _, m := range s.notes {
		e := s.slab.at(m.slot)
		if e.gen != m.gen {
			continue
		}
		if e.state == stClosing || s.tick >= m.until || s.slipped(m.slot, e, m.bytes) {
			e.flags &^= flagNoted
			continue
		}
		e.flags |= flagNoted // whatever became of the ones before
		s.notes[kept] = m
		kept++
	}
	clear(s.notes[kept:])
	s.notes = s.notes[:kept]
}

// cut is one Engine.Cut, Drain or Tell in one shard.
type cut struct {
	why   func(meta uint32) fanout.Reason
	what  func(meta uint32) []byte // of a Tell; why is nil then
	over  time.Duration
	drain bool // who joins from now on is ended too

	next, top uint32 // how many slots were looked at, and how many there are
	step      uint32 // from one slot to the next, without divisor in common with top
	total     int    // clients when it began
	asked     int    // clients looked at
	from, to  uint32 // ticks
}

func (s *shard) beginCut(c *cut) {
	for s.joins.len() > 0 { // who was adopted before is asked about
		s.join(s.joins.pop())
	}
	s.draining = s.draining || c.drain
	c.top, c.total, c.step = s.slab.top, s.slab.live, stepOf(s.slab.top)
	c.from, c.to = s.tick, s.tick+ticks(c.over)
	s.cuts = append(s.cuts, c)
}

// stepOf is a step that leads through all of n slots, each once, and never stays among neighbours: clients that came together, as those
// of one API do, do not end together. It is the golden part of n, or the next number that has no divisor in common with it.
func stepOf(n uint32) uint32 {
	divisor := func(a, b uint32) uint32 {
		for b != 0 {
			a, b = b, a%b
		}
		return a
	}
	step := max(1, uint32(float64(n)*0.618))
	for divisor(step, n) > 1 {
		step++
	}
	return step
}

// runCuts goes on with the cuts. It reports whether some of this tick are left.
func (s *shard) runCuts() bool {
	more := false
	kept := s.cuts[:0]
	for _, c := range s.cuts {
		more = s.runCut(c) || more
		if c.next < c.top {
			kept = append(kept, c)
		}
	}
	clear(s.cuts[len(kept):])
	s.cuts = kept
	return more
}

// runCut looks at clients until as many are looked at as should be by this tick.
func (s *shard) runCut(c *cut) bool {
	goal := c.total
	if s.tick < c.to {
		goal = c.total * int(s.tick-c.from+1) / int(c.to-c.from+1)
	}
	last := s.tick >= c.to // then the rest, whatever the count
	ends := turnEnds
	for visits := turnSweep; c.next < c.top && (last || c.asked < goal); visits-- {
		if visits == 0 || ends == 0 {
			return true
		}
		slot := uint32(uint64(c.next) * uint64(c.step) % uint64(c.top)) //nolint:gosec // below top
		c.next++
		e := s.slab.at(slot)
		if e.state == stFree || e.state == stClosing {
			continue
		}
		c.asked++
		if c.what != nil {
			if b := c.what(e.meta); len(b) > 0 {
				ends--
				s.slip(slot, e, b)
			}
			continue
		}
		if r := c.why(e.meta); r != "" {
			ends--
			s.tell(slot, e, r)
		}
	}
	return false
}
