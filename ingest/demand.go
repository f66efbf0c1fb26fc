package ingest

import (
	"context"
	"encoding/json"
	"time"

	"sluice/config/catalog"
	"sluice/internal/broker"
)

// Bounds of demand.
const (
	askQueue  = 1024             // messages between the bus and the loop; those beyond are asked again
	wantTime  = 15 * time.Second // how long an edge's interest holds without being repeated
	maxEdges  = 1000             // edges that can want one feed
	maxParts  = 1024             // of one list
	maxDemand = 64 << 10         // bytes of one message
)

// Why a demand is refused.
const (
	refusedCap     = "cap"     // the API or the node runs as many feeds as it may
	refusedTopic   = "topic"   // no such API, topic or feed here
	refusedBlocked = "blocked" // the upstream may not be connected to
)

// demand is one message from an edge: a feed it opens, or one part of the list of all it wants.
type demand struct {
	edge, boot string
	open       *broker.Demand
	reply      func([]byte) error
	list       *broker.DemandList
}

// hear subscribes to demand. Handlers only decode and hand over.
func (s *Supervisor) hear() (stop func(), err error) {
	stopOpen, err := s.bus.Subscribe(broker.SubjectDemandOpen, func(_ string, body []byte, reply func([]byte) error) {
		var m broker.DemandOpen
		if len(body) > maxDemand || json.Unmarshal(body, &m) != nil || m.Edge == "" {
			return
		}
		s.ask(demand{edge: m.Edge, boot: m.Boot, open: &m.Want, reply: reply})
	})
	if err != nil {
		return nil, err
	}
	stopList, err := s.bus.Subscribe(broker.SubjectDemandList, func(_ string, body []byte, _ func([]byte) error) {
		var m broker.DemandList
		if len(body) > maxDemand || json.Unmarshal(body, &m) != nil || m.Edge == "" || m.Parts > maxParts {
			return
		}
		s.ask(demand{edge: m.Edge, boot: m.Boot, list: &m})
	})
	if err != nil {
		stopOpen()
		return nil, err
	}
	return func() { stopOpen(); stopList() }, nil
}

func (s *Supervisor) ask(d demand) {
	select {
	case s.asks <- d:
	default: // the edge asks again
	}
}

// demand does what an edge asks.
func (s *Supervisor) demand(hard context.Context, d demand) {
	if s.snap == nil {
		return // nothing is known yet: no answer is better than a wrong one
	}
	if d.open != nil {
		f, refused := s.open(hard, *d.open, d.edge, d.boot)
		s.answer(f, refused, d.reply)
		return
	}
	named := make(map[broker.FeedID]bool, len(d.list.Feeds))
	for _, want := range d.list.Feeds {
		if f, _ := s.open(hard, want, d.edge, d.boot); f != nil {
			named[f.w.id] = true
		}
	}
	if d.list.Parts <= 1 {
		s.forget(d.edge, func(f *feed, _ want) bool { return !named[f.w.id] })
		return
	}
	s.forget(d.edge, func(_ *feed, w want) bool { return w.boot != d.boot })
}

// forget ends an edge's interest in the feeds for which gone says so.
func (s *Supervisor) forget(edge string, gone func(*feed, want) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.feeds {
		if w, ok := f.wanted[edge]; ok && gone(f, w) {
			delete(f.wanted, edge)
		}
	}
}

// open notes that an edge wants a feed, starting it if need be; or says why not.
func (s *Supervisor) open(hard context.Context, want broker.Demand, edge, boot string) (f *feed, refused string) {
	ref := catalog.FeedRef{API: want.API, Version: want.Version, Path: want.Path, Query: want.Query}
	id := ref.ID()
	if f = s.feeds[id]; f != nil && f.w.def.Load().ref == ref {
		s.wants(f, edge, boot)
		return f, ""
	}
	r, err := s.snap.Feed(ref)
	if err != nil || want.Topic != "" && r.Topic.Name != want.Topic {
		return nil, refusedTopic
	}
	if !s.plan.Mine(id) {
		return nil, "" // its owner answers
	}
	if len(s.feeds) >= s.maxFeeds || s.onDemand(ref) >= r.API.Spec.Limits.MaxFeeds {
		return nil, refusedCap
	}
	f = s.start(hard, s.out.define(r))
	s.wants(f, edge, boot)
	return f, ""
}

// onDemand counts the feeds of one API that are not always on.
func (s *Supervisor) onDemand(ref catalog.FeedRef) int {
	n := 0
	for _, f := range s.feeds {
		if d := f.w.def.Load(); !d.always && d.ref.API == ref.API && d.ref.Version == ref.Version {
			n++
		}
	}
	return n
}

// wants notes an edge's interest for the next while.
func (s *Supervisor) wants(f *feed, edge, boot string) {
	if f.stopping {
		f.again = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := f.wanted[edge]; !known && len(f.wanted) >= maxEdges {
		return
	}
	f.wanted[edge] = want{boot: boot, until: time.Now().Add(wantTime)}
	f.idle = time.Time{}
}

// answer replies to an edge that opens a feed.
func (s *Supervisor) answer(f *feed, refused string, reply func([]byte) error) {
	if f != nil && f.w.st.blocked() {
		refused = refusedBlocked
	}
	if reply == nil || f == nil && refused == "" {
		if refused != "" {
			s.met.refuse(refused)
		}
		return
	}
	if refused == "" {
		f.w.st.answer(reply)
		return
	}
	s.met.refuse(refused)
	body, err := json.Marshal(broker.DemandReply{V: 1, Refused: refused})
	if err != nil {
		s.log.Error("demand reply", "err", err)
		return
	}
	if err := reply(body); err != nil {
		s.log.Debug("demand reply not sent", "err", err)
	}
}

// sweep lets interest that was not repeated expire, and ends feeds that nobody has wanted for their linger.
func (s *Supervisor) sweep() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.feeds {
		for edge, w := range f.wanted {
			if now.After(w.until) {
				delete(f.wanted, edge)
			}
		}
		d := f.w.def.Load()
		if d.always || f.stopping || len(f.wanted) > 0 {
			f.idle = time.Time{}
			continue
		}
		if f.idle.IsZero() {
			f.idle = now
		}
		if now.Sub(f.idle) >= d.linger {
			s.end(f)
		}
	}
}
