package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// node is what a store needs of a broker's node.
type node interface {
	Admin() broker.Admin
	Bus() broker.Bus
}

var ann = Write{By: "ann"}

// open is how control opens the buckets of a node.
func open(n node) func(context.Context, string) (broker.Bucket, error) {
	return func(ctx context.Context, name string) (broker.Bucket, error) {
		return n.Admin().EnsureBucket(ctx, Spec(name))
	}
}

// start runs a store that writes, until the test or the result ends.
func start(t *testing.T, n node, change ...func(*Options)) (*Store, func()) {
	t.Helper()
	opt := Options{Open: open(n), Bus: n.Bus(), Writes: true, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&opt)
	}
	s := New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	end := func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(end)
	return s, end
}

func readOnly(o *Options) { o.Writes = false }

// seeded waits until the store shows the first plans.
func seeded(t *testing.T, s *Store) *Store {
	t.Helper()
	await(t, s, func(s *Snapshot) bool { return s.Plan("AsyncBronze") != nil })
	return s
}

// await waits until the store shows something.
func await(t *testing.T, s *Store, ok func(*Snapshot) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for snap := range s.Watch(ctx) {
		if ok(snap) {
			return
		}
	}
	t.Fatal("not within 30 s")
}

// until polls for what no channel tells.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, want problem.Kind) {
	t.Helper()
	if err == nil || problem.KindOf(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// all20 calls f 20 times at once and returns the errors.
func all20(f func(i int) error) []error {
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}

// wantOf checks that some calls did and all others failed of one kind.
func wantOf(t *testing.T, errs []error, did int, kind problem.Kind) {
	t.Helper()
	n := 0
	for _, err := range errs {
		if err == nil {
			n++
		} else if problem.KindOf(err) != kind {
			t.Errorf("failed with %v, want %s", err, kind)
		}
	}
	if n != did {
		t.Errorf("%d of %d succeeded, want %d", n, len(errs), did)
	}
}

// faulty is a bucket that does as it is told.
type faulty struct {
	broker.Bucket
	batch func(ctx context.Context, b broker.Bucket, writes []broker.BucketWrite) (uint64, error) // nil = as always
	watch func(ctx context.Context, b broker.Bucket) (<-chan broker.Entry, error)                 // nil = as always
}

func (f *faulty) Batch(ctx context.Context, writes []broker.BucketWrite) (uint64, error) {
	if f.batch == nil {
		return f.Bucket.Batch(ctx, writes)
	}
	return f.batch(ctx, f.Bucket, writes)
}

func (f *faulty) Watch(ctx context.Context, pattern string) (<-chan broker.Entry, error) {
	if f.watch == nil {
		return f.Bucket.Watch(ctx, pattern)
	}
	return f.watch(ctx, f.Bucket)
}

// through makes a store use f in front of one of its buckets.
func through(name string, f *faulty) func(*Options) {
	return func(o *Options) {
		next := o.Open
		o.Open = func(ctx context.Context, bucket string) (broker.Bucket, error) {
			b, err := next(ctx, bucket)
			if err != nil || bucket != name {
				return b, err
			}
			f.Bucket = b
			return f, nil
		}
	}
}

var errLost = errors.Join(broker.ErrUnknownOutcome, errors.New("the answer was lost"))

func realBroker(t *testing.T) *brokertest.Node { return brokertest.Start(t) }
