package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/broker"
)

const waitTimeout = 20 * time.Second

// Conformance checks what every Broker promises. open is called once per test.
func Conformance(t *testing.T, open func(t *testing.T) Broker) {
	conformance(t, open, func(t *testing.T, f func(t *testing.T)) { f(t) })
}

// restoreCase needs a store that can be copied and put back.
const restoreCase = "restored backup uses sequences again"

// conformance runs each test, but those left out, within wrap: a bubble, for the broker
// that allows it.
func conformance(t *testing.T, open func(t *testing.T) Broker, wrap func(*testing.T, func(*testing.T)), leftOut ...string) {
	for _, c := range []struct {
		name string
		run  func(*rig)
	}{
		{"commit, live and read agree", testAgree},
		{"everything stored comes back", testRoundTrip},
		{"feeds of one API are linked each by itself", testInterleaved},
		{"a wrong expectation is fenced", testFence},
		{"a commit whose answer was lost is found stored", testHoldAck},
		{"force stores behind what expired", testForce},
		{"bad commits are refused", testRefused},
		{"read from a place or a time", testReadFrom},
		{"last of many feeds", testLastOf},
		{"the oldest events go first", testTrim},
		{"events expire", testExpire},
		{"deleted message leaves a hole", testDelete},
		{"purge", testPurge},
		{"streams come and go", testStreams},
		{restoreCase, testRestore},
		{"dropped live events", testDrop},
		{"a cut link makes all feeds dirty", testCut},
		{"removed feeds are silent, closed receivers end", testLiveEnd},
		{"core messages", testBus},
		{"beacons reach receivers", testBeacon},
		{"bucket", testBucket},
		{"bucket batch", testBucketBatch},
		{"bucket age", testBucketAge},
		{"bucket watch", testWatch},
	} {
		if slices.Contains(leftOut, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of them wait
			wrap(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*waitTimeout)
				defer cancel()
				c.run(&rig{T: t, b: open(t), ctx: ctx})
			})
		})
	}
}

// rig is one conformance test.
type rig struct {
	*testing.T
	b   Broker
	ctx context.Context // of the test; a rig lives no longer
	tx  uint64
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) want(err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("error %v, want %v", err, want)
	}
}

func (r *rig) stream(s broker.StreamSpec) {
	r.Helper()
	if s.API == "" {
		s.API = feed("").API
	}
	s.Name = "test 1"
	r.check(r.b.Admin().EnsureStream(r.ctx, s))
}

func feed(name string) broker.FeedID { return broker.NewFeedID("test", "1", "/"+name, "") }

func events(from, n int) []broker.Event {
	es := make([]broker.Event, n)
	for i := range es {
		es[i] = broker.Event{Body: fmt.Appendf(nil, "data: %d\n", from+i)}
	}
	return es
}

// commit stores es behind prev and returns the last sequence.
func (r *rig) commit(f broker.FeedID, prev uint64, es []broker.Event) uint64 {
	r.Helper()
	r.tx++
	p, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: r.tx, Prev: prev, Events: es})
	r.check(err)
	return p.Seq
}

// readAll returns what is stored of f from seq on.
func (r *rig) readAll(f broker.FeedID, seq uint64) []broker.Message {
	r.Helper()
	var all []broker.Message
	from := broker.From{Seq: max(1, seq)}
	for {
		var b broker.Block
		r.check(r.b.Direct().Read(r.ctx, f, from, &b))
		if len(b.Messages) > broker.BlockMessages {
			r.Fatalf("block of %d messages", len(b.Messages))
		}
		all = append(all, b.Messages...)
		if !b.More {
			return all
		}
		if b.Next <= from.Seq {
			r.Fatalf("read from %d goes on at %d", from.Seq, b.Next)
		}
		from.Seq = b.Next
	}
}

func (r *rig) live(feeds ...broker.FeedID) broker.Live {
	r.Helper()
	l, err := r.b.NewLive("test")
	r.check(err)
	r.Cleanup(l.Close)
	for _, f := range feeds {
		r.check(l.Add(r.ctx, f))
		if n, ok := r.b.(*Node); ok {
			r.check(n.heardBy(r.ctx, l, f))
		}
	}
	return l
}

// receive takes n deliveries.
func (r *rig) receive(l broker.Live, n int) []broker.Delivery {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, waitTimeout)
	defer cancel()
	var got []broker.Delivery
	buf := make([]broker.Delivery, 16)
	for len(got) < n {
		k, err := l.Next(ctx, buf[:min(len(buf), n-len(got))])
		if err != nil {
			r.Fatalf("after %d of %d deliveries: %v", len(got), n, err)
		}
		got = append(got, buf[:k]...)
	}
	return got
}

// bodies checks that ms are events from, from+1, … and no more.
func (r *rig) bodies(ms []broker.Message, from, n int) {
	r.Helper()
	if len(ms) != n {
		r.Fatalf("%d messages, want %d", len(ms), n)
	}
	for i := range ms {
		if got, want := string(ms[i].Body), fmt.Sprintf("data: %d\n", from+i); got != want {
			r.Fatalf("message %d is %q, want %q", i, got, want)
		}
	}
}

func (r *rig) chained(ms []broker.Message) {
	r.Helper()
	for i := 1; i < len(ms); i++ {
		if ms[i].Link != ms[i-1].Seq || ms[i].Micros < ms[i-1].Micros {
			r.Fatalf("message %d: %+v does not follow %+v", i, ms[i].Position, ms[i-1].Position)
		}
	}
}
