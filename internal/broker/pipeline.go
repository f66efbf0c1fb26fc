package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A plain commit publishes one message after the other, each expecting its predecessor
// as the feed's last. Waiting for every answer costs a round trip per event, so we
// predict: message i+1 goes out expecting the sequence that message i will get, if
// nobody else writes to the stream. To be safe a predicted message expects *both* the
// feed's and the stream's last sequence. Then an accepted one has the predicted
// sequence exactly, and once one is refused, all behind it are, because what they
// expect of the feed can no longer come true. With the feed's alone it could: shifted
// by one foreign message, message i+2 would find the sequence it expects on message i.
// After a refusal we go on one by one from the last stored one.

// predictor knows which sequence the next message of a stream will get, as long as
// this process alone writes to it. Its lock is held while a message is handed to the
// connection, so that predictions are in publish order.
type predictor struct {
	mu    sync.Mutex
	known bool
	next  uint64 // sequence of the next message to be published
	sent  uint64 // messages published so far

	// After a wrong guess, events go one by one for a while, longer each time.
	calm    int // events still to be sent one by one
	penalty int
}

const (
	leastPenalty = 64
	mostPenalty  = 8192
)

func (w *writer) predictor(api string) *predictor {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.order[api]
	if p == nil {
		p = &predictor{}
		w.order[api] = p
	}
	return p
}

// accepted learns from an answer to the message that was number sent: all sent after
// it will follow it, if they are accepted. Answers come in the order of publishing.
func (p *predictor) accepted(seq, sent uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = true
	p.next = seq + p.sent - sent
}

// refused takes back the place of one message.
func (p *predictor) refused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		p.next--
	}
}

// forget is called when an answer is missing: nothing is known any more.
func (p *predictor) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
}

func (p *predictor) wrong() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.penalty = min(max(2*p.penalty, leastPenalty), mostPenalty)
	p.calm = p.penalty
}

// mayPipeline reports whether the next n events may be predicted; if not, one of them
// counts as sent.
func (p *predictor) mayPipeline() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calm > 0 {
		p.calm--
		return false
	}
	return p.known
}

func (p *predictor) cleanRun() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.penalty /= 2
}

// pipeline stores what is left of c in order by plain publishes.
func (w *writer) pipeline(ctx context.Context, f FeedID, c *Commit) error {
	p := w.predictor(f.API)
	for c.done < len(c.Events) {
		var err error
		if len(c.Events)-c.done > 1 && w.cfg.Window > 1 && !c.unsure && p.mayPipeline() {
			err = w.flight(ctx, f, c, p)
		} else {
			err = w.single(ctx, f, c, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// single stores the next event and waits for the answer.
func (w *writer) single(ctx context.Context, f FeedID, c *Commit, p *predictor) error {
	for {
		m := &nats.Msg{Subject: f.Subject(), Header: nats.Header{}, Data: c.Events[c.done].Body}
		c.header(m.Header, c.done, int64(c.link()), f.Hashed())
		m.Header[hdrWantSubj] = []string{strconv.FormatUint(c.expected(), 10)}
		seq, err := w.askOne(ctx, c, m, p)
		if err == nil {
			c.landed(c.done+1, seq)
			return nil
		}
		var js *jsError
		if !errors.As(err, &js) || js.ErrCode != codeWrongLast {
			return err
		}
		if err := w.fenced(ctx, f, c, js); err != nil {
			return err
		}
		if c.done == len(c.Events) {
			return nil
		}
	}
}

// askOne publishes m in its place in the stream's order and waits for the answer.
func (w *writer) askOne(ctx context.Context, c *Commit, m *nats.Msg, p *predictor) (uint64, error) {
	answers := make(chan *nats.Msg, 1)
	reply, cut, stop := w.box.open(func(_ string, m *nats.Msg) {
		select {
		case answers <- m:
		default:
		}
	})
	defer stop()
	m.Reply = reply
	p.mu.Lock()
	sent := p.sent
	err := w.box.nc.PublishMsg(m)
	if err == nil {
		p.sent++
		p.next++
	}
	p.mu.Unlock()
	if err != nil {
		return 0, mapError(err)
	}
	timer := time.NewTimer(w.cfg.CommitTimeout)
	defer timer.Stop()
	why := "deadline"
	select {
	case m := <-answers:
		seq, err := w.answered(m)
		if err != nil {
			p.refused()
			return 0, err
		}
		p.accepted(seq, sent)
		return seq, nil
	case <-cut:
		why = "connection cut"
	case <-timer.C:
		why = "no answer in " + w.cfg.CommitTimeout.String()
	case <-ctx.Done():
	}
	p.forget()
	return 0, c.noAnswer(ctx, why)
}

// flight is one run of predicted messages.
type flight struct {
	w       *writer
	f       FeedID
	c       *Commit
	p       *predictor
	m       nats.Msg
	reply   string
	answers chan flightAnswer
	sent    []uint64 // number in the stream's order, by event, from the first of the flight on
	base    int      // event index of the first
	expect  uint64   // the feed's last sequence before the next event to publish
	link    uint64
}

type flightAnswer struct {
	event int
	m     *nats.Msg
}

// flight sends predicted messages, at most Window unanswered, until all are stored or
// one is refused; then the rest is left to the caller (nil) or there is an error.
func (w *writer) flight(ctx context.Context, f FeedID, c *Commit, p *predictor) error {
	fl := &flight{
		w: w, f: f, c: c, p: p, m: nats.Msg{Subject: f.Subject(), Header: nats.Header{}},
		answers: make(chan flightAnswer, w.cfg.Window), base: c.done, expect: c.expected(), link: c.link(),
	}
	reply, cut, stop := w.box.open(func(tail string, m *nats.Msg) {
		event, err := strconv.ParseUint(tail, 36, 31)
		if err != nil {
			return
		}
		select {
		case fl.answers <- flightAnswer{int(event), m}:
		default: // more answers than messages: forged
		}
	})
	defer stop()
	fl.reply = reply + "."
	return fl.run(ctx, cut)
}

func (fl *flight) run(ctx context.Context, cut <-chan struct{}) error {
	var refusal error
	next, waiting := fl.c.done, 0
	timer := time.NewTimer(fl.w.cfg.CommitTimeout)
	defer timer.Stop()
	for {
		for refusal == nil && next < len(fl.c.Events) && waiting < fl.w.cfg.Window {
			ok, err := fl.publish(next)
			if err != nil {
				refusal = err
				break
			}
			if !ok {
				refusal = errStopped
				break
			}
			next++
			waiting++
		}
		if waiting == 0 {
			return fl.landed(ctx, refusal)
		}
		select {
		case a := <-fl.answers:
			timer.Reset(fl.w.cfg.CommitTimeout)
			waiting--
			if err := fl.take(a); err != nil && refusal == nil {
				refusal = err
			}
			continue
		case <-cut:
			fl.p.forget()
			return fl.c.noAnswer(ctx, "connection cut")
		case <-timer.C:
			fl.p.forget()
			return fl.c.noAnswer(ctx, "no answer in "+fl.w.cfg.CommitTimeout.String())
		case <-ctx.Done():
			fl.p.forget()
			return fl.c.noAnswer(ctx, "deadline")
		}
	}
}

// errStopped ends a flight whose predictor was told that it is wrong.
var errStopped = errors.New("prediction lost")

// publish sends event i with the sequence it will get, false if that is not known.
func (fl *flight) publish(i int) (bool, error) {
	fl.c.header(fl.m.Header, i, int64(fl.link), fl.f.Hashed())
	fl.m.Header[hdrWantSubj] = []string{strconv.FormatUint(fl.expect, 10)}
	fl.m.Data = fl.c.Events[i].Body
	fl.m.Reply = fl.reply + strconv.FormatUint(uint64(i), 36)

	p := fl.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return false, nil
	}
	fl.m.Header[hdrWantLast] = []string{strconv.FormatUint(p.next-1, 10)}
	if err := fl.w.box.nc.PublishMsg(&fl.m); err != nil {
		return false, mapError(err)
	}
	fl.sent = append(fl.sent, p.sent)
	fl.expect, fl.link = p.next, p.next
	p.sent++
	p.next++
	return true, nil
}

// take notes one answer. Those of a flight come in order, so that an event is stored
// only directly behind the one before it.
func (fl *flight) take(a flightAnswer) error {
	seq, err := fl.w.answered(a.m)
	if err != nil {
		fl.p.refused()
		return err
	}
	i := a.event - fl.base
	if a.event != fl.c.done || i < 0 || i >= len(fl.sent) {
		return fmt.Errorf("%w: event %d stored out of order", ErrRefused, a.event)
	}
	fl.p.accepted(seq, fl.sent[i])
	fl.c.landed(a.event+1, seq)
	return nil
}

// landed ends a flight all of whose messages are answered.
func (fl *flight) landed(ctx context.Context, refusal error) error {
	if refusal == nil {
		fl.p.cleanRun()
		return nil
	}
	var js *jsError
	if errors.Is(refusal, errStopped) || errors.As(refusal, &js) && js.ErrCode == codeWrongLast {
		// Wrong guess or a fence: the same event alone, expecting only its feed, tells.
		fl.w.met.mispredict(len(fl.sent) - (fl.c.done - fl.base))
		fl.p.wrong()
		return fl.w.single(ctx, fl.f, fl.c, fl.p)
	}
	return refusal
}
