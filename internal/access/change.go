package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"sluice/internal/broker"
	"sluice/internal/problem"
)

// Times of a write.
const (
	writeTimeout = 15 * time.Second
	catchUpTime  = 2 * time.Second // until this node has seen what another wrote
	mostTries    = 20
	conflictWait = 20 * time.Millisecond // at most, before the next try
)

// draft is one change in the making: what is known, and what to write.
type draft struct {
	*table // the newest there is; only while the Store's mutex is held
	now    time.Time
	writes []broker.BucketWrite
	rev    uint64 // of the last of writes, once they were made
}

// gate is the value of the key that is part of every batch.
type gate struct {
	Request string `json:"request"` // so that a lost answer can be found
	By      string `json:"by,omitempty"`
}

// put adds a write of a record.
func (d *draft) put(key string, record any) error {
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	d.writes = append(d.writes, broker.BucketWrite{Key: key, Value: value, Revision: d.at(key)})
	return nil
}

// remove adds a deletion.
func (d *draft) remove(key string) {
	d.writes = append(d.writes, broker.BucketWrite{Key: key, Delete: true, Revision: d.at(key)})
}

// room is how many more writes fit into the batch, besides the gate.
func (d *draft) room() int { return broker.MaxBucketBatch - 1 - len(d.writes) }

// made is the revision that a record got; 0 if it was not written.
func (d *draft) made(key string) uint64 {
	for i, w := range d.writes {
		if w.Key == key && d.rev > 0 {
			return d.rev - uint64(len(d.writes)-1-i)
		}
	}
	return 0
}

// entries are the writes as the watch will bring them.
func (d *draft) entries() []broker.Entry {
	out := make([]broker.Entry, len(d.writes))
	for i, w := range d.writes {
		out[i] = broker.Entry{Key: w.Key, Value: w.Value, Deleted: w.Delete, Revision: d.rev - uint64(len(d.writes)-1-i)}
	}
	return out
}

// change makes one change of bucket access: f decides on the newest there is, and is asked again whenever another node was faster. It
// reads the draft and nothing else, and may be called several times. Nothing is written if f adds no write.
func (s *Store) change(ctx context.Context, w Write, what string, f func(d *draft) error) (*draft, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return nil, unavailable("The node is busy with other changes.", ctx.Err())
	}
	request := NewID()
	var d *draft
	var lost error // the broker did not say whether it was written
	for range mostTries {
		bucket, err := s.writable(&s.access)
		if err != nil {
			return nil, err
		}
		last, err := bucket.Last(ctx, gateKey)
		if err != nil {
			return nil, stored(errors.Join(err, lost))
		}
		if d != nil && requestOf(last) == request {
			d.rev = last.Revision // it was
			break
		}
		if err := s.caughtUp(ctx, last.Revision); err != nil {
			return nil, err
		}
		if d, err = s.decide(f); err != nil {
			return nil, err
		}
		if w.DryRun || len(d.writes) == 0 {
			return d, nil
		}
		value, err := json.Marshal(gate{Request: request, By: w.By})
		if err != nil {
			return nil, err
		}
		d.writes = append(d.writes, broker.BucketWrite{Key: gateKey, Value: value, Revision: last.Revision})
		d.rev, err = bucket.Batch(ctx, d.writes)
		switch {
		case err == nil:
		case errors.Is(err, broker.ErrConflict):
			if err := pause(ctx); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, broker.ErrUnknownOutcome), errors.Is(err, broker.ErrBusy):
			lost = err
			if err := pause(ctx); err != nil {
				return nil, stored(lost)
			}
			continue
		default:
			return nil, stored(err)
		}
		break
	}
	if d == nil || d.rev == 0 {
		return nil, unavailable("Too many changes at once.", lost)
	}
	s.take(&s.access, d.entries())
	s.log.LogAttrs(ctx, slog.LevelInfo, "access.change", slog.String("what", what), slog.String("by", w.By), slog.String("key", d.writes[0].Key),
		slog.Int("writes", len(d.writes)-1), slog.Uint64("rev", d.rev))
	return d, nil
}

func (s *Store) decide(f func(d *draft) error) (*draft, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &draft{table: s.access.table, now: s.now().UTC()}
	return d, f(d)
}

func requestOf(e broker.Entry) string {
	var g gate
	if json.Unmarshal(e.Value, &g) != nil {
		return ""
	}
	return g.Request
}

// writable returns the bucket, if it was read and is believed.
func (s *Store) writable(f *follow) (broker.Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.opt.Writes:
		return nil, errors.New("access: this node only reads")
	case f.suspect != "":
		return nil, unavailable("The store is not what it was; nothing is written over what may come back.", errors.New(f.suspect))
	case f.bucket == nil:
		return nil, unavailable("The store was not read yet.", errors.New(f.why))
	}
	return f.bucket, nil
}

// caughtUp waits until this node has seen what others wrote up to rev.
func (s *Store) caughtUp(ctx context.Context, rev uint64) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	return s.Updated(ctx, rev, 0)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(rand.N(conflictWait)):
		return nil
	case <-ctx.Done():
		return unavailable("Too many changes at once.", ctx.Err())
	}
}

func unavailable(detail string, err error) error {
	return &problem.Error{Kind: problem.StoreUnavailable, Detail: detail, RetryAfter: 2 * time.Second, Err: err}
}

// stored says what a failed write means for the caller.
func stored(err error) error {
	detail := "Nothing was written."
	switch {
	case errors.Is(err, broker.ErrUnknownOutcome):
		detail = "Whether it was written is not known."
	case errors.Is(err, broker.ErrStoreFull):
		detail = "The store is full."
	}
	return unavailable(detail, err)
}

// expected checks If-Match: rev is that of the record as it is.
func (w Write) expected(rev uint64) error {
	if w.Expect != 0 && w.Expect != rev {
		return &problem.Error{Kind: problem.VersionMismatch, Detail: "It was changed meanwhile."}
	}
	return nil
}
