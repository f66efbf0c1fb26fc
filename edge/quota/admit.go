package quota

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"sluice/internal/problem"
)

// SeatLimit is how many streams a scope may have on all edges together.
type SeatLimit struct {
	Scope string
	Limit int // 0 = no limit
}

// Want is what a client needs of what is shared before its stream may begin.
type Want struct {
	// Connects is taken from Rate; "" = not limited.
	Connects string
	Rate     Rate
	Seats    []SeatLimit
	// Buckets are those that its events come from.
	Buckets []*Bucket
	// FailOpen lets it in while the source is away.
	FailOpen bool
}

// Pass is what an admitted client holds. Whoever closes its socket gives it back, once.
type Pass struct {
	l     *Limiter
	seats []string
	gone  atomic.Bool
}

// Release gives the seats back. Later calls do nothing, nor does one of a nil Pass.
func (p *Pass) Release() {
	if p == nil || p.gone.Swap(true) {
		return
	}
	for _, s := range p.seats {
		p.l.stand(s)
	}
}

// Admit takes a connect and the seats of a client, and looks whether its quotas have ended. All of it takes Options.Patience at most; if the source
// does not answer by then, w.FailOpen decides. The error is a problem: TooManyConnections, QuotaExceeded or QuotaUnavailable, with the
// time to come back where one is known.
func (l *Limiter) Admit(ctx context.Context, w Want) (*Pass, error) {
	ctx, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	if w.Connects != "" && w.Rate.Events > 0 {
		d, err := l.src.Spend(ctx, w.Connects, w.Rate)
		l.heard(err)
		switch {
		case err != nil && !w.FailOpen:
			return nil, unavailable(err)
		case err == nil && !d.OK:
			return nil, &problem.Error{Kind: problem.TooManyConnections, Detail: "This application connects too often.", RetryAfter: max(d.RetryAfter, time.Second)}
		}
	}
	p := &Pass{l: l}
	for _, s := range w.Seats {
		if s.Limit <= 0 {
			continue
		}
		ok, err := l.sit(ctx, s.Scope, s.Limit)
		if err != nil && w.FailOpen {
			ok, err = l.sitAnyway(s.Scope, s.Limit), nil
		}
		if ok {
			p.seats = append(p.seats, s.Scope)
			continue
		}
		p.Release()
		if err != nil {
			return nil, unavailable(err)
		}
		return nil, &problem.Error{Kind: problem.TooManyConnections, Detail: "All streams that this subscription, key or application may hold are open."}
	}
	for _, b := range w.Buckets {
		if err := l.open(ctx, b, w.FailOpen); err != nil {
			p.Release()
			return nil, err
		}
	}
	return p, nil
}

// open looks whether a bucket's quota has ended. One with events has not; else the source is asked, unless it was just now.
func (l *Limiter) open(ctx context.Context, b *Bucket, failOpen bool) error {
	for {
		b.mu.Lock()
		now := time.Now()
		over := int64(now.Sub(l.began)) >= b.until.Load()
		st, answered, fresh := b.State(), b.answered, now.Before(b.after)
		down, asked := !b.downFrom.IsZero(), b.asked && !over
		have := b.have() > 0 && !over
		b.mu.Unlock()
		switch {
		case have:
			return nil
		case st.Phase == Ended && asked && fresh:
			return &problem.Error{Kind: problem.QuotaExceeded, Detail: "The quota of this window is used up.", RetryAfter: max(time.Until(st.Reset), time.Millisecond)}
		case down && !failOpen:
			return unavailable(errDown)
		case down, asked && fresh: // others may give some back: it begins parked
			return nil
		}
		b.kick()
		select {
		case <-answered:
		case <-ctx.Done():
			if failOpen {
				return nil
			}
			return unavailable(ctx.Err())
		}
	}
}

var errDown = errors.New("quota: the source is away")

func unavailable(err error) error {
	return &problem.Error{Kind: problem.QuotaUnavailable, Detail: "Quotas cannot be counted now.", Err: err}
}
