package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	readTries     = 3
	lastOfChunk   = 256     // feeds asked for at once: their last messages come whole
	lastOfBytes   = 4 << 20 // and are cut here, then asked for again
	maxBlockRound = 8       // blocks of nothing but foreign messages that one read skips
)

// direct reads stored messages without consumers. Each answer is checked to be whole:
// a client library's reader that ends early looks like the end of the feed.
type direct struct {
	box     *inbox
	info    *infoCache
	met     *metrics
	timeout time.Duration
}

// Read implements Direct.
func (d *direct) Read(ctx context.Context, f FeedID, from From, b *Block) error {
	b.Messages, b.More, b.Next, b.Foreign = b.Messages[:0], false, 0, 0
	for range maxBlockRound {
		r := getRequest{Seq: from.Seq, NextFor: f.Subject(), Batch: BlockMessages, MaxBytes: BlockBytes}
		if from.Seq == 0 {
			at := time.UnixMicro(from.Micros).UTC()
			r.StartTime = &at
		}
		got, err := d.block(ctx, "block", f.API, r, f.Subject())
		if err != nil {
			return fmt.Errorf("feed %s: read from %d: %w", f, from.Seq, err)
		}
		got.fill(b)
		if len(b.Messages) > 0 || !b.More {
			return nil
		}
		from = From{Seq: b.Next}
	}
	return nil
}

// block asks until one answer is whole.
func (d *direct) block(ctx context.Context, kind, api string, r getRequest, subject string) (*answer, error) {
	var err error
	for try := range readTries {
		if try > 0 {
			d.met.readAgain()
			if e := pause(ctx, time.Duration(try)*(20*time.Millisecond+rand.N(60*time.Millisecond))); e != nil {
				return nil, e
			}
		}
		var a *answer
		if a, err = d.ask(ctx, kind, api, r, subject); err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, err
}

func (d *direct) ask(ctx context.Context, kind, api string, r getRequest, subject string) (*answer, error) {
	d.met.read(kind)
	wait, cancel := withTimeout(ctx, d.timeout)
	defer cancel()
	a := &answer{subject: subject, multi: len(r.MultiLast) > 0}
	var mu sync.Mutex // guards a until done is closed
	done := make(chan struct{})
	reply, cut, end := d.box.open(func(_ string, m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !a.ended && a.add(m) {
			close(done)
		}
	})
	defer end()
	m := &nats.Msg{Subject: "$JS.API.DIRECT.GET." + streamName(api), Reply: reply, Data: r.encode()}
	if err := d.box.nc.PublishMsg(m); err != nil {
		return nil, mapError(err)
	}
	select {
	case <-done:
		d.met.readGot(len(a.messages))
		return a, a.err
	case <-cut:
		return nil, fmt.Errorf("%w: connection cut", ErrUnavailable)
	case <-wait.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: no whole answer in %s", ErrUnavailable, d.timeout)
	}
}

// pause waits d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer gathers the messages of one read and judges whether they are all. Each
// message names the one before it, and the end names the last: what was cut,
// reordered or doubled on the way breaks that chain.
type answer struct {
	subject string // of every message, "" = any (multi)
	multi   bool

	messages []received
	last     uint64 // sequence of the last message
	more     bool
	ended    bool
	err      error
}

// received is one message of an answer.
type received struct {
	stored
	subject string
	foreign bool
}

// add takes the next message and reports whether the answer is at its end, whole
// (err nil) or not.
func (a *answer) add(m *nats.Msg) bool {
	switch status := value(m.Header, hdrStatus); status {
	case "":
		if err := a.message(m); err != nil {
			return a.end(err)
		}
		return false
	case "204":
		last, err1 := strconv.ParseUint(lastValue(m.Header, hdrLast), 10, 64)
		pending, err2 := strconv.ParseUint(lastValue(m.Header, hdrPending), 10, 64)
		if err1 != nil || err2 != nil || last != a.last || len(a.messages) == 0 {
			return a.end(fmt.Errorf("%w: cut answer: end names %d, got %d", ErrUnavailable, last, a.last))
		}
		a.more = pending > 0
		return a.end(nil)
	case "404":
		if len(a.messages) > 0 {
			return a.end(fmt.Errorf("%w: answer broken off behind %d", ErrUnavailable, a.last))
		}
		return a.end(nil)
	case "503":
		if noResponders(m) {
			return a.end(fmt.Errorf("direct read: %w", ErrNoStream))
		}
		return a.end(fmt.Errorf("%w: status %s", ErrUnavailable, status))
	case "408", "412", "413", "429", "500":
		return a.end(fmt.Errorf("%w: status %s %s", ErrUnavailable, status, value(m.Header, "Description")))
	default:
		return a.end(fmt.Errorf("%w: status %s", ErrRefused, status))
	}
}

func (a *answer) end(err error) bool {
	a.ended, a.err = true, err
	return true
}

func (a *answer) message(m *nats.Msg) error {
	subject := a.subject
	if a.multi {
		subject = lastValue(m.Header, hdrSubject)
	}
	s, err := parseReceived(subject, m.Header, m.Data)
	foreign := errors.Is(err, ErrForeign)
	if s.Seq == 0 || s.Micros == 0 || foreign && lastValue(m.Header, hdrSubject) != subject {
		return fmt.Errorf("%w: unreadable answer: %w", ErrUnavailable, err)
	}
	if s.last != a.last || s.Seq <= a.last {
		return fmt.Errorf("%w: cut answer: %d follows %d, got %d", ErrUnavailable, s.Seq, s.last, a.last)
	}
	if len(a.messages) >= BlockMessages && !a.multi {
		return fmt.Errorf("%w: answer of too many messages", ErrUnavailable)
	}
	a.last = s.Seq
	a.messages = append(a.messages, received{s, subject, foreign})
	return nil
}

// fill appends the answer's own messages to b.
func (a *answer) fill(b *Block) {
	for i := range a.messages {
		if a.messages[i].foreign {
			b.Foreign++
			continue
		}
		b.Messages = append(b.Messages, a.messages[i].Message)
	}
	b.More = a.more
	if a.last > 0 {
		b.Next = a.last + 1
	}
}

// LastOf implements Direct.
func (d *direct) LastOf(ctx context.Context, api string, feeds []FeedID, out []Position) error {
	if len(out) < len(feeds) {
		return fmt.Errorf("stream of %s: last of %d feeds: room for %d", api, len(feeds), len(out))
	}
	for start := 0; start < len(feeds); start += lastOfChunk {
		end := min(start+lastOfChunk, len(feeds))
		if err := d.lastOf(ctx, api, feeds[start:end], out[start:end]); err != nil {
			return fmt.Errorf("stream of %s: last of %d feeds: %w", api, len(feeds), err)
		}
	}
	return nil
}

func (d *direct) lastOf(ctx context.Context, api string, feeds []FeedID, out []Position) error {
	missing := make(map[string][]int, len(feeds))
	for i, f := range feeds {
		out[i] = Position{}
		missing[f.Subject()] = append(missing[f.Subject()], i)
	}
	for len(missing) > 0 {
		r := getRequest{MultiLast: make([]string, 0, len(missing)), Batch: len(missing), MaxBytes: lastOfBytes}
		for subject := range missing {
			r.MultiLast = append(r.MultiLast, subject)
		}
		a, err := d.block(ctx, "last", api, r, "")
		if err != nil {
			return err
		}
		for i := range a.messages {
			for _, at := range missing[a.messages[i].subject] {
				out[at] = a.messages[i].Position
			}
			delete(missing, a.messages[i].subject)
		}
		if !a.more || len(a.messages) == 0 {
			return nil
		}
	}
	return nil
}

// LastMessage implements Direct. It skips nothing: a foreign last message is ErrForeign.
func (d *direct) LastMessage(ctx context.Context, f FeedID) (Message, error) {
	r := getRequest{MultiLast: []string{f.Subject()}, Batch: 1, MaxBytes: lastOfBytes}
	a, err := d.block(ctx, "last", f.API, r, "")
	switch {
	case err != nil:
	case len(a.messages) == 0:
		err = ErrNotFound
	case a.messages[0].foreign:
		err = ErrForeign
	default:
		return a.messages[0].Message, nil
	}
	return Message{}, fmt.Errorf("feed %s: last message: %w", f, err)
}

// FirstSeq implements Direct.
func (d *direct) FirstSeq(ctx context.Context, api string) (uint64, error) {
	facts, err := d.info.get(ctx, api, infoAge)
	return facts.firstSeq, err
}

// LastSeq implements Direct.
func (d *direct) LastSeq(ctx context.Context, api string) (uint64, error) {
	facts, err := d.info.get(ctx, api, lastAge)
	return facts.lastSeq, err
}
