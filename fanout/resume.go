package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/broker"
)

// find judges the position p by the log or, if p is below it or in a hole that it told,
// by what the broker holds. The spot is set unless the verdict is anchorReset, -Unknown or -Ahead.
func (s place) find(ctx context.Context, p broker.Position) (at spot, v verdict, possible bool, err error) {
	for range lagTries {
		m, rel := s.log.after(p)
		switch rel {
		case Exact:
			return s.mark(m), anchorHeld, false, nil
		case Reset:
			return spot{}, anchorReset, true, nil
		case Foreign:
			return spot{}, anchorUnknown, true, nil
		case Ahead:
			if !s.log.Last().IsZero() {
				return spot{}, anchorAhead, true, nil
			}
			at, v, possible, err = s.noneStored(ctx, p)
		default:
			at, v, possible, err = s.findStored(ctx, p)
		}
		if !errors.Is(err, errLagging) {
			return at, v, possible, err
		}
		if err := sleep(ctx, lagPause); err != nil {
			return spot{}, 0, false, err
		}
	}
	return spot{}, 0, false, errLagging
}

// findStored judges p by the first event stored at or after it.
func (s place) findStored(ctx context.Context, p broker.Position) (spot, verdict, bool, error) {
	e, err := s.from(ctx, p.Seq)
	if err != nil {
		return spot{}, 0, false, err
	}
	if !e.ok() {
		return s.noneStored(ctx, p)
	}
	first, err := s.f.hub.direct.FirstSeq(ctx, s.f.id.API)
	if err != nil {
		return spot{}, 0, false, err
	}
	v, possible := judge(p, e.fact(), first)
	if v != anchorHeld {
		return s.spotAt(e), v, possible, nil
	}
	n, err := s.behind(ctx, e)
	if err != nil {
		return spot{}, 0, false, err
	}
	if !n.ok() {
		return s.noneStored(ctx, p)
	}
	at := s.spotAt(n)
	if at.start.Block != nil && n.block == e.block {
		at.start.Offset = int(e.block.index[e.i].end) // a hole between them is told there
	} else {
		at.lost = n.fact().link != p.Seq
	}
	return at, v, possible, nil
}

// noneStored judges p when nothing behind it is stored although the log ends behind
// it, or is empty: either everything has expired, or the replica lags.
func (s place) noneStored(ctx context.Context, p broker.Position) (spot, verdict, bool, error) {
	var last [1]broker.Position
	if err := s.f.hub.direct.LastOf(ctx, s.f.id.API, []broker.FeedID{s.f.id}, last[:]); err != nil {
		return spot{}, 0, false, err
	}
	if !last[0].IsZero() {
		return spot{}, 0, false, errLagging
	}
	first, err := s.f.hub.direct.FirstSeq(ctx, s.f.id.API)
	if err != nil {
		return spot{}, 0, false, err
	}
	end, err := s.f.hub.direct.LastSeq(ctx, s.f.id.API)
	if err != nil {
		return spot{}, 0, false, err
	}
	x := s.log.extent()
	switch b, _ := s.f.State(); {
	case p.Seq < first, p.Seq > end: // made anew, or it lost its tail
		return spot{}, anchorReset, true, nil
	case x.last.IsZero() && b.Seq == p.Seq && b.Micros == p.Micros:
		return s.end(), anchorTrimmed, false, nil
	case x.last.IsZero():
		return s.end(), anchorExpired, true, nil
	}
	return s.mark(s.log.next(p)), anchorExpired, x.floor.IsZero() || p.Seq > x.floor.Seq, nil
}

// await gives an id that is ahead of the log a moment: the client may come from a
// node that was faster.
func (s place) await(ctx context.Context, p broker.Position) (spot, verdict, bool, error) {
	s.f.suspect()
	late := time.NewTimer(aheadWait)
	defer late.Stop()
	for {
		grown := s.log.Wait()
		if _, rel := s.log.After(p); rel != Ahead || s.log.Closed() {
			return s.find(ctx, p)
		}
		select {
		case <-grown:
		case <-late.C:
			return spot{}, anchorAhead, true, nil
		case <-ctx.Done():
			return spot{}, 0, false, ctx.Err()
		}
	}
}

// Resume implements Next: it finds where a reader goes on that was sent everything
// up to p. While the broker is away it tries for 30 s.
func (f *Feed) Resume(ctx context.Context, p broker.Position, fr Framing) (Start, error) {
	ctx, cancel := context.WithTimeout(ctx, resumeWait)
	defer cancel()
	var pause backoff
	for {
		s := f.place(fr)
		at, gap, result, err := s.steady(ctx, func() (spot, *Gap, string, error) { return s.resume(ctx, p) })
		if err == nil {
			return f.goOn(at, gap, result, p, fr), nil
		}
		if sleep(ctx, pause.next(repairMax)) != nil || f.log.Closed() {
			return Start{}, fmt.Errorf("feed %s: resume: %w: %w", f.id, ErrUnavailable, err)
		}
	}
}

// goOn makes the start of a reader in mid-stream. Anything but an exact place, or
// one behind what expired meanwhile, means that backlog and log did not meet.
func (f *Feed) goOn(at spot, gap *Gap, result string, p broker.Position, fr Framing) Start {
	if result != ResultExact && result != ResultExpired {
		f.hub.met.mismatched()
		f.hub.logger.Error("hand-over mismatch", "feed", f.id.String(), "seq", p.Seq, "found", result)
	}
	start := at.start
	if gap == nil {
		return start
	}
	f.tellGap(gap.Reason)
	start.Gap = AppendGap(nil, *gap)
	if fr == Chunked {
		start.Gap = AppendChunk(nil, start.Gap)
	}
	return start
}

// ResumeAsync implements Next.
func (f *Feed) ResumeAsync(p broker.Position, fr Framing, done func(Start, error)) {
	ok := f.hub.spawn(func(ctx context.Context) { done(f.Resume(ctx, p, fr)) })
	if !ok {
		go done(Start{}, ErrUnavailable) // the caller may hold what done needs
	}
}

var _ Next = (*Feed)(nil)
