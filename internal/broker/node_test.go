package broker

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openNode opens a node with an embedded broker for one test.
func openNode(t testing.TB, c Config) *Node {
	t.Helper()
	if c.Dir == "" && c.Dial == nil {
		c.Dir = t.TempDir()
	}
	n, err := Open(t.Context(), c, testLog(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // servers log on while a test ends
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

func ensure(t testing.TB, n *Node, s StreamSpec) FeedID {
	t.Helper()
	f := NewFeedID("test", "1", "/ticks", "")
	s.API = f.API
	if err := n.Admin().EnsureStream(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return f
}

func events(from, n int) []Event {
	es := make([]Event, n)
	for i := range es {
		es[i] = Event{Body: fmt.Appendf(nil, "data: %d\n", from+i), UpstreamID: fmt.Sprint(from + i), Rx: 1}
	}
	return es
}

// every profile stores in order, links every event, republishes and reads back.
func TestStoreAndRead(t *testing.T) {
	for _, profile := range []string{ProfileMemory, ProfileProcess, ProfilePower} {
		t.Run(profile, func(t *testing.T) {
			n := openNode(t, Config{Durability: profile})
			f := ensure(t, n, StreamSpec{Name: "test 1"})
			l, err := n.NewLive("lane")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Add(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			var prev uint64
			total := 0
			for tx, size := range []int{1, 300, 2, 17, 1, 512} {
				c := &Commit{Epoch: 7, Tx: uint64(tx), Prev: prev, Events: events(total, size)}
				p, err := n.Writer().Commit(t.Context(), f, c)
				if err != nil {
					t.Fatal(err)
				}
				if p.Seq < prev+uint64(size) {
					t.Fatalf("commit %d ends at %d, began behind %d", tx, p.Seq, prev)
				}
				prev = p.Seq
				total += size
			}
			live := receive(t, l, total)
			var back []Message
			for from := uint64(1); from != 0; {
				var b Block
				if err := n.Direct().Read(t.Context(), f, From{Seq: from}, &b); err != nil {
					t.Fatal(err)
				}
				back = append(back, b.Messages...)
				if from = b.Next; !b.More {
					break
				}
			}
			if len(back) != total {
				t.Fatalf("read %d messages, want %d", len(back), total)
			}
			var link uint64
			for i, m := range back {
				if string(m.Body) != fmt.Sprintf("data: %d\n", i) || m.UpstreamID != fmt.Sprint(i) || m.Epoch != 7 {
					t.Fatalf("message %d: %+v", i, m)
				}
				if m.Link != link {
					t.Fatalf("message %d links to %d, want %d", i, m.Link, link)
				}
				if d := live[i]; d.Err != nil || d.Last != link || d.Message.Position != m.Position || string(d.Message.Body) != string(m.Body) {
					t.Fatalf("live %d: %+v, stored %+v", i, d, m)
				}
				link = m.Seq
			}
			if link != prev {
				t.Fatalf("last is %d, commit said %d", link, prev)
			}
			last, err := n.Writer().Last(t.Context(), f)
			if err != nil || last.Position != back[total-1].Position {
				t.Fatalf("last %+v %v", last.Position, err)
			}
			tail, err := n.Writer().Tail(t.Context(), f, 256)
			if err != nil || len(tail) != 256 || tail[0].Seq != back[total-256].Seq {
				t.Fatalf("tail of %d, %v", len(tail), err)
			}
		})
	}
}

// receive takes n messages from l.
func receive(t testing.TB, l Live, n int) []Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []Delivery
	buf := make([]Delivery, 64)
	for len(got) < n {
		k, err := l.Next(ctx, buf)
		if err != nil {
			t.Fatalf("after %d of %d deliveries: %v", len(got), n, err)
		}
		got = append(got, buf[:k]...)
	}
	return got
}
