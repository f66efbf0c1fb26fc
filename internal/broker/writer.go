package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxTail        = 1000
	tailBlocks     = 64 // reads that one Tail may cost
	maxBatchEvents = 1000
)

// writer stores commits. It holds nothing per feed; what outlives a call is in the
// Commit itself.
type writer struct {
	cfg    Config
	box    *inbox
	info   *infoCache
	direct *direct
	met    *metrics

	mu    sync.Mutex
	order map[string]*predictor // guarded by mu: by API, bounded by the number of streams
}

func newWriter(cfg Config, box *inbox, info *infoCache, d *direct, met *metrics) *writer {
	return &writer{cfg: cfg, box: box, info: info, direct: d, met: met, order: map[string]*predictor{}}
}

// Last implements Writer.
func (w *writer) Last(ctx context.Context, f FeedID) (Message, error) {
	ctx, cancel := withTimeout(ctx, w.cfg.CommitTimeout)
	defer cancel()
	w.met.read("leader")
	s, err := leaderLast(ctx, w.box, f)
	if err != nil {
		err = fmt.Errorf("feed %s: last message: %w", f, err)
	}
	return s.Message, err
}

// Tail implements Writer: it reads forward from ever further back.
func (w *writer) Tail(ctx context.Context, f FeedID, n int) ([]Message, error) {
	n = min(n, maxTail)
	if n <= 0 {
		return nil, nil
	}
	last, err := w.direct.LastMessage(ctx, f)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, ErrForeign) {
		return nil, err
	}
	first, err := w.direct.FirstSeq(ctx, f.API)
	if err != nil {
		return nil, err
	}
	upTo := last.Seq
	if upTo == 0 { // foreign: begin from the end of what is kept
		return w.tailFrom(ctx, f, first, ^uint64(0), n, new(int))
	}
	var tail []Message
	reads := 0
	for span := uint64(2 * n); len(tail) < n && reads < tailBlocks; span *= 4 {
		from := max(first, last.Seq-min(span, last.Seq-1))
		part, err := w.tailFrom(ctx, f, from, upTo, n-len(tail), &reads)
		if err != nil {
			return nil, err
		}
		tail = append(part, tail...)
		if upTo = from - 1; from <= first {
			break
		}
	}
	return tail, nil
}

// tailFrom returns the last n messages within [from, upTo].
func (w *writer) tailFrom(ctx context.Context, f FeedID, from, upTo uint64, n int, reads *int) ([]Message, error) {
	var tail []Message
	for from <= upTo {
		var b Block
		*reads++
		if err := w.direct.Read(ctx, f, From{Seq: from}, &b); err != nil {
			return nil, err
		}
		for i := range b.Messages {
			if b.Messages[i].Seq <= upTo {
				tail = append(tail, b.Messages[i])
			}
		}
		if len(tail) > n {
			tail = slices.Clone(tail[len(tail)-n:])
		}
		if !b.More || b.Next == 0 {
			break
		}
		from = b.Next
	}
	return tail, nil
}

// Commit implements Writer.
func (w *writer) Commit(ctx context.Context, f FeedID, c *Commit) (Position, error) {
	start := time.Now()
	err := w.commit(ctx, f, c)
	w.met.commit(time.Since(start), err)
	if err != nil {
		return Position{}, fmt.Errorf("feed %s: commit %d events: %w", f, len(c.Events), err)
	}
	return Position{Seq: c.last}, nil
}

func (w *writer) commit(ctx context.Context, f FeedID, c *Commit) error {
	if err := w.check(c); err != nil {
		return err
	}
	if c.unsure {
		if err := w.resolve(ctx, f, c); err != nil {
			return err
		}
	}
	facts, err := w.info.get(ctx, f.API, 0)
	if err != nil {
		return err
	}
	w.info.refresh(ctx, f.API, facts) // a profile may change under us; each form of commit is right in all of them
	if c.done == len(c.Events) {
		return nil
	}
	switch {
	case facts.profile == ProfileProcess:
		err = w.pipeline(ctx, f, c)
	case len(c.Events)-c.done == 1:
		err = w.single(ctx, f, c, w.predictor(f.API), true)
	default:
		err = w.batch(ctx, f, c, w.predictor(f.API))
	}
	if errors.Is(err, ErrNoStream) {
		w.info.drop(f.API)
	}
	return err
}

func (w *writer) check(c *Commit) error {
	if len(c.Events) == 0 || len(c.Events) > maxBatchEvents {
		return fmt.Errorf("%w: a commit holds 1 to %d events", ErrRefused, maxBatchEvents)
	}
	if c.done > 0 { // an earlier attempt was checked
		return nil
	}
	most := w.cfg.MaxEvent
	if p := int(w.box.nc.MaxPayload()) - headerReserve; p > 0 {
		most = min(most, p)
	}
	for i := range c.Events {
		e := &c.Events[i]
		switch {
		case len(e.Body) > most:
			return fmt.Errorf("event %d of %d bytes: %w", i, len(e.Body), ErrTooLarge)
		case !ValidBody(e.Body):
			return fmt.Errorf("event %d: body is no prefix of a frame: %w", i, ErrRefused)
		case len(e.UpstreamID) > maxUpstreamID:
			return fmt.Errorf("event %d: upstream id of %d bytes: %w", i, len(e.UpstreamID), ErrRefused)
		}
	}
	return nil
}

// resolve finds out what became of an attempt without answer: the leader's last
// message is ours, with its place in the commit, or nothing more of it is stored.
// The next compare-and-set decides, so that a stale answer does no harm.
func (w *writer) resolve(ctx context.Context, f FeedID, c *Commit) error {
	ctx, cancel := withTimeout(ctx, w.cfg.CommitTimeout)
	defer cancel()
	w.met.read("leader")
	s, err := leaderLast(ctx, w.box, f)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrForeign):
		return nil
	case err != nil:
		return fmt.Errorf("resolve: %w", err)
	}
	if s.Epoch == c.Epoch && s.Tx == c.Tx && s.Seq > c.last {
		c.landed(s.index+1, s.Seq)
	}
	return nil
}

// landed notes that the first n events are stored, the last of them at seq. unsure
// stays: more of the unanswered attempt may still land.
func (c *Commit) landed(n int, seq uint64) {
	c.done, c.last, c.empty = min(n, len(c.Events)), seq, false
}

// expected is the feed's last sequence before the next event to be stored.
func (c *Commit) expected() uint64 {
	switch {
	case c.empty, c.done == 0 && c.Force:
		return 0
	case c.done > 0:
		return c.last
	}
	return c.Prev
}

// link is the sequence that the next event names as the one before it.
func (c *Commit) link() uint64 {
	if c.done > 0 {
		return c.last
	}
	return c.Prev
}

// header fills h for event i. link < 0 leaves Sse-Prev out.
func (c *Commit) header(h nats.Header, i int, link int64, hashed bool) {
	clear(h)
	e := &c.Events[i]
	h[hdrTx] = []string{formatTx(c.Epoch, c.Tx, i)}
	if link >= 0 {
		h[hdrPrev] = []string{strconv.FormatInt(link, 10)}
	}
	if e.UpstreamID != "" {
		h[hdrID] = []string{escapeID(e.UpstreamID)}
	}
	if e.Rx > 0 {
		h[hdrRx] = []string{strconv.FormatInt(e.Rx, 36)}
	}
	if e.Gap {
		h[hdrCtl] = []string{ctlGap}
	}
	if hashed && c.Path != "" {
		h[hdrPath] = []string{c.Path}
	}
	if i == 0 && c.Trace.Valid() {
		h[hdrTrace] = []string{c.Trace.String()}
	}
}

// fenced makes the error of a wrong last sequence ours; nil means that it was an attempt
// of our own, now taken over, and that c goes on from there.
func (w *writer) fenced(ctx context.Context, f FeedID, c *Commit, js *jsError) error {
	actual, known := js.actual()
	if !known {
		return js
	}
	if actual > c.last {
		before := c.done
		if err := w.resolve(ctx, f, c); err != nil {
			return err
		}
		if c.done > before {
			return nil
		}
	}
	if actual == 0 && c.Force && c.done > 0 && !c.empty {
		c.empty = true // what was stored of c is gone, too
		return nil
	}
	return fmt.Errorf("%w: %w", &FencedError{Feed: f, Expected: c.expected(), Actual: actual}, js)
}

// answered sorts the broker's answer to a stored message: its sequence or the error.
func (w *writer) answered(m *nats.Msg) (uint64, error) {
	if noResponders(m) {
		w.met.refusal("no-responders")
		return 0, ErrNoStream
	}
	seq, err := parseAck(m.Data)
	var js *jsError
	if errors.As(err, &js) {
		w.met.refusal(strconv.Itoa(js.ErrCode))
	}
	return seq, err
}

// noAnswer is the error of a wait that ended without the broker's word.
func (c *Commit) noAnswer(ctx context.Context, why string) error {
	c.unsure = true
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return fmt.Errorf("%w: %s", ErrUnknownOutcome, why)
}
