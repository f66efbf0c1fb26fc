package ingest

import (
	"context"
	"time"

	"sluice/config/catalog"
	"sluice/ingest/lease"
	"sluice/internal/broker"
)

// apply takes a new snapshot. Feeds whose definition is the same run on untouched.
func (s *Supervisor) apply(hard context.Context, snap *catalog.Snapshot) {
	if s.draining {
		return
	}
	s.snap = snap
	s.out.sweep()
	s.always = make(map[broker.FeedID]*def)
	for _, r := range snap.AlwaysOn() {
		d := s.out.define(r)
		s.always[d.id] = d
	}
	s.mu.Lock()
	for id, t := range s.table {
		if t.def = s.demandedDef(t.def); t.def == nil || s.always[id] != nil {
			delete(s.table, id)
		}
	}
	s.mu.Unlock()
	s.place(hard)
}

// demandedDef returns the new definition of a feed on demand, nil if the snapshot has it no more: its API is gone, or its
// topic, even if another one would match the path now.
func (s *Supervisor) demandedDef(old *def) *def {
	r, err := s.snap.Feed(old.ref)
	if err != nil || r.API.Topic(old.topic) == nil {
		return nil
	}
	return s.out.define(r)
}

// wanted returns the definition of a feed that is to run somewhere; nil if nobody wants it.
func (s *Supervisor) wanted(id broker.FeedID) *def {
	if d := s.always[id]; d != nil {
		return d
	}
	if t := s.table[id]; t != nil && len(t.wanted) > 0 {
		return t.def
	}
	return nil
}

// known is wanted, and what lingers.
func (s *Supervisor) known(id broker.FeedID) *def {
	if t := s.table[id]; t != nil && s.always[id] == nil {
		return t.def
	}
	return s.always[id]
}

// mayPlan says that this node knows enough of the others.
func (s *Supervisor) mayPlan() bool {
	return s.snap != nil && (s.members == nil || s.members.Settled() && s.book.Loaded())
}

// place makes the plan anew and brings what runs here in line with it.
func (s *Supervisor) place(hard context.Context) {
	if !s.mayPlan() {
		return
	}
	s.stale = false
	if s.book != nil {
		s.owners = s.book.All()
	}
	if s.plan == nil {
		s.began = time.Now()
	}
	s.plan = lease.NewPlan(s.planned(), s.wants())
	for id, f := range s.feeds {
		if s.known(id) == nil {
			s.end(f)
		} else if s.lost(f) {
			f.w.doubt()
		}
	}
	unplaced := 0
	each := func(id broker.FeedID, d *def) {
		if s.plan.Of(id).Owner == "" && !s.draining {
			unplaced++
		}
		s.settle(hard, id, d)
	}
	for id, d := range s.always {
		each(id, d)
	}
	for id, t := range s.table {
		each(id, t.def)
	}
	if unplaced != s.unplaced && unplaced > 0 {
		s.log.Error("feeds not started: no node has room", "feeds", unplaced, "max", s.maxFeeds)
	}
	s.unplaced = unplaced
}

// outdate has a new plan made soon.
func (s *Supervisor) outdate() {
	if !s.stale {
		s.stale = true
		s.soon.Reset(planSoon)
	}
}

// planned is the nodes to plan with.
func (s *Supervisor) planned() []lease.Node {
	if s.members == nil {
		return []lease.Node{{Name: s.name, Capacity: s.maxFeeds}}
	}
	nodes := s.members.Nodes()
	if !s.draining {
		return nodes
	}
	others := nodes[:0]
	for _, n := range nodes {
		if n.Name != s.name {
			others = append(others, n)
		}
	}
	return others
}

// wants is every feed that runs or is to run anywhere.
func (s *Supervisor) wants() []lease.Want {
	out := make([]lease.Want, 0, len(s.always)+len(s.table))
	add := func(id broker.FeedID) { out = append(out, lease.Want{Feed: id, Holder: s.holder(id)}) }
	for id := range s.always {
		add(id)
	}
	for id := range s.table {
		add(id)
	}
	for id := range s.owners { // lingers elsewhere
		if s.known(id) == nil && s.elsewhere(id) {
			add(id)
		}
	}
	return out
}

// holder is the live node that has a feed now, "" = none.
func (s *Supervisor) holder(id broker.FeedID) string {
	if s.elsewhere(id) {
		return s.owners[id].Node
	}
	f, h := s.feeds[id], s.owners[id]
	if f != nil && !f.stopping || f == nil && h.Node == s.name && h.Boot == s.boot {
		return s.name
	}
	return ""
}

// elsewhere says that another node that lives owns a feed.
func (s *Supervisor) elsewhere(id broker.FeedID) bool {
	h := s.owners[id]
	if h.Node == "" || h.Node == s.name && h.Boot == s.boot || s.members == nil {
		return false
	}
	f := s.feeds[id]
	if f != nil && f.w.st.ownedAt() > h.Epoch {
		return false // known here before the book tells
	}
	return s.members.Alive(h.Node, h.Boot)
}

// lost says that another node has taken a feed that this one believes to own.
func (s *Supervisor) lost(f *feed) bool {
	h, epoch := s.owners[f.w.id], f.w.st.ownedAt()
	return epoch != 0 && h.Epoch > epoch && h.Node != "" && (h.Node != s.name || h.Boot != s.boot)
}

// settle does what the plan says of one feed that is wanted.
func (s *Supervisor) settle(hard context.Context, id broker.FeedID, d *def) {
	at := s.plan.Add(id)
	f, mine := s.feeds[id], at.Owner == s.name
	if f == nil && mine && !s.draining && !s.elsewhere(id) && s.wanted(id) != nil {
		f = s.start(hard, d)
	}
	if f == nil {
		return
	}
	f.w.st.backedBy(at.Standby)
	if f.w.def.Load() != d {
		f.w.redefine(d)
	}
	if f.stopping || mine {
		return
	}
	if f.w.st.ownedAt() == 0 {
		s.end(f) // whoever is to have it takes it
	}
}

func (s *Supervisor) start(hard context.Context, d *def) *feed {
	f := &feed{w: newWorker(&s.node, d)}
	s.mu.Lock()
	s.feeds[d.id] = f
	s.mu.Unlock()
	s.tellLoad()
	go func() { // awaited by the loop, which takes it from exits
		f.w.run(hard)
		s.exits <- f
	}()
	return f
}

// end stops a feed's worker; exited follows.
func (s *Supervisor) end(f *feed) {
	f.stopping = true
	f.w.stop()
}

// exited takes a feed whose worker has returned off the list, and starts it again if it is wanted here.
func (s *Supervisor) exited(hard context.Context, f *feed) {
	id := f.w.id
	s.mu.Lock()
	delete(s.feeds, id)
	if t := s.table[id]; t != nil && len(t.wanted) == 0 {
		delete(s.table, id)
	}
	s.mu.Unlock()
	s.tellLoad()
	if f.given {
		s.moving--
		s.gave(f)
	}
	if f.given || s.draining {
		s.balance(hard) // there is room for the next one
	}
	if s.draining {
		return
	}
	if d := s.wanted(id); d != nil && s.plan != nil {
		s.settle(hard, id, d)
	}
	s.outdate()
}

// tellLoad lets the next beat say how many feeds run here.
func (s *Supervisor) tellLoad() {
	if s.members != nil {
		s.members.Tell(len(s.feeds), s.draining)
	}
}

// fence lets go of all upstreams if this node's beats do not come back. Each feed goes on once its lease is confirmed.
func (s *Supervisor) fence() {
	now := s.members.Standing()
	if now.Fences > s.standing.Fences {
		s.met.fencedSelf(now.Fences - s.standing.Fences)
	}
	s.standing = now
	for _, f := range s.feeds {
		if now.Fenced {
			f.w.fence()
		} else {
			signal(f.w.wake)
		}
	}
}

// Bounds of tidying.
const (
	tidyAfter = 20 * time.Second // of planning: until then edges have said what they want
	tidyEvery = 10 * time.Second
	tidyMost  = 256 // entries at once
)

// tidy gives back entries that nobody needs: of feeds that this node does not run, and of feeds that nobody wants whose
// owner is gone.
func (s *Supervisor) tidy(hard context.Context) {
	if s.book == nil || s.plan == nil || s.draining || time.Since(s.began) < tidyAfter || time.Since(s.tidied) < tidyEvery ||
		!s.tidying.CompareAndSwap(false, true) {
		return
	}
	s.tidied = time.Now()
	var gone []lease.Lease
	for id, h := range s.owners {
		ours := h.Node == s.name && h.Boot == s.boot
		switch {
		case s.feeds[id] != nil, ours && s.wanted(id) != nil && s.plan.Of(id).Owner == s.name:
			continue
		case !ours && (s.wanted(id) != nil || s.elsewhere(id) || s.plan.First(id) != s.name):
			continue
		}
		if gone = append(gone, lease.Lease{Feed: id, Epoch: h.Epoch}); len(gone) == tidyMost {
			break
		}
	}
	s.chores.Go(func() {
		defer s.tidying.Store(false)
		for _, l := range gone {
			if err := s.leaser.Release(hard, l, false); err != nil {
				s.log.Debug("entry of a feed nobody wants not removed", "feed", l.Feed.String(), "err", err)
				return
			}
		}
	})
}
