package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"time"

	"sluice/internal/broker"
)

// memoryWriter implements broker.Writer.
type memoryWriter struct{ m *Memory }

func (w memoryWriter) Last(_ context.Context, f broker.FeedID) (broker.Message, error) {
	w.m.store.mu.Lock()
	defer w.m.store.mu.Unlock()
	s, err := w.m.open(f.API)
	if err != nil {
		return broker.Message{}, err
	}
	return lastMessage(f, s.trim(f))
}

func lastMessage(f broker.FeedID, ms []broker.Message) (broker.Message, error) {
	if len(ms) == 0 {
		return broker.Message{}, fmt.Errorf("feed %s: last message: %w", f, broker.ErrNotFound)
	}
	return own(ms[len(ms)-1]), nil
}

// own copies what the receiver may change.
func own(m broker.Message) broker.Message {
	m.Body = bytes.Clone(m.Body)
	return m
}

func (w memoryWriter) Tail(_ context.Context, f broker.FeedID, n int) ([]broker.Message, error) {
	w.m.store.mu.Lock()
	defer w.m.store.mu.Unlock()
	s, err := w.m.open(f.API)
	if err != nil {
		return nil, err
	}
	ms := s.trim(f)
	ms = ms[max(0, len(ms)-max(0, min(n, 1000))):]
	tail := make([]broker.Message, 0, len(ms))
	for i := range ms {
		tail = append(tail, own(ms[i]))
	}
	return tail, nil
}

func (w memoryWriter) Commit(ctx context.Context, f broker.FeedID, c *broker.Commit) (broker.Position, error) {
	if err := ctx.Err(); err != nil {
		return broker.Position{}, err
	}
	w.m.store.mu.Lock()
	defer w.m.store.mu.Unlock()
	s, err := w.m.open(f.API)
	if err == nil {
		err = checkCommit(c)
	}
	if err != nil {
		return broker.Position{}, fmt.Errorf("feed %s: commit %d events: %w", f, len(c.Events), err)
	}
	var actual uint64
	if ms := s.trim(f); len(ms) > 0 {
		last := ms[len(ms)-1]
		if actual = last.Seq; last.Epoch == c.Epoch && last.Tx == c.Tx {
			return broker.Position{Seq: actual}, nil // an earlier attempt, whose answer was lost
		}
	}
	expected := c.Prev
	if c.Force {
		expected = 0
	}
	if actual != expected {
		return broker.Position{}, fmt.Errorf("commit: %w", &broker.FencedError{Feed: f, Expected: expected, Actual: actual})
	}
	link, last := c.Prev, actual
	for i := range c.Events {
		msg := w.store(s, f, c, i, link)
		w.m.store.republish(f, msg, last)
		link, last = msg.Seq, msg.Seq
	}
	return broker.Position{Seq: last}, nil
}

func (w memoryWriter) store(s *memoryStream, f broker.FeedID, c *broker.Commit, i int, link uint64) broker.Message {
	e := c.Events[i]
	s.last++
	msg := broker.Message{
		Position: broker.Position{Seq: s.last, Micros: w.m.store.stamp()},
		Link:     link, Epoch: c.Epoch, Tx: c.Tx, UpstreamID: e.UpstreamID, Gap: e.Gap, Rx: max(0, e.Rx),
		Body: bytes.Clone(e.Body),
	}
	if f.Hashed() {
		msg.Path = c.Path
	}
	if i == 0 {
		msg.Trace = c.Trace
	}
	s.feeds[f] = append(s.feeds[f], msg)
	s.trim(f)
	return msg
}

func checkCommit(c *broker.Commit) error {
	if len(c.Events) == 0 || len(c.Events) > 1000 {
		return fmt.Errorf("%w: %d events", broker.ErrRefused, len(c.Events))
	}
	for i := range c.Events {
		switch e := &c.Events[i]; {
		case len(e.Body) > memoryMaxEvent:
			return fmt.Errorf("event %d of %d bytes: %w", i, len(e.Body), broker.ErrTooLarge)
		case !broker.ValidBody(e.Body), len(e.UpstreamID) > 1024:
			return fmt.Errorf("event %d: %w", i, broker.ErrRefused)
		}
	}
	return nil
}

// memoryDirect implements broker.Direct.
type memoryDirect struct{ m *Memory }

// view returns what reads see of a feed; store.mu is held.
func (d memoryDirect) view(f broker.FeedID) ([]broker.Message, error) {
	s, err := d.m.open(f.API)
	if err != nil {
		return nil, err
	}
	ms := s.trim(f)
	if s.readable > 0 {
		i, _ := search(ms, s.readable+1)
		ms = ms[:i]
	}
	return ms, nil
}

// wait takes as long as a read is said to take.
func (d memoryDirect) wait(ctx context.Context) error {
	d.m.store.mu.Lock()
	delay := d.m.store.delay
	d.m.store.mu.Unlock()
	if delay == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d memoryDirect) Read(ctx context.Context, f broker.FeedID, from broker.From, b *broker.Block) error {
	b.Messages, b.More, b.Next, b.Foreign = b.Messages[:0], false, 0, 0
	if err := d.wait(ctx); err != nil {
		return err
	}
	d.m.store.mu.Lock()
	defer d.m.store.mu.Unlock()
	ms, err := d.view(f)
	if err != nil {
		return err
	}
	i, _ := search(ms, from.Seq)
	if from.Seq == 0 {
		i = sort.Search(len(ms), func(i int) bool { return ms[i].Micros >= from.Micros })
	}
	size := 0
	for ; i < len(ms) && len(b.Messages) < broker.BlockMessages && size < broker.BlockBytes; i++ {
		b.Messages = append(b.Messages, own(ms[i]))
		b.Next = ms[i].Seq + 1
		size += len(ms[i].Body) + 100 // headers count, too
	}
	b.More = i < len(ms) && len(b.Messages) > 0
	return nil
}

func (d memoryDirect) LastOf(ctx context.Context, api string, feeds []broker.FeedID, out []broker.Position) error {
	if err := d.wait(ctx); err != nil {
		return err
	}
	d.m.store.mu.Lock()
	defer d.m.store.mu.Unlock()
	for i, f := range feeds {
		ms, err := d.view(broker.FeedID{API: api, Key: f.Key})
		if err != nil {
			return err
		}
		if out[i] = (broker.Position{}); len(ms) > 0 {
			out[i] = ms[len(ms)-1].Position
		}
	}
	return nil
}

func (d memoryDirect) LastMessage(ctx context.Context, f broker.FeedID) (broker.Message, error) {
	if err := d.wait(ctx); err != nil {
		return broker.Message{}, err
	}
	d.m.store.mu.Lock()
	defer d.m.store.mu.Unlock()
	ms, err := d.view(f)
	if err != nil {
		return broker.Message{}, err
	}
	return lastMessage(f, ms)
}

func (d memoryDirect) FirstSeq(_ context.Context, api string) (uint64, error) {
	d.m.store.mu.Lock()
	defer d.m.store.mu.Unlock()
	s, err := d.m.open(api)
	if err != nil {
		return 0, err
	}
	return s.first, nil
}

func (d memoryDirect) LastSeq(_ context.Context, api string) (uint64, error) {
	d.m.store.mu.Lock()
	defer d.m.store.mu.Unlock()
	s, err := d.m.open(api)
	if err != nil {
		return 0, err
	}
	return s.last, nil
}
