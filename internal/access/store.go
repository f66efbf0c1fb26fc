package access

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/latest"
)

// Names of the buckets.
const (
	Bucket       = "access" // plans, applications, subscriptions, keys, denies
	RevokeBucket = "revoke"
	TicketBucket = "ticket" // tickets and cookies by hash; the store makes it, package token uses it
)

// Options are what a Store works with.
type Options struct {
	// Open opens one of the buckets, and makes it where this node may. Called until it succeeds, and again after each loss.
	Open func(ctx context.Context, name string) (broker.Bucket, error)
	// Bus brings the beacons of control; nil = none are heard.
	Bus broker.Bus
	// Writes is true on control: it makes the buckets and the first plans, and writes.
	Writes bool
	// Dir is the folder of the last good copy; "" = none is kept.
	Dir string
	// Pepper goes into the hashes of new keys; empty = plain SHA-256.
	Pepper []byte
	// Reconcile is how often everything is compared; 0 = once a minute.
	Reconcile time.Duration
	Logger    *slog.Logger     // nil = none
	Now       func() time.Time // nil = the system's
}

// Write is what every change takes.
type Write struct {
	// By is the user who changes something.
	By string
	// Expect is the revision that the record must still have; 0 = do not care.
	Expect uint64
	// DryRun checks everything and writes nothing.
	DryRun bool
	// Applied says that a bundle writes the record: what it wrote is remembered. Only of plans, applications and subscriptions.
	Applied bool
}

// Status is how a Store does.
type Status struct {
	// Loaded is true once the buckets were read; until then what is shown is the last good copy, if anything.
	Loaded bool
	// Suspect says why a bucket is not believed, "" = it is. Then nothing can be written.
	Suspect string
	// Why is the last error of the watch, "" = it runs.
	Why string
	// Access and Revoke are the revisions of the newest changes seen.
	Access, Revoke uint64
	// Fresh is when a beacon last found this node up to date; zero = not yet.
	Fresh time.Time
	// Resyncs counts how often a watch was opened anew because a beacon said that it lags.
	Resyncs uint64
	// Refused are records that cannot be read; they are left out.
	Refused int
}

// Store is what the broker keeps of who may read what: all nodes follow it, control changes it. Every change is one atomic compare-and-set
// batch, decided on the newest there is, so it is whole or not at all, whichever node makes it; what it refers to exists, and what must
// be unique is. Reads answer from memory; a write returns once this node shows it. Make it with New, start it with Run. Safe for
// concurrent use.
//
// Errors have a kind of package problem, with JSON pointers into the record in Errors ("/quota/every"). Kinds that every write can give:
// StoreUnavailable if the broker does not answer (nothing was written, or whether it was is not known: then the detail says so),
// VersionMismatch if Write.Expect is not the record's revision any more, NotFound, and InvalidValue or, of several kinds,
// InvalidResource.
type Store struct {
	board
	opt   Options
	log   *slog.Logger
	now   func() time.Time
	lags  map[string]*broker.Lag
	ready chan struct{}
	once  sync.Once // closes ready

	writing chan struct{} // capacity 1: one write of this node at a time

	mu      sync.Mutex // guards what follows
	access  follow
	revoke  follow
	changed kindSet       // since what is shown
	moved   chan struct{} // closed and made anew whenever a table has changed
	resyncs uint64
	recent  latest.Changes[was]
}

// follow is one bucket as the Store follows it.
type follow struct {
	name    string
	table   *table
	bucket  broker.Bucket // nil until it was read
	before  uint64        // newest revision known when the bucket was opened last
	missing int           // times in a row that something was lacking
	suspect string
	why     string
	copied  uint64 // revision of the copy on disk, or of the last try to write one
}

// New returns a Store that knows what an earlier life of the node left in opt.Dir and shows nothing yet. It starts nothing: see Run.
func New(opt Options) *Store {
	s := &Store{opt: opt, log: opt.Logger, now: opt.Now, ready: make(chan struct{}), writing: make(chan struct{}, 1), moved: make(chan struct{}), changed: allKinds,
		access: follow{name: Bucket, table: newTable(accessKind)}, revoke: follow{name: RevokeBucket, table: newTable(revokeKind)}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.lags = map[string]*broker.Lag{Bucket: broker.NewLag(s.now), RevokeBucket: broker.NewLag(s.now)}
	for _, f := range []*follow{&s.access, &s.revoke} {
		s.loadCopy(f)
	}
	return s
}

// Ready is closed once something is shown: what the buckets hold, or the last good copy.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Fresh is the time of the last beacon that found this node up to date with both buckets; zero if there was none yet.
func (s *Store) Fresh() time.Time {
	a, r := s.lags[Bucket].Fresh(), s.lags[RevokeBucket].Fresh()
	if a.Before(r) {
		return a
	}
	return r
}

// Status tells how the Store does.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Loaded: s.loaded(), Suspect: cmp.Or(s.access.suspect, s.revoke.suspect), Why: cmp.Or(s.access.why, s.revoke.why),
		Access: s.access.table.rev, Revoke: s.revoke.table.rev, Fresh: s.Fresh(), Resyncs: s.resyncs,
		Refused: len(s.access.table.refused) + len(s.revoke.table.refused),
	}
}

// loaded tells whether both buckets were read; mu is held.
func (s *Store) loaded() bool { return s.access.bucket != nil && s.revoke.bucket != nil }

// Updated waits until this node has seen the buckets up to these revisions.
func (s *Store) Updated(ctx context.Context, access, revoke uint64) error {
	for {
		s.mu.Lock()
		moved, there := s.moved, s.access.table.rev >= access && s.revoke.table.rev >= revoke
		s.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return unavailable("This node has not seen the change yet.", ctx.Err())
		}
	}
}

// Spec is what a bucket is made of.
func Spec(bucket string) broker.BucketSpec {
	switch bucket {
	case RevokeBucket:
		return broker.BucketSpec{Name: bucket, History: 1, MaxAge: revokedFor}
	case TicketBucket:
		return broker.BucketSpec{Name: bucket, History: 1, MaxAge: time.Hour, MaxBytes: 64 << 20}
	}
	return broker.BucketSpec{Name: bucket, History: 5}
}

// revokedFor is how long a revocation is kept: longer than any token lives.
const revokedFor = 31 * 24 * time.Hour
