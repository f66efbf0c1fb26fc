package fanout

import (
	"slices"
	"sync/atomic"
)

const minWindow = 256 << 10

// budget keeps logs, indexes and blocks within the memory bound.
type budget struct {
	full   atomic.Bool  // no new feeds
	shrunk atomic.Int64 // window of new feeds while short of memory; 0 = as configured
}

func (b *budget) window(configured int) int {
	if w := b.shrunk.Load(); w > 0 {
		return min(configured, int(w))
	}
	return configured
}

// keepBudget frees what is cheapest to lose: blocks, then the far ends of the
// largest windows. What then is still too much keeps new feeds out. Windows grow
// back once a quarter is free.
func (h *Hub) keepBudget() {
	feeds := h.list()
	var logs int64
	for _, f := range feeds {
		logs += f.log.Held()
	}
	h.met.setLogBytes(logs)
	limit := h.cfg.Memory
	if limit <= 0 {
		return
	}
	if over := logs + h.blocks.bytes() - limit; over > 0 {
		h.blocks.shrink(limit - logs)
	}
	switch {
	case logs > limit:
		logs = h.shrinkWindows(feeds, logs, limit)
		h.budget.shrunk.Store(minWindow)
		h.budget.full.Store(logs > limit)
	case logs < limit/4*3 && h.budget.shrunk.Swap(0) != 0:
		h.budget.full.Store(false)
		for _, f := range feeds {
			f.log.SetWindow(h.cfg.Log.WindowBytes)
		}
	case logs < limit:
		h.budget.full.Store(false)
	}
}

// shrinkWindows halves the largest logs until limit is kept or all are small.
func (h *Hub) shrinkWindows(feeds []*Feed, logs, limit int64) int64 {
	slices.SortFunc(feeds, func(a, b *Feed) int { return int(min(max(b.log.Held()-a.log.Held(), -1), 1)) })
	for _, f := range feeds {
		held := f.log.Held()
		if logs <= limit || held <= minWindow {
			break
		}
		f.log.SetWindow(int(max(held/2, minWindow)))
		f.mu.Lock()
		f.log.Trim()
		f.mu.Unlock()
		logs -= held - f.log.Held()
	}
	return logs
}
