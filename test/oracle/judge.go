package oracle

import (
	"strconv"
	"strings"
	"time"
)

// Judge takes facts one by one and judges them. What it keeps grows with the breaks in the clients' streams and with the
// stored facts, not with deliveries. Not safe for concurrent use; see Book.
type Judge struct {
	v      Verdict
	run    Run
	hasRun bool
	tracks map[string]*track // by client and feed
	order  []*track
	feeds  map[string]*source
	deaths []int64 // when the gateway's processes ended, rising
}

// track is one logical client's way through one feed.
type track struct {
	client, feed string

	any     bool   // something was received
	n, seq  uint64 // newest event received
	id      string // the last id received
	first   uint64 // where the client was to begin, if that is known
	resumed bool   // a connect came since the last event
	opened  bool   // a connect came at all
	gaps    []*Gap // told since the last event
	lost    []hole // not told
	runs    []run
	endAt   int64  // of the stream's last end, 0 while open
	cause   string // of the last end
}

// hole is a range of events that was skipped without a word; late arrivals shrink it.
type hole struct {
	n0, n1    uint64
	invariant string
}

// run is one got fact.
type run struct {
	n0, n1, seq0, seq1 uint64
	micros0, micros    int64 // of the first and the last event
	digest             uint64
	stepped            bool // it stepped back, and was allowed to
}

// source is what is known about a feed.
type source struct {
	head     uint64 // newest event produced
	produced uint64
	stored   []stored
	last     stored
	marked   bool               // a stored gap since the last stored event
	conns    []upstreamConn     // open now
	seen     map[place]sighting // from the ends of the clients' runs
	lines    int                // faults that make an event too large to store
}

// place is a sequence or, where sequences are used again, a sequence at a time.
type place struct {
	seq    uint64
	micros int64 // 0 unless Run.Reused
}

// sighting is what a client said an event was.
type sighting struct {
	n      uint64
	micros int64 // 0 = unknown
	client string
}

// NewJudge returns a judge without facts.
func NewJudge() *Judge {
	return &Judge{tracks: map[string]*track{}, feeds: map[string]*source{}}
}

// Add judges one more fact.
func (j *Judge) Add(f Fact) {
	switch f.Kind {
	case KindRun:
		if f.Run != nil {
			j.run, j.hasRun = *f.Run, true
		}
	case KindProduced:
		s := j.source(f.Feed)
		s.head = max(s.head, f.N1)
		if f.N1 >= f.N0 {
			s.produced += f.N1 - f.N0 + 1
			j.v.Produced += f.N1 - f.N0 + 1
		}
	case KindConn:
		j.conn(j.source(f.Feed), f)
	case KindStored:
		j.stored(j.source(f.Feed), f)
	case KindFault:
		if f.Name == ProcessGone {
			j.deaths = append(j.deaths, f.At)
			return
		}
		if f.Edge == Begin {
			j.v.Faults++
			switch f.Name {
			case "line", "endless", "endless-line":
				j.source(f.Feed).lines++
			}
		}
	case KindConnect, KindGot, KindOdd, KindGap, KindEnd:
		j.client(j.track(f.Client, f.Feed), f)
	default:
		j.v.void("fact of unknown kind %q", f.Kind)
	}
}

func (j *Judge) source(feed string) *source {
	s := j.feeds[feed]
	if s == nil {
		s = &source{seen: map[place]sighting{}}
		j.feeds[feed] = s
	}
	return s
}

func (j *Judge) track(client, feed string) *track {
	key := client + "\x00" + feed
	t := j.tracks[key]
	if t == nil {
		t = &track{client: client, feed: feed}
		j.tracks[key] = t
		j.order = append(j.order, t)
	}
	return t
}

// client judges a fact of a logical client.
func (j *Judge) client(t *track, f Fact) {
	switch f.Kind {
	case KindConnect:
		j.connect(t, f)
	case KindGot:
		j.got(t, f)
	case KindOdd:
		j.odd(t, f)
		j.named(t, f)
	case KindGap:
		j.named(t, f)
		j.v.Gaps.Told++
		g := f.Gap
		if g == nil {
			g = &Gap{}
		}
		if g.Possible {
			j.v.Gaps.Possible++
		}
		t.gaps = append(t.gaps, g)
	case KindEnd:
		t.endAt, t.cause = f.At, f.Name
	}
}

// named takes the id of what is no event of the feed: a stored marker, an event that a fault made.
func (j *Judge) named(t *track, f Fact) {
	if f.ID1 == "" {
		return
	}
	seq, _, ok := ParseID(f.ID1)
	if _, _, reset := t.told(); !ok || seq <= t.seq && !reset {
		j.v.find("I1", t, "id %q came after sequence %d", f.ID1, t.seq)
	}
	t.id, t.seq = f.ID1, seq
}

func (j *Judge) connect(t *track, f Fact) {
	if !t.opened && t.first == 0 {
		t.first = f.N0
	}
	if t.opened {
		j.v.Resumes++
		t.resumed = true
		if f.Last != t.id && t.id != "" {
			j.v.void("client %s presented id %q, the last it got is %q", t.client, f.Last, t.id)
		}
	}
	t.opened, t.cause = true, ""
}

// odd judges what is no event of the feed, by its name: foreign, corrupt, junk, or a description.
func (j *Judge) odd(t *track, f Fact) {
	switch f.Name {
	case "junk":
		j.v.Junk++
	case "foreign":
		j.v.Foreign++
		j.v.find("I7", t, "an event of another feed")
	case "corrupt":
		j.v.Phantom++
		j.v.find("I6", t, "event %d with other bytes than were produced", f.N0)
	default:
		j.v.find("I6", t, "%s", f.Name)
	}
}

// got judges an unbroken run of events.
func (j *Judge) got(t *track, f Fact) {
	seq1, micros, ok := ParseID(f.ID1)
	if f.N0 == 0 || f.N1 < f.N0 || !ok || seq1 != f.Seq1 || f.Seq1-f.Seq0 < f.N1-f.N0 || f.Seq1 < f.Seq0 {
		j.v.void("malformed got fact %+v", f)
		return
	}
	j.v.Deliveries += f.N1 - f.N0 + 1
	r := run{n0: f.N0, n1: f.N1, seq0: f.Seq0, seq1: f.Seq1, micros0: f.Micros, micros: micros, digest: f.Digest}
	if t.endAt != 0 {
		j.v.Slowest = max(j.v.Slowest, time.Duration(f.At-t.endAt)*time.Microsecond)
		t.endAt, t.cause = 0, ""
	}
	j.join(t, &r)
	t.runs = append(t.runs, r)
	if r.stepped || !t.any {
		t.n = r.n1
	}
	t.n, t.seq, t.id, t.any = max(t.n, r.n1), r.seq1, f.ID1, true
	t.resumed, t.gaps = false, nil
	j.agree(t, r)
}

// join judges how a run follows what the client had.
func (j *Judge) join(t *track, r *run) {
	doubles, seam, reset := t.told()
	back := doubles || seam && j.run.Unsure
	var missing uint64
	switch {
	case !t.any:
		if t.first > 0 && r.n0 > t.first {
			missing = r.n0 - t.first
			j.skipped(t, hole{t.first, r.n0 - 1, "prefix"})
		}
	case r.n0 > t.n:
		if missing = r.n0 - t.n - 1; missing > 0 {
			j.skipped(t, hole{t.n + 1, r.n0 - 1, t.broken()})
		}
		if r.seq0 <= t.seq && !reset {
			j.v.find("I1", t, "event %d has sequence %d after %d", r.n0, r.seq0, t.seq)
		}
	case back:
		r.stepped = true
	default:
		j.stepBack(t, r)
	}
	j.weigh(t, missing > 0 || r.stepped)
}

// told says what the gaps since the last event allow: numbers to step back because events come again, the same because
// of a stored seam, sequences to step back.
func (t *track) told() (doubles, seam, reset bool) {
	for _, g := range t.gaps {
		doubles = doubles || g.Doubles
		seam = seam || g.seam()
		reset = reset || g.Reason == "reset"
	}
	return doubles, seam, reset
}

// broken is the invariant that an untold hole here breaks.
func (t *track) broken() string {
	if t.resumed {
		return "I4"
	}
	return "I3"
}

// skipped notes a hole, unless it was told.
func (j *Judge) skipped(t *track, h hole) {
	if len(t.gaps) == 0 {
		t.lost = append(t.lost, h)
	}
}

// stepBack judges a run that begins with an event the client was past, without leave.
func (j *Judge) stepBack(t *track, r *run) {
	var doubled, late uint64
	for _, old := range t.runs {
		if from, to := max(old.n0, r.n0), min(old.n1, r.n1); from <= to {
			doubled += to - from + 1
		}
	}
	doubled = min(doubled, r.n1-r.n0+1)
	if past := min(t.n, r.n1) - r.n0 + 1; past > doubled {
		late = past - doubled
	}
	if doubled > 0 {
		j.v.Doubled += doubled
		j.v.find("I2", t, "%d of events %d to %d came twice", doubled, r.n0, r.n1)
	}
	if late > 0 {
		j.v.Reordered += late
		j.v.find("I1", t, "%d of events %d to %d came after event %d", late, r.n0, r.n1, t.n)
		t.fill(r.n0, r.n1)
	}
}

// fill takes late events out of the holes.
func (t *track) fill(n0, n1 uint64) {
	var rest []hole
	for _, h := range t.lost {
		if n1 < h.n0 || n0 > h.n1 {
			rest = append(rest, h)
			continue
		}
		if h.n0 < n0 {
			rest = append(rest, hole{h.n0, n0 - 1, h.invariant})
		}
		if h.n1 > n1 {
			rest = append(rest, hole{n1 + 1, h.n1, h.invariant})
		}
	}
	t.lost = rest
}

// weigh judges the gaps told since the last event, now that it is known whether something was missing.
func (j *Judge) weigh(t *track, missing bool) {
	for _, g := range t.gaps {
		switch {
		case missing:
			j.v.Gaps.Real++
		case g.Possible:
			j.v.Gaps.Needless++
		case g.Reason == "oversize" && j.source(t.feed).lines > 0:
			j.v.Gaps.Real++ // it covers an event without a number
		case !t.any && t.first == 0:
			// nobody knows where this client should have begun
		default:
			j.v.Gaps.False++
			j.v.find("I8", t, "a gap with reason %s and possible:false before event %d covers nothing", g.Reason, t.n+1)
		}
	}
}

// agree compares the ends of a run with what other clients said of the same sequences.
func (j *Judge) agree(t *track, r run) {
	s := j.source(t.feed)
	if r.seq0 < r.seq1 {
		j.sight(s, t, r.seq0, sighting{n: r.n0, micros: r.micros0, client: t.client})
	}
	j.sight(s, t, r.seq1, sighting{n: r.n1, micros: r.micros, client: t.client})
}

func (j *Judge) sight(s *source, t *track, seq uint64, now sighting) {
	at := place{seq: seq}
	if j.run.Reused {
		at.micros = now.micros
	}
	was, ok := s.seen[at]
	if ok && (was.n != now.n || was.micros != 0 && now.micros != 0 && was.micros != now.micros) {
		j.v.find("I5", t, "sequence %d is event %d at %d µs here, event %d at %d µs for %s",
			seq, now.n, now.micros, was.n, was.micros, was.client)
		return
	}
	if !ok || was.micros == 0 {
		s.seen[at] = now
	}
}

// ParseID reads an event id, <sequence>-<µs> in base 36.
func ParseID(id string) (seq uint64, micros int64, ok bool) {
	left, right, found := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(left, 36, 63)
	m, err2 := strconv.ParseUint(right, 36, 63)
	return seq, int64(m), found && err == nil && err2 == nil
}
