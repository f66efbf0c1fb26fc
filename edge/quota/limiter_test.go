package quota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/problem"
)

// runLimiter starts one and stops it with the test.
func runLimiter(t testing.TB, o Options) *Limiter {
	t.Helper()
	o.Patience = 5 * time.Second // what runs this test may stall
	l := New(o)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// client takes from a bucket as fast as it can, and waits while there is nothing.
type client struct {
	b     *Bucket
	wake  chan struct{}
	got   atomic.Int64
	pause atomic.Bool // after the first ones
	stop  chan struct{}
	done  sync.WaitGroup
}

func newClient(l *Limiter, scope string, s Setup) *client {
	c := &client{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	s.Wake = func() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.b = l.Open(scope, s)
	c.done.Go(func() {
		for {
			for c.pause.Load() && c.got.Load() > 0 {
				select {
				case <-c.stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
			if n := c.b.Take(3).Events; n > 0 {
				c.got.Add(int64(n))
				continue
			}
			select {
			case <-c.wake:
			case <-c.stop:
				return
			}
		}
	})
	return c
}

func (c *client) close() {
	close(c.stop)
	c.done.Wait()
	c.b.Close()
}

func sum(cs []*client) (n int64) {
	for _, c := range cs {
		n += c.got.Load()
	}
	return n
}

// Three edges share what one subscription may have: all of it is delivered, then each knows when the quota begins anew, and then it does.
func TestEdgesShareAQuotaExactly(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		limit := Limit{Events: 200, Every: 2, Unit: Second}
		// Begin in the first half of a window.
		until(t, "a window begins", func() bool { return time.Until(limit.Window(time.Now()).End) > time.Second })
		var clients []*client
		for i := range 3 {
			l := runLimiter(t, Options{Source: src, Edge: fmt.Sprint("edge", i)})
			clients = append(clients, newClient(l, "sub:shared", Setup{Limit: limit}))
		}
		defer func() {
			for _, c := range clients {
				c.close()
			}
		}()
		for round := int64(1); round <= 2; round++ {
			until(t, "all events are delivered and the quota has ended", func() bool {
				if n := sum(clients); n > round*limit.Events {
					t.Fatalf("%d of %d delivered", n, round*limit.Events)
				}
				for _, c := range clients {
					st := c.b.State()
					if st.Phase != Ended || st.Reset.Before(time.Now()) {
						return false
					}
					if wait := time.Until(st.Reset); wait > 2*time.Second {
						t.Fatalf("begins anew in %v", wait)
					}
				}
				return sum(clients) == round*limit.Events
			})
		}
	})
}

// What an edge does not use goes back, so that another can have it.
func TestUnusedEventsGoBack(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		limit := Limit{Events: 20, Every: 1, Unit: Year}
		idle := runLimiter(t, Options{Source: src, Edge: "idle"}).Open("sub:idle", Setup{Limit: limit})
		defer idle.Close()
		until(t, "the idle edge has some", func() bool { return idle.Take(1).Events == 1 })
		c := newClient(runLimiter(t, Options{Source: src, Edge: "busy"}), "sub:idle", Setup{Limit: limit})
		defer c.close()
		until(t, "the other has the rest", func() bool { return c.got.Load() == 19 })
		until(t, "the quota has ended", func() bool { return c.b.State().Phase == Ended })
	})
}

// faulty is a source that can be away.
type faulty struct {
	Source
	away atomic.Bool
}

var errAway = errors.New("away")

func (f *faulty) Allot(ctx context.Context, a Ask) (Allotment, error) {
	if f.away.Load() {
		return Allotment{}, errAway
	}
	return f.Source.Allot(ctx, a)
}

func (f *faulty) Seats(ctx context.Context, a SeatAsk) (int, error) {
	if f.away.Load() {
		return 0, errAway
	}
	return f.Source.Seats(ctx, a)
}

// While the source is away, a closed plan gives nothing beyond what was allotted; an open one gives this edge's part, and the source
// learns of it.
func TestASourceThatIsAway(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprint("open ", open), func(t *testing.T) {
			src := &faulty{Source: memory(t, MemoryOptions{})}
			l := runLimiter(t, Options{Source: src, Edge: "e", Edges: 2})
			set := Setup{Limit: Limit{Events: 1000, Every: 1, Unit: Year}, FailOpen: open}
			c := newClient(l, "sub:x", set)
			defer c.close()
			until(t, "some are delivered", func() bool { return c.got.Load() > 0 })
			src.away.Store(true)
			until(t, "the source is missed", func() bool { return l.Status().Down == "away" })
			if open {
				until(t, "our part is delivered", func() bool { return c.b.State().Phase == Ended })
				if n := c.got.Load(); n > 1000 {
					t.Errorf("%d delivered", n)
				}
			}
			want := Want{Buckets: []*Bucket{c.b}, Seats: []SeatLimit{{"sub:x", 1}}, FailOpen: open}
			pass, err := l.Admit(t.Context(), want)
			switch {
			case open && problem.KindOf(errors.Join(err, problem.QuotaExceeded)) != problem.QuotaExceeded:
				t.Errorf("admitted: %v", err)
			case !open && (err == nil || problem.KindOf(err) != problem.QuotaUnavailable):
				t.Errorf("admitted: %v", err)
			}
			pass.Release()
			src.away.Store(false)
			until(t, "the rest is delivered", func() bool { return c.got.Load() == 1000 })
			until(t, "the quota has ended", func() bool { return c.b.State().Phase == Ended })
		})
	}
}

func TestAdmission(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		a, b := runLimiter(t, Options{Source: src, Edge: "a"}), runLimiter(t, Options{Source: src, Edge: "b"})
		seats := Want{Seats: []SeatLimit{{"sub:s", 3}, {"key:k", 0}, {"app:a", 100}}}
		var passes []*Pass
		for i, l := range []*Limiter{a, b, a} {
			p, err := l.Admit(t.Context(), seats)
			if err != nil {
				t.Fatal(i, err)
			}
			passes = append(passes, p)
		}
		for _, l := range []*Limiter{a, b} {
			if _, err := l.Admit(t.Context(), seats); problem.KindOf(errors.Join(err)) != problem.TooManyConnections {
				t.Fatalf("the fourth: %v", err)
			}
		}
		for _, p := range passes {
			p.Release()
			p.Release() // counts once
		}
		until(t, "the seats are free on the other edge", func() bool {
			n, err := src.Seats(t.Context(), SeatAsk{Scope: "sub:s", Edge: "c", More: 3, Limit: 3})
			if err != nil {
				t.Fatal(err)
			}
			return n == 3 // and those of c are free again with the next look
		})

		bucket := a.Open("sub:q", Setup{Limit: Limit{Events: 2, Every: 1, Unit: Year}})
		defer bucket.Close()
		for range 2 {
			if p, err := a.Admit(t.Context(), Want{Buckets: []*Bucket{bucket}}); err != nil {
				t.Fatal(err)
			} else {
				p.Release()
			}
			until(t, "there is one", func() bool { return bucket.Take(1).Events == 1 })
		}
		var refused *problem.Error
		until(t, "the quota has ended", func() bool {
			_, err := a.Admit(t.Context(), Want{Buckets: []*Bucket{bucket}})
			return errors.As(err, &refused)
		})
		if left := time.Until(thisYear().End) - refused.RetryAfter; refused.Kind != problem.QuotaExceeded || left.Abs() > 10*time.Second {
			t.Errorf("%v, come back in %v", refused, refused.RetryAfter)
		}
		bucket.Change(Setup{Limit: Limit{Events: 3, Every: 1, Unit: Year}}) // what was given stays given
		until(t, "there is one more", func() bool { return bucket.Take(5).Events == 1 })

		for i := range 3 {
			_, err := b.Admit(t.Context(), Want{Connects: "app:r", Rate: Rate{Events: 1, Per: time.Hour, Burst: 2}})
			if (err != nil) != (i == 2) || err != nil && problem.KindOf(err) != problem.TooManyConnections {
				t.Errorf("connect %d: %v", i, err)
			}
		}
	})
}

// When the last stream of a subscription is gone its bucket is forgotten. Whoever comes back gets what is left, and no event twice.
func TestWhoComesBackGetsTheRest(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		l := runLimiter(t, Options{Source: src, Edge: "a"})
		s, limit := scope(t, 1), Setup{Limit: Limit{Events: 30, Every: 1, Unit: Year}}
		var got int64
		for round := range 4 {
			b := l.Open(s, limit)
			p, err := l.Admit(t.Context(), Want{Buckets: []*Bucket{b}})
			if round == 3 {
				var refused *problem.Error
				until(t, "the quota has ended", func() bool {
					_, err := l.Admit(t.Context(), Want{Buckets: []*Bucket{b}})
					return errors.As(err, &refused)
				})
				if refused.Kind != problem.QuotaExceeded {
					t.Errorf("after the end: %v", refused)
				}
			} else if err != nil {
				t.Fatalf("round %d: %v", round, err)
			} else {
				until(t, "there are ten more", func() bool {
					got += int64(b.Take(int(10*int64(round+1) - got)).Events)
					return got >= 10*int64(round+1)
				})
			}
			p.Release()
			b.Close()
			until(t, "the bucket is forgotten", func() bool { return l.Status().Buckets == 0 })
		}
		if got != 30 {
			t.Errorf("%d of 30 events", got)
		}
	})
}

// Events of a window that is over must not come back into the next.
func TestAReturnAfterItsWindowIsLost(t *testing.T) {
	b := New(Options{Edge: "e"}).Open("sub:x", Setup{})
	b.mu.Lock()
	b.until.Store(int64(time.Hour))
	b.add(b.epoch(), 5)
	b.mu.Unlock()
	got := b.Take(3)
	b.Give(got, 1)
	if n := b.have(); got.Events != 3 || n != 3 {
		t.Fatalf("took %d, %d left", got.Events, n)
	}
	b.mu.Lock()
	b.roll()
	b.add(b.epoch(), 1)
	b.mu.Unlock()
	b.Give(got, 2)
	if n := b.have(); n != 1 {
		t.Errorf("%d in the next window, want 1", n)
	}
	b.until.Store(0)
	if got := b.Take(1); got.Events != 0 {
		t.Errorf("%d taken after the end", got.Events)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Options{Edge: "e"})
	bucket := l.Open("sub:x", Setup{})
	bucket.until.Store(int64(time.Hour))
	bucket.add(bucket.epoch(), eventMask>>1)
	for b.Loop() {
		bucket.Take(1)
	}
}
