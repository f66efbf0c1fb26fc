package fanout

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/broker"
)

// place finds positions in one feed's order, which begins in the broker and ends in
// the log: a place is a cursor if the log has it, else an offset in a block.
type place struct {
	f   *Feed
	fr  Framing
	log *Log
}

// spot is a place and the first event behind it; zero = none yet.
type spot struct {
	start Start
	next  broker.Position
	lost  bool // a hole in the store lies right before next
	// early: the log ends before next, and next does not follow it. Either the log is late, or next is of another life.
	early bool
}

func (f *Feed) place(fr Framing) place { return place{f: f, fr: fr, log: f.logFor(fr)} }

func (s place) cursor(c Cursor) spot {
	m := s.log.Mark(c)
	m.Next = c
	return s.mark(m)
}

// mark is the place behind what m says.
func (s place) mark(m Mark) spot {
	return spot{start: Start{Cursor: m.Next, At: m}, next: m.NextPos}
}

// end is the log's head: what follows it is yet to come.
func (s place) end() spot {
	m := s.log.end()
	return spot{start: Start{Cursor: m.Next, At: m}}
}

// begin is the first byte that the log holds.
func (s place) begin() spot { return s.mark(s.log.oldest()) }

// found is an event in a block.
type found struct {
	block *Block
	i     int
}

func (e found) ok() bool { return e.block != nil }

func (e found) fact() fact {
	if !e.ok() {
		return fact{}
	}
	x := &e.block.index[e.i]
	return fact{x.pos, x.link}
}

// from finds the first event stored with a sequence of seq or more; not ok if there
// is none.
func (s place) from(ctx context.Context, seq uint64) (found, error) {
	hint := s.log.extent().density
	for {
		b, err := s.f.hub.blocks.at(ctx, s.f.id, &s.f.life, s.fr, seq, hint)
		if err != nil {
			return found{}, err
		}
		if i := b.first(seq); i < len(b.index) {
			return found{b, i}, nil
		}
		if !b.more {
			return found{}, nil
		}
		seq = max(b.to, seq+1)
	}
}

// behind finds the event behind e.
func (s place) behind(ctx context.Context, e found) (found, error) {
	for i := e.i + 1; i < len(e.block.index); i++ {
		if !e.block.index[i].told {
			return found{e.block, i}, nil
		}
	}
	n, err := s.from(ctx, max(e.block.to, e.fact().pos.Seq+1))
	if err == nil && n.ok() && n.block.life != e.block.life {
		return found{}, errOtherLife
	}
	return n, err
}

// spotAt is the place right before e: in the log if it has e or will get it next,
// else in e's block up to where the log ends. Only events that the log has passed
// are ever sent from a block.
func (s place) spotAt(e found) spot {
	p := e.fact().pos
	if m, ok := s.log.at(p); ok {
		return spot{start: Start{Cursor: m.Next, At: m}, next: p}
	}
	x := s.log.extent()
	if p.Seq > x.last.Seq {
		at := s.end()
		at.next, at.early = p, e.fact().link != x.last.Seq
		return at
	}
	off := e.block.begin(e.i)
	return spot{start: Start{Block: e.block.below(x.last.Seq + 1), Offset: off, At: Mark{Pos: e.block.MarkAt(off).Pos}}, next: p}
}

// since finds the first event stored at micros or later. whole is false if events
// of that time or later may have been trimmed.
func (s place) since(ctx context.Context, micros int64) (at spot, whole bool, err error) {
	if c, ok := s.log.Since(micros); ok {
		return s.cursor(c), true, nil
	}
	e, err := s.atTime(ctx, micros)
	if err != nil {
		return spot{}, false, err
	}
	if !e.ok() { // the log's first event is younger, and nothing is stored any more
		return s.begin(), false, nil
	}
	if e.fact().link == 0 {
		return s.spotAt(e), true, nil
	}
	before, err := s.from(ctx, e.fact().link)
	if err != nil {
		return spot{}, false, err
	}
	return s.spotAt(e), before.fact().pos.Seq == e.fact().link, nil
}

// atTime finds the first stored event of micros or later.
func (s place) atTime(ctx context.Context, micros int64) (found, error) {
	seq, err := s.f.hub.times.first(ctx, s.f, micros)
	if err != nil || seq == 0 {
		return found{}, err
	}
	e, err := s.from(ctx, seq)
	for err == nil && e.ok() && e.fact().pos.Micros < micros {
		e, err = s.behind(ctx, e)
	}
	return e, err
}

// newest finds where the newest n events begin, or fewer if those take more than
// bytes (0 = any).
func (s place) newest(ctx context.Context, n int, bytes int64) (spot, error) {
	x := s.log.extent()
	inLog := int64(x.head - x.from)
	if n <= x.events || bytes > 0 && inLog >= bytes || x.floor.IsZero() {
		c, _ := s.log.LastN(n)
		if bytes > 0 && int64(x.head-c) > bytes {
			c = s.log.Mark(x.head - Cursor(bytes)).Next
		}
		return s.cursor(c), nil
	}
	n -= x.events
	if bytes > 0 {
		bytes -= inLog
	}
	back := uint64(n)*max(1, x.density) + uint64(n)/4
	for round := 0; ; round++ {
		from, err := uint64(1), error(nil)
		if round == walkRounds {
			from, err = s.f.hub.direct.FirstSeq(ctx, s.f.id.API)
		} else if back < x.floor.Seq {
			from = x.floor.Seq - back + 1
		}
		if err != nil {
			return spot{}, err
		}
		e, total, err := s.walk(ctx, from, x.floor.Seq, n, bytes)
		switch {
		case err != nil:
			return spot{}, err
		case total < n && from > 1 && round < walkRounds:
			back *= 4
		case !e.ok():
			return s.begin(), nil
		default:
			return s.spotAt(e), nil
		}
	}
}

// walkRounds bounds how often newest looks further back before it takes all.
const walkRounds = 4

// walk counts the events from sequence from up to last and finds the one with which
// the newest n of them that fit into bytes begin.
func (s place) walk(ctx context.Context, from, last uint64, n int, bytes int64) (first found, total int, err error) {
	type run struct {
		found
		end int // entries of the run end here
	}
	var runs []run
	for seq := from; seq <= last; {
		e, err := s.from(ctx, seq)
		if err != nil {
			return found{}, 0, err
		}
		if !e.ok() || e.fact().pos.Seq > last {
			break
		}
		if len(runs) > 0 && runs[0].block.life != e.block.life {
			return found{}, 0, errOtherLife
		}
		end := e.block.first(last + 1)
		runs = append(runs, run{e, end})
		seq = e.block.to
	}
	taken := int64(0)
	for k := len(runs) - 1; k >= 0; k-- {
		r := runs[k]
		for i := r.end - 1; i >= r.i; i-- {
			x := &r.block.index[i]
			taken += int64(int(x.end) - r.block.begin(i))
			if x.told {
				continue
			}
			if total == n || bytes > 0 && taken > bytes {
				return first, max(total, n), nil
			}
			total++
			first = found{r.block, i}
		}
	}
	return first, total, nil
}

// times finds sequences by time. Reads are aligned to whole seconds, so that clients
// with different times share them.
type times struct {
	direct broker.Direct
	turns  *turns
	seqs   onceMap[timeKey, uint64]
}

type timeKey struct {
	feed   broker.FeedID
	life   uint64 // of the feed, when it was asked
	second int64
}

// first returns a sequence at or below the first event of micros or later, and not
// far below; 0 = there is none.
func (t *times) first(ctx context.Context, feed *Feed, micros int64) (uint64, error) {
	f, key := feed.id, timeKey{feed.id, feed.life.Load(), max(micros, 0) / int64(time.Second/time.Microsecond)}
	return t.seqs.get(ctx, key, func() (uint64, bool, error) {
		if err := t.turns.take(ctx, f.API); err != nil {
			return 0, false, err
		}
		defer t.turns.give()
		var b broker.Block
		from := broker.From{Micros: key.second * int64(time.Second/time.Microsecond)}
		if err := t.direct.Read(ctx, f, from, &b); err != nil {
			return 0, false, fmt.Errorf("feed %s: find time %d: %w", f, micros, err)
		}
		if len(b.Messages) == 0 {
			return 0, false, nil
		}
		return b.Messages[0].Seq, true, nil
	})
}
