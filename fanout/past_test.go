package fanout

import (
	"testing"
	"time"

	"sluice/internal/broker"
)

// What Past reads from the bytes is what the index says, at every byte, and it says it
// still when the log has given them up.
func TestPastIsWhatTheIndexSays(t *testing.T) {
	for _, fr := range []Framing{Identity, Chunked} {
		l := NewLog(LogConfig{WindowBytes: 64 << 10, Now: func() time.Time { return time.Unix(1000, 0) }})
		log := l
		if fr == Chunked {
			log = l.Chunked()
		}
		from := log.end()
		for n := range 9 {
			if n == 4 {
				l.Append(Frame{Bytes: AppendGap(nil, Gap{Reason: GapStoreLoss})})
			}
			p := broker.Position{Seq: uint64(10 + n), Micros: int64(1000 + n)}
			l.Append(Frame{Pos: p, Bytes: AppendFrame(nil, []byte("event: t\ndata: a\ndata: id: 9-9\n"), p)})
		}
		l.Publish()
		v := log.View()
		want := map[int]Sent{}
		for n := range int(v.Head()) + 1 {
			c := Cursor(n)
			m := log.Mark(c)
			then := log.Mark(m.Next)
			m.NextPos, then.NextPos = broker.Position{}, broker.Position{}
			rest, _ := v.Bytes(c, int(m.Next-c))
			want[n] = Sent{At: m, Then: then, Rest: rest}
		}
		for range 3 { // all of it goes
			l.Append(Frame{Pos: broker.Position{Seq: 99, Micros: 9999}, Bytes: make([]byte, 60<<10)})
			l.Publish()
		}
		if log.Mark(0).Held {
			t.Fatal("the log still holds what it should have given up")
		}
		for n, w := range want {
			got, ok := from.Past(v, n, fr)
			if !ok || got.At != w.At || got.Then != w.Then || string(got.Rest) != string(w.Rest) {
				t.Fatalf("framing %d, %d bytes: %+v %v, want %+v", fr, n, got, ok, w)
			}
		}
	}
}
