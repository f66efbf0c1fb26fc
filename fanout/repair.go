package fanout

import (
	"context"
	"time"

	"sluice/internal/broker"
)

const (
	lagTime   = 2 * time.Second // how long a replica may lag before its word is final
	repairMax = time.Second     // longest pause between two reads of a repair
)

// backoff grows from 20 ms to a bound.
type backoff time.Duration

func (b *backoff) next(bound time.Duration) time.Duration {
	*b = backoff(min(max(2*time.Duration(*b), 20*time.Millisecond), bound))
	return time.Duration(*b)
}

// sleep waits d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repair reads from the broker what the log lacks, appends it, and lets live events
// go on. It runs alone for its feed, and until the feed is synced or gone: nothing
// is ever skipped.
func (f *Feed) repair(ctx context.Context) {
	span := f.beginRepair()
	defer f.endRepair(span)
	var pause backoff
	var told bool       // one line per trouble
	stuck := time.Now() // since when nothing was won
	for {
		f.mu.Lock()
		from := f.cur
		f.overflowed, f.asked = false, len(f.kept)
		f.mu.Unlock()
		won, done, err := f.repairOnce(ctx, span, from, time.Since(stuck) > lagTime)
		switch {
		case done || ctx.Err() != nil:
			return
		case err != nil && !told:
			told = true
			f.hub.logger.Warn("feed repair", "feed", f.id.String(), "err", err)
		case won:
			pause, stuck, told = 0, time.Now(), false
			continue
		}
		if sleep(ctx, pause.next(repairMax)) != nil {
			return
		}
	}
}

// repairOnce makes one step from the position from. late means that a replica had
// its time. won = the log grew or changed, done = synced or gone.
func (f *Feed) repairOnce(ctx context.Context, span *repairSpan, from broker.Position, late bool) (won, done bool, err error) {
	var b broker.Block
	if err = f.readDirect(ctx, span, broker.From{Seq: max(from.Seq, 1)}, &b); err != nil {
		return false, f.gone(), err
	}
	first, err := f.hub.direct.FirstSeq(ctx, f.id.API)
	if err != nil {
		return false, f.gone(), err
	}
	if len(b.Messages) == 0 && from.Seq > 0 {
		return f.repairTail(ctx, from, late)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == phaseGone {
		return false, true, nil
	}
	ms := b.Messages
	if len(ms) > 0 && from.Seq > 0 {
		m := &ms[0]
		switch v, possible := judge(from, fact{m.Position, m.Link}, first); v {
		case anchorHeld:
			ms = ms[1:]
		case anchorExpired:
			f.tell(Gap{Reason: GapExpired, From: from, To: m.Position, Possible: possible})
			f.cur = broker.Position{}
		case anchorReset, anchorUnknown:
			// Read on by time: what the old life had up to from was sent already.
			f.mu.Unlock()
			won, done, err = f.repairReset(ctx, span, from)
			f.mu.Lock()
			return won, done, err
		}
	}
	for i := range ms {
		if f.cur.Seq > 0 && ms[i].Link != f.cur.Seq {
			f.tell(Gap{Reason: GapStoreLoss, From: f.cur, To: ms[i].Position})
		}
		f.append(&ms[i])
	}
	if late && len(ms) == 0 {
		f.giveUp()
	}
	done = !b.More && f.settle(true)
	f.log.Publish()
	return len(ms) > 0, done, nil
}

// settle ends the repair if live links up with what was read and the feed's known
// tail is reached.
func (f *Feed) settle(held bool) bool {
	if f.overflowed || f.cutting || !f.release(held) || f.target > f.cur.Seq {
		return false
	}
	f.synced()
	return true
}

// giveUp forgets what was named or received live and is not in the store even now:
// it is of another life. Were it only late, the next live event would not link up.
func (f *Feed) giveUp() {
	f.target = 0
	f.dropKept()
}

func (f *Feed) synced() {
	f.phase, f.repairing, f.target, f.behind = phaseSynced, false, 0, 0
}

// repairTail judges an answer without any event at or after the newest one held:
// all of them expired, the replica lags, or the tail was lost.
func (f *Feed) repairTail(ctx context.Context, from broker.Position, late bool) (won, done bool, err error) {
	var last [1]broker.Position
	if err := f.hub.direct.LastOf(ctx, f.id.API, []broker.FeedID{f.id}, last[:]); err != nil {
		return false, f.gone(), err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == phaseGone {
		return false, true, nil
	}
	if last[0].IsZero() { // all of them expired
		if late {
			f.giveUp()
		}
		done = f.settle(false)
		f.log.Publish()
		return f.cur != from, done, nil
	}
	lost := f.keptBack() || late && !f.confirmed(from)
	if !lost || last[0].Seq >= from.Seq {
		return false, false, nil
	}
	f.restart(Gap{Reason: GapReset, From: from, Possible: true, Doubles: true}, last[0])
	f.target = 0
	done = f.settle(false)
	f.log.Publish()
	return true, done, nil
}

// confirmed reports whether the owner has named p or a later event just now.
func (f *Feed) confirmed(p broker.Position) bool {
	return time.Since(f.beaconAt) < 15*time.Second && f.beacon.Seq >= p.Seq
}

// repairReset goes on by time in another life of the log.
func (f *Feed) repairReset(ctx context.Context, span *repairSpan, from broker.Position) (won, done bool, err error) {
	var b broker.Block
	if err := f.readDirect(ctx, span, broker.From{Micros: from.Micros + 1}, &b); err != nil {
		return false, f.gone(), err
	}
	var last [1]broker.Position
	if len(b.Messages) == 0 {
		if err := f.hub.direct.LastOf(ctx, f.id.API, []broker.FeedID{f.id}, last[:]); err != nil {
			return false, f.gone(), err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == phaseGone {
		return false, true, nil
	}
	g := Gap{Reason: GapReset, From: from, Possible: true, Doubles: true}
	if len(b.Messages) > 0 {
		g.To = b.Messages[0].Position
	}
	f.restart(g, last[0])
	f.target = 0
	for i := range b.Messages {
		if i > 0 && b.Messages[i].Link != f.cur.Seq {
			f.tell(Gap{Reason: GapStoreLoss, From: f.cur, To: b.Messages[i].Position})
		}
		f.append(&b.Messages[i])
	}
	done = !b.More && f.settle(true)
	f.log.Publish()
	return true, done, nil
}

// readDirect reads for the feed itself: ahead of clients' backlog.
func (f *Feed) readDirect(ctx context.Context, span *repairSpan, from broker.From, b *broker.Block) error {
	if err := f.hub.repairs.take(ctx, f.id.API); err != nil {
		return err
	}
	defer f.hub.repairs.give()
	err := f.hub.direct.Read(ctx, f.id, from, b)
	span.read(b)
	return err
}

func (f *Feed) gone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.phase == phaseGone
}

// suspect has the log checked against the broker: a client knows an event that it
// does not.
func (f *Feed) suspect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == phaseSynced {
		f.dirty("client ahead")
	}
}

// doubt is for who found an event behind the log's end that does not follow it: the log may be late, but the backlog may also
// be of a life that is over, which nobody has noticed.
func (f *Feed) doubt() {
	f.mu.Lock()
	now := time.Now()
	again := now.Sub(f.doubted) >= doubtEvery
	if again {
		f.doubted = now
	}
	f.mu.Unlock()
	if again {
		f.suspect()
		f.forgetBacklog()
	}
}
