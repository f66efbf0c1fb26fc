package fanout

import (
	"time"

	"sluice/internal/broker"
)

// FeedStatus is what one feed does on this node, for status pages.
type FeedStatus struct {
	Feed   broker.FeedID
	Demand broker.Demand // the feed in catalog terms
	State  string        // joining, synced, or repairing while something is missing

	Clients   int
	Events    uint64  // that the log got since the feed is held here
	PerSecond float64 // of them, over the last seconds
	Gaps      uint64  // told: once for all in the feed, or to one client at its resume
	LogBytes  int64
	Ages      []Age // of events when clients here had been given them; since the feed is held here

	Last broker.Position // newest event here
	Lag  time.Duration   // since when stored events are known to be missing here; 0 = complete

	Owner broker.Beacon // the owner's last word; zero = none yet
	Heard time.Time     // when it came
}

// String is the name of a phase in metrics and on status pages.
func (p phase) String() string {
	return [...]string{phaseJoining: "joining", phaseSynced: "synced", phaseDirty: "repairing", phaseGone: "gone"}[p]
}

// label is what an API is called in metrics: like everywhere, by name and version.
func label(w *Want) string {
	if w.Demand.API == "" {
		return w.Feed.API
	}
	return w.Demand.API + "@" + w.Demand.Version
}

// Status lists what the feeds held do. The list is made anew.
func (h *Hub) Status() []FeedStatus {
	feeds := h.list()
	list := make([]FeedStatus, len(feeds))
	h.mu.Lock()
	for i, f := range feeds {
		list[i].Clients = f.refs
	}
	h.mu.Unlock()
	now := time.Now()
	for i, f := range feeds {
		f.fill(&list[i], now)
	}
	return list
}

func (f *Feed) fill(s *FeedStatus, now time.Time) {
	p, lag := f.lag(now)
	s.Feed, s.Demand, s.State, s.Lag, s.LogBytes, s.Gaps = f.id, f.demand, p.String(), lag, f.log.Held(), f.gaps.Load()
	s.Ages = f.log.Ages()
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Events, s.PerSecond = f.events, f.pace.PerSecond(now)
	s.Last, s.Owner, s.Heard = f.cur, f.beacon, f.beaconAt
}

// lag is the feed's phase, and since when it has been missing something.
func (f *Feed) lag(now time.Time) (phase, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == phaseSynced || f.phase == phaseGone {
		return f.phase, 0
	}
	return f.phase, now.Sub(f.wanting)
}

// API is what the feed's API is called in metrics: name@version.
func (f *Feed) API() string { return f.api }

// Opened is since when this node has held the feed.
func (f *Feed) Opened() time.Time { return f.born }

// tellGap counts a gap that is told.
func (f *Feed) tellGap(r GapReason) {
	f.gaps.Add(1)
	f.hub.met.gap(f.api, string(r))
}
