package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// unanswered is why nobody knows what became of an atomic batch.
type unanswered string

func (u unanswered) Error() string { return string(u) }

// atomicBatch lets send publish the messages of one atomic batch and waits for the word
// on it: the sequence of the last one, the refusal, or unanswered. send asks for answers
// to the first message at reply.1 and to the last at reply.2: without the first's, a
// refusal to open the batch looks like an incomplete one. answered reads an answer.
func atomicBatch(ctx context.Context, box *inbox, limit time.Duration, send func(reply string) error, answered func(*nats.Msg) (uint64, error)) (uint64, error) {
	first, end := make(chan *nats.Msg, 1), make(chan *nats.Msg, 1)
	reply, cut, stop := box.open(func(tail string, m *nats.Msg) {
		to := end
		if tail == "1" {
			to = first
		}
		select {
		case to <- m:
		default:
		}
	})
	defer stop()
	if err := send(reply); err != nil {
		return 0, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case m := <-first:
			if len(m.Data) == 0 && !noResponders(m) {
				continue // the batch is open
			}
			if _, err := answered(m); err != nil {
				return 0, err
			}
		case m := <-end:
			seq, err := answered(m)
			if err == nil {
				return seq, nil
			}
			select {
			case m := <-first: // it says why
				if len(m.Data) > 0 {
					if _, e := answered(m); e != nil {
						err = e
					}
				}
			default:
			}
			return 0, err
		case <-cut:
			return 0, unanswered("connection cut")
		case <-timer.C:
			return 0, unanswered("no answer in " + limit.String())
		case <-ctx.Done():
			return 0, unanswered("deadline")
		}
	}
}

// batch stores what is left of c as one atomic batch: all or nothing, one disk sync,
// consecutive sequences.
func (w *writer) batch(ctx context.Context, f FeedID, c *Commit, p *predictor) error {
	select { // the broker keeps few batches open per stream
	case p.batches <- struct{}{}:
		defer func() { <-p.batches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	send := func(reply string) error { return w.sendBatch(f, c, reply) }
	seq, err := atomicBatch(ctx, w.box, w.cfg.CommitTimeout, send, w.answered)
	var why unanswered
	switch {
	case err == nil:
		c.landed(len(c.Events), seq)
		return nil
	case errors.As(err, &why):
		return c.noAnswer(ctx, string(why))
	}
	return w.batchRefused(ctx, f, c, err)
}

// sendBatch publishes the messages; an error means that nothing can be stored, because
// the batch's end was never sent.
func (w *writer) sendBatch(f FeedID, c *Commit, reply string) error {
	id := nuid.Next() // fresh for each attempt
	h := nats.Header{}
	m := &nats.Msg{Subject: f.Subject(), Header: h}
	for i := c.done; i < len(c.Events); i++ {
		n := i - c.done + 1
		link := int64(-1)
		if n == 1 {
			link = int64(c.link())
		}
		c.header(h, i, link, f.Hashed())
		h[hdrBatch] = []string{id}
		h[hdrBatchSeq] = []string{strconv.Itoa(n)}
		m.Reply, m.Data = "", c.Events[i].Body
		if n == 1 {
			h[hdrWantSubj] = []string{strconv.FormatUint(c.expected(), 10)}
			m.Reply = reply + ".1"
		}
		if i == len(c.Events)-1 {
			h[hdrBatchEnd] = []string{"1"}
			m.Reply = reply + ".2"
		}
		if err := w.box.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("event %d: %w", i, mapError(err))
		}
	}
	return nil
}

// batchRefused sorts a refusal: nothing of this attempt is stored.
func (w *writer) batchRefused(ctx context.Context, f FeedID, c *Commit, err error) error {
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
	// A batch is whole or not at all; only a plain commit of another profile gets here.
	return fmt.Errorf("%w: %d of %d events stored", ErrBusy, c.done, len(c.Events))
}
