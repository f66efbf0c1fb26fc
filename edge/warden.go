package edge

import (
	"context"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
)

// Times of the warden: streams whose definition is gone end within two seconds. Those that a new default version moves have moveOver.
const (
	cutOver     = time.Second // ends are spread over it
	secondLook  = time.Second // joins that began before a change are caught by it
	reasonStays = fanout.Reason("")
)

// verdict is why the streams of one place end, by the client's side of the
// transport; "" = they stay.
type verdict struct{ http, https fanout.Reason }

// warden ends the streams that a change of the catalog no longer allows, and leaves
// the others alone, until ctx ends.
func (s *Server) warden(ctx context.Context) {
	changes := s.catalog.Watch(ctx)
	moving := moves{}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case snap, open := <-changes:
			if !open {
				return
			}
			s.judge(snap, moving, false)
			again = time.After(secondLook)
		case <-again:
			again = nil
			snap := s.catalog.Snapshot()
			s.judge(snap, moving, true)
			s.closeGone(snap)
		}
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
	both := func(r fanout.Reason) verdict { return verdict{r, r} }
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
	// No stream has a credential yet, so a topic that needs one refuses all of them.
	if route.Topic.Security != catalog.SecurityNone {
		return both(endAccessChanged)
	}
	if p.key.byDef && !api.Spec.Default && !snap.KeepsClients(api.Name(), api.Version()) {
		return both(endVersionMoved)
	}
	v := verdict{reasonStays, reasonStays}
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
