package access

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/broker"
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
