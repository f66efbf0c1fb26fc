//go:build linux

package shard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
)

func TestLimitsOfSlowness(t *testing.T) {
	for _, c := range []struct {
		name   string
		slow   fanout.Slow
		events int           // of 1,000 bytes, published while nobody reads
		alive  time.Duration // still there
		dead   time.Duration // gone by then
		want   fanout.Reason
	}{
		{"no byte accepted", fanout.Slow{Stall: 3 * time.Second}, 20, 2900 * time.Millisecond, 3200 * time.Millisecond, fanout.EndStall},
		{"lag", fanout.Slow{Lag: 100_000}, 200, 0, 200 * time.Millisecond, fanout.EndSlow},
		{"soft lag for a while", fanout.Slow{SoftLag: 50_000, SoftTime: 2 * time.Second}, 100, 1900 * time.Millisecond, 2300 * time.Millisecond, fanout.EndSlow},
		{"old events", fanout.Slow{MaxAge: time.Second}, 20, 900 * time.Millisecond, 1200 * time.Millisecond, fanout.EndSlow},
		{"overrun", fanout.Slow{Lag: 1 << 30, SoftLag: 1 << 30}, 2000, 0, 200 * time.Millisecond, fanout.EndSlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			f := r.feed(fanout.LogConfig{WindowBytes: 1 << 20})
			sub := f.live(1)
			sub.Slow = c.slow
			r.join(sub)
			for range c.events {
				f.event(1000)
			}
			r.step()
			r.pass(c.alive)
			r.wantAlive(1)
			r.pass(c.dead - c.alive)
			if c.want == fanout.EndSlow {
				r.pass(time.Second) // the graceful close
			}
			r.wantEnd(1, c.want)
		})
	}
}

// A socket that says it has room and takes nothing makes no progress.
func TestAttemptsAreNoProgress(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: 2 * time.Second, SoftTime: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	r.join(f.live(1))
	f.event(30 << 10)
	r.step()
	for range 18 {
		r.pass(tickLen)
		r.s.advance(0, r.s.slab.at(0))
	}
	r.wantAlive(1)
	r.pass(4 * tickLen)
	r.wantEnd(1, fanout.EndStall)
}

func TestProgressKeepsASlowReader(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: 2 * time.Second, Lag: 1 << 30, SoftLag: 1 << 30}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	for range 1000 {
		f.event(1000)
	}
	for range 30 {
		r.pass(time.Second)
		p.read(32 << 10)
	}
	if p.got.Len() == f.all.Len() {
		t.Fatal("the reader was not slow")
	}
	r.wantAlive(1)
	wantBytes(t, r.all(p), f.all.String())
}

// whole splits a body into entries and checks that it ends between two.
func whole(t *testing.T, body string) []string {
	t.Helper()
	if !strings.HasSuffix(body, "\n\n") {
		t.Fatalf("the body ends within an entry: …%q", body[max(0, len(body)-40):])
	}
	return strings.SplitAfter(strings.TrimSuffix(body, "\n\n"), "\n\n")
}

func TestPolicyLatestTellsExactlyWhatIsSkipped(t *testing.T) {
	for _, framing := range []fanout.Framing{fanout.Identity, fanout.Chunked} {
		r := newRig(t, Config{})
		f := r.feed(fanout.LogConfig{WindowBytes: 256 << 10})
		sub := f.live(1)
		if framing == fanout.Chunked {
			log := f.log.Chunked()
			sub.Log, sub.Framing, sub.Start.Cursor = log, framing, log.View().Head()
		}
		sub.Slow = fanout.Slow{Policy: fanout.Latest, Lag: 50_000}
		p := r.join(sub)
		for range 1000 { // the log is trimmed meanwhile
			f.event(700)
			r.step()
		}
		r.pass(300 * time.Millisecond)
		for range 10 { // still nothing read: skipped too
			f.event(700)
			r.pass(100 * time.Millisecond)
		}
		newest := position(f.seq, r.now.Add(-100*time.Millisecond))
		r.all(p)
		tail := f.event(20)
		r.step()
		got := r.all(p)
		if framing == fanout.Chunked {
			got = unchunk(t, got, false)
		}
		entries := whole(t, got)
		n := len(entries)
		if n < 3 || entries[n-1]+"\n\n" != tail && entries[n-1] != strings.TrimSuffix(tail, "\n\n") {
			t.Fatalf("framing %d: last of %d entries is %q, want %q", framing, n, entries[n-1], tail)
		}
		before := n - 3 // events sent whole before the gap; behind it the newest of then, and the tail
		gap := entries[n-3]
		want := string(fanout.AppendGap(nil, fanout.Gap{Reason: fanout.GapSlow, Missed: uint64(1009 - before), From: position(uint64(before), time.Unix(1_800_000_000, 0)), To: newest}))
		wantBytes(t, gap, want)
		r.wantAlive(1)
		p.close()
		r.step()
		end := r.wantEnd(1, fanout.EndClient)
		if end.Gaps != 1 || end.Events != uint64(before+2) || end.Last.Seq != 1011 || end.Bytes != uint64(p.got.Len()) {
			t.Errorf("framing %d: end %+v, want 1 gap, %d events, %d bytes", framing, end, before+2, p.got.Len())
		}
	}
}

// unchunk takes a chunked body apart; whole says that it must be finished.
func unchunk(t *testing.T, body string, finished bool) string {
	t.Helper()
	var b strings.Builder
	for body != "" {
		size, rest, ok := strings.Cut(body, "\r\n")
		n := 0
		for _, c := range size {
			n = n*16 + strings.IndexRune("0123456789abcdef", c)
		}
		if !ok || size == "" || n < 0 || len(rest) < n+2 || rest[n:n+2] != "\r\n" {
			t.Fatalf("broken chunk at …%.40q", body)
		}
		if n == 0 {
			if rest != "\r\n" {
				t.Fatalf("%q behind the last chunk", rest)
			}
			return b.String()
		}
		b.WriteString(rest[:n])
		body = rest[n+2:]
	}
	if finished {
		t.Fatal("the body does not end with the last chunk")
	}
	return b.String()
}

// asker is a fanout.Next whose answers the test gives.
type asker struct {
	asked []broker.Position
	done  []func(fanout.Start, error)
}

func (a *asker) Resume(context.Context, broker.Position, fanout.Framing) (fanout.Start, error) {
	return fanout.Start{}, errors.New("not used")
}

func (a *asker) ResumeAsync(p broker.Position, _ fanout.Framing, done func(fanout.Start, error)) {
	a.asked, a.done = append(a.asked, p), append(a.done, done)
}

func (a *asker) answer(at fanout.Start, err error) {
	done := a.done[0]
	a.done = a.done[1:]
	done(at, err)
}

// A burst larger than the window overruns clients that never were slow: they are told.
func TestABurstLargerThanTheWindowIsTold(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{WindowBytes: 256 << 10})
	var peers []*peer
	f.event(5)
	for i := range 3 {
		sub := f.live(uint32(i))
		sub.Slow.Policy = fanout.Latest
		peers = append(peers, r.join(sub))
	}
	from := position(1, r.now)
	r.s.mark = markCache{} // as if other logs had been looked at
	newest := ""
	for range 1000 {
		newest = f.event(700)
	}
	r.step()
	for _, p := range peers {
		wantBytes(t, r.all(p), string(fanout.AppendGap(nil, fanout.Gap{Reason: fanout.GapSlow, From: from, To: position(1001, r.now), Missed: 999}))+newest)
	}
}

func TestPolicyBacklogAsksBehindTheLastWholeEvent(t *testing.T) {
	r := newRig(t, Config{Heartbeat: time.Second})
	f := r.feed(fanout.LogConfig{WindowBytes: 256 << 10})
	feed := &asker{}
	sub := f.live(1)
	sub.Next, sub.Slow = feed, fanout.Slow{Policy: fanout.Backlog, Stall: time.Hour}
	p := r.join(sub)
	for range 1000 {
		f.event(700)
		r.step()
	}
	r.pass(time.Second)
	if len(feed.asked) != 0 {
		t.Fatal("asked before the rest of the event is sent")
	}
	first := whole(t, r.all(p))
	if len(feed.asked) != 1 || feed.asked[0].Seq != uint64(len(first)) {
		t.Fatalf("asked behind %v, sent %d events", feed.asked, len(first))
	}
	r.pass(2 * time.Second)
	if got := r.all(p); strings.Count(got, "\n:\n") != 1 && !strings.HasSuffix(got, ":\n") {
		t.Error("no heartbeat while the answer is awaited")
	}
	head := f.log.View().Head()
	feed.answer(fanout.Start{Cursor: head, Gap: []byte("gap\n\n")}, nil)
	r.step()
	tail := f.event(10)
	r.step()
	if got := r.all(p); !strings.HasSuffix(got, "gap\n\n"+tail) {
		t.Errorf("got …%q behind the answer", got[max(0, len(got)-80):])
	}
	p.close()
	r.step()
	if end := r.wantEnd(1, fanout.EndClient); end.Events != uint64(len(first)+1) || end.Bytes != uint64(p.got.Len()) || end.Gaps != 1 {
		t.Errorf("end %+v, want %d events, %d bytes", end, len(first)+1, p.got.Len())
	}
}

func TestBacklogWithoutAnAnswerEndsUnavailable(t *testing.T) {
	for _, next := range []*asker{nil, {}} {
		r := newRig(t, Config{})
		f := r.feed(fanout.LogConfig{WindowBytes: 256 << 10})
		sub := f.live(1)
		sub.Slow = fanout.Slow{Policy: fanout.Backlog, Stall: time.Hour}
		if next != nil {
			sub.Next = next
		}
		p := r.join(sub)
		for range 1000 {
			f.event(700)
			r.step()
		}
		r.pass(200 * time.Millisecond)
		r.all(p)
		if next != nil {
			next.answer(fanout.Start{}, errors.New("broker away"))
		}
		r.step()
		if got := r.all(p); !strings.HasSuffix(got, "\n\n"+"end: unavailable\n\n") {
			t.Errorf("got …%q", got[max(0, len(got)-60):])
		}
		r.pass(1200 * time.Millisecond)
		r.wantEnd(1, fanout.EndUnavailable)
	}
}

// bucket is a Meter with a known content, that is asked again and again.
type bucket struct{ tokens, taken, given, asked int }

func (b *bucket) Take(n int) fanout.Taken {
	n = min(n, b.tokens)
	b.tokens -= n
	b.taken += n
	b.asked++
	return fanout.Taken{Events: n, Plenty: b.tokens >= 100}
}

func (b *bucket) Give(_ fanout.Taken, n int) { b.tokens += n; b.given += n }
func (b *bucket) Dry() fanout.Dry            { return fanout.Dry{} }

func TestMeteredClientsGetWhatTheirMeterGrants(t *testing.T) {
	r := newRig(t, Config{Heartbeat: time.Second})
	f := r.feed(fanout.LogConfig{})
	m := &bucket{tokens: 3}
	sub := f.live(1)
	sub.Meter = m
	p := r.join(sub)
	var frames []string
	for range 5 {
		frames = append(frames, f.append(100))
	}
	f.log.Publish()
	r.step()
	wantBytes(t, r.all(p), strings.Join(frames[:3], ""))
	if e := r.s.slab.at(0); e.state != stParked {
		t.Errorf("state %d, want parked", e.state)
	}
	r.pass(1500 * time.Millisecond)
	wantBytes(t, r.all(p), strings.Join(frames[:3], "")+":\n")
	m.tokens++
	r.pass(100 * time.Millisecond)
	m.tokens += 10
	r.pass(100 * time.Millisecond)
	wantBytes(t, r.all(p), strings.Join(frames[:3], "")+":\n"+strings.Join(frames[3:], ""))
	if m.taken-m.given != 5 {
		t.Errorf("%d taken, %d given back, 5 sent", m.taken, m.given)
	}
	if e := r.s.slab.at(0); e.state != stLive {
		t.Errorf("state %d, want live", e.state)
	}
}

// A meter that many share is asked once for some of them while it has plenty, and what is not used is back before the pass ends.
func TestAPassTakesAheadOfASharedMeter(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	shared, other := &bucket{tokens: 500}, &bucket{tokens: 50}
	var peers []*peer
	for i := range 40 {
		sub := f.live(uint32(i + 1))
		if sub.Meter = shared; i%20 == 7 {
			sub.Meter = other
		}
		peers = append(peers, r.join(sub))
	}
	for round := 1; round <= 15; round++ {
		asked := shared.asked
		f.append(100)
		f.log.Publish()
		r.step()
		if used := shared.taken - shared.given; used != 38*min(round, 13) && round < 14 || shared.tokens+used != 500 {
			t.Fatalf("round %d: %d used, %d left", round, used, shared.tokens)
		}
		if n := shared.asked - asked; round < 10 && n > 12 {
			t.Errorf("round %d: asked %d times for 38 clients", round, n)
		}
	}
	if used := shared.taken - shared.given; used != 500 || other.taken-other.given != 30 {
		t.Errorf("%d and %d used, want 500 and 30", used, other.taken-other.given)
	}
	got := 0
	for _, p := range peers {
		got += strings.Count(r.all(p), "\n\n")
	}
	if got != 530 {
		t.Errorf("%d events were sent, 530 paid", got)
	}
}

func TestWhatASocketDoesNotTakeIsGivenBackToTheMeter(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{SoftTime: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	m := &bucket{tokens: 1000}
	sub := f.live(1)
	sub.Meter = m
	p := r.join(sub)
	for range 50 {
		f.append(1000)
	}
	f.log.Publish()
	r.step()
	p.read(1 << 20)
	sent := strings.Count(p.got.String(), "\n\n")
	if !strings.HasSuffix(p.got.String(), "\n\n") {
		sent++ // paid with its first byte
	}
	if m.taken-m.given != sent || sent == 50 {
		t.Errorf("%d charged, %d events begun", m.taken-m.given, sent)
	}
	wantBytes(t, r.all(p), f.all.String())
	if m.taken-m.given != 50 {
		t.Errorf("%d charged for 50 events", m.taken-m.given)
	}
}

func TestCoalescing(t *testing.T) {
	r := newRig(t, Config{Coalesce: 500 * time.Millisecond})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	first := f.event(10)
	r.step()
	wantBytes(t, r.all(p), first) // after a pause at once
	for range 3 {
		f.event(10)
		r.pass(100 * time.Millisecond)
		wantBytes(t, r.all(p), first)
	}
	if at := r.s.nextAlarm(); at.After(r.now.Add(200 * time.Millisecond)) {
		t.Errorf("the alarm is in %v", at.Sub(r.now))
	}
	r.pass(200 * time.Millisecond)
	wantBytes(t, r.all(p), f.all.String())
	r.pass(time.Second)
	f.event(10)
	r.step()
	wantBytes(t, r.all(p), f.all.String())
}

// Who has to skip again before it was sent anything is told from what it has, not from
// where it was put.
func TestASecondSkipIsToldFromWhatWasSent(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{WindowBytes: 256 << 10})
	sub := f.live(1)
	sub.Slow = fanout.Slow{Policy: fanout.Latest}
	p := r.join(sub)
	f.event(10)
	r.step()
	has := position(1, r.now)
	slot, e := uint32(0), r.s.slab.at(0)
	for range 2 {
		for range 10 {
			f.append(10)
		}
		f.log.Publish()
		x := r.s.extra(slot, e)
		if !x.saved {
			x.saved, x.at = true, r.s.standing(slot, e)
		}
		r.s.skip(slot, e, x)
		if x.at.Pos != has || x.at.NextPos.Seq != f.seq {
			t.Fatalf("skipped to %v: has %v, want %v", x.at.NextPos, x.at.Pos, has)
		}
	}
	r.s.advance(slot, e)
	want := string(fanout.AppendGap(nil, fanout.Gap{Reason: fanout.GapSlow, From: has, To: position(11, r.now), Missed: 9})) +
		string(fanout.AppendGap(nil, fanout.Gap{Reason: fanout.GapSlow, From: has, To: position(21, r.now), Missed: 10}))
	if got := r.all(p); !strings.Contains(got, want) {
		t.Errorf("got %q, want in it %q", got, want)
	}
}
