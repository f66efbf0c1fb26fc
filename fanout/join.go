package fanout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/internal/broker"
)

const (
	aheadWait  = 2 * time.Second  // for an id that this node has not seen yet
	resumeWait = 30 * time.Second // for the broker, in mid-stream
	lifeTries  = 10               // a place is looked for while the log turns out to be restored
	lagTries   = 3                // reads of a replica that lags behind the log
	lagPause   = 50 * time.Millisecond
	doubtEvery = time.Second // between two times that a feed's backlog is given up for being ahead of its log
)

var errLagging = errors.New("replica lags behind the log")

// Join places one client in a feed. It opens the feed if need be and returns once
// the place is known: errors can still be answered with a status. Release what it
// returns once the client is gone.
func (h *Hub) Join(ctx context.Context, w Want) (*Joined, error) {
	f, err := h.acquire(ctx, &w)
	if err != nil {
		return nil, err
	}
	s := f.place(w.Framing)
	p, gap, result, err := s.steady(ctx, func() (spot, *Gap, string, error) { return s.start(ctx, &w) })
	if err != nil {
		h.release(f)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("feed %s: find the client's place: %w: %w", f.id, ErrUnavailable, err)
	}
	j := &Joined{Feed: f, Log: f.logFor(w.Framing), Start: p.start, Result: result, Behind: s.behindBy(p).events,
		Traces: f.traces(p.start.Block)}
	if gap != nil {
		j.Gap, j.Reason = AppendGap(nil, *gap), gap.Reason
		f.tellGap(gap.Reason)
	}
	return j, nil
}

// steady looks for a place until log and blocks were of one life all the while and the log is not too late for it.
func (s place) steady(ctx context.Context, look func() (spot, *Gap, string, error)) (p spot, gap *Gap, result string, err error) {
	for try, early := 0, 0; ; try++ {
		life := s.log.life()
		p, gap, result, err = look()
		if err == nil && s.log.life() != life {
			err = errOtherLife
		}
		switch {
		case errors.Is(err, errOtherLife) && try < lifeTries:
		case err == nil && p.early && early < lagTries:
			if early++; early == 1 {
				s.f.doubt()
			}
			if err := sleep(ctx, lagPause); err != nil {
				return p, nil, "", err
			}
		default:
			return p, gap, result, err
		}
	}
}

// start finds where w begins, what is told before, and how a resume went.
func (s place) start(ctx context.Context, w *Want) (spot, *Gap, string, error) {
	result := ResultNone
	var gap *Gap
	at, p, err := w.At, spot{}, error(nil)
	switch {
	case at.Kind == AtBadID:
		gap, result, at = &Gap{Reason: GapUnknown, Possible: true}, ResultUnknown, w.Else
		p, err = s.plain(ctx, &at)
	case at.Kind == AtID && at.Pos.Seq == 0:
		p, gap, err = s.bookmark(ctx, at.Pos.Micros+1)
		result = ResultExact
		if gap != nil {
			result = ResultExpired
		}
	case at.Kind == AtSince:
		p, gap, err = s.bookmark(ctx, at.Micros)
	case at.Kind == AtID:
		p, gap, result, err = s.resume(ctx, at.Pos)
		if result == ResultUnknown && err == nil {
			at = w.Else
			p, err = s.plain(ctx, &at)
		}
	default:
		p, err = s.plain(ctx, &at)
	}
	if err != nil || at.Kind == AtLive {
		return p, gap, result, err
	}
	p, cut, err := s.within(ctx, p, w, at.Kind)
	if err != nil || cut == "" {
		return p, gap, result, err
	}
	if gap == nil {
		gap = &Gap{Reason: cut}
		if at.Kind == AtID && at.Pos.Seq > 0 {
			gap.From = at.Pos
		}
	}
	gap.To = p.next
	if cut == GapBacklogLimit {
		gap.Reason, gap.Possible, result = cut, false, ResultLimit
	} else if result == ResultExact {
		result = ResultExpired
	}
	return p, gap, result, nil
}

// within moves p forward to what the topic keeps and one resume carries, and says
// what must be told of that. A start without id means what is kept: only more than
// one resume carries is told then.
func (s place) within(ctx context.Context, p spot, w *Want, kind AtKind) (spot, GapReason, error) {
	var cut GapReason
	move := func(q spot, err error, told GapReason) error {
		if err == nil && (q.next.IsZero() || q.next.Seq > p.next.Seq) {
			p, p.lost = q, false
			if kind == AtID || kind == AtSince || told == GapBacklogLimit && kind != AtLast {
				cut = told
			}
		}
		return err
	}
	if oldest := time.Now().Add(-w.Retention.MaxAge).UnixMicro(); w.Retention.MaxAge > 0 && !p.next.IsZero() && p.next.Micros < oldest {
		q, _, err := s.since(ctx, oldest)
		if err := move(q, err, GapExpired); err != nil {
			return p, "", err
		}
	}
	if n := w.Retention.MaxEvents; n > 0 && s.behindBy(p).events > n {
		q, err := s.newest(ctx, int(min(n, math.MaxInt32)), 0)
		if err := move(q, err, GapExpired); err != nil {
			return p, "", err
		}
	}
	far := s.behindBy(p)
	if n := w.MaxEvents; n > 0 && far.events > n || w.MaxBytes > 0 && far.bytes > w.MaxBytes {
		if n <= 0 {
			n = math.MaxInt32
		}
		q, err := s.newest(ctx, int(min(n, far.events, math.MaxInt32)), w.MaxBytes)
		if err := move(q, err, GapBacklogLimit); err != nil {
			return p, "", err
		}
	}
	return p, cut, nil
}

// distance is how far a spot is behind: exact in the log, at most so much in a block.
type distance struct{ events, bytes int64 }

func (s place) behindBy(p spot) distance {
	x := s.log.extent()
	if p.next.IsZero() {
		return distance{}
	}
	if b := p.start.Block; b != nil && p.next.Seq <= x.last.Seq {
		n := int64(x.last.Seq - p.next.Seq + 1)
		each := int64(len(b.Bytes)/max(1, b.events()) + 1)
		return distance{n, n * each * 2}
	}
	c := p.start.Cursor
	m, end := s.log.Mark(c), s.log.Mark(x.head)
	return distance{int64(end.Ord - m.Ord), int64(x.head - min(c, x.head))}
}

// plain finds a start that needs no id.
func (s place) plain(ctx context.Context, at *At) (spot, error) {
	switch at.Kind {
	case AtEarliest:
		if s.log.extent().floor.IsZero() {
			return s.begin(), nil
		}
		first, err := s.f.hub.direct.FirstSeq(ctx, s.f.id.API)
		if err != nil {
			return spot{}, err
		}
		e, err := s.from(ctx, first)
		if err != nil || !e.ok() {
			return s.end(), err
		}
		return s.spotAt(e), nil
	case AtLast:
		return s.newest(ctx, max(1, at.N), 0)
	case AtSince:
		p, _, err := s.since(ctx, at.Micros)
		return p, err
	}
	return s.end(), nil
}

// bookmark finds the first event at or after a time, and tells if some may be gone.
func (s place) bookmark(ctx context.Context, micros int64) (spot, *Gap, error) {
	p, whole, err := s.since(ctx, micros)
	if err != nil || whole {
		return p, nil, err
	}
	return p, &Gap{Reason: GapExpired, To: p.next, Possible: true}, nil
}

// resume finds what follows the event p, which a client says it has.
func (s place) resume(ctx context.Context, p broker.Position) (spot, *Gap, string, error) {
	if p.IsZero() {
		return s.resumeAtFirst(ctx)
	}
	at, v, possible, err := s.find(ctx, p)
	if err == nil && v == anchorAhead {
		if at, v, possible, err = s.await(ctx, p); v == anchorAhead {
			v = anchorReset
		}
	}
	if err != nil {
		return at, nil, "", err
	}
	switch v {
	case anchorExpired:
		return at, &Gap{Reason: GapExpired, From: p, To: at.next, Possible: possible}, ResultExpired, nil
	case anchorReset:
		at, _, err = s.since(ctx, p.Micros+1)
		return at, &Gap{Reason: GapReset, From: p, To: at.next, Possible: true, Doubles: true}, ResultReset, err
	case anchorUnknown:
		return s.end(), &Gap{Reason: GapUnknown, Possible: true}, ResultUnknown, nil
	}
	at.start.At.Pos = p
	var gap *Gap
	if at.lost {
		gap = &Gap{Reason: GapStoreLoss, From: p, To: at.next}
	}
	return at, gap, ResultExact, nil
}

// resumeAtFirst is for a reader of a feed that had no event when it came: the first
// event ever is next.
func (s place) resumeAtFirst(ctx context.Context) (spot, *Gap, string, error) {
	e, err := s.from(ctx, 1)
	switch {
	case err != nil:
		return spot{}, nil, "", err
	case !e.ok():
		return s.begin(), nil, ResultExact, nil
	case e.fact().link != 0:
		return s.spotAt(e), &Gap{Reason: GapExpired, To: e.fact().pos, Possible: true}, ResultExpired, nil
	}
	return s.spotAt(e), nil, ResultExact, nil
}
