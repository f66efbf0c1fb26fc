package lease

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/internal/broker"
)

// Times of the watch.
const (
	watchAgainFirst = time.Second
	watchAgainMost  = 30 * time.Second
	watchWhole      = time.Minute // after which all entries are read anew
)

// Holder is who holds a feed, as its entry says.
type Holder struct {
	Node  string // "" = nobody: the entry only keeps what its last owner read
	Boot  string
	Epoch uint64
}

// Book is a copy of bucket "own" that follows it. It may be behind: only what the bucket answers to a write decides. Create it
// with NewBook; any goroutine may call its methods.
type Book struct {
	bucket  broker.Bucket
	log     *slog.Logger
	changed chan struct{}

	mu     sync.Mutex // guards what follows
	lines  map[broker.FeedID]line
	round  uint64 // of reading all entries
	loaded bool   // one round was completed
}

// line is one entry.
type line struct {
	Holder
	round uint64 // in which it was seen last
}

// NewBook returns a Book over bucket "own". It starts nothing.
func NewBook(bucket broker.Bucket, log *slog.Logger) *Book {
	return &Book{bucket: bucket, log: log, changed: make(chan struct{}, 1), lines: map[broker.FeedID]line{}}
}

// Run follows the bucket until ctx ends. Call it once; the result is nil.
func (b *Book) Run(ctx context.Context) error {
	wait := watchAgainFirst
	for ctx.Err() == nil {
		if b.follow(ctx) {
			wait = watchAgainFirst
			continue
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, watchAgainMost)
	}
	return nil
}

// follow is one watch, which ends after a while so that the next one reads everything again; true if it had read everything.
func (b *Book) follow(ctx context.Context) (whole bool) {
	ctx, cancel := context.WithTimeout(ctx, watchWhole)
	defer cancel()
	entries, err := b.bucket.Watch(ctx, ">")
	if err != nil {
		if ctx.Err() == nil {
			b.log.Warn("owners of feeds cannot be watched, trying again", "err", err)
		}
		return false
	}
	b.mu.Lock()
	b.round++
	b.mu.Unlock()
	for e := range entries {
		if e.Key == "" {
			whole = true
			b.complete()
			continue
		}
		b.take(e)
	}
	return whole && context.Cause(ctx) == context.DeadlineExceeded
}

// complete forgets entries that the round has not shown: they are gone.
func (b *Book) complete() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for f, l := range b.lines {
		if l.round != b.round {
			delete(b.lines, f)
		}
	}
	b.loaded = true
	b.tell()
}

// take notes one entry.
func (b *Book) take(e broker.Entry) {
	f, ok := broker.ParseFeedID(e.Key)
	if !ok {
		return
	}
	var v entry
	if !e.Deleted {
		// An entry that cannot be read names nobody.
		_ = json.Unmarshal(e.Value, &v)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, known := b.lines[f]; known && old.Epoch > e.Revision {
		return // noted since
	}
	if e.Deleted {
		delete(b.lines, f)
	} else {
		b.lines[f] = line{Holder{Node: v.Node, Boot: v.Boot, Epoch: e.Revision}, b.round}
	}
	b.tell()
}

// Note enters what is known from elsewhere: an own write, or the word of who gave a feed.
func (b *Book) Note(f broker.FeedID, h Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.lines[f]; old.Epoch < h.Epoch {
		b.lines[f] = line{h, b.round}
		b.tell()
	}
}

func (b *Book) tell() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// Changed yields after changes. One reader.
func (b *Book) Changed() <-chan struct{} { return b.changed }

// Loaded says that all entries have been read once.
func (b *Book) Loaded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loaded
}

// Of returns who holds f; the zero Holder if it has no entry.
func (b *Book) Of(f broker.FeedID) Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[f].Holder
}

// All returns every entry.
func (b *Book) All() map[broker.FeedID]Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[broker.FeedID]Holder, len(b.lines))
	for f, l := range b.lines {
		out[f] = l.Holder
	}
	return out
}
