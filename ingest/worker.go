package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/config"
	"sluice/ingest/lease"
	"sluice/internal/broker"
	"sluice/internal/trace"
)

// Why a feed's reader or tenure ends; causes of contexts and errors between its goroutines.
var (
	errResync    = errors.New("another writer stored events: starting over from the store")
	errRedefined = errors.New("the definition changed")
	errStopped   = errors.New("the feed is not wanted here any more")
	errCollision = errors.New("the feed's key is used by another path")
	errFenced    = errors.New("this node's beats do not come back")
)

// node is what all feeds of a node share.
type node struct {
	cfg     config.Ingest
	backoff config.UpstreamBackoff
	writer  broker.Writer
	bus     broker.Bus
	leaser  lease.Leaser
	clock   Clock
	log     *slog.Logger
	met     *metrics
	tracing tracing
	budget
	limits queueLimits
	pool   sync.Pool // of *batch
	seed   maphash.Seed
	name   string
	stands func() lease.Standing // whether this node may act; any goroutine may call it
}

// worker runs one feed: it takes the feed over, then commits what its reader queues, until it is stopped, loses the feed,
// or must start over.
type worker struct {
	n    *node
	id   broker.FeedID
	log  *slog.Logger
	st   *status
	def  atomic.Pointer[def]
	hold bool                   // keep the owner's entry when the feed is given back
	src  atomic.Pointer[string] // source that the reader was last connected to
	gave lease.Holder           // to whom the feed was given; read it after done

	taken trace.Context                 // span of the present tenure's take-over; written before its goroutines start
	reads atomic.Pointer[trace.Context] // span of the present connection, if it is recorded

	redefined chan struct{} // the definition changed: wakes a reader that waits
	wake      chan struct{} // the lease is to be looked at: wakes a committer that waits
	done      chan struct{} // closed when run has returned

	mu      sync.Mutex              // guards what follows
	stopped bool                    // stop was called
	halt    context.CancelCauseFunc // ends reading and taking over; nil before run
	conn    context.CancelCauseFunc // ends the present connection
	q       *queue                  // of the present tenure
	heir    lease.Node              // who gets the feed when it is stopped; no name = nobody
	doubted bool                    // another node seems to own the feed
	open    chan struct{}           // closed when reading may go on; nil = it may
}

func newWorker(n *node, d *def) *worker {
	log := n.log.With("api", d.api, "topic", d.topic, "feed", d.id.String())
	w := &worker{n: n, id: d.id, log: log, hold: d.always,
		st:        &status{id: d.id, node: n.name, bus: n.bus, log: log, clock: n.clock, base: broker.StateOpening},
		redefined: make(chan struct{}, 1), wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.st.since = n.clock.Now()
	w.st.shown = broker.StateOpening
	w.def.Store(d)
	return w
}

// stop asks the worker to read nothing more, store what it has, and give the feed back. done tells when it has.
func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.halt != nil {
		w.halt(errStopped)
	}
}

// give stops the worker and makes another node the owner of the feed; gave tells whether that worked.
func (w *worker) give(to lease.Node) {
	w.mu.Lock()
	w.heir = to
	w.mu.Unlock()
	w.stop()
}

// fence ends the connection and lets no other be made until the committer has confirmed the lease.
func (w *worker) fence() {
	w.mu.Lock()
	cancel := w.conn
	if w.open == nil {
		w.open = make(chan struct{})
	}
	w.mu.Unlock()
	if cancel != nil {
		cancel(errFenced)
	}
	signal(w.wake)
}

// doubt has the committer confirm the lease before it stores anything else.
func (w *worker) doubt() {
	w.mu.Lock()
	w.doubted = true
	w.mu.Unlock()
	signal(w.wake)
}

// doubts says that the lease is to be confirmed, and that nothing is read meanwhile.
func (w *worker) doubts() (doubted, shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubted, w.open != nil
}

// sure says that the lease is confirmed: reading goes on.
func (w *worker) sure() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doubted = false
	if w.open != nil {
		close(w.open)
		w.open = nil
	}
}

// readable waits until the feed may be read.
func (w *worker) readable(ctx context.Context) {
	w.mu.Lock()
	open := w.open
	w.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case <-open:
	case <-ctx.Done():
	}
}

// haltable returns ctx as far as stop lets it.
func (w *worker) haltable(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	soft, halt := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.halt = halt
	if w.stopped {
		halt(errStopped)
	}
	return soft, halt
}

// redefine makes the feed read by d. A connection is opened anew only if d says so.
func (w *worker) redefine(d *def) {
	old := w.def.Swap(d)
	if old.sig == d.sig && (old.broken == nil) == (d.broken == nil) {
		return
	}
	w.mu.Lock()
	cancel := w.conn
	w.mu.Unlock()
	if cancel != nil {
		cancel(errRedefined)
	}
	signal(w.redefined)
}

// run works until the feed is stopped or lost. ctx ends everything at once; what is queued then is lost and read again by
// the next owner as far as the upstream can.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	soft, halt := w.haltable(ctx)
	defer halt(nil)
	var l lease.Lease
	err := errResync
	for errors.Is(err, errResync) {
		err = w.tenure(ctx, soft, &l)
	}
	if !errors.Is(err, errStopped) && ctx.Err() == nil {
		w.log.Warn("feed given up", "epoch", l.Epoch, "err", err)
	}
	w.st.set(broker.StateClosed, closedWhy(err))
	w.st.disowned()
	if errors.Is(err, lease.ErrLost) {
		w.n.met.losing()
		_ = sleep(soft, spread(lostPause)) // what ends it early is what it waits for
		return
	}
	if l.Epoch == 0 {
		return
	}
	// The owner's entry is given back even if ctx has ended: the next owner need not wait.
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if errors.Is(err, errStopped) && w.bequeath(free, l) {
		return
	}
	if err := w.n.leaser.Release(free, l, w.hold); err != nil {
		w.log.Warn("feed not given back", "err", err)
	}
}

// bequeath gives the feed to its heir, if there is one, and tells it; false if the feed is to be given back.
func (w *worker) bequeath(ctx context.Context, l lease.Lease) bool {
	w.mu.Lock()
	to := w.heir
	w.mu.Unlock()
	if to.Name == "" {
		return false
	}
	given, err := w.n.leaser.Give(ctx, l, to.Name, to.Boot)
	if err != nil {
		w.log.Warn("feed not handed over", "to", to.Name, "err", err)
		return false
	}
	w.gave = lease.Holder{Node: to.Name, Boot: to.Boot, Epoch: given.Epoch}
	w.log.Info("feed handed over", "to", to.Name, "epoch", given.Epoch)
	return true
}

const (
	releaseTimeout = 2 * time.Second
	lostPause      = time.Second // before a feed lost to another node is tried again: two nodes must not fight without rest
)

func closedWhy(err error) string {
	if errors.Is(err, errStopped) {
		return ""
	}
	return err.Error()
}

// tenure owns the feed once: take-over, then reader and committer until one ends. soft ends reading, ctx everything.
func (w *worker) tenure(ctx, soft context.Context, l *lease.Lease) error {
	soft, stopRead := context.WithCancelCause(soft)
	defer stopRead(nil)
	fences := w.n.stands().Fences // before the feed is taken: what comes after it is confirmed
	start, err := w.takeOver(soft, l)
	if err != nil {
		return err
	}
	q := newQueue(w.n.limits, &w.n.budget, &w.n.pool, w.n.seed)
	w.setQueue(q)
	r := newReader(w, q, start)
	c := &committer{w: w, q: q, lease: l, prev: start.pos.Seq, soft: soft, fences: fences}
	w.st.own(l.Epoch, start.pos)
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.run(soft)
		q.close()
	}()
	err = c.run(ctx)
	stopRead(err)
	<-read
	w.setQueue(nil)
	q.drop()
	if err == nil {
		err = context.Cause(soft)
	}
	return err
}

func (w *worker) setQueue(q *queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.q = q
}

// start is what a take-over found.
type start struct {
	pos     broker.Position
	tail    []broker.Message
	changed bool      // the owner before read another source
	last    time.Time // of the last stored message; zero = none
}

// takeOver takes the feed and reads where it stands, trying until it works or ctx ends.
func (w *worker) takeOver(ctx context.Context, l *lease.Lease) (start, error) {
	span := w.span("ingest.take", trace.Internal)
	w.taken = span.Context()
	attempts := 0
	s, err := w.keepTaking(ctx, l, &attempts)
	endTake(span, attempts, l, s, err)
	return s, err
}

// keepTaking is takeOver, counting its attempts.
func (w *worker) keepTaking(ctx context.Context, l *lease.Lease, attempts *int) (start, error) {
	wait := retryWait{first: 100 * time.Millisecond, most: 2 * time.Second}
	for {
		*attempts++
		s, err := w.takeOnce(ctx, l)
		switch {
		case err == nil:
			w.st.troubled("")
			return s, nil
		case ctx.Err() != nil:
			return s, context.Cause(ctx)
		case errors.Is(err, errCollision):
			w.st.set(broker.StateBlocked, err.Error())
			return s, err
		}
		w.st.troubled(cause(err))
		if wait.n == 0 {
			w.log.Warn("feed cannot be taken yet", "err", err)
		}
		if errors.Is(err, broker.ErrDenied) {
			wait.n = deniedSteps
		}
		if err := wait.sleep(ctx); err != nil {
			return s, err
		}
	}
}

func (w *worker) takeOnce(ctx context.Context, l *lease.Lease) (start, error) {
	var s start
	if w.n.stands().Fenced {
		return s, errFenced
	}
	d := w.def.Load()
	taken, err := w.n.leaser.Take(ctx, w.id, d.source)
	if err != nil {
		return s, err
	}
	s.changed = taken.Before != "" && taken.Before != d.source
	*l = taken
	last, err := w.n.writer.Last(ctx, w.id)
	if errors.Is(err, broker.ErrNotFound) {
		w.log.Info("feed taken", "epoch", l.Epoch, "seq", 0)
		return s, nil
	}
	foreign := errors.Is(err, broker.ErrForeign) && last.Seq != 0
	if err != nil && !foreign {
		return s, fmt.Errorf("read the last event: %w", err)
	}
	if w.id.Hashed() && last.Path != "" && last.Path != d.path {
		return s, errCollision
	}
	s.pos, s.last = last.Position, time.UnixMicro(last.Micros)
	if foreign {
		// Somebody else wrote to the subject. It is the store's last word all the same; what we know ends before it.
		w.log.Error("the last stored event is not ours", "event", "stream.foreign", "seq", last.Seq)
		s.tail, err = w.n.writer.Tail(ctx, w.id, windowSize)
	} else {
		s.tail, err = w.tail(ctx, last)
	}
	if err != nil {
		return s, fmt.Errorf("read the last events: %w", err)
	}
	w.log.Info("feed taken", "epoch", l.Epoch, "seq", s.pos.Seq)
	return s, nil
}

// tail reads the resume window. The read may be answered by a replica that lags: then again, for two seconds at most; with
// less than the newest event a resume proves less and a marker says so.
func (w *worker) tail(ctx context.Context, last broker.Message) ([]broker.Message, error) {
	wait := retryWait{first: 20 * time.Millisecond, most: 500 * time.Millisecond}
	for {
		tail, err := w.n.writer.Tail(ctx, w.id, windowSize)
		if err != nil {
			return nil, err
		}
		if n := len(tail); n > 0 && tail[n-1].Seq >= last.Seq {
			return tail, nil
		}
		if wait.n >= 7 {
			return append(tail, last), nil
		}
		if err := wait.sleep(ctx); err != nil {
			return nil, err
		}
	}
}

// retryWait is the wait between attempts at the broker: doubling from first to most, with chance in the upper half.
type retryWait struct {
	first, most time.Duration
	n           int
}

// deniedSteps makes a wait of its longest.
const deniedSteps = 30

func (r *retryWait) sleep(ctx context.Context) error {
	d := min(r.first<<min(r.n, deniedSteps), r.most)
	if d <= 0 {
		d = r.most
	}
	r.n++
	return sleep(ctx, spread(d))
}

// sleep waits for d or the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// fill describes the feed.
func (w *worker) fill(out *FeedStatus) {
	d := w.def.Load()
	out.API, out.Version, out.Topic, out.Path = d.ref.API, d.ref.Version, d.topic, d.path
	out.Feed, out.Always, out.Source = d.id.String(), d.always, redact(d.target.URL)
	w.st.fill(out)
	w.mu.Lock()
	q := w.q
	w.mu.Unlock()
	if q != nil {
		out.QueueBytes = q.size()
		out.LagMs = q.waits(time.Now()).Milliseconds()
	}
}
