package load

import (
	"hash/maphash"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testCommon is what a book needs, for one topic.
func testCommon(own bool, rows int) *common {
	return &common{
		own: own, topics: 1, tag: 9, lateAfter: int64(time.Second / time.Microsecond), events: rows, seed: maphash.MakeSeed(),
		published: make([]atomic.Int64, 1), target: make([]atomic.Int64, 1),
	}
}

// give lets a client see events by number, all with their own id, on time.
func give(b *book, c *client, ns ...int64) {
	for _, n := range ns {
		c.stamp, c.stamped, c.hasID = stamp{n: n, t: b.now, run: 9}, true, true
		c.id.set([]byte("e" + itoa(n)))
		b.event(c)
	}
}

func TestJudgeNamesFaults(t *testing.T) {
	type counts struct{ Lost, Doubled, Reordered, ToldMissing, ToldDoubles, Delivered int64 }
	for name, c := range map[string]struct {
		play func(b *book, c *client)
		head int64
		want counts
	}{
		"all in order":     {func(b *book, c *client) { give(b, c, 1, 2, 3) }, 3, counts{Delivered: 3}},
		"first missing":    {func(b *book, c *client) { give(b, c, 3, 4) }, 4, counts{Lost: 2, Delivered: 2}},
		"middle missing":   {func(b *book, c *client) { give(b, c, 1, 5) }, 5, counts{Lost: 3, Delivered: 2}},
		"tail missing":     {func(b *book, c *client) { give(b, c, 1, 2) }, 4, counts{Lost: 2, Delivered: 2}},
		"nothing came":     {func(b *book, c *client) {}, 4, counts{Lost: 4}},
		"twice":            {func(b *book, c *client) { give(b, c, 1, 2, 2, 3) }, 3, counts{Doubled: 1, Delivered: 3}},
		"block again":      {func(b *book, c *client) { give(b, c, 1, 2, 3, 1, 2, 3) }, 3, counts{Doubled: 3, Delivered: 3}},
		"swapped":          {func(b *book, c *client) { give(b, c, 1, 3, 2, 4) }, 4, counts{Reordered: 1, Delivered: 4}},
		"late from a hole": {func(b *book, c *client) { give(b, c, 1, 6, 3, 5) }, 6, counts{Reordered: 2, Lost: 2, Delivered: 4}},
		"late, then again": {func(b *book, c *client) { give(b, c, 1, 3, 2, 2) }, 3, counts{Reordered: 1, Doubled: 1, Delivered: 3}},
		"a told gap": {func(b *book, c *client) {
			give(b, c, 1)
			b.told(c, kindGap, []byte(`{"reason":"expired","possible":false}`))
			give(b, c, 4)
		}, 4, counts{ToldMissing: 2, Delivered: 2}},
		"a gap excuses only what follows it": {func(b *book, c *client) {
			b.told(c, kindGap, []byte(`{"reason":"expired"}`))
			give(b, c, 1, 3)
		}, 3, counts{Lost: 1, Delivered: 2}},
		"told doubles": {func(b *book, c *client) {
			give(b, c, 1, 2, 3)
			b.told(c, kindGap, []byte(`{"reason":"reset","possible":true,"doubles":true}`))
			give(b, c, 2, 3, 4)
		}, 4, counts{ToldDoubles: 1, Doubled: 0, Delivered: 5}},
		"more holes than are remembered": {func(b *book, c *client) {
			for n := int64(1); n < 200; n += 2 {
				give(b, c, n)
			}
		}, 199, counts{Lost: 99, Delivered: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(testCommon(true, 300))
			b.now = time.Now().UnixNano()
			k := client{index: 3}
			c.play(b, &k)
			b.finish(&k, c.head)
			got := counts{b.counts[Lost], b.counts[Doubled], b.counts[Reordered], b.toldMissing, b.toldDoubles, b.delivered}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(b.holes) != 0 {
				t.Errorf("holes stay: %v", b.holes)
			}
		})
	}
}

func TestJudgeChecksIDs(t *testing.T) {
	b := newBook(testCommon(true, 10))
	b.now = time.Now().UnixNano()
	one, two, three := client{index: 1}, client{index: 2}, client{index: 3}
	give(b, &one, 1, 2)
	say := func(c *client, n int64, id string) {
		c.stamp, c.stamped, c.hasID = stamp{n: n, t: b.now, run: 9}, true, id != ""
		c.id.set([]byte(id))
		b.event(c)
	}
	say(&two, 1, "e1")
	say(&two, 2, "other")
	say(&two, 3, "")
	say(&three, 1, "e1")
	say(&three, 2, "e1")
	if b.counts[IDDiffers] != 2 || b.counts[IDMissing] != 1 || b.counts[IDRepeated] != 1 {
		t.Errorf("differs %d, missing %d, repeated %d", b.counts[IDDiffers], b.counts[IDMissing], b.counts[IDRepeated])
	}
	if f := b.first[IDDiffers]; f == nil || f.Client != 2 || f.N != 2 {
		t.Errorf("first offender is %v", f)
	}
}

func TestJudgeKnowsItsOwnEvents(t *testing.T) {
	b := newBook(testCommon(true, 10))
	c := client{index: 1}
	c.stamp, c.stamped = stamp{n: 50, t: 1, run: 8}, true
	b.event(&c)
	if b.foreign != 1 || c.last != 0 {
		t.Errorf("an event of another run: foreign %d, last %d", b.foreign, c.last)
	}
	c.stamped = false
	b.event(&c)
	c.stamp, c.stamped = stamp{n: 1, t: 1, run: 9, corrupt: true}, true
	b.event(&c)
	if b.counts[Corrupt] != 2 {
		t.Errorf("corrupt %d, want 2", b.counts[Corrupt])
	}
}

func TestBookTimesEventsThatCount(t *testing.T) {
	run := testCommon(true, 10)
	run.countFrom.Store(1)
	b, other := newBook(run), newBook(run)
	b.now = 5_000_000_000
	other.now = b.now
	at := func(b *book, index int32, n int64, latency time.Duration) {
		c := client{index: index, last: n - 1}
		c.stamp, c.stamped = stamp{n: n, t: 1e17 + 1, run: 9}, true
		b.now = 1e17 + 1 + int64(latency)
		b.event(&c)
	}
	at(b, 1, 1, time.Second)
	at(b, 1, 2, 10*time.Millisecond)
	at(other, 2, 2, 30*time.Millisecond)
	at(other, 2, 3, 2*time.Second)
	if got := summary(b.interval); got.Count != 1 || got.Max < 9.9 || got.Max > 10.1 {
		t.Errorf("warm-up counts, or wrong: %+v", got)
	}
	b.merge(other)
	if b.delivered != 3 || b.rows[1].count != 2 || b.rows[1].last != 30_000 || b.rows[0].count != 0 {
		t.Errorf("delivered %d, rows %+v", b.delivered, b.rows[:3])
	}
	if b.counts[Late] != 1 || b.first[Late].Client != 2 {
		t.Errorf("late %d, first %v", b.counts[Late], b.first[Late])
	}
}

func TestBooksMergeIDs(t *testing.T) {
	run := testCommon(true, 10)
	b, other := newBook(run), newBook(run)
	one, two := client{index: 1}, client{index: 2}
	give(b, &one, 1)
	two.stamp, two.stamped, two.hasID = stamp{n: 1, t: 1, run: 9}, true, true
	two.id.set([]byte("other"))
	other.event(&two)
	b.merge(other)
	if b.counts[IDDiffers] != 1 {
		t.Errorf("differs %d, want 1", b.counts[IDDiffers])
	}
}

func TestHistogramsMerge(t *testing.T) {
	one, two := newHist(), newHist()
	for i := range int64(1000) {
		record(one, i+1)
		record(two, 1_000_000+i)
	}
	record(two, -5)
	record(two, maxLatency*2)
	if dropped := one.Merge(two); dropped != 0 {
		t.Fatalf("%d dropped", dropped)
	}
	got := summary(one)
	if got.Count != 2002 || got.P50 < 0.99 || got.P50 > 1.01 || got.P90 < 1000 || got.P90 > 1002 || got.Max < ms(maxLatency)*0.998 {
		t.Errorf("%+v", got)
	}
	if (summary(newHist()) != Latency{}) {
		t.Error("an empty histogram has figures")
	}
}

func TestFairnessComparesTenths(t *testing.T) {
	var clients []*client
	for i := range 100 {
		clients = append(clients, &client{sum: int64(1000 * (1 + i/10)), count: 1})
	}
	f := fairness(clients)
	if len(f.Tenths) != 10 || f.Tenths[0] != 1 || f.Tenths[9] != 10 || f.Spread != 10 {
		t.Errorf("%+v", f)
	}
	if f := fairness(nil); f.Spread != 0 {
		t.Errorf("of nobody: %+v", f)
	}
}

func TestDueTimesOfOtherPayloads(t *testing.T) {
	b := newBook(testCommon(false, 10))
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	b.now = day.Add(10 * time.Hour).UnixNano()
	if got := b.dueNanos(b.now / 1000); got != b.now/1000*1000 {
		t.Errorf("µs since 1970: %d", got)
	}
	tenOClock := (10*time.Hour - time.Second).Microseconds()
	if got := b.now - b.dueNanos(tenOClock); got != int64(time.Second) {
		t.Errorf("µs of the day: %v late", time.Duration(got))
	}
	b = newBook(testCommon(false, 10))
	b.now = day.UnixNano()
	if got := b.now - b.dueNanos(7_000_000); got != 0 {
		t.Errorf("unknown start: the first is %v late", time.Duration(got))
	}
	if got := b.now - b.dueNanos(6_000_000); got != int64(time.Second) {
		t.Errorf("unknown start: the second is %v late", time.Duration(got))
	}
}
