package edge

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
)

// planDue says when rights are due next: a channel that tells of it, nil if no stream's credential ends. Ends that are close together are
// one look, late by less than half of what is allowed.
func (s *Server) planDue() <-chan time.Time {
	at := s.metas.planDue(s.lookedAt.Add(dueGap))
	if at.IsZero() {
		return nil
	}
	return time.After(min(max(at.Sub(s.now()), 0), dueCap))
}

// judgeRights judges the rights for which due is true, nil = all, by what is true now: streams end, or are told that their credential
// does.
func (s *Server) judgeRights(due func(at time.Time) bool) {
	s.lookedAt = s.now()
	if due == nil {
		defer s.judged.Add(1)
	}
	if s.access == nil {
		return
	}
	rights := s.metas.rightsInUse(due)
	if len(rights) == 0 {
		return
	}
	cat, now := s.catalog.Snapshot(), s.now()
	gone, each, reauth := map[*right]fanout.Reason{}, map[*right]ask{}, map[*right][]byte{}
	places := map[*place]ask{}
	for _, r := range rights {
		x, known := places[r.place]
		if !known {
			x = s.askAt(cat, r.place)
			places[r.place] = x
		}
		if x = x.of(r, now); x.api == nil {
			s.metas.judged(r, false, func() time.Time { return time.Time{} })
			continue
		}
		if why := x.end(r); why != "" {
			gone[r] = why
			continue
		}
		if due == nil && x.dependsOnClient() {
			each[r] = x
		}
		told := false
		if at := x.expires(); !at.IsZero() && !r.told && at.Sub(now) <= reauthAhead {
			reauth[r], told = appendReauth(nil, at, now), true
		}
		s.metas.judged(r, told, func() time.Time { return r.next(x) })
	}
	s.cutRights(gone, each)
	s.tellRights(reauth)
}

// askAt is what decides about the rights at a place; api nil if it needs no credential now, or ends for other reasons.
func (s *Server) askAt(cat *catalog.Snapshot, p *place) ask {
	if v := judgePlace(cat, p); v.http != "" && v.https != "" {
		return ask{}
	}
	route, err := cat.Feed(p.route.Ref())
	if err != nil || route.Topic.Security == catalog.SecurityNone {
		return ask{}
	}
	return ask{snap: s.access.Snapshot(), api: route.API, topic: route.Topic, path: route.FeedPath, issued: s.issuerNamed}
}

// of is x about one right, whoever of its clients is meant. Credentials end a little before their time.
func (x ask) of(r *right, now time.Time) ask {
	x.p, x.now = r.p, now.Add(r.early)
	return x
}

// dependsOnClient tells whether the clients of one right may be answered differently.
func (x ask) dependsOnClient() bool {
	if x.snap.DeniesAddresses() {
		return true
	}
	k := x.snap.Key(x.p.Key)
	return k != nil && len(k.AllowedIPs)+len(k.AllowedOrigins) > 0
}

// cutRights ends the streams of the rights that are gone and, of each, those whose client is where that is denied.
func (s *Server) cutRights(gone map[*right]fanout.Reason, each map[*right]ask) {
	if len(gone)+len(each) == 0 {
		return
	}
	doomed := s.metas.find(func(rec *record) fanout.Reason {
		if why := gone[rec.right]; why != "" {
			return why
		}
		x, asked := each[rec.right]
		if !asked {
			return ""
		}
		x.ip, x.origin = rec.client.addr(), rec.from.Value().origin
		return x.denied().end
	})
	if len(doomed) == 0 {
		return
	}
	why := func(meta uint32) fanout.Reason {
		d, found := doomed[meta]
		if !found || !s.metas.still(meta, d) {
			return ""
		}
		return d.why
	}
	for _, e := range s.engines() {
		e.Cut(0, why)
	}
	count := map[fanout.Reason]int{}
	for _, d := range doomed {
		count[d.why]++
	}
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		s.log.Info("stream.cut", slog.String("reason", string(reason)), slog.Int("streams", count[reason]))
	}
}

// tellRights tells the streams of rights that their credential ends.
func (s *Server) tellRights(what map[*right][]byte) {
	if len(what) == 0 {
		return
	}
	told := s.metas.find(func(rec *record) fanout.Reason {
		if what[rec.right] == nil {
			return ""
		}
		s.metrics.told(rec.place.api.ID(), "gateway.reauth", "")
		return endTokenExpired
	})
	tell := func(meta uint32) []byte {
		d, found := told[meta]
		if !found || !s.metas.still(meta, d) {
			return nil
		}
		return what[d.right]
	}
	for _, e := range s.engines() {
		e.Tell(tell)
	}
}

// recheck is asked by an engine as soon as cuts find the stream: what changed since its request was checked, and was judged before it had
// its place, ends it.
func (s *Server) recheck(q *request) func(meta uint32) fanout.Reason {
	cat, acc := q.snap, q.access
	var ends time.Time
	if q.principal != nil {
		ends = s.asked(q).expires()
	}
	return func(meta uint32) fanout.Reason {
		same := s.catalog.Snapshot() == cat && (acc == nil || s.access.Snapshot() == acc)
		if same && (ends.IsZero() || s.now().Before(ends)) {
			return ""
		}
		if acc != nil {
			s.metering.replan(s.access.Snapshot) // what the stream takes from may have been made by the plan that was
		}
		return s.reasonFor(s.metas.holderAt(meta))
	}
}

// reasonFor is why one stream must end now, "" = it stays.
func (s *Server) reasonFor(h holder) fanout.Reason {
	if h.place == nil {
		return ""
	}
	cat := s.catalog.Snapshot()
	if why := judgePlace(cat, h.place).of(h.flags, h.right); why != "" {
		return why
	}
	if h.right == nil {
		return ""
	}
	x := s.askAt(cat, h.place).of(h.right, s.now())
	if x.api == nil {
		return ""
	}
	x.ip, x.origin = h.ip, h.origin
	return x.end(h.right)
}

// end is why streams of a right must end, "" = they stay.
func (x ask) end(r *right) fanout.Reason {
	if why := x.all().end; why != "" {
		return why
	}
	if !r.deal.serves(x.deal()) {
		return endPlanChanged
	}
	return ""
}
