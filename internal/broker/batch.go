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

// batch stores what is left of c as one atomic batch: all or nothing, one disk sync,
// consecutive sequences. Answers are asked for the first and the last message: without
// the first's, a refusal to open the batch looks like an incomplete one.
func (w *writer) batch(ctx context.Context, f FeedID, c *Commit, p *predictor) error {
	select { // the broker keeps few batches open per stream
	case p.batches <- struct{}{}:
		defer func() { <-p.batches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	first, end := make(chan *nats.Msg, 1), make(chan *nats.Msg, 1)
	reply, cut, stop := w.box.open(func(tail string, m *nats.Msg) {
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
	if err := w.sendBatch(f, c, reply); err != nil {
		return err
	}
	timer := time.NewTimer(w.cfg.CommitTimeout)
	defer timer.Stop()
	for {
		select {
		case m := <-first:
			if len(m.Data) == 0 && !noResponders(m) {
				continue // the batch is open
			}
			_, err := w.answered(m)
			return w.batchRefused(ctx, f, c, err)
		case m := <-end:
			seq, err := w.answered(m)
			if err == nil {
				c.landed(len(c.Events), seq)
				return nil
			}
			select {
			case m := <-first: // it says why
				if _, e := w.answered(m); e != nil && len(m.Data) > 0 {
					err = e
				}
			default:
			}
			return w.batchRefused(ctx, f, c, err)
		case <-cut:
			return c.noAnswer(ctx, "connection cut")
		case <-timer.C:
			return c.noAnswer(ctx, "no answer in "+w.cfg.CommitTimeout.String())
		case <-ctx.Done():
			return c.noAnswer(ctx, "deadline")
		}
	}
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
