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
)

// announce sends the list of feeds on demand that have subscribers here, every 5 s
// ± 10 %, until ctx ends. A last, empty one tells the owners to linger and close.
func (h *Hub) announce(ctx context.Context) error {
	sent := false
	for {
		wait := demandEvery + time.Duration(rand.Int64N(int64(demandEvery/5))) - demandEvery/10
		if sleep(ctx, wait) != nil {
			if sent {
				h.sendDemand(nil)
			}
			return nil
		}
		want := h.demands()
		if len(want) > 0 || sent {
			h.sendDemand(want)
		}
		sent = len(want) > 0
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

// sendDemand sends the list in parts of bounded size.
func (h *Hub) sendDemand(want []broker.Demand) {
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
			return
		}
	}
}
