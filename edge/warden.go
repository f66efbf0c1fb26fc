package edge

import (
	"context"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
)

// Times of the warden: streams whose definition is gone end within two seconds. Those that a new default version moves have moveOver.
const (
	cutOver     = time.Second            // ends are spread over it
	secondLook  = time.Second            // feeds that a change took away are closed by then
	rightsGap   = 100 * time.Millisecond // between two changes of who may read
	dueGap      = 500 * time.Millisecond // between two looks at credentials that end
	dueCap      = time.Minute            // the wall clock may jump
	reasonStays = fanout.Reason("")
)

// verdict is why the streams of one place end, by the client's side of the
// transport; "" = they stay. open is of those that came without a credential.
type verdict struct{ http, https, open fanout.Reason }

// of is the part of a verdict that concerns one stream.
func (v verdict) of(f flags, r *right) fanout.Reason {
	if v.open != "" && r == nil {
		return v.open
	}
	if f&flagTLS != 0 {
		return v.https
	}
	return v.http
}

// warden ends the streams that a change of the catalog or of who may read no longer
// allows, or whose credential has ended, and leaves the others alone, until ctx ends.
func (s *Server) warden(ctx context.Context) {
	changes := s.catalog.Watch(ctx)
	moving := moves{}
	var rights <-chan *access.Snapshot
	if s.access != nil {
		rights = s.access.Watch(ctx)
	}
	var again, due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case snap, open := <-changes:
			if !open {
				return
			}
			s.judge(snap, moving, false)
			s.judgeRights(nil)
			again = time.After(secondLook)
		case <-again:
			again = nil
			snap := s.catalog.Snapshot()
			s.judge(snap, moving, true)
			s.closeGone(snap)
		case _, open := <-rights:
			if !open {
				return
			}
			s.metering.replan(s.access.Snapshot)
			s.judgeRights(nil)
			pause(ctx, rightsGap) // changes that come together are judged together
		case <-due:
			now := s.now()
			s.judgeRights(func(at time.Time) bool { return !at.IsZero() && !now.Before(at) })
		case <-s.metas.early:
		}
		due = s.planDue()
	}
}

// judge ends what snap no longer allows. second tells that it does so again, for joins that began before.
func (s *Server) judge(snap *catalog.Snapshot, moving moves, second bool) {
	verdicts := map[*place]verdict{}
	for _, p := range s.metas.inUse() {
		v := judgePlace(snap, p)
		if v != (verdict{}) {
			verdicts[p] = v
		}
	}
	for over, places := range moving.due(verdicts, s.moveOver, time.Now(), second) {
		s.cut(snap, places, over, true)
	}
	s.cut(snap, verdicts, cutOver, false)
}

// closeGone closes the feeds that nobody may read any more, so that they do not
// linger; streams that joined meanwhile end with them.
func (s *Server) closeGone(snap *catalog.Snapshot) {
	for _, p := range s.metas.inUse() {
		switch v := judgePlace(snap, p); v.http {
		case endAPIDeleted, endUndeployed, endAPIRetired, endTopicDeleted:
			s.hub.CloseFeed(p.key.feed, v.http)
		}
	}
}

// judgePlace compares a place with a snapshot.
func judgePlace(snap *catalog.Snapshot, p *place) verdict {
	both := func(r fanout.Reason) verdict { return verdict{r, r, reasonStays} }
	api := snap.API(p.api.Name(), p.api.Version())
	if api == nil {
		return both(fanout.Reason(snap.Absent(p.api.Name(), p.api.Version())))
	}
	if api.BasePath() != p.api.BasePath() {
		return both(endAPIDeleted)
	}
	switch api.Spec.State {
	case catalog.StateBlocked:
		return both(endAPIBlocked)
	case catalog.StateCreated:
		return both(endAPIUnpublished)
	case catalog.StateRetired:
		return both(endAPIRetired)
	}
	// A topic that is gone ends its streams even if a wildcard now matches the path.
	if api.Topic(p.key.topic) == nil {
		return both(endTopicDeleted)
	}
	route, err := snap.Feed(p.route.Ref())
	if err != nil {
		return both(endTopicDeleted)
	}
	if p.key.byDef && !api.Spec.Default && !snap.KeepsClients(api.Name(), api.Version()) {
		return both(endVersionMoved)
	}
	v := verdict{}
	if route.Topic.Security != catalog.SecurityNone {
		v.open = endAccessChanged
	}
	if !api.Allows(catalog.TransportHTTP) {
		v.http = endTransportClosed
	}
	if !api.Allows(catalog.TransportHTTPS) {
		v.https = endTransportClosed
	}
	return v
}

// engines are those in use.
func (s *Server) engines() []Engine {
	if s.adopter == nil {
		return []Engine{s.portable}
	}
	return []Engine{s.adopter, s.portable}
}
