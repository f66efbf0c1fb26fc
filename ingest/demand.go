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

// demanded is a feed on demand, wherever it runs.
type demanded struct {
	def    *def
	wanted map[string]want // by edge: who wants it
}

// want is one edge's interest.
type want struct {
	boot  string
	until time.Time
}

// demand is one message from an edge: a feed it opens, or one part of the list of all it wants.
type demand struct {
	edge, boot string
	open       *broker.Demand
	reply      func([]byte) error
	list       *broker.DemandList
}

// hear subscribes to all that others say to this node. Handlers only decode and hand over.
func (s *Supervisor) hear() (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	subscribe := []func() (func(), error){s.hearDemand}
	if s.members != nil {
		subscribe = append(subscribe, s.hearHands, s.hearAsks)
	}
	for _, f := range subscribe {
		one, err := f()
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, one)
	}
	return stop, nil
}

// hearDemand subscribes to demand.
func (s *Supervisor) hearDemand() (stop func(), err error) {
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

// demand does what an edge asks. Every node notes what all edges want; only the one that has a feed, or is to have it, answers.
func (s *Supervisor) demand(hard context.Context, d demand) {
	if s.snap == nil || s.draining {
		return // nothing is known yet, or no more: no answer is better than a wrong one
	}
	if d.open != nil {
		f, refused := s.open(hard, *d.open, d.edge, d.boot)
		s.answer(f, refused, d.reply)
		return
	}
	named := make(map[broker.FeedID]bool, len(d.list.Feeds))
	for _, want := range d.list.Feeds {
		s.open(hard, want, d.edge, d.boot)
		named[refOf(want).ID()] = true
	}
	if d.list.Parts <= 1 {
		s.forget(d.edge, func(id broker.FeedID, _ want) bool { return !named[id] })
		return
	}
	s.forget(d.edge, func(_ broker.FeedID, w want) bool { return w.boot != d.boot })
}

func refOf(d broker.Demand) catalog.FeedRef {
	return catalog.FeedRef{API: d.API, Version: d.Version, Path: d.Path, Query: d.Query}
}

// forget ends an edge's interest in the feeds for which gone says so.
func (s *Supervisor) forget(edge string, gone func(broker.FeedID, want) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.table {
		if w, ok := t.wanted[edge]; ok && gone(id, w) {
			delete(t.wanted, edge)
		}
	}
}

// open notes that an edge wants a feed, starting it if it is to run here; or says why not. Without either another node has
// the word.
func (s *Supervisor) open(hard context.Context, want broker.Demand, edge, boot string) (f *feed, refused string) {
	ref := refOf(want)
	id := ref.ID()
	if d := s.always[id]; d != nil && d.ref == ref {
		return s.speaking(id), ""
	}
	t := s.table[id]
	if t == nil || t.def.ref != ref {
		r, err := s.snap.Feed(ref)
		switch {
		case err != nil || want.Topic != "" && r.Topic.Name != want.Topic:
			return nil, s.spoken(id, refusedTopic)
		case s.onDemand(ref) >= r.API.Spec.Limits.MaxFeeds, s.plan != nil && s.plan.Add(id).Owner == "":
			return nil, s.spoken(id, refusedCap)
		}
		t = s.enter(s.out.define(r))
	}
	s.want(t, id, edge, boot)
	if s.plan == nil {
		return nil, ""
	}
	if s.feeds[id] == nil {
		s.settle(hard, id, t.def)
	}
	return s.speaking(id), ""
}

// speaking is a feed that runs here and that no other node owns; nil if there is none.
func (s *Supervisor) speaking(id broker.FeedID) *feed {
	if s.elsewhere(id) {
		return nil
	}
	return s.feeds[id]
}

// spoken is a refusal, if it is this node that has to tell it.
func (s *Supervisor) spoken(id broker.FeedID, refused string) string {
	if s.plan == nil || s.plan.First(id) != s.name {
		return ""
	}
	return refused
}

// onDemand counts the feeds of one API that are not always on, in the whole cluster.
func (s *Supervisor) onDemand(ref catalog.FeedRef) int {
	n := 0
	for _, t := range s.table {
		if t.def.ref.API == ref.API && t.def.ref.Version == ref.Version {
			n++
		}
	}
	api := ref.ID().API
	for id := range s.owners { // those that linger elsewhere, or of which no edge has told this node yet
		if id.API == api && s.table[id] == nil && s.always[id] == nil && s.elsewhere(id) {
			n++
		}
	}
	return n
}

// enter puts a feed on demand into the table.
func (s *Supervisor) enter(d *def) *demanded {
	t := &demanded{def: d, wanted: map[string]want{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table[d.id] = t
	return t
}

// want notes an edge's interest for the next while.
func (s *Supervisor) want(t *demanded, id broker.FeedID, edge, boot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := t.wanted[edge]; !known && len(t.wanted) >= maxEdges {
		return
	}
	t.wanted[edge] = want{boot: boot, until: time.Now().Add(wantTime)}
	if f := s.feeds[id]; f != nil {
		f.idle = time.Time{}
	}
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
	for id, t := range s.table {
		for edge, w := range t.wanted {
			if now.After(w.until) {
				delete(t.wanted, edge)
			}
		}
		f := s.feeds[id]
		switch {
		case len(t.wanted) > 0:
			continue
		case f == nil:
			delete(s.table, id)
			s.outdate()
			continue
		case f.idle.IsZero():
			f.idle = now
		}
		if !f.stopping && now.Sub(f.idle) >= t.def.linger {
			s.end(f)
		}
	}
}
