package fanout

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/broker"
)

// LogConfig bounds a log. Zero values are replaced by the defaults.
type LogConfig struct {
	// WindowBytes of frames are held, and at least the newest segment. Default 8 MiB.
	WindowBytes int
	// WindowAge is the age beyond which whole segments are given up. Default 2m.
	WindowAge time.Duration
	// MaxSegment bounds a segment; a larger frame gets one of its own. Default 1 MiB
	// and never more than WindowBytes/8.
	MaxSegment int
	// Now is the clock for ages. Default time.Now.
	Now func() time.Time
}

// Waker is told of every Publish after the head moved. Wake is called by the
// appender: it must not block and must not call the log's appender methods.
type Waker interface{ Wake() }

// Log is one feed's newest frames on this node: an append-only row of bytes in
// segments, with an index of its entries. One appender at a time calls Append,
// Publish, Restart, Trim and Close; everything else is for anybody.
//
// Appender: list, bytes, index, head, wake. Readers: head, then list.
type Log struct {
	head atomic.Uint64 // end of the newest published entry: always a boundary
	segs atomic.Pointer[[]*segment]

	waiting atomic.Pointer[chan struct{}] // nil when nobody waits
	wakers  atomic.Pointer[[]Waker]
	ended   atomic.Pointer[Reason]
	window  atomic.Int64
	held    atomic.Int64 // bytes of segments and index

	// Appender state.
	cfg      LogConfig
	tail     uint64 // end of the newest appended entry
	nextSize int
	now      int64 // Unix nanoseconds of the first append since Publish
	rolled   int64 // of the newest roll
	slow     bool  // the roll before was a quiet one

	// mu guards the index, what follows it, and the chunked twin's being made. Taken
	// by the appender per frame and by look-ups, never per send.
	mu      sync.RWMutex
	idx     index
	visible int    // entries published
	ord     uint32 // of the newest entry appended
	// era is the number of the first entry of the present life of the feed, and
	// below the position under it: Restart begins a new one.
	era      uint64
	eraBelow broker.Position
	lives    uint64 // calls of Restart
	// below is the position of the last event below the oldest entry held, in its own life.
	below    broker.Position
	belowOrd uint32
	// belowTold: gateway events stood between below and the oldest entry held, so
	// who resumes at below has to be told them again, by the broker's facts.
	belowTold bool
	floor     uint64 // offset of the oldest entry held

	ages    ages
	chunked atomic.Pointer[Log] // the twin for Framing Chunked; appended to under mu
	scratch []byte              // for chunks; under mu
	wakeMu  sync.Mutex          // guards changes of wakers
}

// NewLog makes an empty log of a feed that has no event below it. It starts nothing.
func NewLog(cfg LogConfig) *Log {
	if cfg.WindowBytes <= 0 {
		cfg.WindowBytes = 8 << 20
	}
	if cfg.WindowAge <= 0 {
		cfg.WindowAge = 2 * time.Minute
	}
	if cfg.MaxSegment <= 0 {
		cfg.MaxSegment = defaultSegment
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Log{cfg: cfg, nextSize: minSegment}
	l.window.Store(int64(cfg.WindowBytes))
	l.segs.Store(new([]*segment))
	return l
}

// Append copies f behind the newest frame, not yet visible. Positions of events
// grow within a life of the feed (Restart); a zero one is a gateway event.
func (l *Log) Append(f Frame) {
	if l.tail == l.head.Load() {
		l.now = l.cfg.Now().UnixNano()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(f, l.now)
	if twin := l.chunked.Load(); twin != nil {
		l.scratch = AppendChunk(l.scratch[:0], f.Bytes)
		twin.mu.Lock()
		twin.append(Frame{Pos: f.Pos, Bytes: l.scratch, Rx: f.Rx}, l.now)
		twin.mu.Unlock()
	}
}

func (l *Log) append(f Frame, now int64) {
	s := l.room(len(f.Bytes), now)
	copy(s.buf[l.tail-s.base:], f.Bytes)
	l.tail += uint64(len(f.Bytes))
	s.entries++
	s.last = now

	e := entry{seq: f.Pos.Seq, micros: f.Pos.Micros, end: l.tail}
	if f.Pos.IsZero() {
		p := l.newest(l.idx.n)
		e.seq, e.micros, e.flags = p.Seq, p.Micros, flagControl
	} else {
		e.setReceived(f.Rx)
		l.ord++
	}
	e.ord = l.ord
	before := len(l.idx.ring)
	l.idx.push(e)
	l.held.Add(int64((len(l.idx.ring) - before) * entryBytes))
}

// room returns the open segment with space for n bytes; it rolls if there is none.
func (l *Log) room(n int, now int64) *segment {
	segs := *l.segs.Load()
	if len(segs) > 0 {
		s := segs[len(segs)-1]
		if uint64(len(s.buf))-(l.tail-s.base) >= uint64(n) {
			return s
		}
	}
	window := int(l.window.Load())
	limit := max(minSegment, min(l.cfg.MaxSegment, window/8))
	if len(segs) > 0 {
		quiet := now-l.rolled > int64(quietRoll)
		switch {
		case quiet && l.slow:
			l.nextSize /= 2
		case !quiet:
			l.nextSize *= 2
		}
		l.slow = quiet
	}
	l.rolled = now
	l.nextSize = min(max(l.nextSize, minSegment), limit)
	s := &segment{base: l.tail, buf: make([]byte, max(l.nextSize, n))}
	l.held.Add(int64(len(s.buf)))

	held := len(s.buf)
	for _, o := range segs {
		held += len(o.buf)
	}
	drop := 0
	for drop < len(segs) && held > window && l.published(segs, drop) {
		held -= len(segs[drop].buf)
		drop++
	}
	l.forget(segs[:drop])
	next := make([]*segment, 0, len(segs)-drop+1)
	next = append(append(next, segs[drop:]...), s)
	l.segs.Store(&next) // before head: a reader that sees the head finds its bytes
	return s
}

// published reports whether all of segment i is: only then it may be given up, so
// that the floor is never above the head.
func (l *Log) published(segs []*segment, i int) bool {
	end := l.tail
	if i+1 < len(segs) {
		end = segs[i+1].base
	}
	return end <= l.head.Load()
}

// forget takes the entries of the oldest segments out of the index. The caller
// holds mu and stores the list without them.
func (l *Log) forget(segs []*segment) {
	n := 0
	for _, s := range segs {
		n += s.entries
		l.held.Add(-int64(len(s.buf)))
	}
	if n == 0 {
		return
	}
	last := l.idx.at(n - 1)
	l.below, l.belowOrd, l.belowTold, l.floor = last.pos(), last.ord, last.control(), last.end
	before := len(l.idx.ring)
	l.idx.drop(n)
	l.visible -= n
	l.held.Add(int64((len(l.idx.ring) - before) * entryBytes))
}

// Publish makes all appended frames visible with one store, wakes who waits, and
// gives up aged segments.
func (l *Log) Publish() {
	l.publish()
	if twin := l.chunked.Load(); twin != nil {
		twin.publish()
	}
}

func (l *Log) publish() {
	if l.tail == l.head.Load() {
		return
	}
	segs := *l.segs.Load()
	l.mu.Lock()
	l.visible = l.idx.n
	if open := segs[len(segs)-1]; open.last-segs[0].last > int64(l.cfg.WindowAge) {
		l.trim(open.last)
	}
	l.mu.Unlock()
	l.head.Store(l.tail)
	l.wake()
}

func (l *Log) wake() {
	if ch := l.waiting.Swap(nil); ch != nil {
		close(*ch)
	}
	if ws := l.wakers.Load(); ws != nil {
		for _, w := range *ws {
			w.Wake()
		}
	}
}

// Trim gives up what is older than the window's age or beyond its bytes; the hub
// calls it now and then for quiet feeds. Everything appended must be published.
func (l *Log) Trim() {
	now := l.cfg.Now().UnixNano()
	l.mu.Lock()
	l.trim(now)
	l.mu.Unlock()
	if twin := l.chunked.Load(); twin != nil {
		twin.mu.Lock()
		twin.trim(now)
		twin.mu.Unlock()
	}
}

func (l *Log) trim(now int64) {
	segs := *l.segs.Load()
	held, window := 0, int(l.window.Load())
	for _, s := range segs {
		held += len(s.buf)
	}
	drop := 0
	for ; drop < len(segs); drop++ {
		s := segs[drop]
		aged := now-s.last > int64(l.cfg.WindowAge)
		if open := drop == len(segs)-1; open && !(aged && len(s.buf) > minSegment) {
			break
		}
		if !aged && held <= window || !l.published(segs, drop) {
			break
		}
		held -= len(s.buf)
	}
	if drop == 0 {
		return
	}
	if drop == len(segs) {
		l.nextSize = minSegment
	}
	l.forget(segs[:drop])
	next := slices.Clone(segs[drop:])
	l.segs.Store(&next)
}

// Restart begins a new life of the feed whose last event before the next Append is
// p: the stream was restored or recreated and positions may go back. Readers keep
// what they have; look-ups by position know the new life only.
func (l *Log) Restart(p broker.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restart(p)
	if twin := l.chunked.Load(); twin != nil {
		twin.mu.Lock()
		twin.restart(p)
		twin.mu.Unlock()
	}
}

func (l *Log) restart(p broker.Position) {
	l.era, l.eraBelow = l.idx.first+uint64(l.idx.n), p
	l.lives++
	if l.idx.n == 0 {
		l.below = p
	}
}

// Close ends the log for reason (empty = unavailable): readers get what is
// published and then end.
func (l *Log) Close(reason Reason) {
	if reason == "" {
		reason = EndUnavailable
	}
	l.ended.CompareAndSwap(nil, &reason)
	l.wake()
	if twin := l.chunked.Load(); twin != nil {
		twin.Close(reason)
	}
}

// Closed reports whether the log was closed, Ended why.
func (l *Log) Closed() bool { return l.ended.Load() != nil }

// Ended is the reason given to Close, empty while the log is open.
func (l *Log) Ended() Reason {
	if r := l.ended.Load(); r != nil {
		return *r
	}
	return ""
}

// SetWindow changes how many bytes are held; it takes effect with the next roll or
// Trim. Anybody may call it.
func (l *Log) SetWindow(bytes int) {
	l.window.Store(int64(max(bytes, minSegment)))
	if twin := l.chunked.Load(); twin != nil {
		twin.SetWindow(bytes)
	}
}

// Held is how many bytes segments and index take, the chunked twin's included.
func (l *Log) Held() int64 {
	n := l.held.Load()
	if twin := l.chunked.Load(); twin != nil {
		n += twin.Held()
	}
	return n
}

// View returns the log as it is now.
func (l *Log) View() View {
	head := l.head.Load() // before the list: what is below head is then found or trimmed
	return View{head: head, segs: *l.segs.Load()}
}

// Wait returns a channel that the next Publish closes, or Close. Call it before View.
func (l *Log) Wait() <-chan struct{} {
	for {
		if ch := l.waiting.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if !l.waiting.CompareAndSwap(nil, &ch) {
			continue
		}
		if l.Closed() { // Close may have looked before the channel was there
			l.wake()
		}
		return ch
	}
}

// Attach has w told of every Publish from now on; Detach ends that. A w that is
// attached twice is told once and detached once.
func (l *Log) Attach(w Waker) {
	l.wakeMu.Lock()
	defer l.wakeMu.Unlock()
	ws := l.wakerList()
	if slices.Contains(ws, w) {
		return
	}
	next := append(slices.Clip(ws), w)
	l.wakers.Store(&next)
}

// Detach ends what Attach began. Wake may still be called once by a running Publish.
func (l *Log) Detach(w Waker) {
	l.wakeMu.Lock()
	defer l.wakeMu.Unlock()
	next := slices.DeleteFunc(slices.Clone(l.wakerList()), func(o Waker) bool { return o == w })
	l.wakers.Store(&next)
}

func (l *Log) wakerList() []Waker {
	if ws := l.wakers.Load(); ws != nil {
		return *ws
	}
	return nil
}

// Chunked returns the log of the same frames for Framing Chunked, one chunk per
// entry. It is made on first use from what this log holds; this log's appender
// keeps it. It must not be called on the twin.
func (l *Log) Chunked() *Log {
	if twin := l.chunked.Load(); twin != nil {
		return twin
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if twin := l.chunked.Load(); twin != nil {
		return twin
	}
	twin := NewLog(l.cfg)
	twin.window.Store(l.window.Load())
	twin.below, twin.belowOrd, twin.belowTold, twin.ord = l.below, l.belowOrd, l.belowTold, l.belowOrd
	segs, from := *l.segs.Load(), l.floor
	for i := range l.idx.n {
		e := l.idx.at(i)
		k := sort.Search(len(segs), func(k int) bool { return segs[k].base > from }) - 1
		b := segs[k].buf[from-segs[k].base : e.end-segs[k].base]
		f := Frame{Bytes: AppendChunk(nil, b)}
		if !e.control() {
			f.Pos = e.pos()
		}
		twin.append(f, segs[k].last)
		*twin.idx.at(twin.idx.n - 1) = entry{seq: e.seq, micros: e.micros, end: twin.tail, ord: e.ord, way: e.way, flags: e.flags}
		if i < l.visible {
			twin.visible = twin.idx.n
			twin.head.Store(twin.tail)
		}
		from = e.end
	}
	twin.ord = l.ord
	if l.era > l.idx.first {
		twin.era = l.era - l.idx.first
	}
	twin.eraBelow = l.eraFloor()
	if r := l.ended.Load(); r != nil {
		twin.ended.Store(r)
	}
	l.chunked.Store(twin)
	return twin
}
