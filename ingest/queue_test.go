package ingest

import (
	"fmt"
	"hash/maphash"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testQueue(l queueLimits, node *budget) *queue {
	return newQueue(l, node, &sync.Pool{}, maphash.MakeSeed())
}

// Whatever is added comes out once, in order, in batches within their limits, and everything is accounted for.
func TestQueueKeepsOrderAndAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := queueLimits{bytes: 1 << 20, age: time.Hour, events: rapid.IntRange(1, 20).Draw(t, "events"),
			batch: rapid.IntRange(1, 2000).Draw(t, "batch")}
		node := &budget{limit: 1 << 30}
		q := testQueue(limits, node)
		added, got, taken := 0, 0, 0
		var b *batch
		give := func() {
			if b != nil {
				q.give(b)
				b = nil
			}
		}
		take := func() {
			give()
			if b = q.take(); b == nil {
				return
			}
			taken++
			if len(b.items) > limits.events {
				t.Fatalf("batch of %d events", len(b.items))
			}
			size := 0
			for i, e := range b.seal() {
				if want := fmt.Sprintf("data: %d\n", got); string(e.Body) != want || e.UpstreamID != fmt.Sprint(got/3) {
					t.Fatalf("got %q id %q, want %q", e.Body, e.UpstreamID, want)
				}
				if e.Gap && i != 0 {
					t.Fatalf("marker is event %d of its batch", i)
				}
				got++
				size += len(e.Body)
			}
			if size > limits.batch && len(b.items) > 1 && size-len(b.events[len(b.events)-1].Body) >= limits.batch {
				t.Fatalf("batch of %d bytes in %d events", size, len(b.items))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				q.add(nil, fmt.Append(nil, added), fmt.Append(nil, added/3), stamp{at: time.Now()})
				added++
			},
			"mark": func(*rapid.T) {
				q.addBody(fmt.Appendf(nil, "data: %d\n", added), fmt.Append(nil, added/3), stamp{at: time.Now()}, true, true)
				added++
			},
			"take": func(*rapid.T) { take() },
			"": func(t *rapid.T) {
				if q.size() != node.used.Load() || (added == got) != (q.size() == 0) && b == nil {
					t.Fatalf("queue holds %d bytes, node %d, %d of %d taken", q.size(), node.used.Load(), got, added)
				}
			},
		})
		q.close()
		for !q.done() {
			take()
		}
		give()
		if added != got || q.size() != 0 || node.used.Load() != 0 {
			t.Fatalf("%d of %d events, %d bytes left", got, added, q.size())
		}
		q.drop()
		if node.feeds.Load() != 0 {
			t.Fatal("queue still counted")
		}
	})
}

func TestQueueBounds(t *testing.T) {
	now := time.Now()
	body := make([]byte, 1000)
	fill := func(q *queue, n int, at time.Time) (full bool) {
		for range n {
			full = q.addBody(body, nil, stamp{at: at}, false, false)
		}
		return full
	}
	limits := queueLimits{bytes: 10_000, age: 10 * time.Second, events: 4, batch: 1 << 20}
	node := &budget{limit: 1 << 30}
	q := testQueue(limits, node)
	if fill(q, 9, now) || !fill(q, 1, now) {
		t.Error("full before 10,000 bytes, or not after")
	}
	b := q.take()
	q.give(b)
	if q.calm(now) {
		t.Error("calm with more than half of the bytes")
	}
	q.give(q.take())
	if !q.calm(now) {
		t.Error("not calm with a quarter of the bytes")
	}
	if q.stop(now.Add(9*time.Second)) || !q.stop(now.Add(10*time.Second)) {
		t.Error("the age of the oldest event does not count")
	}
	if q.calm(now.Add(6 * time.Second)) {
		t.Error("calm with an event older than half of the limit")
	}
	b = q.take()
	if !q.stop(now.Add(10 * time.Second)) {
		t.Error("what the committer holds does not count")
	}
	q.give(b)
	if q.stop(now.Add(time.Hour)) || !q.calm(now.Add(time.Hour)) {
		t.Error("an empty queue is full")
	}
}

func TestNodeBudgetStopsTheGreedyFirst(t *testing.T) {
	now := time.Now()
	node := &budget{limit: 100_000}
	limits := queueLimits{bytes: 1 << 30, age: time.Hour, events: 512, batch: 1 << 20}
	greedy, modest := testQueue(limits, node), testQueue(limits, node)
	body := make([]byte, 1000)
	n := 0
	for !greedy.addBody(body, nil, stamp{at: now}, false, false) {
		n++
	}
	if n < 70 || n > 76 {
		t.Errorf("the greedy one stops at %d KB, want three quarters of 100", n)
	}
	if modest.addBody(body, nil, stamp{at: now}, false, false) {
		t.Error("the modest one is stopped with it")
	}
	for n = 1; !modest.addBody(body, nil, stamp{at: now}, false, false); n++ {
	}
	if n < 15 || n > 30 {
		t.Errorf("the modest one stops at %d KB, want when the whole budget is used", n)
	}
	if greedy.calm(now) {
		t.Error("the greedy one goes on while the budget is used up")
	}
	for b := greedy.take(); b != nil; b = greedy.take() {
		greedy.give(b)
	}
	if !greedy.calm(now) || !modest.calm(now) {
		t.Error("not calm after the greedy one's queue was stored")
	}
}

// A batch is reused without allocating for its events.
func TestQueueAllocations(t *testing.T) {
	q := testQueue(queueLimits{bytes: 1 << 30, age: time.Hour, events: 512, batch: 1 << 20}, &budget{limit: 1 << 30})
	data, id := make([]byte, 200), []byte("123456")
	when := stamp{at: time.Now()}
	round := func() {
		for range 512 {
			q.add(nil, data, id, when)
		}
		b := q.take()
		b.seal()
		q.give(b)
	}
	round()
	if n := testing.AllocsPerRun(20, round); n > 30 {
		t.Errorf("%v allocations per 512 events", n)
	}
}
