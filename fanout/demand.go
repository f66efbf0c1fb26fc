package fanout

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"sluice/internal/broker"
)

const (
	demandEvery = 5 * time.Second
	demandPart  = 60 << 10 // bytes of one part of a list, below the promised 64 KiB
	// A list that is sent because demand moved waits for what moves with it, and for a
	// pause per part of the list before: comings and goings cannot flood the broker.
	demandSettle = 200 * time.Millisecond
	demandPause  = time.Second
)

// announce sends the list of feeds on demand that have subscribers here, every 5 s
// ± 10 % and soon after one got its first or lost its last, until ctx ends. An empty one
// tells the owners to linger and close.
func (h *Hub) announce(ctx context.Context) error {
	told := false          // owners may hold something open for this node
	var earliest time.Time // of the next list
	for {
		wait := demandEvery + time.Duration(rand.Int64N(int64(demandEvery/5))) - demandEvery/10
		changed := h.awaitDemand(ctx, wait)
		if changed {
			_ = sleep(ctx, max(demandSettle, time.Until(earliest))) //nolint:errcheck // ctx is looked at next
		}
		if ctx.Err() != nil {
			if told || changed {
				h.sendDemand(nil)
			}
			return nil
		}
		select {
		case <-h.demandMoved: // what moves from here on is in a later list
		default:
		}
		want := h.demands()
		if len(want) > 0 || told || changed { // an owner was asked even if all have left again
			parts := h.sendDemand(want)
			earliest = time.Now().Add(min(time.Duration(parts)*demandPause, demandEvery))
		}
		told = len(want) > 0
	}
}

// awaitDemand waits until demand has moved, which it reports, at most for the time given.
func (h *Hub) awaitDemand(ctx context.Context, most time.Duration) bool {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-h.demandMoved:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// moveDemand has the list sent soon, because f got its first subscriber or lost its last.
func (h *Hub) moveDemand(f *Feed) {
	if !f.onDemand {
		return
	}
	select {
	case h.demandMoved <- struct{}{}:
	default: // it will be
	}
}

func (h *Hub) demands() []broker.Demand {
	h.mu.Lock()
	defer h.mu.Unlock()
	var want []broker.Demand
	for _, f := range h.feeds {
		if f.onDemand && f.refs > 0 {
			want = append(want, f.demand)
		}
	}
	return want
}

// sendDemand sends the list in parts of bounded size and reports how many there are.
func (h *Hub) sendDemand(want []broker.Demand) int {
	var parts [][]broker.Demand
	size := 0
	for from, i := 0, 0; i <= len(want); i++ {
		n := 0
		if i < len(want) {
			d := want[i]
			n = len(d.API) + len(d.Version) + len(d.Topic) + 2*len(d.Path) + 2*len(d.Query) + 64
		}
		if i == len(want) || size+n > demandPart {
			parts = append(parts, want[from:i])
			from, size = i, 0
		}
		size += n
	}
	for i, p := range parts {
		body, err := json.Marshal(broker.DemandList{V: 1, Edge: h.cfg.Node, Boot: h.cfg.Boot, Part: i, Parts: len(parts), Feeds: p})
		if err == nil {
			err = h.bus.Publish(broker.SubjectDemandList, body)
		}
		if err != nil {
			h.logger.Warn("demand list not sent", "feeds", len(want), "err", err)
			break
		}
	}
	return len(parts)
}
