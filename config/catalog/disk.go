package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"sluice/internal/broker"
)

// Times of the last good copy of the bucket, for a start without a broker.
const (
	diskAfter = 2 * time.Second // without a broker at the start: the last good copy is shown
	diskEvery = 5 * time.Second
)

// keepCopies shows the last good copy if the broker takes long to answer, then writes it a while after each change, and once more when
// ctx ends.
func (m *Manager) keepCopies(ctx context.Context) {
	if m.opt.Dir == "" {
		return
	}
	late := time.NewTimer(diskAfter)
	defer late.Stop()
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-late.C:
			m.showCopy()
		case <-tick.C:
			m.saveCopy()
		case <-ctx.Done():
			m.saveCopy()
			return
		}
	}
}

func (m *Manager) saveCopy() {
	m.mu.Lock()
	rev := m.seen.rev
	if rev == m.copied || !m.loaded {
		m.mu.Unlock()
		return
	}
	m.copied = rev
	list := slices.Collect(maps.Values(m.seen.entries))
	m.mu.Unlock()
	if err := broker.WriteCopy(m.opt.Dir, schemaNow, rev, list); err != nil {
		m.log.Warn("catalog: last good copy not written", "error", err)
	}
}

// loadCopy takes what an earlier life of the node left as what is known, without showing it yet.
func (m *Manager) loadCopy() {
	if m.opt.Dir == "" {
		return
	}
	entries, err := broker.ReadCopy(m.opt.Dir, schemaNow)
	if err != nil {
		m.log.Warn("catalog: last good copy not read", "error", err)
		return
	}
	m.seen.take(entries, m.refuse)
	m.copied = m.seen.rev
}

// showCopy shows the last good copy if the broker has not answered yet.
func (m *Manager) showCopy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded || m.seen.rev == 0 {
		return
	}
	m.log.Warn("catalog: no broker yet, serving the last good copy", "apis", len(m.seen.apis), "rev", m.seen.rev)
	m.rebuild()
}
