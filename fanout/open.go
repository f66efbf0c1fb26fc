package fanout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/internal/broker"
)

const (
	demandTries = 3
	demandWait  = 300 * time.Millisecond
	verdictWait = 2 * time.Second // for the upstream's word on a cold feed
	floorWait   = 2 * time.Second // for a replica to show the tail that the owner named
)

// open connects the feed: live first, then the owner's word on its tail, then what
// the broker holds, so that nothing falls between them.
func (f *Feed) open(ctx context.Context) {
	err := f.connect(ctx)
	if err == nil {
		f.mu.Lock()
		done := f.settle(false)
		f.repairing, f.why = !done, "open"
		f.log.Publish()
		f.mu.Unlock()
		if !done {
			f.repair(ctx)
		}
		f.mu.Lock()
		if f.phase != phaseSynced {
			err = fmt.Errorf("feed %s: closed while opening: %w", f.id, ErrUnavailable)
		}
		f.mu.Unlock()
	}
	f.hub.openEnded(f, err)
}

func (f *Feed) connect(ctx context.Context) error {
	if err := f.lane.add(ctx, f); err != nil {
		return fmt.Errorf("feed %s: subscribe: %w: %w", f.id, ErrUnavailable, err)
	}
	tail, err := f.ask(ctx)
	if err != nil {
		return err
	}
	var last [1]broker.Position
	var pause backoff
	for began := time.Now(); ; {
		err := f.hub.direct.LastOf(ctx, f.id.API, []broker.FeedID{f.id}, last[:])
		if err != nil {
			return fmt.Errorf("feed %s: find its end: %w: %w", f.id, ErrUnavailable, err)
		}
		if last[0].Seq >= tail || time.Since(began) > floorWait {
			break
		}
		if err := sleep(ctx, pause.next(200*time.Millisecond)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cur = last[0]
	f.forgetBacklog() // nobody watched the feed while it was not held
	f.log.Restart(f.cur)
	return nil
}

// ask tells the owner that the feed is wanted here and returns the sequence of its
// last event as far as the owner says; 0 = nobody answered. A feed on demand waits
// a moment for what its upstream says.
func (f *Feed) ask(ctx context.Context) (uint64, error) {
	r, ok := f.request(ctx)
	switch {
	case !ok:
		return 0, nil
	case r.Refused == "cap":
		return 0, fmt.Errorf("feed %s: %w", f.id, ErrRefusedCap)
	case r.Refused != "":
		return 0, fmt.Errorf("feed %s: refused, %s: %w", f.id, r.Refused, ErrNoSuchFeed)
	}
	f.mu.Lock()
	f.hear(r.Beacon, time.Now())
	f.mu.Unlock()
	if f.onDemand {
		return r.Beacon.Seq, f.awaitVerdict(ctx)
	}
	return r.Beacon.Seq, nil
}

// request sends dem.open until somebody answers.
func (f *Feed) request(ctx context.Context) (broker.DemandReply, bool) {
	var r broker.DemandReply
	body, err := json.Marshal(broker.DemandOpen{V: 1, Edge: f.hub.cfg.Node, Boot: f.hub.cfg.Boot, Want: f.demand})
	if err != nil {
		return r, false
	}
	for range demandTries {
		wait, cancel := context.WithTimeout(ctx, demandWait)
		answer, err := f.hub.bus.Request(wait, broker.SubjectDemandOpen, body)
		cancel()
		switch {
		case err == nil && json.Unmarshal(answer, &r) == nil && r.V == 1:
			return r, true
		case ctx.Err() != nil, errors.Is(err, broker.ErrUnavailable):
			return broker.DemandReply{}, false // nobody listens: the list repairs it
		}
	}
	return broker.DemandReply{}, false
}

// awaitVerdict waits until the upstream of a feed that was just opened has said
// something. Only a clear no is an error.
func (f *Feed) awaitVerdict(ctx context.Context) error {
	late := time.NewTimer(verdictWait)
	defer late.Stop()
	for {
		f.mu.Lock()
		state, held := f.beacon.State, f.beacon.Seq
		if f.heard == nil {
			f.heard = make(chan struct{})
		}
		heard := f.heard
		f.mu.Unlock()
		switch {
		case state == broker.StateMissing && held == 0:
			return fmt.Errorf("feed %s: upstream has none: %w", f.id, ErrNoSuchFeed)
		case state != broker.StateOpening && state != "":
			return nil
		}
		select {
		case <-heard:
		case <-late.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
