package ingest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/rate"
)

// FeedStatus is what one feed of this node does, for GET /feeds. Ages are in milliseconds, instants RFC 3339.
type FeedStatus struct {
	API     string    `json:"api"`
	Version string    `json:"version"`
	Topic   string    `json:"topic"`
	Path    string    `json:"path"` // concrete path below the API's base, canonical query included
	Feed    string    `json:"feed"` // subject tokens, as in logs
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why,omitempty"`

	Always  bool   `json:"always"`            // runs with nobody listening
	Demand  int    `json:"demand"`            // edges that want it
	Node    string `json:"node"`              // owner
	Standby string `json:"standby,omitempty"` // who would take over
	Epoch   uint64 `json:"epoch"`             // 0 = not owned yet
	Resume  string `json:"resume"`            // of the last reconnect: proven, unproven, trusted, none; "" = no seam yet
	Source  string `json:"source"`            // upstream URL without user and query values
	Seq     uint64 `json:"seq"`               // last stored
	Micros  int64  `json:"micros"`            // its broker time, 0 = not read yet
	Events  uint64 `json:"events"`            // stored by this owner, markers included
	Opens   uint64 `json:"opens"`             // connections that were answered with a stream
	Markers uint64 `json:"markers"`           // seam markers stored by this owner

	LastEventAgeMs  int64   `json:"lastEventAgeMs"`  // since the last event was read, −1 = none by this owner
	EventsPerSecond float64 `json:"eventsPerSecond"` // stored, over the last seconds
	QueueBytes      int64   `json:"queueBytes"`
	LagMs           int64   `json:"lagMs"` // since the oldest event in the queue was read, 0 = none waits
}

// status is what a feed's goroutines tell about it. Safe for concurrent use.
type status struct {
	id    broker.FeedID
	node  string
	bus   broker.Bus
	log   *slog.Logger
	clock Clock

	mu       sync.Mutex // guards what follows
	base     string     // what the reader says
	baseWhy  string
	paused   bool   // reading is stopped
	trouble  string // why commits fail, "" = they do not
	shown    string // state as last told
	since    time.Time
	epoch    uint64
	pos      broker.Position
	ready    bool   // epoch and pos are known
	standby  string // node that would take over
	waiters  []func([]byte) error
	events   uint64
	opens    uint64
	markers  uint64
	resume   string
	lastRead time.Time
	pace     rate.Meter // of events stored
}

// maxWaiters bounds the edges that wait for a feed's first word; those beyond ask again.
const maxWaiters = 256

func (s *status) effective() (state, why string) {
	switch {
	case s.paused && s.trouble != "":
		return broker.StateBackpressure, s.trouble
	case s.paused:
		return broker.StateBackpressure, "the queue is full"
	case s.trouble != "" && (s.base == broker.StateUp || s.base == broker.StateOpening):
		return broker.StateDegraded, s.trouble
	}
	return s.base, s.baseWhy
}

// set is the reader's word: state and why.
func (s *status) set(state, why string) {
	s.change(func() { s.base, s.baseWhy = state, why })
}

// pause says whether reading is stopped.
func (s *status) pause(stopped bool) { s.change(func() { s.paused = stopped }) }

// troubled says why commits fail; "" = they do not.
func (s *status) troubled(why string) { s.change(func() { s.trouble = why }) }

// change applies f and, if the state shown is another now, logs it and sends a beacon.
func (s *status) change(f func()) {
	s.mu.Lock()
	f()
	state, why := s.effective()
	if state == s.shown {
		s.mu.Unlock()
		return
	}
	s.shown, s.since = state, s.clock.Now()
	s.mu.Unlock()
	lvl := slog.LevelDebug // the reader has said more than the state's name
	switch state {
	case broker.StateUp, broker.StateClosed:
		lvl = slog.LevelInfo
	case broker.StateBackpressure, broker.StateDegraded:
		lvl = slog.LevelWarn
	}
	s.log.Log(context.Background(), lvl, "feed state", "state", state, "why", why)
	s.beacon()
}

// level is how loud the way into a state is: errors need a person, warnings may pass.
func level(state string) slog.Level {
	switch state {
	case broker.StateUp, broker.StateOpening, broker.StateClosed, broker.StateEnded:
		return slog.LevelInfo
	case broker.StateAuth, broker.StateTLS:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// own says that this node owns the feed now, at its last stored position, and answers those who waited for that.
func (s *status) own(epoch uint64, pos broker.Position) {
	s.mu.Lock()
	s.epoch, s.pos, s.ready = epoch, pos, true
	waiters := s.waiters
	s.waiters = nil
	s.mu.Unlock()
	s.beacon()
	for _, reply := range waiters {
		s.reply(reply)
	}
}

// confirmed says that the feed is still owned, in a new epoch.
func (s *status) confirmed(epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
}

// stored says what the last commit did.
func (s *status) stored(seq uint64, events, markers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = broker.Position{Seq: seq}
	s.events += uint64(events)
	s.pace.Add(events, time.Now())
	s.markers += uint64(markers)
}

// timed completes the position of the last message if that is still the one at pos.
func (s *status) timed(pos broker.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pos.Seq == pos.Seq {
		s.pos = pos
	}
}

func (s *status) position() broker.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos
}

func (s *status) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens++
}

func (s *status) read(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRead = at
}

func (s *status) resumed(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resume = how
}

// ownedAt is the epoch in which this node owns the feed; 0 = not yet, or no more.
func (s *status) ownedAt() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return 0
	}
	return s.epoch
}

// backedBy says which node would take over.
func (s *status) backedBy(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standby = node
}

// disowned says that this node does not own the feed any more.
func (s *status) disowned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = false
}

// movable says that another node can go on with the feed without a gap, as far as is known: its upstream has proven that it
// resumes, or is trusted to, or nothing is stored yet.
func (s *status) movable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume == "proven" || s.resume == "trusted" || s.ready && s.pos.Seq == 0
}

// blocked says that the upstream may not be connected to.
func (s *status) blocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base == broker.StateBlocked
}

func (s *status) word() broker.Beacon {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, why := s.effective()
	return broker.Beacon{V: 1, Node: s.node, Epoch: s.epoch, Seq: s.pos.Seq, Micros: s.pos.Micros, State: state,
		Since: s.since.UnixMicro(), Why: clip(why)}
}

// clip keeps a beacon's why within 80 bytes.
func clip(why string) string {
	if len(why) <= 80 {
		return why
	}
	n := 80
	for n > 0 && why[n]&0xc0 == 0x80 {
		n--
	}
	return why[:n]
}

// beacon tells the edges where the feed stands. Lost ones are repaired by the next.
func (s *status) beacon() {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		return
	}
	if err := s.bus.Publish(s.id.BeaconSubject(), broker.EncodeBeacon(s.word())); err != nil {
		s.log.Debug("beacon not sent", "err", err)
	}
}

// answer sends the feed's word as reply to a demand, at once or as soon as the feed is owned.
func (s *status) answer(reply func([]byte) error) {
	s.mu.Lock()
	if !s.ready {
		if len(s.waiters) < maxWaiters {
			s.waiters = append(s.waiters, reply)
		}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.reply(reply)
}

func (s *status) reply(reply func([]byte) error) {
	body, err := json.Marshal(broker.DemandReply{V: 1, Beacon: s.word()})
	if err != nil {
		s.log.Error("demand reply", "err", err)
		return
	}
	if err := reply(body); err != nil {
		s.log.Debug("demand reply not sent", "err", err)
	}
}

// fill copies what is known into out.
func (s *status) fill(out *FeedStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.State, out.Why = s.effective()
	out.Since, out.Node, out.Standby, out.Epoch, out.Resume = s.since, s.node, s.standby, s.epoch, s.resume
	out.Seq, out.Micros = s.pos.Seq, s.pos.Micros
	out.Events, out.Opens, out.Markers = s.events, s.opens, s.markers
	out.EventsPerSecond = s.pace.PerSecond(time.Now())
	out.LastEventAgeMs = -1
	if !s.lastRead.IsZero() {
		out.LastEventAgeMs = time.Since(s.lastRead).Milliseconds()
	}
}
