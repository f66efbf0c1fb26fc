package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/ingest/upstream"
	"sluice/internal/broker"
	"sluice/internal/sse"
)

// reader connects a feed to its upstream, again and again, and queues what comes. It stops reading while the queue is
// full. It runs on a goroutine of its own, started and awaited by the worker.
type reader struct {
	w    *worker
	q    *queue
	wait backoff

	// seam, owned by the goroutine.
	pending bool   // a connection ended, or this owner is new: what comes next may not follow
	reason  string // of that, if no id can prove otherwise; "" = gapNoID
	noID    bool   // do not present an id at this seam
	gap     string // marker for the present connection, if it cannot prove anything
	refused int    // resumes answered with an error since the last event
	mayBeID bool   // the last one was
	sticky  string // upstream id in force
	source  string // that the ids belong to
	warned  string // charset already complained about

	events int // that the present connection has brought

	now   stamp // of the last bytes read
	badID bool  // the event being read had an id that was ignored

	mu   sync.Mutex // guards what follows: the hold's timer uses it too
	win  window
	over *overlap // the comparison running; nil = none
	seam string   // how the seam before the present connection's events was settled; "" = it is open, or there was none
}

func newReader(w *worker, q *queue, s start) *reader {
	d := w.def.Load()
	r := &reader{w: w, q: q, wait: backoff{cfg: w.n.backoff}, source: d.source}
	r.win.load(w.n.seed, s.tail)
	if s.pos.Seq != 0 {
		r.win.known = true
	}
	r.pending = r.win.known
	if n := r.win.len(); n > 0 {
		r.sticky = string(r.win.at(n - 1).id)
	}
	switch {
	case s.changed:
		r.reason, r.noID, r.sticky = gapChanged, true, ""
		r.win.forget()
	case !d.always && r.win.known:
		r.reason = gapIdle
		r.noID = d.maxAge > 0 && w.n.clock.Now().Sub(s.last) > d.maxAge
	}
	return r
}

// run connects and reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.w.readable(ctx)
		d := r.w.def.Load()
		if d.source != r.source {
			r.source, r.pending = d.source, r.win.known
			r.reason, r.noID, r.refused, r.sticky = gapChanged, true, 0, ""
			r.win.forget()
			r.wait = backoff{cfg: r.w.n.backoff}
		}
		err := r.connect(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRedefined) || errors.Is(err, errFenced) {
			r.wait.fine()
			continue
		}
		r.failed(ctx, d, err)
	}
}

// connect is one connection, from the request to its end. The error is never nil.
func (r *reader) connect(ctx context.Context, d *def) error {
	if d.broken != nil {
		return d.broken
	}
	if err := d.limit.Wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !r.w.connecting(cancel, d) {
		return errRedefined
	}
	defer r.w.connecting(nil, nil)
	if r.wait.n == 0 { // after a failure that stays the state until the upstream works
		r.w.st.set(broker.StateOpening, "")
	}
	a := r.plan(d)
	span, target := r.beginUpstream(d, a)
	err := r.read(ctx, d, a, span, target)
	span.end(r.events, r.settled(), err)
	return err
}

// read opens the connection and reads it to its end. The error is never nil.
func (r *reader) read(ctx context.Context, d *def, a ask, span *upSpan, target upstream.Target) error {
	r.fresh()
	conn, err := d.client.Open(ctx, target, a.send, r.sticky, r.hooks())
	if err != nil {
		r.refusal(a, upstream.AsError(err))
		return err
	}
	span.opened()
	defer conn.Close()
	if cs := conn.Charset(); cs != "" && cs != r.warned {
		r.warned = cs
		r.w.log.Warn("upstream declares a charset; its bytes are read as UTF-8", "charset", cs)
	}
	r.w.n.met.connected(broker.StateUp)
	r.w.st.opened()
	r.w.src.Store(&d.source)
	r.w.st.set(broker.StateUp, "")
	r.begin(a)
	err = r.stream(ctx, conn)
	r.end(conn, ctx.Err() != nil)
	return err
}

// connecting notes how to end the connection about to be made by d, so that a new definition can; false if there is one
// already, or the feed may not be read.
func (w *worker) connecting(cancel context.CancelCauseFunc, d *def) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = cancel
	return d == nil || w.def.Load().sig == d.sig && w.open == nil
}

// refusal counts answers that may be due to the id presented. One that comes without any id has another reason.
func (r *reader) refusal(a ask, e *upstream.Error) {
	r.mayBeID = false
	switch {
	case e == nil || !refusesID(e.Status):
	case a.send == "":
		r.refused = 0
	default:
		r.refused++
		r.mayBeID = true
	}
}

// refusesID says that an answer of that status may mean the Last-Event-ID and not the request.
func refusesID(status int) bool {
	switch status {
	case 401, 403, 408, 429:
		return false
	}
	return status >= 400 && status < 500
}

// plan says how to resume on the next connection.
func (r *reader) plan(d *def) ask {
	if !r.pending {
		return ask{proof: proofTrust}
	}
	a := ask{proof: proofNothing, gap: gapNoID}
	if !r.noID {
		a = r.win.askAgain(d.resume, r.refused)
	}
	if a.proof == proofNothing && a.gap == gapNoID && r.reason != "" {
		a.gap = r.reason
	}
	return a
}

func (r *reader) hooks() upstream.Hooks {
	return upstream.Hooks{
		OnBytes: func(int) {
			r.now = stamp{time.Now(), r.w.n.clock.Now().UnixMicro()}
		},
		OnRetry: r.wait.retry,
		OnLongID: func(n int) {
			r.badID = true
			r.w.log.Debug("upstream id ignored", "bytes", n)
		},
		OnOversize: func(n int64) {
			r.w.n.met.skip(gapOversize, 1)
			r.w.log.Warn("upstream event too large, skipped", "bytes", n)
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.over != nil {
				r.offer(held{gap: gapOversize, when: r.now})
				return
			}
			r.prove()
			r.mark(gapOversize, r.now)
		},
	}
}

// stream reads events until the connection ends.
func (r *reader) stream(ctx context.Context, conn *upstream.Conn) error {
	began := time.Now()
	var told time.Time
	for {
		ev, err := conn.Next()
		if err != nil {
			if up := time.Since(began); up >= r.wait.cfg.Reset || r.events > 0 && up >= fineAfter {
				r.wait.fine()
			}
			return err
		}
		r.events++
		if r.now.at.Sub(told) >= 100*time.Millisecond {
			told = r.now.at
			r.w.st.read(told)
		}
		full := r.take(ev)
		r.badID = false
		if !full {
			continue
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// fineAfter is how long a connection that brings events must be up to count as working.
const fineAfter = 5 * time.Second

// take queues an event, or hands it to the comparison at a seam. True means stop reading.
func (r *reader) take(ev sse.Event) (full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		body := sse.AppendBody(nil, ev.Type, ev.Data)
		r.offer(held{body: body, id: append([]byte(nil), ev.ID...), hash: hashOf(r.w.n.seed, body), when: r.now,
			bad: r.badID})
		return r.q.stop(r.now.at)
	}
	if r.pending {
		r.prove()
	}
	hash, full := r.q.add(ev.Type, ev.Data, ev.ID, r.now)
	r.win.push(ev.ID, hash, r.badID)
	return full
}

// pause waits until the queue is calm.
func (r *reader) pause(ctx context.Context) error {
	r.w.n.met.paused()
	r.w.st.pause(true)
	defer r.w.st.pause(false)
	t := time.NewTicker(100 * time.Millisecond) // for what other feeds of the node free
	defer t.Stop()
	for !r.q.calm(time.Now()) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.q.space:
		case <-t.C:
		}
	}
	return nil
}

// failed reacts to the end of a connection or a failed attempt: state, log, wait.
func (r *reader) failed(ctx context.Context, d *def, err error) {
	e := upstream.AsError(err)
	if e == nil {
		e = &upstream.Error{State: upstream.StateBackoff, Why: clip(err.Error())}
	}
	state := e.State
	if state == upstream.StateMissing && d.always {
		state = upstream.StateError
	}
	r.w.n.met.connected(state)
	wait := r.wait.next()
	switch {
	case e.RetryAfter > 0:
		wait = spread(e.RetryAfter)
	case e.Pace == upstream.PacePark && d.park:
		wait = r.wait.cfg.Parked
	case e.Pace == upstream.PaceMax:
		wait = r.wait.longest()
	case state == upstream.StateMissing:
		wait = max(wait, missingTime)
	}
	if r.mayBeID {
		wait = min(wait, spread(minRetry)) // the next attempt presents another id or none
		r.mayBeID = false
	}
	r.log(e, state, wait)
	r.w.st.set(state, e.Why)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-r.w.redefined:
		r.wait.fine()
	case <-t.C:
	}
}

// missingTime is how long a feed that the upstream does not have is left alone.
const missingTime = 30 * time.Second

// loudFailures is how many failures in a row are logged aloud; later ones are for debugging, and on the page of feeds.
const loudFailures = 3

// log writes the one line of a failed attempt.
func (r *reader) log(e *upstream.Error, state string, wait time.Duration) {
	event := "upstream.down"
	switch {
	case e.State == upstream.StateBlocked:
		event = "ssrf.block"
	case e.Status != 0:
		event = "upstream.status"
	}
	lvl := level(state)
	if r.wait.n > loudFailures {
		lvl = slog.LevelDebug
	}
	r.w.log.Log(context.Background(), lvl, "upstream not read", "event", event, "state", state, "why", e.Why,
		"status", e.Status, "wait", wait, "failures", r.wait.n)
}
