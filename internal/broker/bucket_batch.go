package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Last implements Bucket.
func (b *bucket) Last(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := withTimeout(ctx, b.admin.cfg.CommitTimeout)
	defer cancel()
	s, err := leaderGet(ctx, b.admin.box, "KV_"+b.name, getRequest{LastFor: b.subject(key)})
	if errors.Is(err, ErrNotFound) {
		return Entry{Key: key}, nil
	}
	if err != nil {
		return Entry{}, b.wrap("last of", key, err)
	}
	return Entry{Key: key, Value: s.Data, Revision: s.Seq, Deleted: deleted(s.header)}, nil
}

// Batch implements Bucket.
func (b *bucket) Batch(ctx context.Context, writes []BucketWrite) (uint64, error) {
	if len(writes) == 0 || len(writes) > MaxBucketBatch {
		return 0, fmt.Errorf("bucket %s: batch of %d writes: %w", b.name, len(writes), ErrRefused)
	}
	if len(writes) == 1 { // a plain publish is whole by itself
		var h nats.Header
		if writes[0].Delete {
			h = nats.Header{hdrKVOp: {kvDelete}}
		}
		rev, err := b.publish(ctx, writes[0].Key, writes[0].Value, writes[0].Revision, h)
		return rev, b.wrap("batch with", writes[0].Key, err)
	}
	rev, err := b.batch(ctx, writes)
	return rev, b.wrap("batch with", writes[0].Key, err)
}

func (b *bucket) batch(ctx context.Context, writes []BucketWrite) (uint64, error) {
	send := func(reply string) error { return b.sendBatch(writes, reply) }
	rev, err := atomicBatch(ctx, b.admin.box, b.admin.cfg.CommitTimeout, send, bucketAnswer)
	var why unanswered
	switch {
	case !errors.As(err, &why):
		return rev, err
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
	return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, why)
}

func bucketAnswer(m *nats.Msg) (uint64, error) {
	if noResponders(m) {
		return 0, ErrNoStream
	}
	return parseAck(m.Data)
}

// sendBatch publishes the messages; an error means that nothing can be stored, because the batch's end was never sent.
func (b *bucket) sendBatch(writes []BucketWrite, reply string) error {
	id := nuid.Next()
	for i, w := range writes {
		h := nats.Header{
			hdrBatch: {id}, hdrBatchSeq: {strconv.Itoa(i + 1)},
			hdrWantSubj: {strconv.FormatUint(w.Revision, 10)},
		}
		m := &nats.Msg{Subject: b.subject(w.Key), Header: h, Data: w.Value}
		if w.Delete {
			h[hdrKVOp], m.Data = []string{kvDelete}, nil
		}
		if i == 0 {
			m.Reply = reply + ".1"
		}
		if i == len(writes)-1 {
			h[hdrBatchEnd] = []string{"1"}
			m.Reply = reply + ".2"
		}
		if err := b.admin.box.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("%q: %w", w.Key, mapError(err))
		}
	}
	return nil
}
