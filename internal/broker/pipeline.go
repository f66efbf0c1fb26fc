package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

func (w *writer) predictor(api string) *predictor {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.order[api]
	if p == nil {
		p = newPredictor()
		w.order[api] = p
	}
	return p
}

// pipeline stores what is left of c in order by plain publishes.
func (w *writer) pipeline(ctx context.Context, f FeedID, c *Commit) error {
	p := w.predictor(f.API)
	for c.done < len(c.Events) {
		var err error
		chain, ok := p.present()
		if ok && len(c.Events)-c.done > 1 && w.cfg.Window > 1 && !c.unsure {
			err = w.flight(ctx, f, c, p, chain)
		} else {
			err = w.single(ctx, f, c, p, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// single stores the next event and waits for the answer. Alone, it expects nothing but
// the feed's last sequence: a refusal is then a fence.
func (w *writer) single(ctx context.Context, f FeedID, c *Commit, p *predictor, alone bool) error {
	for {
		m := &nats.Msg{Subject: f.Subject(), Header: nats.Header{}, Data: c.Events[c.done].Body}
		c.header(m.Header, c.done, int64(c.link()), f.Hashed())
		m.Header[hdrWantSubj] = []string{strconv.FormatUint(c.expected(), 10)}
		seq, err := w.askOne(ctx, c, m, p, alone)
		if err == nil {
			c.landed(c.done+1, seq)
			return nil
		}
		var js *jsError
		if !errors.As(err, &js) {
			return err
		}
		switch js.ErrCode {
		case codeWrongLastMsg:
			w.met.mispredict(1)
			p.wrong()
			alone = true
			continue
		case codeWrongLast:
			if err := w.fenced(ctx, f, c, js); err != nil {
				return err
			}
		default:
			return err
		}
		if c.done == len(c.Events) {
			return nil
		}
	}
}

// askOne publishes m in its place in the stream's order and waits for the answer.
func (w *writer) askOne(ctx context.Context, c *Commit, m *nats.Msg, p *predictor, alone bool) (uint64, error) {
	answers := make(chan *nats.Msg, 1)
	reply, cut, stop := w.box.open(func(_ string, m *nats.Msg) {
		select {
		case answers <- m:
		default:
		}
	})
	defer stop()
	m.Reply = reply
	t, _, _, err := p.publish(w.box.nc, m, nil, alone)
	if err != nil {
		return 0, err
	}
	timer := time.NewTimer(w.cfg.CommitTimeout)
	defer timer.Stop()
	why := "deadline"
	select {
	case m := <-answers:
		seq, err := w.answered(m)
		if err != nil {
			p.refused(t)
			return 0, err
		}
		p.accepted(seq, t)
		return seq, nil
	case <-cut:
		why = "connection cut"
	case <-timer.C:
		why = "no answer in " + w.cfg.CommitTimeout.String()
	case <-ctx.Done():
	}
	p.refused(t)
	return 0, c.noAnswer(ctx, why)
}

// flight is one run of predicted messages.
type flight struct {
	w       *writer
	f       FeedID
	c       *Commit
	p       *predictor
	m       nats.Msg
	chain   uint64
	reply   string
	answers chan flightAnswer
	sent    []ticket // by event, from the first of the flight on
	base    int      // event index of the first
	every   int      // an answer is wanted from every so many messages, and from the last
	heard   int      // event index behind the last one that was answered
	broken  bool     // one was refused, so that no later one can be stored
	expect  uint64   // the feed's last sequence before the next event to publish
	link    uint64
}

// answerEvery is how many messages of a flight share an answer: each costs the broker, and
// us, a message more. That one is stored proves that all before it are; when one is
// refused, c.done stays behind what is stored, and the next try finds that out.
const answerEvery = 16

type flightAnswer struct {
	event int
	m     *nats.Msg
}

// Why a flight ends before all is stored.
var (
	errChainEnded = errors.New("chain ended")        // nothing is wrong: begin another
	errDisorder   = errors.New("stored in disorder") // cannot be: see predictor
)

// flight sends predicted messages, at most Window unanswered, until all are stored, the
// chain ends or one is refused; nil leaves the rest to the caller.
func (w *writer) flight(ctx context.Context, f FeedID, c *Commit, p *predictor, chain uint64) error {
	fl := &flight{
		w: w, f: f, c: c, p: p, m: nats.Msg{Subject: f.Subject(), Header: nats.Header{}}, chain: chain,
		answers: make(chan flightAnswer, w.cfg.Window), base: c.done, expect: c.expected(), link: c.link(),
		every: max(1, min(answerEvery, w.cfg.Window/4)), heard: c.done,
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
	var stopped error
	next, waiting := fl.c.done, 0 // waiting: for so many answers
	timer := time.NewTimer(fl.w.cfg.CommitTimeout)
	defer timer.Stop()
	why := "deadline"
	for {
		for stopped == nil && next < len(fl.c.Events) && next-fl.heard < fl.w.cfg.Window {
			if stopped = fl.publish(next); stopped == nil {
				if fl.wanted(next) {
					waiting++
				}
				next++
			}
		}
		if waiting == 0 {
			return fl.finish(ctx, stopped)
		}
		select {
		case a := <-fl.answers:
			timer.Reset(fl.w.cfg.CommitTimeout)
			waiting--
			if err := fl.take(a); stopped == nil || errors.Is(stopped, errChainEnded) || errors.Is(err, errDisorder) {
				stopped = errors.Join(err, stopped)
			}
			continue
		case <-cut:
			why = "connection cut"
		case <-timer.C:
			why = "no answer in " + fl.w.cfg.CommitTimeout.String()
		case <-ctx.Done():
		}
		fl.p.refused(fl.sent[len(fl.sent)-1])
		return fl.c.noAnswer(ctx, why)
	}
}

// wanted says whether event i is to be answered.
func (fl *flight) wanted(i int) bool {
	return (i-fl.base)%fl.every == fl.every-1 || i == len(fl.c.Events)-1
}

// publish sends event i with the sequence it will get.
func (fl *flight) publish(i int) error {
	fl.c.header(fl.m.Header, i, int64(fl.link), fl.f.Hashed())
	fl.m.Header[hdrWantSubj] = []string{strconv.FormatUint(fl.expect, 10)}
	fl.m.Data = fl.c.Events[i].Body
	if fl.m.Reply = ""; fl.wanted(i) {
		fl.m.Reply = fl.reply + strconv.FormatUint(uint64(i), 36)
	}
	t, seq, ok, err := fl.p.publish(fl.w.box.nc, &fl.m, &fl.chain, false)
	switch {
	case err != nil:
		return err
	case !ok:
		return errChainEnded
	}
	fl.sent = append(fl.sent, t)
	fl.expect, fl.link = seq, seq
	return nil
}

// take notes one answer. Those of a flight come in order, and an event is stored only
// directly behind the one before it.
func (fl *flight) take(a flightAnswer) error {
	i := a.event - fl.base
	if i < 0 || i >= len(fl.sent) {
		return fmt.Errorf("%w: answer to event %d, which was not sent", errDisorder, a.event)
	}
	fl.heard = max(fl.heard, a.event+1)
	seq, err := fl.w.answered(a.m)
	if err != nil {
		fl.p.refused(fl.sent[i])
		fl.broken = true
		return err
	}
	if fl.broken || a.event < fl.c.done {
		return fmt.Errorf("%w: event %d of commit %d.%d at %d, %d are stored before it", errDisorder, a.event,
			fl.c.Epoch, fl.c.Tx, seq, fl.c.done)
	}
	fl.p.accepted(seq, fl.sent[i])
	fl.c.landed(a.event+1, seq)
	return nil
}

// finish ends a flight all of whose answers are there.
func (fl *flight) finish(ctx context.Context, stopped error) error {
	var js *jsError
	silent := fl.base+len(fl.sent) > fl.heard // what became of the last ones nobody said
	switch {
	case stopped == nil:
		fl.p.clean()
		return nil
	case errors.Is(stopped, errDisorder):
		return fmt.Errorf("%w: %w", ErrRefused, stopped)
	case errors.As(stopped, &js) && (js.ErrCode == codeWrongLast || js.ErrCode == codeWrongLastMsg):
		// A wrong guess or a fence: the same event alone, expecting only its feed, tells.
		fl.w.met.mispredict(len(fl.sent) - (fl.c.done - fl.base))
		fl.p.wrong()
		return fl.w.single(ctx, fl.f, fl.c, fl.p, true)
	case errors.Is(stopped, errChainEnded) && js == nil:
		if len(fl.sent) == 0 || silent { // do not race for the start of a chain; find out
			return fl.w.single(ctx, fl.f, fl.c, fl.p, false)
		}
		return nil
	case silent && !fl.broken: // behind one that was refused nothing is stored
		return fl.c.noAnswer(ctx, stopped.Error())
	}
	return stopped
}
