package fanout

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/broker"
	"sluice/internal/rate"
	"sluice/internal/trace"
)

// phase is how far a feed is with its broker.
type phase uint8

const (
	phaseJoining phase = iota // live is on, the log has no place yet
	phaseSynced               // the log ends where the feed does
	phaseDirty                // something is missing: live is kept while a repair reads it
	phaseGone
)

// Live deliveries that a feed keeps while it is joining or dirty.
const (
	maxKept      = 1024
	maxKeptBytes = 4 << 20
)

// Feed is one feed on this node: its log and what keeps it complete. Whoever holds
// mu is the log's appender: the lane for live events, a repair for missed ones.
type Feed struct {
	id   broker.FeedID
	api  string // its label in metrics
	born time.Time
	hub  *Hub
	lane *lane
	log  *Log
	// life counts what blocks of backlog must not be mixed over: it is raised when the
	// log was found restored or recreated, or may be, and with every forgetBacklog.
	life atomic.Uint64
	gaps atomic.Uint64 // told

	// Guarded by hub.mu.
	refs     int
	linger   time.Duration
	idle     time.Time // since when refs is 0
	demand   broker.Demand
	onDemand bool
	opened   bool // open has ended well

	ready chan struct{} // closed when open has ended
	err   error         // why it ended badly; set before ready is closed

	mu         sync.Mutex // taken after hub.mu if both are
	phase      phase
	wanting    time.Time       // since when phase has not been synced
	cur        broker.Position // newest event appended, or known to be below the log
	kept       []broker.Delivery
	keptBytes  int
	overflowed bool // kept was thrown away since the repair last looked
	repairing  bool
	suspected  bool   // the link was cut: dirty until a sweep has compared cur with the broker
	cutting    bool   // the lane has not yet drained what it received before the cut
	asked      int    // how many of kept were there when the broker was asked last
	target     uint64 // sequence that the feed is known to have reached
	behind     int    // beacons in a row that name an older tail than cur
	beacon     broker.Beacon
	beaconAt   time.Time
	doubted    time.Time     // when backlog was last given up for being ahead of the log
	heard      chan struct{} // closed at the next beacon; nil = nobody waits
	frame      []byte        // scratch
	why        string        // the last cause for a repair
	traced     trace.Context // of the newest event appended that has one
	rx         int64         // of the newest event appended
	events     uint64        // appended
	fresh      int           // of them since the last publish
	pace       rate.Meter    // of events

	unread bool // the lane's own mark: appended and not yet published
}

// ID names the feed.
func (f *Feed) ID() broker.FeedID { return f.id }

// logFor is the log of a framing.
func (f *Feed) logFor(fr Framing) *Log {
	if fr == Chunked {
		return f.log.Chunked()
	}
	return f.log
}

// handle takes one delivery of the lane. It reports whether something was appended.
func (f *Feed) handle(d *broker.Delivery, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.phase == phaseGone:
	case d.Kind == broker.KindBeacon:
		if d.Err == nil {
			f.hear(d.Beacon, now)
		}
	case d.Kind == broker.KindDirty:
		if f.phase == phaseSynced {
			f.dirty("cut")
		}
		f.overflowed = true
	case f.phase == phaseSynced:
		return f.live(d)
	default:
		f.keep(d)
	}
	return false
}

// live appends a message that follows; anything else starts a repair or a new life.
func (f *Feed) live(d *broker.Delivery) bool {
	l := linkBroken
	if d.Err == nil {
		l = chain(f.cur, &d.Message, d.Last)
	}
	switch l {
	case linkDouble:
		f.hub.met.doubled()
	case linkNext:
		f.append(&d.Message)
		return true
	case linkBack: // old news, or a new life of the log: the broker knows
		f.dirty("back")
		f.keep(d)
	default:
		f.dirty("chain")
		f.keep(d)
	}
	return false
}

// append puts an event into the log, not yet visible.
func (f *Feed) append(m *broker.Message) {
	f.frame = AppendFrame(f.frame[:0], m.Body, m.Position)
	f.log.Append(Frame{Pos: m.Position, Bytes: f.frame, Rx: m.Rx})
	f.cur, f.rx = m.Position, m.Rx
	if m.Trace.Valid() {
		f.traced = m.Trace
	}
	f.events++
	f.fresh++
	f.behind = 0
}

// tell puts a gap into the log: all who follow it live meet it, and all who resume
// before it.
func (f *Feed) tell(g Gap) {
	f.frame = AppendGap(f.frame[:0], g)
	f.log.Append(Frame{Bytes: f.frame})
	f.tellGap(g.Reason)
	f.hub.logger.Warn("feed gap", "feed", f.id.String(), "reason", string(g.Reason), "from", g.From.Seq, "to", g.To.Seq)
}

// restart begins a new life of the feed above p and tells it. The backlog of the old one goes first: who
// finds the new life in the log must not find the old one in blocks.
func (f *Feed) restart(g Gap, p broker.Position) {
	f.forgetBacklog()
	f.log.Restart(p)
	f.tell(g)
	f.cur = p
	f.behind = 0
}

// forgetBacklog gives up what was read of the store for clients' backlog: it may be of another life. Anybody may call it.
func (f *Feed) forgetBacklog() {
	f.life.Add(1)
	f.hub.forgetBacklog(f.id)
}

// hear takes the owner's word on the feed's last event.
func (f *Feed) hear(b broker.Beacon, now time.Time) {
	f.beacon, f.beaconAt = b, now
	if f.heard != nil {
		close(f.heard)
		f.heard = nil
	}
	if f.phase != phaseSynced {
		f.target = max(f.target, b.Seq)
		return
	}
	switch {
	case b.Seq > f.cur.Seq:
		f.target = b.Seq
		f.dirty("beacon")
	case b.Seq == f.cur.Seq:
		f.behind = 0
		if b.Micros != 0 && b.Micros != f.cur.Micros {
			f.dirty("beacon time")
		}
	default:
		if f.behind++; f.behind >= 3 {
			f.behind = 0
			f.dirty("beacon behind")
		}
	}
}

// dirty starts a repair unless one runs.
func (f *Feed) dirty(why string) {
	if f.phase == phaseSynced {
		f.wanting = time.Now()
	}
	f.phase, f.suspected = phaseDirty, false
	if f.repairing {
		return
	}
	f.repairing, f.why = true, why
	f.hub.met.repair(why)
	f.hub.logger.Log(f.hub.base, slog.LevelDebug, "feed dirty", "feed", f.id.String(), "why", why, "seq", f.cur.Seq)
	if !f.hub.spawn(f.repair) {
		f.repairing = false
	}
}

// keep holds a live message until the repair has reached it.
func (f *Feed) keep(d *broker.Delivery) {
	if len(f.kept) >= maxKept || f.keptBytes+len(d.Message.Body) > maxKeptBytes {
		f.dropKept()
		f.overflowed = true
		return
	}
	f.kept = append(f.kept, *d)
	f.keptBytes += len(d.Message.Body)
}

func (f *Feed) dropKept() { f.kept, f.keptBytes, f.asked = nil, 0, 0 }

// release appends what was kept, as far as it links up, and reports whether all of
// it did. held says that the broker has just confirmed cur: an event below it is
// old news then, whatever its time. An event that was there before the broker was
// asked and is missing in its answer is not taken on trust: the replica lags, or the
// store was restored and the event is of a life that is over.
func (f *Feed) release(held bool) bool {
	for i := range f.kept {
		d := &f.kept[i]
		if d.Err != nil { // foreign: a hole, told when the next event links past it
			continue
		}
		l := chain(f.cur, &d.Message, d.Last)
		if l == linkDouble || l == linkBack && held {
			continue
		}
		if l != linkNext || i < f.asked {
			rest, asked := append([]broker.Delivery(nil), f.kept[i:]...), max(0, f.asked-i)
			f.dropKept()
			for k := range rest {
				f.keep(&rest[k])
			}
			f.asked = asked
			return false
		}
		f.append(&d.Message)
	}
	f.dropKept()
	return true
}

// keptBack reports whether live has shown an event of another life of the log.
func (f *Feed) keptBack() bool {
	for i := range f.kept {
		if d := &f.kept[i]; d.Err == nil && chain(f.cur, &d.Message, d.Last) == linkBack {
			return true
		}
	}
	return false
}

// State is the owner's last word on the feed's upstream, and when it came; a zero
// time = none yet.
func (f *Feed) State() (broker.Beacon, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beacon, f.beaconAt
}
