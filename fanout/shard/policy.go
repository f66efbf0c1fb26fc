//go:build linux

package shard

import (
	"math"
	"slices"

	"sluice/fanout"
)

// maxOwed bounds what is copied for one client. The rest of a longer event is not: its
// segment, which holds little else, is kept for all who are in it.
const maxOwed = 64 << 10

// save makes a client that reads the log independent of it: the rest of a half-sent
// event is copied, and what the client then has is remembered. With policy drop there
// is nowhere else to go on.
func (s *shard) save(slot uint32, e *entry) {
	if s.policyOf(e) == fanout.Drop {
		return
	}
	if e.flags&flagExtra != 0 {
		if x := s.side[slot]; x.block != nil || x.then != thenGoOn || x.saved {
			return
		}
	}
	sent, known := s.sentTo(slot, e)
	if !known {
		return
	}
	x := s.extra(slot, e)
	if rest := len(sent.Rest); rest > 0 {
		if x.half = true; rest > maxOwed {
			x.owed = sent.Rest
		} else {
			x.owe(sent.Rest)
		}
		e.cursor += fanout.Cursor(rest)
		e.extra -= uint64(rest)
	}
	x.saved, x.at = true, sent.Then
}

// sentTo is where a client stands, with the rest of the entry it is in.
func (s *shard) sentTo(slot uint32, e *entry) (fanout.Sent, bool) {
	if t := &s.trail; t.slot == slot && t.gen == e.gen && t.cursor == e.cursor {
		return t.sent, true
	}
	l, m := s.rosters[e.log], s.standing(slot, e)
	sent := fanout.Sent{At: m, Then: m}
	if !m.Held || m.Next <= e.cursor {
		return sent, m.Held
	}
	var held bool
	sent.Rest, held = l.log.View().Bytes(e.cursor, int(m.Next-e.cursor))
	sent.Then = s.markAt(l, m.Next)
	return sent, held && sent.Then.Held
}

// checkWatched judges every blocked client, once per tick.
func (s *shard) checkWatched() {
	kept := 0
	for i := 0; i < len(s.watched); i++ {
		r := s.watched[i]
		e := s.slab.at(r.slot)
		if e.gen != r.gen {
			continue
		}
		if e.state == stBlocked {
			s.judge(r.slot, e)
		}
		if e.gen != r.gen {
			continue
		}
		if e.state != stBlocked {
			e.flags &^= flagWatched
			continue
		}
		s.watched[kept] = r
		kept++
	}
	s.watched = s.watched[:kept]
}

// judge holds a blocked client against its limits. Those of lag are for clients that
// were live: who reads backlog answers to the stall and to being overrun only.
func (s *shard) judge(slot uint32, e *entry) {
	c := &s.classes[e.class]
	if s.tick-e.block >= c.stall {
		s.drop(slot, e, fanout.EndStall, true)
		return
	}
	if e.flags&flagExtra != 0 {
		if x := s.side[slot]; x.block != nil || x.then != thenGoOn {
			return
		}
	}
	log := s.rosters[e.log].log
	v := log.View()
	if e.cursor < v.Floor() {
		s.slow(slot, e)
		return
	}
	if c.policy == fanout.Backlog || e.flags&flagCaught == 0 {
		return
	}
	lag := uint64(v.Head() - e.cursor)
	switch {
	case lag <= c.softLag:
		e.soft = 0
	case e.soft == 0:
		e.soft = s.tick
	}
	switch {
	case lag > c.lag, e.soft != 0 && s.tick-e.soft >= c.softTime:
		s.slow(slot, e)
	case c.maxAge > 0:
		if m := log.Mark(e.cursor); m.NextPos.Micros > 0 && s.now.UnixMicro()-m.NextPos.Micros > c.maxAge.Microseconds() {
			s.slow(slot, e)
		}
	}
}

// policyOf is the client's policy. Who waited for its meter goes on where it was.
func (s *shard) policyOf(e *entry) fanout.Policy {
	if e.flags&flagPaused != 0 {
		return fanout.Backlog
	}
	return s.classes[e.class].policy
}

// slow does what the policy says about a client at a limit or below the floor.
func (s *shard) slow(slot uint32, e *entry) {
	policy := s.policyOf(e)
	if e.flags&(flagSlow|flagPaused) == 0 {
		e.flags |= flagSlow
		s.stats.slow[policy]++
	}
	if e.flags&flagExtra == 0 || !s.side[slot].saved {
		s.save(slot, e)
	}
	if e.flags&flagExtra == 0 || !s.side[slot].saved {
		s.shut(slot, e, fanout.EndSlow) // drop, or nobody knows what it has
		return
	}
	e.flags &^= flagCaught
	e.soft = 0
	s.side[slot].then = thenSkip
	if policy == fanout.Backlog {
		s.side[slot].then = thenAsk
	}
}

// skip lets a client go on at the newest event, told of what it misses before. It runs
// once the client can take bytes again, so the newest event is that of now. It is sent:
// on a feed that went quiet the client would not learn the newest state for long.
func (s *shard) skip(slot uint32, e *entry, x *extra) {
	x.then = thenGoOn
	to := s.rosters[e.log].log.Newest()
	missed := to.Ord - x.at.Ord
	if to.Next <= e.cursor || missed == 0 {
		return // what it lacks is the newest event
	}
	gap := fanout.AppendGap(nil, fanout.Gap{Reason: fanout.GapSlow, From: x.at.Pos, To: to.NextPos, Missed: uint64(missed)})
	x.owe(appendFramed(nil, gap, e.flags))
	e.extra -= uint64(to.Next - e.cursor)
	e.events -= missed
	e.cursor = to.Next
	to.Pos = x.at.Pos // what it has, should it have to skip again before it is sent more
	x.at, x.saved = to, true
	s.trail = trail{}
	s.gaps[slot]++
	s.stats.gaps++
}

// maxRounds is how many blocks a client may read without coming nearer to the log, if
// that takes it longer than a stall may: a burst grows the log by more than that many
// blocks in no time, and who reads on through it is not slow.
const maxRounds = 16

// ask has the feed find where a client goes on that read its block, or that the log
// overran. The answer is a message.
func (s *shard) ask(slot uint32, e *entry, x *extra) {
	l := s.rosters[e.log]
	if x.block != nil {
		e.events += x.block.MarkAt(len(x.block.Bytes)).Ord
		x.at = fanout.Mark{Pos: x.block.Last, Held: true}
		x.block = nil
	} else {
		s.fromLog(e, x.at)
	}
	x.then, x.saved = asked, false
	e.state = stWaiting
	var far uint64
	if floor := l.log.FloorPos(); floor.Seq > x.at.Pos.Seq {
		far = floor.Seq - x.at.Pos.Seq
	}
	switch {
	case far < x.best || x.best == 0:
		x.best, x.tries, x.since = far, 0, s.tick
	default:
		x.tries = min(x.tries+1, maxRounds)
	}
	if l.next == nil {
		s.tell(slot, e, fanout.EndUnavailable)
		return
	}
	if x.tries >= maxRounds && s.tick-x.since >= s.classes[e.class].stall {
		s.shut(slot, e, fanout.EndSlow)
		return
	}
	gen := e.gen
	l.next.ResumeAsync(x.at.Pos, framingOf(e), func(at fanout.Start, err error) {
		s.in.put(message{answer: &answer{slot: slot, gen: gen, start: at, err: err}})
	})
}

// answered lets a client go on where the feed said.
func (s *shard) answered(a *answer) {
	e := s.slab.at(a.slot)
	if e.gen != a.gen || e.flags&flagExtra == 0 {
		return
	}
	x := s.side[a.slot]
	if x.then != asked || e.state == stClosing {
		return
	}
	if a.err != nil {
		s.tell(a.slot, e, fanout.EndUnavailable)
		return
	}
	pos := x.at.Pos
	s.startAt(e, x, a.start)
	if len(a.start.Gap) > 0 {
		s.gaps[a.slot]++
	}
	if x.block != nil {
		x.at.Pos = pos
	} else {
		if !x.saved { // trimmed meanwhile
			x.at = fanout.Mark{Pos: pos, Ord: x.at.Ord, Held: true}
			x.then = thenAsk
		}
	}
	if e.state == stWaiting {
		s.advance(a.slot, e)
	}
}

// sendBlock sends one slice of the client's block. It reports whether to go on.
func (s *shard) sendBlock(slot uint32, e *entry, x *extra, budget *int) bool {
	if x.off >= len(x.block.Bytes) {
		x.then = thenAsk
		return true
	}
	end := min(len(x.block.Bytes), x.off+*budget)
	var granted fanout.Taken
	if e.flags&flagMetered != 0 {
		var pays bool
		if end, granted, pays = s.grantBlock(slot, x, end); !pays {
			return s.parkDry(slot, e)
		}
	}
	b := x.block.Bytes[x.off:end]
	before := x.block.MarkAt(x.off).Ord
	n, errno := send(e.fd, b)
	s.stats.sends++
	if n > 0 {
		x.off += n
		e.extra += uint64(n)
		e.sent = s.tick
		*budget -= n
		s.stats.bytes += uint64(n)
	}
	sent := x.block.MarkAt(x.off).Ord - before
	s.stats.events += uint64(sent)
	if granted.Events > 0 && n < len(b) {
		m := x.block.MarkAt(x.off)
		s.slab.meter(slot).Give(granted, granted.Events-int(x.block.MarkAt(int(m.Next)).Ord-before))
	}
	if n == len(b) && errno == 0 {
		return true
	}
	s.fellShort(slot, e, fanout.View{}, 0, errno)
	return false
}

// grantBlock is grant for a client that reads a block, up to end.
func (s *shard) grantBlock(slot uint32, x *extra, end int) (to int, got fanout.Taken, pays bool) {
	m := x.block.MarkAt(x.off)
	if int(m.Next) > x.off {
		return min(int(m.Next), end), got, true
	}
	to, n := x.block.Boundary(x.off, end, math.MaxInt)
	if to == x.off { // larger than what may be sent at once
		to = end
		n = int(x.block.MarkAt(int(x.block.MarkAt(x.off+1).Next)).Ord - m.Ord)
	}
	if n == 0 {
		return to, got, true
	}
	got = s.slab.meter(slot).Take(n)
	if got.Events > 0 && got.Events < n {
		to, _ = x.block.Boundary(x.off, to, got.Events)
	}
	return to, got, got.Events > 0
}

// grant asks the client's meter for the events that begin in b, log bytes at its cursor, and returns what may be sent of it. An event is
// paid before its first byte: who stands within one has paid it. pays is false if there is nothing for it; held is false if the log gave
// the bytes up.
func (s *shard) grant(slot uint32, e *entry, b []byte) (may []byte, got fanout.Taken, pays, held bool) {
	log := s.rosters[e.log].log
	m := log.Mark(e.cursor)
	if !m.Held {
		return nil, got, true, false
	}
	if m.Next > e.cursor {
		return b[:min(len(b), int(m.Next-e.cursor))], got, true, true
	}
	to, n := log.Boundary(e.cursor, e.cursor+fanout.Cursor(len(b)), math.MaxInt)
	if to == e.cursor { // larger than what may be sent at once
		whole := log.Mark(log.Mark(e.cursor + 1).Next)
		to, n = e.cursor+fanout.Cursor(len(b)), int(whole.Ord-m.Ord)
		if !whole.Held {
			return nil, got, true, false
		}
	}
	if n == 0 {
		return b[:to-e.cursor], got, true, true
	}
	got = s.slab.meter(slot).Take(n)
	if got.Events > 0 && got.Events < n {
		to, _ = log.Boundary(e.cursor, to, got.Events)
	}
	return b[:to-e.cursor], got, got.Events > 0, true
}

// ahead is what a pass has taken of a meter for clients that come next: to ask for each would cost a pass of 1,000 clients that share
// a meter 2 % more.
type ahead struct {
	meter fanout.Meter
	taken fanout.Taken
}

const aheadFor = 15 // clients, beside the one whose turn it is

// settle gives back what is left of it.
func (s *shard) settle() {
	if s.ahead.taken.Events > 0 {
		s.ahead.meter.Give(s.ahead.taken, s.ahead.taken.Events)
	}
	s.ahead = ahead{}
}

// prepay takes n events of the client's meter, or none if there are fewer.
func (s *shard) prepay(slot uint32, n int) (fanout.Taken, bool) {
	if n == 0 {
		return fanout.Taken{}, true
	}
	m, h := s.slab.meter(slot), &s.ahead
	if h.meter == m && h.taken.Events >= n {
		h.taken.Events -= n
		return fanout.Taken{Events: n, Epochs: h.taken.Epochs}, true
	}
	s.settle()
	got := m.Take(n)
	if got.Events == n {
		if got.Plenty {
			h.meter, h.taken = m, m.Take(aheadFor*n)
		}
		return got, true
	}
	if got.Events > 0 {
		m.Give(got, got.Events)
	}
	return fanout.Taken{}, false
}

// giveBack returns what was taken for log bytes from a cursor on, of which the kernel took n only. An event that has begun stays paid,
// and so does everything if the log does not know any more.
func (s *shard) giveBack(slot uint32, e *entry, got fanout.Taken, from fanout.Cursor, n int) {
	log := s.rosters[e.log].log
	before, at := log.Mark(from), log.Mark(from+fanout.Cursor(n))
	begun := log.Mark(at.Next)
	if before.Held && at.Held && begun.Held {
		s.slab.meter(slot).Give(got, got.Events-int(begun.Ord-before.Ord))
	}
}

// parkDry puts a client aside whose meter gave nothing, or ends it. It reports whether to try again at once.
func (s *shard) parkDry(slot uint32, e *entry) bool {
	d := s.slab.meter(slot).Dry()
	if d.End != "" {
		s.tellWith(slot, e, d.End, d.Last(nil))
		return false
	}
	list := &s.dry
	if d.Gate != nil {
		if list = s.gates[d.Gate]; list == nil {
			s.gates[d.Gate] = new([]ref)
			d.Gate.Wait(s, func() { s.in.put(message{opened: d.Gate}) })
			return true // it may have opened before we waited
		}
	}
	e.state = stParked
	e.flags = e.flags&^flagCaught | flagPaused
	s.save(slot, e)
	if e.flags&flagDry == 0 {
		e.flags |= flagDry
		*list = s.parked(append(*list, ref{slot, e.gen}))
	}
	return false
}

// parked is a list without those who are gone, once they may be many.
func (s *shard) parked(list []ref) []ref {
	if len(list) < 1024 || len(list) < 2*s.slab.live {
		return list
	}
	return slices.DeleteFunc(list, func(r ref) bool { return s.slab.at(r.slot).gen != r.gen })
}

// opened lets all go on who waited at a gate.
func (s *shard) opened(g *fanout.Gate) {
	list := s.gates[g]
	delete(s.gates, g)
	if list == nil {
		return
	}
	for _, r := range *list {
		e := s.slab.at(r.slot)
		if e.gen != r.gen {
			continue
		}
		e.flags &^= flagDry
		if e.state == stParked {
			s.later(r.slot, e)
		}
	}
}

// retryDry asks the meters again that said when, once per tick.
func (s *shard) retryDry() {
	list := s.dry
	s.dry = nil
	for _, r := range list {
		e := s.slab.at(r.slot)
		if e.gen != r.gen {
			continue
		}
		e.flags &^= flagDry
		if e.state == stParked {
			s.advance(r.slot, e)
		}
	}
}
