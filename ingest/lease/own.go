package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/internal/broker"
)

// Clock is the wall clock.
type Clock interface{ Now() time.Time }

// Own keeps leases in a bucket. Create it with NewOwn.
type Own struct {
	bucket broker.Bucket
	node   string
	boot   string
	clock  Clock
	alive  func(node, boot string) bool
}

var _ Leaser = (*Own)(nil)

// NewOwn returns the Leaser of node, started as boot, over bucket "own". alive says which starts of other nodes live: their
// feeds are not taken; nil = none does.
func NewOwn(bucket broker.Bucket, node, boot string, clock Clock, alive func(node, boot string) bool) *Own {
	if alive == nil {
		alive = func(string, string) bool { return false }
	}
	return &Own{bucket: bucket, node: node, boot: boot, clock: clock, alive: alive}
}

// entry is a feed's value in the bucket. Node is empty once released.
type entry struct {
	Node   string `json:"node"`
	Boot   string `json:"boot,omitempty"`
	Time   int64  `json:"t"` // µs since 1970
	Source string `json:"src,omitempty"`
}

// takeTries bounds the races lost in one Take: each one means that another node wrote the entry.
const takeTries = 4

// Take implements Leaser.
func (o *Own) Take(ctx context.Context, f broker.FeedID, source string) (Lease, error) {
	for range takeTries {
		cur, err := o.bucket.Get(ctx, f.String())
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return Lease{}, fmt.Errorf("feed %s: read its owner: %w", f, err)
		}
		var before entry
		if err == nil {
			// An entry that cannot be read names nobody: it is replaced like a free one.
			_ = json.Unmarshal(cur.Value, &before)
		} else {
			cur = broker.Entry{}
		}
		if before.Node != "" && !o.self(before) && o.alive(before.Node, before.Boot) {
			return Lease{}, fmt.Errorf("feed %s: take from %s: %w", f, before.Node, ErrHeld)
		}
		l, err := o.put(ctx, Lease{Feed: f, Epoch: cur.Revision, Source: source, Before: before.Source}, o.node, o.boot)
		if errors.Is(err, broker.ErrConflict) {
			continue
		}
		return l, err
	}
	return Lease{}, fmt.Errorf("feed %s: take: %w", f, ErrLost)
}

// Confirm implements Leaser. A conflict with an entry of this very process is an earlier write whose answer was lost.
func (o *Own) Confirm(ctx context.Context, l Lease) (Lease, error) {
	for range takeTries {
		next, err := o.put(ctx, l, o.node, o.boot)
		if !errors.Is(err, broker.ErrConflict) {
			return next, err
		}
		cur, err := o.bucket.Get(ctx, l.Feed.String())
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return Lease{}, fmt.Errorf("feed %s: read its owner: %w", l.Feed, err)
		}
		var now entry
		if err != nil || json.Unmarshal(cur.Value, &now) != nil || !o.self(now) {
			break
		}
		l.Epoch = cur.Revision
	}
	return Lease{}, fmt.Errorf("feed %s: confirm epoch %d: %w", l.Feed, l.Epoch, ErrLost)
}

// Give implements Leaser.
func (o *Own) Give(ctx context.Context, l Lease, node, boot string) (Lease, error) {
	return o.put(ctx, l, node, boot)
}

// self says that e names this very process.
func (o *Own) self(e entry) bool { return e.Node == o.node && e.Boot == o.boot }

// put writes an owner over revision l.Epoch and returns the lease with its new epoch.
func (o *Own) put(ctx context.Context, l Lease, node, boot string) (Lease, error) {
	value, err := json.Marshal(entry{Node: node, Boot: boot, Time: o.clock.Now().UnixMicro(), Source: l.Source})
	if err != nil {
		return Lease{}, fmt.Errorf("feed %s: encode its owner: %w", l.Feed, err)
	}
	rev, err := o.bucket.Put(ctx, l.Feed.String(), value, l.Epoch)
	if err != nil {
		return Lease{}, fmt.Errorf("feed %s: write its owner: %w", l.Feed, err)
	}
	l.Node, l.Epoch = node, rev
	return l, nil
}

// Release implements Leaser.
func (o *Own) Release(ctx context.Context, l Lease, keep bool) error {
	var err error
	if keep {
		var value []byte
		value, err = json.Marshal(entry{Time: o.clock.Now().UnixMicro(), Source: l.Source})
		if err == nil {
			_, err = o.bucket.Put(ctx, l.Feed.String(), value, l.Epoch)
		}
	} else {
		err = o.bucket.Delete(ctx, l.Feed.String(), l.Epoch)
	}
	if err == nil || errors.Is(err, broker.ErrConflict) || errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("feed %s: release: %w", l.Feed, err)
}
