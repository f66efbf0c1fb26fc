package fanout

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/broker"
)

// at makes the position with sequence seq in these tests.
func at(seq uint64) broker.Position { return broker.Position{Seq: seq, Micros: 1_000_000 + int64(seq)} }

func testFrame(seq uint64, size int) Frame {
	b := fmt.Appendf(nil, "data: %d ", seq)
	for len(b) < size {
		b = append(b, byte('a'+seq%26))
	}
	return Frame{Pos: at(seq), Bytes: AppendFrame(nil, append(b, '\n'), at(seq))}
}

// fill appends and publishes one frame per sequence.
func fill(l *Log, seqs ...uint64) {
	for _, s := range seqs {
		l.Append(testFrame(s, 0))
	}
	l.Publish()
}

// readAll returns the bytes from c to the head.
func readAll(t testing.TB, l *Log, c Cursor) []byte {
	t.Helper()
	var out []byte
	v := l.View()
	for c < v.Head() {
		b, ok := v.Bytes(c, 1<<20)
		if !ok || len(b) == 0 {
			t.Fatalf("no bytes at %d, floor %d, head %d", c, v.Floor(), v.Head())
		}
		out = append(out, b...)
		c += Cursor(len(b))
	}
	return out
}

func TestNothingIsVisibleBeforePublish(t *testing.T) {
	l := NewLog(LogConfig{})
	l.Append(testFrame(1, 0))
	if h := l.View().Head(); h != 0 {
		t.Errorf("head is %d before Publish", h)
	}
	if p := l.Last(); !p.IsZero() {
		t.Errorf("last is %v before Publish", p)
	}
	if _, r := l.After(at(1)); r != Ahead {
		t.Errorf("an unpublished event is found: %v", r)
	}
	l.Publish()
	if got := readAll(t, l, 0); !bytes.Equal(got, testFrame(1, 0).Bytes) {
		t.Errorf("read %q", got)
	}
}

func TestAfter(t *testing.T) {
	l := NewLog(LogConfig{})
	l.Restart(at(10))
	fill(l, 12, 15, 20)
	end := func(seqs ...uint64) Cursor {
		n := 0
		for _, s := range seqs {
			n += len(testFrame(s, 0).Bytes)
		}
		return Cursor(n)
	}
	for _, c := range []struct {
		name string
		p    broker.Position
		want Cursor
		rel  Relation
	}{
		{"none", broker.Position{}, 0, Older},
		{"a bookmark", broker.Position{Micros: 5}, 0, Older},
		{"below the floor", at(9), 0, Older},
		{"the floor", at(10), 0, Exact},
		{"the floor's sequence with another time", broker.Position{Seq: 10, Micros: 7}, 0, Reset},
		{"between floor and first", at(11), 0, Foreign},
		{"the first", at(12), end(12), Exact},
		{"the first with another time", broker.Position{Seq: 12, Micros: 7}, 0, Reset},
		{"in a hole", at(16), 0, Foreign},
		{"the middle", at(15), end(12, 15), Exact},
		{"the last", at(20), end(12, 15, 20), Exact},
		{"ahead", at(21), 0, Ahead},
	} {
		if got, rel := l.After(c.p); got != c.want || rel != c.rel {
			t.Errorf("%s: After(%v) = %d, %v; want %d, %v", c.name, c.p, got, rel, c.want, c.rel)
		}
	}
}

// TestAfterInAToldHole: what a gateway event tells as missing may well be what another
// node gave, so only the broker can say whose it is.
func TestAfterInAToldHole(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 16 << 10, MaxSegment: minSegment})
	l.Restart(at(10))
	l.Append(testFrame(12, 3900))
	l.Append(Frame{Bytes: []byte("event: gateway.gap\ndata: {}\n\n")})
	l.Append(testFrame(20, 3900)) // begins the next segment
	l.Publish()
	for seq, want := range map[uint64]Relation{11: Foreign, 12: Exact, 13: Hole, 19: Hole, 20: Exact, 21: Ahead} {
		if _, got := l.After(at(seq)); got != want {
			t.Errorf("After(%d) = %v, want %v", seq, got, want)
		}
	}
	for seq, want := range map[uint64]uint64{9: 12, 10: 12, 11: 12, 13: 20, 19: 20} {
		if m := l.next(at(seq)); !m.Held || m.NextPos != at(want) {
			t.Errorf("next(%d) = %+v, want before %d", seq, m, want)
		}
	}
	for seq := uint64(22); l.FloorPos() == at(10) && seq < 100; seq += 2 {
		l.Append(testFrame(seq, 3900))
		l.Publish()
	}
	if l.FloorPos() != at(12) {
		t.Fatalf("the window begins behind %v, want right behind what was told", l.FloorPos())
	}
	for seq, want := range map[uint64]Relation{11: Older, 12: Older, 13: Hole, 19: Hole, 20: Exact, 21: Foreign} {
		if _, got := l.After(at(seq)); got != want {
			t.Errorf("behind the floor: After(%d) = %v, want %v", seq, got, want)
		}
	}
}

func TestAfterInALogThatBeganEmpty(t *testing.T) {
	l := NewLog(LogConfig{})
	if _, r := l.After(at(3)); r != Ahead {
		t.Errorf("empty log: %v", r)
	}
	fill(l, 12)
	if _, r := l.After(at(3)); r != Older {
		t.Errorf("below the first event of a log without floor: %v, the broker must judge", r)
	}
}

func TestGatewayEventIsToldAgainToWhoResumesBeforeIt(t *testing.T) {
	l := NewLog(LogConfig{})
	fill(l, 1)
	gap := Frame{Bytes: []byte("event: gateway.gap\ndata: {}\n\n")}
	l.Append(gap)
	l.Publish()
	fill(l, 2)
	c, r := l.After(at(1))
	if want := append(bytes.Clone(gap.Bytes), testFrame(2, 0).Bytes...); r != Exact || !bytes.Equal(readAll(t, l, c), want) {
		t.Errorf("after the event before the gap: %v, %q", r, readAll(t, l, c))
	}
	m := l.Mark(c + Cursor(len(gap.Bytes)))
	if m.Pos != at(1) || m.Ord != l.Mark(c).Ord {
		t.Errorf("a gateway event counts as an event: %+v", m)
	}
	if _, n := l.LastN(5); n != 2 {
		t.Errorf("LastN counts %d events", n)
	}
}

func TestRestartForgetsPositionsAndKeepsBytes(t *testing.T) {
	l := NewLog(LogConfig{})
	fill(l, 100, 101, 102)
	l.Restart(at(40))
	l.Append(Frame{Bytes: []byte("event: gateway.gap\ndata: {}\n\n")})
	l.Publish()
	fill(l, 41, 42)
	if n := len(readAll(t, l, 0)); n == 0 {
		t.Fatal("bytes of the old life are gone")
	}
	if _, r := l.After(at(101)); r != Ahead {
		t.Errorf("a position of the old life: %v", r)
	}
	if _, r := l.After(at(39)); r != Older {
		t.Errorf("below the new life: %v", r)
	}
	c, r := l.After(at(40))
	if b := readAll(t, l, c); r != Exact || !bytes.HasPrefix(b, []byte("event: gateway.gap")) {
		t.Errorf("at the new life's floor: %v, %q", r, b)
	}
	if _, n := l.LastN(10); n != 2 {
		t.Errorf("LastN reaches into the old life: %d", n)
	}
	if m := l.Mark(c); m.Pos != at(102) {
		t.Errorf("a reader before the seam has %v", m.Pos)
	}
}

func TestWindowGivesUpWholeSegments(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 64 << 10})
	for s := uint64(1); s <= 2000; s++ {
		l.Append(testFrame(s, 200))
		l.Publish()
		if held := l.Held(); held > 128<<10 {
			t.Fatalf("%d bytes held at event %d", held, s)
		}
	}
	floor := l.FloorPos()
	if floor.IsZero() || floor.Seq >= 2000 {
		t.Fatalf("floor is %v", floor)
	}
	if _, ok := l.View().Bytes(0, 100); ok {
		t.Error("a cursor below the floor is served")
	}
	if m := l.Mark(0); m.Held {
		t.Errorf("a cursor below the floor has a mark: %+v", m)
	}
	c, r := l.After(floor)
	if r != Exact || c != l.View().Floor() {
		t.Errorf("the floor's position: %d %v, floor cursor %d", c, r, l.View().Floor())
	}
	if b := readAll(t, l, c); !bytes.HasPrefix(b, testFrame(floor.Seq+1, 200).Bytes) {
		t.Errorf("what follows the floor: %.80q", b)
	}
}

func TestViewKeepsWhatWasTrimmed(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 32 << 10})
	fill(l, 1, 2, 3)
	v := l.View()
	for s := uint64(4); s < 2000; s++ {
		fill(l, s)
	}
	b, ok := v.Bytes(0, 1<<20)
	if !ok || !bytes.HasPrefix(b, testFrame(1, 0).Bytes) || Cursor(len(b)) != v.Head() {
		t.Errorf("the old view reads %q, %v", b, ok)
	}
}

func TestFrameLargerThanASegment(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 1 << 20})
	fill(l, 1)
	big := testFrame(2, 300<<10)
	l.Append(big)
	l.Publish()
	fill(l, 3)
	want := append(append(testFrame(1, 0).Bytes, big.Bytes...), testFrame(3, 0).Bytes...)
	if got := readAll(t, l, 0); !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

func TestQuietLogShrinksAndItsReaderStaysExact(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLog(LogConfig{Now: func() time.Time { return now }})
	for s := uint64(1); s <= 5000; s++ {
		l.Append(testFrame(s, 200))
	}
	l.Publish()
	now = now.Add(3 * time.Minute)
	l.Trim()
	if held := l.Held(); held > 1024 {
		t.Errorf("an emptied log holds %d bytes", held)
	}
	c, r := l.After(at(5000))
	if r != Exact || c != l.View().Head() {
		t.Errorf("a reader at the head of an emptied log: %v", r)
	}
	if _, r := l.After(at(4999)); r != Older {
		t.Errorf("a reader below it: %v", r)
	}
	fill(l, 5001)
	if got := readAll(t, l, c); !bytes.Equal(got, testFrame(5001, 0).Bytes) {
		t.Errorf("next event reads %q", got)
	}
	if held := l.Held(); held > 5<<10 {
		t.Errorf("an idle feed with one event takes %d bytes", held)
	}
}

func TestLastNSinceAndBoundary(t *testing.T) {
	l := NewLog(LogConfig{})
	l.Restart(at(10))
	fill(l, 12, 15, 20)
	size := len(testFrame(12, 0).Bytes)
	for n, want := range map[int]int{0: 3, 1: 2, 2: 1, 3: 0, 4: 0} {
		if c, got := l.LastN(n); int(c) != want*size || got != min(n, 3) {
			t.Errorf("LastN(%d) = %d, %d", n, c, got)
		}
	}
	for micros, want := range map[int64]int{at(11).Micros: 0, at(12).Micros: 0, at(13).Micros: 1, at(20).Micros: 2, at(21).Micros: 3} {
		if c, ok := l.Since(micros); !ok || int(c) != want*size {
			t.Errorf("Since(%d) = %d, %v", micros, c, ok)
		}
	}
	if _, ok := l.Since(at(10).Micros); ok {
		t.Error("Since at the floor's own time claims to hold everything")
	}
	for _, c := range []struct{ from, limit, events, want, n int }{
		{0, 3 * size, 9, 3, 3}, {0, 3*size - 1, 9, 2, 2}, {0, 3 * size, 1, 1, 1}, {0, size - 1, 1, 0, 0}, {0, 3 * size, 0, 0, 0},
		{size, 3 * size, 1, 2, 1},
	} {
		if got, n := l.Boundary(Cursor(c.from), Cursor(c.limit), c.events); int(got) != c.want*size || n != c.n {
			t.Errorf("Boundary(%d, %d, %d) = %d, %d", c.from, c.limit, c.events, got, n)
		}
	}
}

func TestWaitAndWakers(t *testing.T) {
	l := NewLog(LogConfig{})
	w := &countWaker{}
	l.Attach(w)
	l.Attach(w)
	ch := l.Wait()
	l.Append(testFrame(1, 0))
	select {
	case <-ch:
		t.Fatal("woken before Publish")
	default:
	}
	l.Publish()
	<-ch
	l.Publish() // nothing new: nobody is woken
	if w.n != 1 {
		t.Errorf("waker woken %d times", w.n)
	}
	l.Detach(w)
	ch = l.Wait()
	l.Close("")
	<-ch
	<-l.Wait() // a closed log never lets anyone wait
	if w.n != 1 || l.Ended() != EndUnavailable {
		t.Errorf("detached waker woken %d times, ended %q", w.n, l.Ended())
	}
}

type countWaker struct{ n int }

func (w *countWaker) Wake() { w.n++ }

func TestAppendAndPublishDoNotAllocate(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 1 << 20})
	var w countWaker
	l.Attach(&w)
	f := testFrame(1, 200)
	next := func() {
		f.Pos.Seq++
		l.Append(f)
		l.Publish()
	}
	for range 20_000 { // windows full, ring grown
		next()
	}
	// A segment per ~600 events is all that is left.
	if n := testing.AllocsPerRun(5000, next); n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}

// Dates are those of the events between two cursors, on both framings.
func TestDates(t *testing.T) {
	l := NewLog(LogConfig{})
	twin := l.Chunked()
	var heads, twinHeads []Cursor
	add := func(seq uint64, rx int64) {
		f := testFrame(seq, 0)
		f.Pos.Micros, f.Rx = int64(seq*100), rx
		l.Append(f)
	}
	publish := func() {
		l.Publish()
		heads, twinHeads = append(heads, l.View().Head()), append(twinHeads, twin.View().Head())
	}
	publish()
	add(1, 71)
	add(2, 0)
	publish()
	l.Append(Frame{Bytes: []byte("event: gateway.gap\ndata: {}\n\n")})
	publish()
	add(3, 73)
	publish()
	add(4, 74) // not published
	for name, c := range map[string]struct {
		log *Log
		at  []Cursor
	}{"identity": {l, heads}, "chunked": {twin, twinHeads}, "chunked, made late": {lateTwin(l), nil}} {
		if c.at == nil {
			for i := range heads {
				c.at = append(c.at, twinHeads[i])
			}
		}
		for _, w := range []struct {
			from, to int
			want     []Dates
		}{
			{0, 1, []Dates{{Stored: 200}, {Received: 71, Stored: 100}}},
			{1, 2, nil},
			{2, 3, []Dates{{Received: 73, Stored: 300}}},
			{0, 3, []Dates{{Received: 73, Stored: 300}, {Stored: 200}, {Received: 71, Stored: 100}}},
			{3, 3, nil},
		} {
			if diff := cmp.Diff(w.want, c.log.Dates(nil, c.at[w.from], c.at[w.to])); diff != "" {
				t.Errorf("%s, from %d to %d: %s", name, w.from, w.to, diff)
			}
		}
	}
}

// lateTwin is a chunked twin made when l had everything.
func lateTwin(l *Log) *Log {
	l.chunked.Store(nil)
	return l.Chunked()
}

// Of many events, Dates tells of some, from the newest to the oldest.
func TestDatesOfMany(t *testing.T) {
	l := NewLog(LogConfig{WindowBytes: 1 << 20})
	for seq := range uint64(1000) {
		f := testFrame(seq+1, 0)
		f.Pos.Micros = int64(seq + 1)
		l.Append(f)
	}
	l.Publish()
	got := l.Dates(nil, 0, l.View().Head())
	if len(got) > mostDates || len(got) < mostDates/2 || got[0].Stored != 1000 || got[len(got)-1].Stored > 32 {
		t.Errorf("%d dates, from %d to %d", len(got), got[0].Stored, got[len(got)-1].Stored)
	}
}
