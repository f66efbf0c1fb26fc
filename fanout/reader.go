package fanout

import (
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/broker"
	"sluice/internal/sse"
)

const (
	maxWrite  = 48 << 10               // bytes of one write and flush; below one loopback segment, as turnBytes of shards
	endWrite  = time.Second            // for the last bytes
	meterWait = 100 * time.Millisecond // between two looks at an empty meter
	fullAfter = 100 * time.Millisecond // in one write: the socket is full
)

// reader is one client of a Portable. All but the ending belongs to the goroutine
// that serves it.
type reader struct {
	p            *Portable
	ctx          context.Context // the request's: a reader lives within one call of Serve
	sink         Sink
	s            Subscriber
	slow         Slow
	heartbeat    time.Duration
	coalesce     time.Duration
	keepDeadline bool

	block  *Block // backlog being sent; nil = in the log
	off    int
	cursor Cursor
	have   broker.Position // last event sent, or what lies before the first
	ord    uint32          // events of the log before cursor
	live   bool            // was at the head once: lag limits judge it
	softAt time.Time       // since when it is more than SoftLag behind
	wrote  time.Time       // anything, for heartbeats
	sentAt time.Time       // events, for coalescing
	armed  time.Time       // write deadline
	timer  *time.Timer
	end    End

	// What others see of where it stands; see lag.
	shown   atomic.Uint64
	writing atomic.Int64 // ns since 1970 when the write began that is under way; 0 = none

	hurry atomic.Int64 // ns since 1970 by when writes must be done, since the stream is to end; 0 = by their own limit
	noted atomic.Bool  // there is a note

	mu     sync.Mutex // guards what follows
	note   []byte     // gateway events to slip in
	reason Reason     // it is to end for, at
	at     time.Time
	dead   bool
	cut    chan struct{} // the ending changed; capacity 1
}

// endFor ends the reader as its reason wants: some at once, the others at a time.
func (r *reader) endFor(reason Reason, at time.Time) {
	if reason == EndRevokedHard {
		r.abort(reason)
		return
	}
	if !r.endAt(reason, at) {
		return
	}
	// A write that is under way sees this deadline, or began after hurry was set and sets it itself.
	by := at.Add(endWrite)
	r.hurry.Store(by.UnixNano())
	if r.writing.Load() != 0 {
		_ = r.sink.SetWriteDeadline(by) //nolint:errcheck // a closed connection needs none
	}
}

// endAt has the reader end for reason at a time, unless it ends sooner anyway, which it reports.
func (r *reader) endAt(reason Reason, at time.Time) bool {
	r.mu.Lock()
	sooner := r.reason == "" || at.Before(r.at)
	if sooner {
		r.reason, r.at = reason, at
	}
	r.mu.Unlock()
	r.stir()
	return sooner
}

// stir wakes a reader that waits.
func (r *reader) stir() {
	select {
	case r.cut <- struct{}{}:
	default:
	}
}

// maxNote bounds what waits to be slipped in for a client whose socket is full.
const maxNote = 4 << 10

// slip has b sent between two events.
func (r *reader) slip(b []byte) {
	r.mu.Lock()
	if len(r.note)+len(b) <= maxNote {
		r.note = append(r.note, b...)
		r.noted.Store(true)
	}
	r.mu.Unlock()
	r.stir()
}

// tell sends what was slipped in; the reader stands between two events.
func (r *reader) tell() {
	r.mu.Lock()
	b := r.note
	r.note = nil
	r.noted.Store(false)
	r.mu.Unlock()
	r.write(r.framed(b))
}

// inBlock marks what reader.shown holds: the bytes left of a block, not a cursor.
const inBlock = 1 << 63

// show tells others where the reader stands.
func (r *reader) show() {
	if r.block != nil {
		r.shown.Store(inBlock | uint64(len(r.block.Bytes)-r.off))
		return
	}
	r.shown.Store(uint64(r.cursor))
}

// lag is how many bytes of its feed the client was not sent, for one that reads backlog
// at least those that the log holds. It lags if it does so or if its socket is full.
// Any goroutine may ask.
func (r *reader) lag(now time.Time) (behind uint64, lags bool) {
	v := r.s.Log.View()
	since := r.writing.Load()
	full := since != 0 && now.Sub(time.Unix(0, since)) >= fullAfter
	at := r.shown.Load()
	if at&inBlock != 0 {
		return uint64(v.Head()-v.Floor()) + at&^inBlock, true
	}
	if Cursor(at) >= v.Head() {
		return 0, full
	}
	return uint64(v.Head()) - at, full || Cursor(at) < v.Floor()
}

// abort ends the reader for reason even in a write, of which nothing is told.
func (r *reader) abort(reason Reason) {
	r.mu.Lock()
	r.dead = true
	r.mu.Unlock()
	r.endAt(reason, time.Time{})
	_ = r.sink.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection needs none
}

// ending is when and for what the reader is to end; known is false if nothing says.
func (r *reader) ending() (reason Reason, at time.Time, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.s.Ends.IsZero() && (r.reason == "" || r.s.Ends.Before(r.at)) {
		return cmp.Or(r.s.EndsFor, EndLifetime), r.s.Ends, true
	}
	return r.reason, r.at, r.reason != ""
}

func (r *reader) run() {
	r.start(r.s.Start)
	first := append(slices.Clip(r.s.Head), r.s.Start.Gap...)
	r.s.Start, r.s.Head = Start{}, nil // a stream must not keep the block it began in
	r.show()
	if !r.write(first) {
		return
	}
	for r.end.Reason == "" {
		r.show()
		if reason, at, known := r.ending(); known && !time.Now().Before(at) {
			r.finish(reason)
			return
		}
		if r.noted.Load() {
			r.tell()
			continue
		}
		switch {
		case r.block == nil:
			r.fromLog()
		case r.off < len(r.block.Bytes):
			r.fromBlock()
		default:
			r.resume()
		}
	}
}

// start takes a place.
func (r *reader) start(s Start) {
	r.block, r.off, r.cursor = s.Block, s.Offset, s.Cursor
	if r.block != nil {
		r.live = false
		if m := r.block.MarkAt(r.off); !m.Pos.IsZero() {
			r.have = m.Pos
		} else if !s.At.Pos.IsZero() {
			r.have = s.At.Pos
		}
		return
	}
	m := s.At
	if !m.Held {
		m = r.s.Log.Mark(r.cursor)
	}
	r.ord = m.Ord
	if m.Held && !m.Pos.IsZero() {
		r.have = m.Pos
	}
}

// fromLog sends what the log has, or waits for more.
func (r *reader) fromLog() {
	grown := r.s.Log.Wait() // before View: what is published after it closes the channel
	v := r.s.Log.View()
	switch {
	case r.cursor < v.Floor():
		r.overrun()
		return
	case r.cursor >= v.Head():
		r.live = true
		if r.s.Log.Closed() {
			if r.cursor >= r.s.Log.View().Head() {
				r.finish(r.s.Log.Ended())
			}
			return
		}
		r.wait(grown, time.Time{})
		return
	}
	if next := r.sentAt.Add(r.coalesce); r.coalesce > 0 && time.Now().Before(next) {
		r.wait(nil, next)
		return
	}
	r.send(v)
}

// send writes the next entries of the log: as many as one write takes, the meter
// grants and one segment holds.
func (r *reader) send(v View) {
	b, ok := v.Bytes(r.cursor, maxWrite)
	if !ok {
		r.overrun()
		return
	}
	to, n, last, held := r.s.Log.upTo(r.cursor, r.cursor+Cursor(len(b)), math.MaxInt)
	if held && to == r.cursor { // an entry larger than one write
		to = r.s.Log.Mark(r.cursor + 1).Next
		b, _ = v.Bytes(r.cursor, int(to-r.cursor))
		to, n, last, held = r.s.Log.upTo(r.cursor, r.cursor+Cursor(len(b)), math.MaxInt)
	}
	if !held { // trimmed since the view was made
		return
	}
	if r.s.Meter != nil && n > 0 {
		granted := r.s.Meter.Take(n)
		if granted <= 0 {
			r.wait(nil, time.Now().Add(meterWait))
			return
		}
		if granted < n {
			to, n, last, held = r.s.Log.upTo(r.cursor, to, granted)
		}
		if !held {
			r.s.Meter.Give(granted)
			return
		}
	}
	if !r.pieces(b[:to-r.cursor], n) {
		return
	}
	from := r.cursor
	r.cursor, r.ord = to, r.ord+uint32(n)
	r.sent(n, last)
	if r.live {
		r.p.met.wroteLive(r.wrote, r.s.Log, from, to)
	}
	r.judge()
}

// pieces writes whole entries with n events.
func (r *reader) pieces(b []byte, n int) bool {
	for len(b) > 0 {
		part := b[:min(len(b), maxWrite)]
		if !r.write(part) {
			if r.s.Meter != nil && n > 0 {
				r.s.Meter.Give(n)
			}
			return false
		}
		b = b[len(part):]
	}
	r.sentAt = r.wrote
	return true
}

func (r *reader) sent(n int, last broker.Position) {
	r.end.Events += uint64(n)
	r.p.met.delivered(n)
	if n > 0 {
		r.have, r.end.Last = last, last
	}
}

// fromBlock sends the next entries of a block of backlog.
func (r *reader) fromBlock() {
	b := r.block
	to, n := b.Boundary(r.off, r.off+maxWrite, math.MaxInt)
	if to == r.off {
		to, n = b.Boundary(r.off, int(b.MarkAt(r.off+1).Next), math.MaxInt)
	}
	if r.s.Meter != nil && n > 0 {
		granted := r.s.Meter.Take(n)
		if granted <= 0 {
			r.wait(nil, time.Now().Add(meterWait))
			return
		}
		to, n = b.Boundary(r.off, to, granted)
	}
	if r.pieces(b.Bytes[r.off:to], n) {
		r.off = to
		r.sent(n, b.MarkAt(to).Pos)
	}
}

// resume asks where to go on behind what was sent; meanwhile the client gets
// heartbeats.
func (r *reader) resume() {
	if r.s.Next == nil {
		r.finish(EndUnavailable)
		return
	}
	if r.block != nil && !r.block.Last.IsZero() {
		r.have = r.block.Last
	}
	type answer struct {
		start Start
		err   error
	}
	got, woken := make(chan answer, 1), make(chan struct{})
	r.s.Next.ResumeAsync(r.have, r.s.Framing, func(s Start, err error) {
		got <- answer{s, err}
		close(woken)
	})
	for r.end.Reason == "" {
		select {
		case a := <-got:
			if a.err != nil {
				r.finish(EndUnavailable)
				return
			}
			r.start(a.start)
			if len(a.start.Gap) > 0 {
				r.end.Gaps++
				r.write(a.start.Gap)
			}
			return
		default:
		}
		if reason, at, known := r.ending(); known && !time.Now().Before(at) {
			r.finish(reason)
			return
		}
		if r.noted.Load() {
			r.tell()
			continue
		}
		r.wait(woken, time.Time{})
	}
}

// judge applies the limits of slowness to a reader that was live.
func (r *reader) judge() {
	behind := uint64(r.s.Log.View().Head()) - uint64(r.cursor)
	if !r.live || r.slow.Policy == Backlog {
		return
	}
	now := time.Now()
	if behind <= uint64(r.slow.SoftLag) {
		r.softAt = time.Time{}
	} else if r.softAt.IsZero() {
		r.softAt = now
	}
	old := false
	if r.slow.MaxAge > 0 && behind > 0 {
		next := r.s.Log.Mark(r.cursor).NextPos
		old = !next.IsZero() && now.Sub(time.UnixMicro(next.Micros)) > r.slow.MaxAge
	}
	if old || behind > uint64(r.slow.Lag) || !r.softAt.IsZero() && now.Sub(r.softAt) >= r.slow.SoftTime {
		r.tooSlow()
	}
}

// overrun: the log gave up what the reader wants next.
func (r *reader) overrun() {
	if r.slow.Policy == Backlog {
		r.p.met.slow(Backlog)
		r.resume()
		return
	}
	r.tooSlow()
}

// tooSlow applies the policy.
func (r *reader) tooSlow() {
	r.p.met.slow(r.slow.Policy)
	if r.slow.Policy != Latest {
		r.end.Reason = EndSlow
		return
	}
	to := r.s.Log.Newest()
	missed := to.Ord - r.ord
	if to.Next <= r.cursor || missed == 0 {
		return // what it lacks is the newest event
	}
	gap := AppendGap(nil, Gap{Reason: GapSlow, From: r.have, To: to.NextPos, Missed: uint64(missed)})
	r.cursor, r.ord, r.softAt = to.Next, to.Ord, time.Time{}
	r.end.Gaps++
	r.p.met.skipped()
	r.write(r.framed(gap))
}

// framed wraps bytes of this engine's own making as the client's framing wants them.
func (r *reader) framed(b []byte) []byte {
	if r.s.Framing == Chunked {
		return AppendChunk(nil, b)
	}
	return b
}

// wait sleeps until woken, until the time if it is set, until an ending changed or
// came, or the client went. At the end of a silence it sends a heartbeat.
func (r *reader) wait(woken <-chan struct{}, until time.Time) {
	now := time.Now()
	beat := r.wrote.Add(r.heartbeat)
	next := beat
	if _, at, known := r.ending(); known && at.Before(next) {
		next = at
	}
	if !until.IsZero() && until.Before(next) {
		next = until
	}
	if r.timer == nil {
		r.timer = time.NewTimer(next.Sub(now))
	} else {
		r.timer.Reset(next.Sub(now))
	}
	select {
	case <-woken:
	case <-r.cut:
	case <-r.ctx.Done():
		r.end.Reason = EndClient
	case <-r.timer.C:
		if !time.Now().Before(beat) {
			r.write(r.framed([]byte(sse.Heartbeat)))
		}
	}
}

// finish sends the last bytes of a stream that ends for reason.
func (r *reader) finish(reason Reason) {
	r.mu.Lock()
	dead := r.dead
	r.mu.Unlock()
	b := r.p.cfg.EndBytes(nil, reason)
	if len(b) > 0 {
		b = r.framed(b)
	}
	if r.s.Framing == Chunked {
		b = append(b, LastChunk...)
	}
	if len(b) > 0 && !dead {
		_ = r.sink.SetWriteDeadline(time.Now().Add(endWrite)) //nolint:errcheck // the write tells
		if n, err := r.sink.Write(b); err == nil && r.sink.Flush() == nil {
			r.count(n)
		}
	}
	r.end.Reason = reason
}

// write sends b and flushes. False means that the stream has ended: end says why.
func (r *reader) write(b []byte) bool {
	began := time.Now()
	if !r.keepDeadline || r.armed.Sub(began) < r.slow.Stall/2 {
		r.armed = began.Add(r.slow.Stall)
		if r.keepDeadline { // half of it may have passed when the next write begins
			r.armed = r.armed.Add(r.slow.Stall / 2)
		}
		if err := r.sink.SetWriteDeadline(r.armed); err != nil {
			r.failed(err, began)
			return false
		}
	}
	r.writing.Store(began.UnixNano())
	if by := r.hurry.Load(); by != 0 && by < r.armed.UnixNano() {
		_ = r.sink.SetWriteDeadline(time.Unix(0, by)) //nolint:errcheck // the write tells
	}
	n, err := r.sink.Write(b)
	r.count(n)
	if err == nil {
		err = r.sink.Flush()
	}
	r.writing.Store(0)
	if err != nil {
		r.failed(err, began)
		return false
	}
	r.wrote = time.Now()
	if !r.keepDeadline {
		_ = r.sink.SetWriteDeadline(time.Time{}) //nolint:errcheck // the next write tells
	}
	return true
}

func (r *reader) count(n int) {
	r.end.Bytes += uint64(n)
	r.p.met.wrote(n)
}

// failed ends the stream after a write that did not go through.
func (r *reader) failed(err error, began time.Time) {
	r.mu.Lock()
	reason, dead := r.reason, r.dead
	late := reason != "" && !r.at.IsZero() && !time.Now().Before(r.at)
	r.mu.Unlock()
	switch {
	case dead, late && errors.Is(err, os.ErrDeadlineExceeded):
		r.end.Reason = reason
	case errors.Is(err, os.ErrDeadlineExceeded), time.Since(began) >= r.slow.Stall:
		r.end.Reason = EndStall
	case r.ctx.Err() != nil:
		r.end.Reason = EndClient
	default:
		r.end.Reason = EndError
	}
}
