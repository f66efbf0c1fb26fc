package fanout

import (
	"bytes"
	"testing"
	"time"

	"sluice/internal/broker"
)

// logModel is a log as a plain slice that is never trimmed.
type logModel struct {
	all  []byte
	ends []int
	pos  []broker.Position // zero = gateway event
}

func (m *logModel) append(f Frame) {
	m.all = append(m.all, f.Bytes...)
	m.ends = append(m.ends, len(m.all))
	m.pos = append(m.pos, f.Pos)
}

// mark is what Mark must say of a cursor that is held.
func (m *logModel) mark(c int) (pos broker.Position, next int) {
	next = c
	for i, end := range m.ends {
		if end > c {
			if begin := m.begin(i); begin < c {
				next = end
			}
			break
		}
		if !m.pos[i].IsZero() {
			pos = m.pos[i]
		}
	}
	return pos, next
}

func (m *logModel) begin(i int) int {
	if i == 0 {
		return 0
	}
	return m.ends[i-1]
}

// FuzzLog: append, publish, trim, join and short reads against a plain slice. A
// reader sees exactly the bytes from its cursor on or is told that it fell below
// the floor; every look-up agrees with the model; the twin holds the same entries.
func FuzzLog(f *testing.F) {
	f.Add([]byte{0, 10, 4, 0, 200, 4, 8, 3, 12, 255})
	f.Add(bytes.Repeat([]byte{0, 255, 4, 0, 3, 9}, 60))
	f.Add(bytes.Repeat([]byte{1, 1, 5, 4, 0, 90, 4, 6, 0, 9, 77, 8, 2}, 30))
	f.Fuzz(func(t *testing.T, ops []byte) {
		now := time.Unix(1000, 0)
		l := NewLog(LogConfig{WindowBytes: 16 << 10, WindowAge: time.Minute, MaxSegment: 8 << 10, Now: func() time.Time { return now }})
		var m logModel
		published, seq := 0, uint64(10)
		type reader struct{ c Cursor }
		readers := []reader{{}}
		check := func(r *reader, max int) {
			v := l.View()
			b, ok := v.Bytes(r.c, max)
			if !ok {
				if r.c >= v.Floor() {
					t.Fatalf("cursor %d refused at floor %d", r.c, v.Floor())
				}
				r.c = v.Head()
				return
			}
			if int(r.c)+len(b) > published || !bytes.Equal(b, m.all[r.c:int(r.c)+len(b)]) {
				t.Fatalf("at %d: %q", r.c, b)
			}
			if len(b) == 0 && r.c < v.Head() && max > 0 {
				t.Fatalf("nothing to read at %d below head %d", r.c, v.Head())
			}
			r.c += Cursor(len(b))
			pos, next := m.mark(int(r.c))
			if mk := l.Mark(r.c); mk.Held && (mk.Pos != pos || int(mk.Next) != next) {
				t.Fatalf("Mark(%d) = %+v, want %v next %d", r.c, mk, pos, next)
			}
		}
		for len(ops) >= 2 {
			op, arg := ops[0], int(ops[1])
			ops = ops[2:]
			switch op % 10 {
			case 0, 1, 2:
				seq += 1 + uint64(op)%3
				fr := testFrame(seq, arg*int(1+op%16))
				l.Append(fr)
				m.append(fr)
			case 3:
				fr := Frame{Bytes: []byte("event: gateway.gap\ndata: {}\n\n")}
				l.Append(fr)
				m.append(fr)
			case 4, 5:
				l.Publish()
				published = len(m.all)
			case 6:
				l.Publish()
				published = len(m.all)
				now = now.Add(time.Duration(arg) * time.Second)
				l.Trim()
			case 7:
				l.Chunked()
			case 8: // join after some event
				if len(m.pos) == 0 {
					continue
				}
				i := arg % len(m.pos)
				c, rel := l.After(m.pos[i])
				switch {
				case m.pos[i].IsZero():
					if rel == Exact {
						t.Fatal("a gateway event has a position")
					}
				case m.ends[i] > published:
					if rel != Ahead {
						t.Fatalf("event %v is not published: %v", m.pos[i], rel)
					}
				case rel == Exact:
					if int(c) != m.ends[i] {
						t.Fatalf("After(%v) = %d, want %d", m.pos[i], c, m.ends[i])
					}
					readers = append(readers, reader{c: c})
				case rel != Older || m.ends[i] > int(l.View().Floor()):
					t.Fatalf("After(%v) = %v, floor %d, ends %d", m.pos[i], rel, l.View().Floor(), m.ends[i])
				}
			case 9:
				for i := range readers {
					check(&readers[i], arg*8)
				}
			}
			if int(l.View().Head()) != published {
				t.Fatalf("head %d, published %d", l.View().Head(), published)
			}
		}
		l.Publish()
		published = len(m.all)
		for i := range readers {
			for range 10_000 {
				if readers[i].c == l.View().Head() {
					break
				}
				check(&readers[i], 4096)
			}
			if int(readers[i].c) != published {
				t.Fatalf("reader stuck at %d of %d", readers[i].c, published)
			}
		}
		checkTwin(t, l)
	})
}

// checkTwin compares the chunked twin's entries with the log's, from the first
// event both hold.
func checkTwin(t *testing.T, l *Log) {
	t.Helper()
	twin := l.Chunked()
	if twin.Last() != l.Last() {
		t.Fatalf("twin ends at %v, log at %v", twin.Last(), l.Last())
	}
	from := twin.FloorPos()
	if l.FloorPos().Seq > from.Seq {
		from = l.FloorPos()
	}
	c, rel := l.After(from)
	tc, trel := twin.After(from)
	if from.IsZero() {
		if l.View().Floor() > 0 || twin.View().Floor() > 0 {
			return // only gateway events were trimmed: nothing to meet at
		}
		c, tc, rel, trel = l.View().Floor(), twin.View().Floor(), Exact, Exact
	}
	if rel == Older || trel == Older { // a gateway event was trimmed behind from
		return
	}
	if rel != Exact || trel != Exact {
		t.Fatalf("%v in log: %v, in twin: %v", from, rel, trel)
	}
	var want []byte
	for end := l.View().Head(); c < end; {
		next := l.Mark(c + 1).Next
		b, _ := l.View().Bytes(c, int(next-c))
		want = AppendChunk(want, b)
		c = next
	}
	if got := readAll(t, twin, tc); !bytes.Equal(got, want) {
		t.Fatalf("twin reads %d bytes, want %d", len(got), len(want))
	}
}
