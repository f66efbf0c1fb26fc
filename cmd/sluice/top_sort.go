package main

import (
	"cmp"
	"slices"
)

// topOrder compares two feeds; those to be seen first are less.
type topOrder func(a, b *feedReport) int

// topOrders are the orders by name. The first letter is the key on a terminal, but for state, which is t.
var topOrders = map[string]topOrder{
	"clients": func(a, b *feedReport) int { return cmp.Compare(b.edge().Clients, a.edge().Clients) },
	"events":  func(a, b *feedReport) int { return cmp.Compare(b.perSecond(), a.perSecond()) },
	"lag":     func(a, b *feedReport) int { return cmp.Compare(b.lagMs(), a.lagMs()) },
	"gaps":    func(a, b *feedReport) int { return cmp.Compare(b.gaps(), a.gaps()) },
	"age":     func(a, b *feedReport) int { return cmp.Compare(b.ageMs(), a.ageMs()) },
	"name":    func(*feedReport, *feedReport) int { return 0 },
	"state":   func(a, b *feedReport) int { return cmp.Compare(stateRank(a.State), stateRank(b.State)) },
}

func topOrderNames() []string {
	return []string{"clients", "events", "lag", "gaps", "age", "name", "state"}
}

// stateRank puts what needs a person first and what works last.
func stateRank(state string) int {
	switch state {
	case "up":
		return 2
	case "opening", "closed", "ended":
		return 1
	}
	return 0
}

// sortBy orders the feeds; equal ones stay by name, as GET /feeds lists them.
func (f *topFrame) sortBy(by topOrder) {
	slices.SortStableFunc(f.Feeds, func(a, b feedReport) int { return by(&a, &b) })
}

func (f *feedReport) edge() edgeReport {
	if f.Edge == nil {
		return edgeReport{LastEventAgeMs: -1}
	}
	return *f.Edge
}

func (f *feedReport) perSecond() float64 { return max(f.EventsPerSecond, f.edge().EventsPerSecond) }
func (f *feedReport) lagMs() int64       { return max(f.LagMs, f.edge().LagMs) }
func (f *feedReport) gaps() uint64       { return f.Markers + f.edge().Gaps }

// ageMs is since the newest event, −1 = none is known.
func (f *feedReport) ageMs() int64 {
	a, b := f.LastEventAgeMs, f.edge().LastEventAgeMs
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}
