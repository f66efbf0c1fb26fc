package ingest

import (
	"context"
	"encoding/json"
	"time"

	"sluice/ingest/lease"
	"sluice/internal/broker"
)

// Bounds of handing over.
const (
	balanceRate = 5 // feeds per second that only balance
	maxMoving   = 4 // hand-overs under way
	offerTime   = time.Second
	promiseTime = 5 * time.Second  // that a feed may take to come after its offer was accepted
	offerPause  = 10 * time.Second // before a feed that was refused is offered again
	maxHand     = 64 << 10         // bytes of one message
)

// handed is a message of a node that hands a feed to this one.
type handed struct {
	m     broker.Hand
	reply func([]byte) error
}

// offered is what became of an offer.
type offered struct {
	f     *feed
	to    lease.Node
	taken bool
}

// hearHands subscribes to what other nodes hand over.
func (s *Supervisor) hearHands() (stop func(), err error) {
	return s.bus.Subscribe(broker.HandSubject(s.name), func(_ string, body []byte, reply func([]byte) error) {
		h := handed{reply: reply}
		if len(body) > maxHand || json.Unmarshal(body, &h.m) != nil || h.m.V != 1 {
			return
		}
		select {
		case s.hands <- h:
		default: // the other node gives the feed back, or the book tells
		}
	})
}

// handed answers an offer, or starts a feed that is this node's now.
func (s *Supervisor) handed(hard context.Context, h handed) {
	id, ok := broker.ParseFeedID(h.m.Feed)
	if !ok {
		return
	}
	d, why := s.accept(id, h.m)
	if h.m.Epoch == 0 {
		s.met.handed("offered")
		if d != nil {
			s.promised[id] = time.Now().Add(promiseTime)
		}
		s.reply(h.reply, broker.HandReply{V: 1, Taken: d != nil, Why: why})
		return
	}
	delete(s.promised, id)
	holder := lease.Holder{Node: s.name, Boot: s.boot, Epoch: h.m.Epoch}
	s.note(id, holder)
	switch f := s.feeds[id]; {
	case d == nil:
		s.log.Warn("feed given to this node is not wanted here", "feed", id.String(), "from", h.m.Node, "why", why)
		s.chores.Go(func() { // not more at once than the givers have under way
			if err := s.leaser.Release(hard, lease.Lease{Feed: id, Epoch: holder.Epoch}, false); err != nil {
				s.log.Warn("feed not given back", "feed", id.String(), "err", err)
			}
		})
	case f == nil && s.owners[id].Epoch == holder.Epoch:
		s.met.handed("received")
		s.start(hard, d)
	}
}

// breakPromises forgets feeds that were offered and have not come.
func (s *Supervisor) breakPromises() {
	for id, until := range s.promised {
		if time.Now().After(until) {
			delete(s.promised, id)
		}
	}
}

// accept returns the definition of a feed that another node offers or gives; nil and why if it is not taken. A feed on demand
// counts as wanted until the edges have had time to say so.
func (s *Supervisor) accept(id broker.FeedID, m broker.Hand) (*def, string) {
	switch {
	case s.draining:
		return nil, "draining"
	case s.plan == nil:
		return nil, "starting"
	case s.stands().Fenced:
		return nil, "fenced"
	case s.feeds[id] == nil && len(s.feeds) >= s.maxFeeds:
		return nil, "full"
	}
	if d := s.always[id]; d != nil {
		return d, ""
	}
	t := s.table[id]
	if t == nil {
		ref := refOf(m.Want)
		r, err := s.snap.Feed(ref)
		if err != nil || ref.ID() != id {
			return nil, "unknown"
		}
		t = s.enter(s.out.define(r))
	}
	s.want(t, id, "node "+m.Node, m.Boot)
	return t.def, ""
}

// reply sends an answer as JSON.
func (s *Supervisor) reply(reply func([]byte) error, v any) {
	if reply == nil {
		return
	}
	body, err := json.Marshal(v)
	if err == nil {
		err = reply(body)
	}
	if err != nil {
		s.log.Debug("answer not sent", "err", err)
	}
}

// balance hands over feeds that the plan has elsewhere: all while this node drains, else few at a time and only those that
// can be moved without a gap.
func (s *Supervisor) balance(hard context.Context) {
	if s.plan == nil || s.members == nil {
		return
	}
	for id, f := range s.feeds {
		if f.stopping || f.offered {
			continue
		}
		to, ok := s.nodeOf(s.plan.Of(id).Owner)
		switch {
		case s.draining && (!ok || f.w.st.ownedAt() == 0 || s.wanted(id) == nil):
			s.end(f)
		case !ok || to.Name == s.name || s.moving >= maxMoving || f.w.st.ownedAt() == 0:
		case s.draining:
			s.offer(hard, f, to)
		case s.wanted(id) != nil && f.w.st.movable() && time.Now().After(f.stays) && s.pace.Allow():
			s.offer(hard, f, to)
		}
	}
}

// nodeOf finds a node that takes part.
func (s *Supervisor) nodeOf(name string) (lease.Node, bool) {
	for _, n := range s.members.Nodes() {
		if n.Name == name && n.Name != "" {
			return n, true
		}
	}
	return lease.Node{}, false
}

// offer asks a node to take a feed; answered follows.
func (s *Supervisor) offer(hard context.Context, f *feed, to lease.Node) {
	f.offered = true
	s.moving++
	body, err := json.Marshal(s.handOf(f, 0))
	go func() { // awaited by the loop, which takes its word from offers
		o := offered{f: f, to: to}
		if err == nil {
			ctx, cancel := context.WithTimeout(hard, offerTime)
			defer cancel()
			var r broker.HandReply
			answer, err := s.bus.Request(ctx, broker.HandSubject(to.Name), body)
			o.taken = err == nil && json.Unmarshal(answer, &r) == nil && r.V == 1 && r.Taken
		}
		s.offers <- o
	}()
}

func (s *Supervisor) handOf(f *feed, epoch uint64) broker.Hand {
	d := f.w.def.Load()
	return broker.Hand{V: 1, Node: s.name, Boot: s.boot, Feed: f.w.id.String(), Epoch: epoch, Want: broker.Demand{
		API: d.ref.API, Version: d.ref.Version, Topic: d.topic, Path: d.ref.Path, Query: d.ref.Query}}
}

// answered goes on with a feed that was offered: its worker stores what it has and gives the lease away, then exited follows.
func (s *Supervisor) answered(hard context.Context, o offered) {
	f := o.f
	f.offered = false
	switch {
	case f.stopping:
		s.moving--
	case !o.taken:
		s.moving--
		s.met.handed("refused")
		if s.draining {
			s.end(f) // whoever the plan names finds it free
			return
		}
		f.stays = time.Now().Add(offerPause)
	default:
		f.stopping, f.given = true, true
		f.w.give(o.to)
	}
	if s.draining {
		s.balance(hard)
	}
}

// gave tells the node that a feed was given to that it was. That message may be lost: the book tells, too.
func (s *Supervisor) gave(f *feed) {
	id, h := f.w.id, f.w.gave
	if h.Node == "" {
		s.met.handed("failed")
		return
	}
	s.met.handed("given")
	body, err := json.Marshal(s.handOf(f, h.Epoch))
	if err == nil {
		err = s.bus.Publish(broker.HandSubject(h.Node), body)
	}
	if err != nil {
		s.log.Debug("hand-over not told", "feed", id.String(), "to", h.Node, "err", err)
	}
	s.note(id, h)
}

// note enters what is known of an owner before the book tells it.
func (s *Supervisor) note(id broker.FeedID, h lease.Holder) {
	s.book.Note(id, h)
	if s.owners[id].Epoch < h.Epoch {
		s.owners[id] = h
	}
}
