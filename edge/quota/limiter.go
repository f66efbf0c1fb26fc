package quota

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Times of the loop.
const (
	look        = 100 * time.Millisecond // at all buckets
	callTime    = 250 * time.Millisecond // one call of the loop may take
	settleEvery = time.Second            // what was delivered is told
	idleAfter   = 2 * time.Second        // unused events go back
	dryAsk      = 250 * time.Millisecond // between calls while others hold what is left
	dryFor      = 2 * time.Second        // then the quota has ended here
	endedAsk    = time.Second            // between calls after the end: somebody may give back
	tellAfter   = 30 * time.Second       // of a source that is away, with FailClosed
	refreshTime = 5 * time.Second        // between two tellings of all seats
)

const (
	maxCalls  = 16     // under way at a time; the size of Redis's pool
	firstWant = 16     // events, while a rate is not known
	leastWant = 4      // so that a slow feed does not wait for each event
	mostWant  = 10_000 // events
)

// Options are what a Limiter is made from. Source and Edge are needed.
type Options struct {
	Source Source
	// Edge names this process among all that share the source, also past ones: its node and boot.
	Edge string
	// Edges is how many edges share the source, if the source cannot know. Default 1.
	Edges int
	// Patience is how long a connect waits for the source. Default 100 ms.
	Patience time.Duration
	Logger   *slog.Logger
}

// Limiter keeps the buckets and seats of one edge. Make one with New, start it with Run; its other methods may be called by any
// goroutine, and before Run.
type Limiter struct {
	src    Source
	edge   string
	edges  int
	log    *slog.Logger
	began  time.Time
	kicks  chan *Bucket
	missed atomic.Bool   // a kick found no room: look at all
	number atomic.Uint64 // of the last call: they rise over all buckets, since one that is forgotten may come back
	slots  chan struct{}
	wait   time.Duration // of a connect
	calls  sync.WaitGroup
	offset atomic.Int64 // of the source's clock to ours, ns
	down   atomic.Pointer[string]
	fails  atomic.Uint64

	mu      sync.Mutex // guards what follows
	buckets map[string]*Bucket
	seats   map[string]*seatScope
	over    bool            // Run is ending: no new calls
	ctx     context.Context // of calls; nil before Run
}

// New makes a Limiter; it starts nothing.
func New(o Options) *Limiter {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Patience <= 0 {
		o.Patience = connectTime
	}
	return &Limiter{
		src: o.Source, edge: o.Edge, edges: max(o.Edges, 1), log: o.Logger, began: time.Now(),
		kicks: make(chan *Bucket, 1024), slots: make(chan struct{}, maxCalls), wait: o.Patience,
		buckets: map[string]*Bucket{}, seats: map[string]*seatScope{},
	}
}

// ledger is what the loop knows of a bucket.
type ledger struct {
	set    Setup
	users  int
	busy   bool      // a call is under way or about to be
	after  time.Time // no call before
	life   uint64    // the call that mine counts from, 0 = none yet
	asked  bool      // the window has begun: until is its end
	window Window

	mine, told int64 // given to us in this window; told to be spent
	own        int64 // of mine, what we gave ourselves while the source was away
	free       int64 // as last known
	share      int   // edges, as last known

	filled   time.Time
	filledAt int64 // spent then
	settled  time.Time
	moved    time.Time
	movedAt  int64 // spent then
	dryFrom  time.Time
	downFrom time.Time
	answered chan struct{} // closed by the next answer
}

// Setup says what a bucket is for.
type Setup struct {
	Limit Limit
	// CountOnly never ends a quota: what is delivered is counted.
	CountOnly bool
	// FailOpen goes on by an estimate while the source is away; else nothing more is given.
	FailOpen bool
	// Wake is called when an empty bucket was filled or its State changed. It must be cheap and not block.
	Wake func()
}

func (s Setup) limit() int64 {
	if s.CountOnly {
		return MaxEvents
	}
	return s.Limit.events()
}

// Open returns the bucket of a scope. Whoever opened it closes it once.
func (l *Limiter) Open(scope string, s Setup) *Bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[scope]
	if b == nil {
		b = &Bucket{l: l, scope: scope, ledger: ledger{answered: make(chan struct{})}}
		b.state.Store(&State{Limit: s.Limit})
		l.buckets[scope] = b
	}
	b.mu.Lock()
	b.users++
	b.mu.Unlock()
	b.Change(s)
	return b
}

// Close lets the bucket go. With its last user what is left in it goes back.
func (b *Bucket) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; b.users == 0 {
		b.set.Wake = func() {}
		b.after = time.Time{}
	}
}

// Change gives the bucket other limits at once: what was given in this window stays given.
func (b *Bucket) Change(s Setup) {
	if s.Wake == nil {
		s.Wake = func() {}
	}
	b.mu.Lock()
	old := b.set
	b.set = s
	more := s.limit() != old.limit() || s.FailOpen != old.FailOpen
	if old.Limit.Unit != s.Limit.Unit || old.Limit.Every != s.Limit.Every {
		b.begin() // another window, another count
	}
	if more && b.users > 0 {
		b.after, b.dryFrom = time.Time{}, time.Time{}
		b.show(Flowing, time.Time{})
	}
	b.mu.Unlock()
	if more {
		b.kick()
	}
}

// begin forgets the window that was. b.mu is held.
func (b *Bucket) begin() {
	b.roll()
	b.until.Store(0)
	b.asked, b.life, b.mine, b.told, b.own = false, 0, 0, 0, 0
	b.filledAt, b.movedAt = 0, 0
	b.dryFrom = time.Time{}
	b.show(Flowing, time.Time{})
}

// spent is how many of mine were taken. b.mu is held.
func (b *Bucket) spent() int64 { return b.mine - b.have() }

// show makes a state known. b.mu is held. It reports whether it is another one.
func (b *Bucket) show(p Phase, reset time.Time) bool {
	s := State{Phase: p, Limit: b.set.Limit, Reset: reset}
	if *b.state.Load() == s {
		return false
	}
	b.state.Store(&s)
	return true
}

// clock is the source's clock as far as we know it.
func (l *Limiter) clock(now time.Time) time.Time { return now.Add(time.Duration(l.offset.Load())) }

// Run fills the buckets and keeps the seats until ctx ends, then gives everything back and returns.
func (l *Limiter) Run(ctx context.Context) error {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	warm, done := context.WithTimeout(ctx, time.Second)
	l.heard(l.src.Refresh(warm, nil))
	done()
	every := time.NewTicker(look)
	defer every.Stop()
	refreshed := time.Now()
	for {
		select {
		case <-ctx.Done():
			l.leave()
			return nil
		case b := <-l.kicks:
			l.tend(b, time.Now())
			continue
		case <-every.C:
		}
		now := time.Now()
		l.missed.Store(false)
		for _, b := range l.all() {
			l.tend(b, now)
		}
		all := now.Sub(refreshed) >= refreshTime
		if all {
			refreshed = now
		}
		l.refresh(all)
	}
}

// leave waits for the calls under way and gives back what is held.
func (l *Limiter) leave() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.calls.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, b := range l.all() {
		b.mu.Lock()
		b.users = 0
		ask, ok := b.ask(time.Now())
		b.mu.Unlock()
		if !ok || ctx.Err() != nil {
			continue
		}
		if _, err := l.src.Allot(ctx, ask); err != nil {
			l.log.Warn("quota not given back", "scope", b.scope, "events", ask.Back, "error", err)
		}
	}
	l.giveSeatsBack(ctx)
}

func (l *Limiter) all() []*Bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*Bucket, 0, len(l.buckets))
	for _, b := range l.buckets {
		list = append(list, b)
	}
	return list
}

// tend starts a call for a bucket that needs one, and forgets one that nobody uses.
func (l *Limiter) tend(b *Bucket, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.busy || l.over:
	case b.needs(now):
		b.busy = true
		l.calls.Go(func() { l.serve(b) })
	case b.users == 0:
		delete(l.buckets, b.scope)
	}
}

// needs tells whether a call is due. b.mu is held.
func (b *Bucket) needs(now time.Time) bool {
	spent, have := b.spent(), b.have()
	if spent != b.movedAt {
		b.moved, b.movedAt = now, spent
	}
	over := b.asked && int64(now.Sub(b.l.began)) >= b.until.Load()
	if now.Before(b.after) && (!over || !b.downFrom.IsZero()) {
		return false
	}
	switch {
	case b.users == 0:
		return !over && b.asked && (have > 0 || spent != b.told)
	case over, b.kicked.Load(), !b.dryFrom.IsZero(), !b.downFrom.IsZero():
		return true
	case spent != b.told && now.Sub(b.settled) >= settleEvery:
		return true
	}
	return have > 0 && now.Sub(b.moved) >= idleAfter
}

// serve makes calls for b until none is due.
func (l *Limiter) serve(b *Bucket) {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	for {
		b.mu.Lock()
		ask, ok := b.ask(time.Now())
		if !ok {
			b.busy = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		sent := time.Now()
		ctx, cancel := context.WithTimeout(l.ctx, callTime)
		got, err := l.src.Allot(ctx, ask)
		cancel()
		l.heard(err)
		b.mu.Lock()
		wake := b.set.Wake
		if !b.apply(ask, got, err, sent) {
			wake = func() {}
		}
		close(b.answered)
		b.answered = make(chan struct{})
		more := b.needs(time.Now()) && l.ctx.Err() == nil
		b.busy = more
		b.mu.Unlock()
		wake()
		if !more {
			return
		}
	}
}

// ask makes the next call; false if there is nothing to ask. What goes back leaves the bucket now: whether the answer comes or not, it
// is not ours any more. b.mu is held.
func (b *Bucket) ask(now time.Time) (Ask, bool) {
	over := b.asked && int64(now.Sub(b.l.began)) >= b.until.Load()
	if over && b.spent() == b.told {
		b.begin()
		over = false
	}
	if !b.asked {
		if b.users == 0 {
			return Ask{}, false
		}
		b.window = b.set.Limit.Window(b.l.clock(now))
	}
	a := Ask{Scope: b.scope, Edge: b.l.edge, Window: b.window, Limit: b.set.limit(), Edges: b.l.edges}
	kicked := b.kicked.Swap(false)
	idle := b.have() > 0 && now.Sub(b.moved) >= idleAfter
	switch {
	case over: // tells what was spent since it was told last; the answer says that the window is over
	case b.users == 0, idle && !kicked:
		a.Back = b.drain()
		b.mine -= a.Back
	case kicked, !b.asked, !b.dryFrom.IsZero(), !b.downFrom.IsZero():
		a.Want = b.want(now)
	}
	a.Call = b.l.number.Add(1)
	if b.life == 0 {
		b.life = a.Call
	}
	a.Life, a.Mine, a.Spent = b.life, b.mine+a.Back, b.spent()
	return a, true
}

// want is what lasts for a second at the pace of now. b.mu is held.
func (b *Bucket) want(now time.Time) int64 {
	if !b.asked || b.filled.IsZero() {
		return firstWant
	}
	took := max(now.Sub(b.filled), time.Millisecond)
	pace := float64(b.spent()-b.filledAt) / took.Seconds()
	return max(1, int64(min(max(pace, leastWant), mostWant))-b.have())
}

// apply books an answer. b.mu is held. It reports whether those who wait should look again.
func (b *Bucket) apply(a Ask, got Allotment, err error, sent time.Time) (wake bool) {
	now := time.Now()
	if err != nil {
		if b.asked && int64(now.Sub(b.l.began)) >= b.until.Load() {
			b.begin()
			b.kicked.Store(true)
		}
		return b.alone(a, now)
	}
	b.l.offset.Store(int64(got.Now.Sub(now)))
	b.downFrom = time.Time{}
	b.own = 0
	b.settled = now
	if got.Outside {
		b.begin() // and ask again, for the window that it now is
		b.after = time.Time{}
		b.kicked.Store(true)
		return b.show(Flowing, time.Time{})
	}
	b.told = a.Spent
	b.asked = true
	b.free, b.share = got.Free, got.Edges
	b.until.Store(int64(sent.Sub(b.l.began) + got.Left))
	b.after = time.Time{}
	if got.Given > 0 {
		b.mine += got.Given
		b.filled, b.filledAt = now, b.spent()-got.Given
		b.moved = now
		b.low.Store(max(1, got.Given/4))
		b.dryFrom = time.Time{}
		b.add(b.epoch(), int(got.Given))
		b.filledAt = b.spent()
		b.show(Flowing, time.Time{})
		return true
	}
	if a.Want == 0 || b.have() > 0 {
		return false
	}
	if b.dryFrom.IsZero() {
		b.dryFrom = now
	}
	if got.Held > 0 && now.Sub(b.dryFrom) < dryFor {
		b.after = now.Add(dryAsk)
		return false
	}
	b.after = now.Add(endedAsk)
	if now := b.State(); now.Phase == Ended && now.Limit == b.set.Limit {
		return false // the reset is the same but for the time calls take
	}
	return b.show(Ended, now.Add(got.Left+time.Millisecond)) // not before the true end: who comes then is let in
}

// alone goes on without the source. b.mu is held.
func (b *Bucket) alone(a Ask, now time.Time) (wake bool) {
	b.after = now.Add(dryAsk)
	if b.downFrom.IsZero() {
		b.downFrom = now
	}
	switch {
	case a.Want == 0 || b.have() > 0:
		return false
	case b.set.FailOpen || b.set.CountOnly:
		return b.giveSelf(a, now)
	case now.Sub(b.downFrom) >= tellAfter:
		return b.show(Unavailable, time.Time{})
	}
	return false
}

// giveSelf takes a part of what is thought to be left; the source learns of it later. b.mu is held.
func (b *Bucket) giveSelf(a Ask, now time.Time) (wake bool) {
	if !b.asked {
		b.free = a.Limit
		if b.share == 0 { // never had an answer
			b.free = max(1, a.Limit/100)
		}
		b.asked = true
		b.until.Store(int64(now.Sub(b.l.began) + a.Window.End.Sub(b.l.clock(now))))
	}
	n := max(0, min(a.Want, b.free/int64(max(b.share, b.l.edges))-b.own))
	if n == 0 {
		return b.show(Ended, b.l.began.Add(time.Duration(b.until.Load())))
	}
	b.own += n
	b.mine += n
	b.low.Store(max(1, n/4))
	b.add(b.epoch(), int(n))
	b.filled, b.filledAt, b.moved = now, b.spent(), now
	b.show(Flowing, time.Time{})
	return true
}

// heard remembers whether the source answers, and logs when that changes.
func (l *Limiter) heard(err error) {
	if err == nil {
		if why := l.down.Swap(nil); why != nil {
			l.log.Info("quota.source", "state", "up")
		}
		return
	}
	l.fails.Add(1)
	if errors.Is(err, errBroken) && l.down.Load() != nil {
		return // why it was left alone says more
	}
	why := err.Error()
	if l.down.Swap(&why) == nil {
		l.log.Warn("quota.source", "state", "down", "error", why)
	}
}

// Status is how the limiter stands.
type Status struct {
	Shared   bool   // edges see the same counts
	Down     string // why the source does not answer; "" = it does
	Failures uint64 // calls
	Buckets  int
	Scopes   int // with seats
}

// Status tells how the limiter stands.
func (l *Limiter) Status() Status {
	s := Status{Shared: l.src.Shared(), Failures: l.fails.Load()}
	if why := l.down.Load(); why != nil {
		s.Down = *why
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Buckets, s.Scopes = len(l.buckets), len(l.seats)
	return s
}
