package brokertest

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"sluice/internal/broker"
	"sluice/internal/trace"
)

func testAgree(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	l := r.live(f)
	var prev uint64
	total := 0
	for _, n := range []int{1, 2, 300, 1, 512, 40} {
		prev = r.commit(f, prev, events(total, n))
		total += n
	}
	all := r.readAll(f, 0)
	r.bodies(all, 0, total)
	r.chained(all)
	if all[0].Link != 0 || all[total-1].Seq != prev {
		r.Fatalf("first links to %d, last is %d, commit said %d", all[0].Link, all[total-1].Seq, prev)
	}
	var last uint64
	for i, d := range r.receive(l, total) {
		if d.Kind != broker.KindMessage || d.Feed != f || d.Err != nil || d.Last != last ||
			d.Message.Position != all[i].Position || !bytes.Equal(d.Message.Body, all[i].Body) {
			r.Fatalf("live event %d: %+v, stored %+v", i, d, all[i])
		}
		last = d.Message.Seq
	}
	for _, n := range []int{1, 5, 255, 257, total, 1000} {
		tail, err := r.b.Writer().Tail(r.ctx, f, n)
		r.check(err)
		n = min(n, total)
		r.bodies(tail, total-n, n)
	}
}

func testRoundTrip(r *rig) {
	f := broker.NewFeedID("test", "1", "/"+strings.Repeat("long/", 50), "a=b")
	r.stream(broker.StreamSpec{API: f.API})
	es := []broker.Event{
		{Body: []byte("event: gateway.gap\ndata: {}\n"), Gap: true, Rx: 1},
		{Body: []byte("data:\n"), UpstreamID: " \x01%é\xff id ", Rx: 1 << 52},
		{Body: []byte("data: " + strings.Repeat("x", 100_000) + "\n"), UpstreamID: strings.Repeat("%", 1024)},
	}
	path := broker.CanonicalPath("/"+strings.Repeat("long/", 50), "a=b")
	span := trace.Context{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: true}
	_, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1 << 60, Tx: 1 << 40, Path: path, Events: es, Trace: span})
	r.check(err)
	last, err := r.b.Writer().Last(r.ctx, f)
	r.check(err)
	direct, err := r.b.Direct().LastMessage(r.ctx, f)
	r.check(err)
	all := r.readAll(f, 0)
	if len(all) != len(es) || last.Position != all[2].Position || direct.Position != all[2].Position {
		r.Fatalf("%d messages, last %+v and %+v", len(all), last.Position, direct.Position)
	}
	for i, m := range all {
		e := es[i]
		if m.Epoch != 1<<60 || m.Tx != 1<<40 || m.UpstreamID != e.UpstreamID || m.Gap != e.Gap || m.Rx != e.Rx ||
			m.Path != path || !bytes.Equal(m.Body, e.Body) {
			r.Errorf("message %d: %+v, want %+v", i, m, e)
		}
		if first := i == 0; first != (m.Trace == span) || !first && m.Trace.Valid() {
			r.Errorf("message %d has the span %+v: the first, and only it, has the commit's", i, m.Trace)
		}
	}
	if age := time.Since(time.UnixMicro(last.Micros)); age < -time.Minute || age > time.Hour {
		r.Errorf("last message is %s old", age)
	}
}

func testInterleaved(r *rig) {
	a, b := feed("a"), feed("b")
	r.stream(broker.StreamSpec{})
	var last [2]uint64
	for i := range 20 {
		for k, f := range []broker.FeedID{a, b} {
			last[k] = r.commit(f, last[k], events(i*3, 3))
		}
	}
	for _, f := range []broker.FeedID{a, b} {
		all := r.readAll(f, 0)
		r.bodies(all, 0, 60)
		r.chained(all)
	}
}

func testFence(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	one := r.commit(f, 0, events(0, 3))
	for _, prev := range []uint64{0, one - 1, one + 1} {
		for _, n := range []int{1, 2, 100} {
			_, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 9, Tx: 1, Prev: prev, Events: events(50, n)})
			var fenced *broker.FencedError
			if !errors.As(err, &fenced) || fenced.Actual != one || fenced.Expected != prev || fenced.Feed != f {
				r.Fatalf("%d events behind %d: %v, want fenced by %d", n, prev, err, one)
			}
		}
	}
	r.bodies(r.readAll(f, 0), 0, 3)
	r.commit(f, one, events(3, 2))
	r.bodies(r.readAll(f, 0), 0, 5)
}

func testHoldAck(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	prev := r.commit(f, 0, events(0, 1))
	for _, n := range []int{1, 20} {
		r.b.HoldAck(2)
		r.tx++
		c := &broker.Commit{Epoch: 5, Tx: r.tx, Prev: prev, Events: events(1, n)}
		for range 2 {
			_, err := r.b.Writer().Commit(r.ctx, f, c)
			r.want(err, broker.ErrUnknownOutcome)
		}
		p, err := r.b.Writer().Commit(r.ctx, f, c)
		r.check(err)
		last, err := r.b.Writer().Last(r.ctx, f)
		r.check(err)
		if last.Seq != p.Seq || last.Epoch != 5 || last.Tx != c.Tx {
			r.Fatalf("last is %+v, commit said %d", last, p.Seq)
		}
		prev = last.Seq
	}
	all := r.readAll(f, 0)
	r.chained(all)
	if len(all) != 22 {
		r.Fatalf("%d messages, want 22", len(all))
	}
}

func testForce(r *rig) {
	f, g := feed("ticks"), feed("other")
	r.stream(broker.StreamSpec{})
	last := r.commit(f, 0, events(0, 3))
	r.check(r.b.Admin().PurgeFeed(r.ctx, f))
	c := broker.Commit{Epoch: 1, Tx: 77, Prev: last, Events: events(3, 4)}
	_, err := r.b.Writer().Commit(r.ctx, f, &c)
	var fenced *broker.FencedError
	if !errors.As(err, &fenced) || fenced.Actual != 0 {
		r.Fatalf("commit behind a purged event: %v, want fenced by 0", err)
	}
	_, err = r.b.Writer().Last(r.ctx, f)
	r.want(err, broker.ErrNotFound)
	_, err = r.b.Direct().LastMessage(r.ctx, g)
	r.want(err, broker.ErrNotFound)
	_, err = r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: 77, Prev: last, Events: c.Events, Force: true})
	r.check(err)
	all := r.readAll(f, 0)
	r.bodies(all, 3, 4)
	r.chained(all)
	if all[0].Link != last {
		r.Fatalf("first kept event links to %d, want %d", all[0].Link, last)
	}
}

func testRefused(r *rig) {
	f := feed("ticks")
	_, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: 1, Events: events(0, 1)})
	r.want(err, broker.ErrNoStream)
	r.stream(broker.StreamSpec{})
	for _, c := range []struct {
		name string
		es   []broker.Event
		want error
	}{
		{"no event", nil, broker.ErrRefused},
		{"half a line", []broker.Event{{Body: []byte("data: x")}}, broker.ErrRefused},
		{"end of a frame", []broker.Event{{Body: []byte("data: x\n\ndata: y\n")}}, broker.ErrRefused},
		{"an id", []broker.Event{{Body: []byte("data: x\nid: 1\n")}}, broker.ErrRefused},
		{"CR", []broker.Event{{Body: []byte("data: x\r\n")}}, broker.ErrRefused},
		{"nothing", []broker.Event{{}}, broker.ErrRefused},
		{"long id", []broker.Event{{Body: []byte("data:\n"), UpstreamID: strings.Repeat("x", 1025)}}, broker.ErrRefused},
		{"too large", []broker.Event{{Body: []byte("data: " + strings.Repeat("x", r.b.MaxEvent()) + "\n")}}, broker.ErrTooLarge},
	} {
		_, err := r.b.Writer().Commit(r.ctx, f, &broker.Commit{Epoch: 1, Tx: 1, Events: c.es})
		if !errors.Is(err, c.want) {
			r.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	largest := "data: " + strings.Repeat("x", r.b.MaxEvent()-7) + "\n"
	r.commit(f, 0, []broker.Event{{Body: []byte(largest)}})
	if all := r.readAll(f, 0); len(all) != 1 || string(all[0].Body) != largest {
		r.Errorf("largest event: read %d messages", len(all))
	}
}

func testReadFrom(r *rig) {
	f := feed("ticks")
	r.stream(broker.StreamSpec{})
	_, err := r.b.Direct().FirstSeq(r.ctx, "none_v1")
	r.want(err, broker.ErrNoStream)
	_, err = r.b.Direct().LastSeq(r.ctx, "none_v1")
	r.want(err, broker.ErrNoStream)
	var b broker.Block
	r.want(r.b.Direct().Read(r.ctx, broker.FeedID{API: "none_v1", Key: "x"}, broker.From{Seq: 1}, &b), broker.ErrNoStream)
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Seq: 1}, &b))
	if len(b.Messages) != 0 || b.More || b.Next != 0 {
		r.Fatalf("empty feed: %+v", b)
	}
	last := r.commit(f, 0, events(0, 300))
	first, err := r.b.Direct().FirstSeq(r.ctx, f.API)
	r.check(err)
	r.until("the stream's last sequence is the last commit's", func() bool {
		end, err := r.b.Direct().LastSeq(r.ctx, f.API)
		r.check(err)
		return end == last
	})
	all := r.readAll(f, 0)
	if all[0].Seq < first {
		r.Fatalf("first message is %d, stream began at %d", all[0].Seq, first)
	}
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Seq: all[7].Seq}, &b))
	r.bodies(b.Messages, 7, broker.BlockMessages)
	if !b.More || b.Next != b.Messages[255].Seq+1 {
		r.Fatalf("full block: more %t, next %d", b.More, b.Next)
	}
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Seq: last}, &b))
	r.bodies(b.Messages, 299, 1)
	if b.More {
		r.Fatal("more behind the last")
	}
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Seq: last + 1}, &b))
	if len(b.Messages) != 0 || b.More {
		r.Fatalf("behind the last: %d messages", len(b.Messages))
	}
	at := all[100].Micros
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Micros: at + 1}, &b))
	for i := range b.Messages {
		if b.Messages[i].Micros <= at {
			r.Fatalf("message %d of %d µs, asked for later than %d", i, b.Messages[i].Micros, at)
		}
	}
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Micros: 1}, &b))
	r.bodies(b.Messages[:1], 0, 1)
	r.check(r.b.Direct().Read(r.ctx, f, broker.From{Micros: time.Now().Add(time.Hour).UnixMicro()}, &b))
	if len(b.Messages) != 0 {
		r.Fatalf("from the future: %d messages", len(b.Messages))
	}
}

func testLastOf(r *rig) {
	r.stream(broker.StreamSpec{})
	const n = 300
	feeds := make([]broker.FeedID, n)
	want := make([]broker.Position, n)
	for i := range feeds {
		feeds[i] = feed(string(rune('a'+i%26)) + strings.Repeat("x", i/26))
		if i%3 == 0 {
			continue
		}
		last := r.commit(feeds[i], 0, events(0, 1+i%2))
		m, err := r.b.Writer().Last(r.ctx, feeds[i])
		r.check(err)
		if want[i] = m.Position; m.Seq != last {
			r.Fatalf("last of feed %d is %d, committed %d", i, m.Seq, last)
		}
	}
	got := make([]broker.Position, n)
	got[0].Seq = 5 // what was there before is overwritten
	r.check(r.b.Direct().LastOf(r.ctx, feeds[0].API, feeds, got))
	for i := range feeds {
		if got[i] != want[i] {
			r.Fatalf("feed %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	r.check(r.b.Direct().LastOf(r.ctx, feeds[0].API, feeds[:1], got))
	r.want(r.b.Direct().LastOf(r.ctx, "none_v1", []broker.FeedID{{API: "none_v1", Key: "x"}}, got), broker.ErrNoStream)
}
