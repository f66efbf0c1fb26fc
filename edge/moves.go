package edge

import (
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
)

// moveOver is the time over which the clients of a former default version are sent to the new one: nothing is wrong where they are, and
// they all come back at once.
const moveOver = 30 * time.Second

// moves paces the ends of streams whose version stopped to be the default: a place is cut once over all of the time, and a second time
// over what is left of it, for joins that began before the change. Changes of the catalog meanwhile cut nothing anew. The warden owns it.
type moves map[*place]*move

// move is one place whose streams are on their way.
type move struct {
	until  time.Time
	looked bool // twice
}

// due takes the places that move out of verdicts, and returns those to cut now by the time that their ends are spread over.
func (m moves) due(verdicts map[*place]verdict, over time.Duration, now time.Time, second bool) map[time.Duration]map[*place]verdict {
	for p := range m {
		if verdicts[p].http != endVersionMoved {
			delete(m, p) // ended, or meant to stay again
		}
	}
	out := map[time.Duration]map[*place]verdict{}
	for p, v := range verdicts {
		if v.http != endVersionMoved {
			continue
		}
		delete(verdicts, p)
		is := m[p]
		switch {
		case is == nil:
			is = &move{until: now.Add(over)}
			m[p] = is
		case second && !is.looked:
			is.looked = true
		case now.Before(is.until):
			continue
		}
		left := max(is.until.Sub(now), 0)
		if out[left] == nil {
			out[left] = map[*place]verdict{}
		}
		out[left][p] = v
	}
	return out
}

// cut ends the streams of places as their verdicts say, spread over the time. moving tells that they are those of due: others never end
// for a version that moved, and they for nothing that the newest snapshot does not say.
func (s *Server) cut(snap *catalog.Snapshot, verdicts map[*place]verdict, over time.Duration, moving bool) {
	if len(verdicts) == 0 {
		return
	}
	why := func(meta uint32) fanout.Reason {
		h := s.metas.holderAt(meta)
		v := verdicts[h.place]
		if now := s.catalog.Snapshot(); now != snap && v != (verdict{}) {
			v = judgePlace(now, h.place) // asked late: who joined after an API came back stays
		}
		if !moving && v.http == endVersionMoved {
			return reasonStays // that has its own time
		}
		return v.of(h.flags, h.right)
	}
	for _, e := range s.engines() {
		e.Cut(over, why)
	}
	for p, v := range verdicts {
		s.log.Info("streams.end", "api", p.key.feed.API, "topic", p.key.topic, "feed", p.key.feed.String(),
			"http", string(v.http), "https", string(v.https), "open", string(v.open), "over", over.String())
	}
}
