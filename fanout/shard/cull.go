//go:build linux

package shard

import (
	"cmp"
	"slices"

	"sluice/fanout"
)

// laggards are at most n clients, the most lagging first. It looks at those that wait
// for their socket or have an extra, not at the whole slab.
func (s *shard) laggards(n int) []fanout.Laggard {
	type lagging struct {
		ref
		bytes uint64
	}
	var all []lagging
	look := func(slot uint32, e *entry) {
		if bytes, lags := s.lag(slot, e); lags {
			all = append(all, lagging{ref{slot, e.gen}, bytes})
		}
	}
	for _, r := range s.watched {
		if e := s.slab.at(r.slot); e.gen == r.gen && e.state == stBlocked {
			look(r.slot, e)
		}
	}
	for slot := range s.side {
		if e := s.slab.at(slot); e.state != stBlocked {
			look(slot, e)
		}
	}
	slices.SortFunc(all, func(a, b lagging) int { return cmp.Compare(b.bytes, a.bytes) })
	offer := make([]fanout.Laggard, 0, min(n, len(all)))
	for _, l := range all[:min(n, len(all))] {
		offer = append(offer, fanout.Laggard{Bytes: l.bytes, End: func() { s.in.put(message{culled: &l.ref}) }})
	}
	return offer
}

// lag is how many bytes of its feed a client was not sent, for one that reads backlog at
// least those that the log holds. It lags if it does so or if its socket is full.
func (s *shard) lag(slot uint32, e *entry) (bytes uint64, lags bool) {
	if e.state == stFree || e.state == stClosing {
		return 0, false
	}
	v := s.rosters[e.log].log.View()
	if e.flags&flagExtra != 0 {
		x := s.side[slot]
		bytes = uint64(len(x.owed))
		switch {
		case x.block != nil:
			return bytes + uint64(len(x.block.Bytes)-x.off) + uint64(v.Head()-v.Floor()), true
		case x.then == asked || x.then == thenAsk:
			return bytes + uint64(v.Head()-v.Floor()), true
		}
	}
	return bytes + uint64(v.Head()-min(e.cursor, v.Head())), e.state == stBlocked
}

// culled ends a client that a Cull chose, if it still lags. What the kernel holds for it
// is thrown away: that memory is wanted, too.
func (s *shard) culled(r ref) {
	e := s.slab.at(r.slot)
	if e.gen != r.gen {
		return
	}
	if _, lags := s.lag(r.slot, e); lags {
		s.drop(r.slot, e, fanout.EndMemory, true)
	}
}
