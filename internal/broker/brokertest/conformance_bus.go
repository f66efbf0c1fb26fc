package brokertest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/internal/broker"
)

func testBus(r *rig) {
	bus := r.b.Bus()
	short, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	defer cancel()
	_, err := bus.Request(short, broker.SubjectDemandOpen, []byte("x"))
	r.want(err, broker.ErrUnavailable)

	got := make(chan string, 100)
	stop, err := bus.Subscribe("hb.ing.*", func(subject string, body []byte, reply func([]byte) error) {
		got <- fmt.Sprintf("%s %s %t", subject, body, reply != nil)
	})
	r.check(err)
	answer, err := bus.Subscribe(broker.SubjectDemandOpen, func(_ string, body []byte, reply func([]byte) error) {
		if err := reply(append([]byte("re: "), body...)); err != nil {
			r.Error(err)
		}
	})
	r.check(err)
	defer answer()
	for i := range 50 {
		r.check(bus.Publish("hb.ing.a", fmt.Append(nil, i)))
		r.check(bus.Publish("hb.other.a", []byte("not for us")))
		r.check(bus.Publish("hb.ing.a.b", []byte("not for us")))
	}
	for i := range 50 {
		if s, want := <-got, fmt.Sprintf("hb.ing.a %d false", i); s != want {
			r.Fatalf("message %d: %q, want %q", i, s, want)
		}
	}
	body, err := bus.Request(r.ctx, broker.SubjectDemandOpen, []byte("x"))
	r.check(err)
	if string(body) != "re: x" {
		r.Fatalf("answer %q", body)
	}
	stop()
	r.check(bus.Publish("hb.ing.a", []byte("stopped")))
	_, err = bus.Request(r.ctx, broker.SubjectDemandOpen, nil) // a barrier
	r.check(err)
	if len(got) > 0 {
		r.Fatalf("after stop: %q", <-got)
	}
	served := make(chan string, 100)
	for i := range 2 {
		one, err := bus.Serve("rpc.x", "control", func(_ string, body []byte, _ func([]byte) error) { served <- fmt.Sprintf("%d %s", i, body) })
		r.check(err)
		defer one()
	}
	for i := range 20 {
		r.check(bus.Publish("rpc.x", fmt.Append(nil, i)))
	}
	seen := map[string]bool{}
	for range 20 {
		_, body, _ := strings.Cut(<-served, " ")
		seen[body] = true
	}
	if len(seen) != 20 || len(served) > 0 {
		r.Fatalf("of 20 messages to a group of two, %d came", len(seen))
	}
	quiet, err := bus.Subscribe("quiet", func(string, []byte, func([]byte) error) {})
	r.check(err)
	defer quiet()
	short, cancel = context.WithTimeout(r.ctx, 50*time.Millisecond)
	defer cancel()
	_, err = bus.Request(short, "quiet", nil)
	r.want(err, context.DeadlineExceeded)
}

func testBeacon(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	l := r.live(f)
	want := broker.Beacon{V: 1, Node: "n", Epoch: 3, Seq: 4, Micros: 5, State: broker.StateUp, Since: 6, Why: "why"}
	r.check(r.b.Bus().Publish(feed("other").BeaconSubject(), broker.EncodeBeacon(want)))
	r.check(r.b.Bus().Publish(f.BeaconSubject(), broker.EncodeBeacon(want)))
	r.check(r.b.Bus().Publish(f.BeaconSubject(), []byte("{}")))
	got := r.receive(l, 2)
	if got[0].Kind != broker.KindBeacon || got[0].Feed != f || got[0].Beacon != want || got[0].Err != nil {
		r.Fatalf("received %+v", got[0])
	}
	if got[1].Kind != broker.KindBeacon || got[1].Err == nil {
		r.Fatalf("received %+v, want a foreign beacon", got[1])
	}
}

func testBucket(r *rig) {
	b, err := r.b.Admin().Bucket(r.ctx, "own", 1)
	r.check(err)
	_, err = b.Get(r.ctx, "a.b")
	r.want(err, broker.ErrNotFound)
	one, err := b.Put(r.ctx, "a.b", []byte("1"), 0)
	r.check(err)
	_, err = b.Put(r.ctx, "a.b", []byte("x"), 0)
	r.want(err, broker.ErrConflict)
	_, err = b.Put(r.ctx, "a.b", []byte("x"), one+1)
	r.want(err, broker.ErrConflict)
	two, err := b.Put(r.ctx, "a.b", []byte("2"), one)
	r.check(err)
	e, err := b.Get(r.ctx, "a.b")
	r.check(err)
	if string(e.Value) != "2" || e.Revision != two || e.Key != "a.b" || two <= one || one < 1_000_000 {
		r.Fatalf("entry %+v, revisions %d, %d", e, one, two)
	}
	r.want(b.Delete(r.ctx, "a.b", one), broker.ErrConflict)
	r.check(b.Delete(r.ctx, "a.b", two))
	_, err = b.Get(r.ctx, "a.b")
	r.want(err, broker.ErrNotFound)
	_, err = b.Put(r.ctx, "a.b", []byte("x"), two)
	r.want(err, broker.ErrConflict)
	three, err := b.Put(r.ctx, "a.b", []byte("3"), 0)
	r.check(err)
	if three <= two+1 {
		r.Fatalf("revision %d after the deletion of %d", three, two)
	}
	again, err := r.b.Admin().Bucket(r.ctx, "own", 1)
	r.check(err)
	if e, err = again.Get(r.ctx, "a.b"); err != nil || e.Revision != three {
		r.Fatalf("opened again: %+v, %v", e, err)
	}
	newest, err := again.Newest(r.ctx)
	r.check(err)
	if newest != three {
		r.Fatalf("newest %d, want %d", newest, three)
	}
	r.check(again.Delete(r.ctx, "a.b", three))
	if newest, err = again.Newest(r.ctx); err != nil || newest != three+1 {
		r.Fatalf("newest after a deletion %d, %v, want %d", newest, err, three+1)
	}
}

// testBucketAge keeps entries no longer than asked for, and tells no watch when they go.
func testBucketAge(r *rig) {
	b, err := r.b.Admin().EnsureBucket(r.ctx, broker.BucketSpec{Name: "short", MaxAge: time.Second, MaxBytes: 1 << 20})
	r.check(err)
	empty, err := b.Newest(r.ctx)
	r.check(err)
	rev, err := b.Put(r.ctx, "a", []byte("1"), 0)
	r.check(err)
	if rev != empty+1 {
		r.Fatalf("revision %d after %d", rev, empty)
	}
	r.until("the entry to go", func() bool {
		e, err := b.Last(r.ctx, "a")
		return err == nil && e.Revision == 0
	})
	if newest, err := b.Newest(r.ctx); err != nil || newest != rev {
		r.Fatalf("newest %d, %v, want %d", newest, err, rev)
	}
	_, err = b.Put(r.ctx, "a", []byte("2"), 0)
	r.check(err)
}

func testBucketBatch(r *rig) {
	b, err := r.b.Admin().Bucket(r.ctx, "batch", 5)
	r.check(err)
	w, err := b.Watch(r.ctx, ">")
	r.check(err)
	if e := r.entry(w); e.Key != "" {
		r.Fatalf("entry %+v of an empty bucket", e)
	}
	write := func(key, value string, rev uint64) broker.BucketWrite {
		return broker.BucketWrite{Key: key, Value: []byte(value), Revision: rev}
	}
	if e, err := b.Last(r.ctx, "a"); err != nil || e.Revision != 0 || e.Deleted {
		r.Fatalf("last of nothing: %+v, %v", e, err)
	}
	rev, err := b.Batch(r.ctx, []broker.BucketWrite{write("a", "1", 0), write("b", "1", 0), write("c", "1", 0)})
	r.check(err)
	at := map[string]uint64{}
	for _, k := range []string{"a", "b", "c"} {
		e := r.entry(w)
		if e.Key != k || string(e.Value) != "1" {
			r.Fatalf("entry %+v, want %s", e, k)
		}
		at[k] = e.Revision
	}
	if at["c"] != rev || at["a"]+2 != rev {
		r.Fatalf("revisions %v, batch at %d", at, rev)
	}
	// One key that moved on, wherever it stands, and nothing is written.
	for i := range 3 {
		batch := []broker.BucketWrite{write("a", "2", at["a"]), write("b", "2", at["b"]), write("c", "2", at["c"])}
		batch[i].Revision--
		_, err = b.Batch(r.ctx, batch)
		r.want(err, broker.ErrConflict)
	}
	_, err = b.Batch(r.ctx, []broker.BucketWrite{write("new", "2", 0), write("a", "2", 0)})
	r.want(err, broker.ErrConflict)
	if e, err := b.Last(r.ctx, "a"); err != nil || e.Revision != at["a"] || string(e.Value) != "1" {
		r.Fatalf("after refused batches: %+v, %v", e, err)
	}
	gone, err := b.Batch(r.ctx, []broker.BucketWrite{write("a", "3", at["a"]), {Key: "b", Delete: true, Revision: at["b"]}})
	r.check(err)
	if e := r.entry(w); e.Key != "a" || string(e.Value) != "3" {
		r.Fatalf("entry %+v", e)
	}
	if e := r.entry(w); e.Key != "b" || !e.Deleted || e.Revision != gone {
		r.Fatalf("entry %+v, want a delete marker at %d", e, gone)
	}
	if e, err := b.Last(r.ctx, "b"); err != nil || !e.Deleted || e.Revision != gone {
		r.Fatalf("last of a deleted key: %+v, %v", e, err)
	}
	// A delete marker counts: who does not know it may not write.
	_, err = b.Batch(r.ctx, []broker.BucketWrite{write("a", "4", gone-1), write("b", "4", 0)})
	r.want(err, broker.ErrConflict)
	_, err = b.Batch(r.ctx, []broker.BucketWrite{write("a", "4", gone-1), write("b", "4", gone)})
	r.check(err)
	one, err := b.Batch(r.ctx, []broker.BucketWrite{write("alone", "1", 0)})
	r.check(err)
	_, err = b.Batch(r.ctx, []broker.BucketWrite{{Key: "alone", Delete: true, Revision: one}})
	r.check(err)
	_, err = b.Batch(r.ctx, nil)
	r.want(err, broker.ErrRefused)
}

func testWatch(r *rig) {
	b, err := r.b.Admin().Bucket(r.ctx, "api", 5)
	r.check(err)
	for _, k := range []string{"x", "y", "z"} {
		rev, err := b.Put(r.ctx, k, []byte("old"), 0)
		r.check(err)
		if k == "z" {
			r.check(b.Delete(r.ctx, k, rev))
			continue
		}
		_, err = b.Put(r.ctx, k, []byte(k), rev)
		r.check(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	w, err := b.Watch(ctx, ">")
	r.check(err)
	seen := map[string]string{}
	for {
		e := r.entry(w)
		if e.Key == "" {
			break
		}
		if !e.Deleted {
			seen[e.Key] = string(e.Value)
		}
	}
	if len(seen) != 2 || seen["x"] != "x" || seen["y"] != "y" {
		r.Fatalf("present entries %v", seen)
	}
	rev, err := b.Put(r.ctx, "new", []byte("n"), 0)
	r.check(err)
	if e := r.entry(w); e.Key != "new" || string(e.Value) != "n" || e.Revision != rev {
		r.Fatalf("change %+v", e)
	}
	r.check(b.Delete(r.ctx, "new", rev))
	if e := r.entry(w); e.Key != "new" || !e.Deleted {
		r.Fatalf("change %+v", e)
	}
	cancel()
	r.drained(w)
	ended, err := b.Watch(r.ctx, ">")
	r.check(err)
	r.b.Cut()
	r.drained(ended)
	r.b.Heal()
}

func (r *rig) entry(w <-chan broker.Entry) broker.Entry {
	r.Helper()
	select {
	case e, open := <-w:
		if !open {
			r.Fatal("watch ended")
		}
		return e
	case <-r.ctx.Done():
		r.Fatal("watch is silent")
	}
	return broker.Entry{}
}

// drained waits until the watch ends.
func (r *rig) drained(w <-chan broker.Entry) {
	r.Helper()
	for {
		select {
		case _, open := <-w:
			if !open {
				return
			}
		case <-r.ctx.Done():
			r.Fatal("watch does not end")
		}
	}
}
