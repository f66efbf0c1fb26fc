package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/sse"
	"sluice/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testAPI = "test_v1"

func testFeed(name string) broker.FeedID { return broker.FeedID{API: testAPI, Key: name} }

// rig is a hub on a broker, and one writer per feed.
type rig struct {
	t    testing.TB
	b    brokertest.Broker // the hub's node
	pen  brokertest.Broker // the writer's; the same unless a test cuts the hub off
	hub  *Hub
	ctx  context.Context
	prev map[broker.FeedID]uint64
	n    map[broker.FeedID]int
	tx   uint64
	span trace.Context // of the next commits
	done chan error
	stop context.CancelFunc
}

func newRig(t testing.TB, b brokertest.Broker, cfg HubConfig) *rig {
	t.Helper()
	return newRigLog(t, b, io.Discard, cfg)
}

func newRigLog(t testing.TB, b brokertest.Broker, log io.Writer, cfg HubConfig) *rig {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &rig{t: t, b: b, pen: b, ctx: ctx, stop: stop, prev: map[broker.FeedID]uint64{}, n: map[broker.FeedID]int{}, done: make(chan error, 1)}
	spec := broker.StreamSpec{API: testAPI, Name: "test 1", Durable: "process", MaxAge: 240 * time.Hour, MaxEvents: 100_000, MaxBytes: 256 << 20}
	if err := b.Admin().EnsureStream(ctx, spec); err != nil {
		t.Fatal(err)
	}
	cfg.Node, cfg.Boot = "edge", "1"
	hub, err := NewHub(cfg, HubDeps{NewLive: b.NewLive, Direct: b.Direct(), Bus: b.Bus(),
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	r.hub = hub
	go func() { r.done <- hub.Run(ctx) }()
	t.Cleanup(r.close)
	r.until("the hub runs", func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return hub.lanes != nil
	})
	return r
}

func (r *rig) close() {
	r.stop()
	if r.done != nil {
		if err := <-r.done; err != nil {
			r.t.Errorf("hub: %v", err)
		}
		r.done = nil
	}
}

// until waits for a fact.
func (r *rig) until(what string, fact func() bool) {
	r.t.Helper()
	for began := time.Now(); !fact(); {
		if time.Since(began) > 20*time.Second {
			r.t.Fatalf("timed out: %s", what)
		}
		wait := time.NewTimer(2 * time.Millisecond)
		<-wait.C
	}
}

func testBody(n int) []byte { return sse.AppendBody(nil, nil, fmt.Appendf(nil, "%d", n)) }

// commit stores n events and returns the position of the last one as the store has it.
func (r *rig) commit(f broker.FeedID, n int) broker.Position {
	r.t.Helper()
	for n > 0 {
		k := min(n, 200)
		n -= k
		r.tx++
		c := &broker.Commit{Epoch: 1, Tx: r.tx, Prev: r.prev[f], Trace: r.span}
		for range k {
			r.n[f]++
			c.Events = append(c.Events, broker.Event{Body: testBody(r.n[f])})
		}
		var p broker.Position
		var err error
		r.until("the commit is stored", func() bool {
			p, err = r.pen.Writer().Commit(r.ctx, f, c)
			return !errors.Is(err, broker.ErrNoStream) && !errors.Is(err, broker.ErrUnavailable)
		})
		if err != nil {
			r.t.Fatalf("commit: %v", err)
		}
		r.prev[f] = p.Seq
	}
	m, err := r.pen.Writer().Last(r.ctx, f)
	if err != nil {
		r.t.Fatal(err)
	}
	return m.Position
}

// stored returns all that is kept of the feed.
func (r *rig) stored(f broker.FeedID) []broker.Message {
	r.t.Helper()
	var all []broker.Message
	for seq := uint64(1); ; {
		var b broker.Block
		if err := r.pen.Direct().Read(r.ctx, f, broker.From{Seq: seq}, &b); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, b.Messages...)
		if !b.More {
			return all
		}
		seq = b.Next
	}
}

func frames(ms []broker.Message) []byte {
	var b []byte
	for i := range ms {
		b = AppendFrame(b, ms[i].Body, ms[i].Position)
	}
	return b
}

func (r *rig) join(w Want) *Joined {
	r.t.Helper()
	j, err := r.hub.Join(r.ctx, w)
	if err != nil {
		r.t.Fatalf("join %+v: %v", w.At, err)
	}
	return j
}

// read follows a reader from its start until it has got everything up to last, and
// returns all the bytes, gaps included.
func (r *rig) read(j *Joined, fr Framing, last broker.Position) []byte {
	r.t.Helper()
	out := bytes.Clone(j.Gap)
	s := j.Start
	for s.Block != nil {
		out = append(out, s.Gap...)
		out = append(out, s.Block.Bytes[s.Offset:]...)
		ctx, cancel := context.WithTimeout(r.ctx, 40*time.Second)
		var err error
		s, err = j.Feed.Resume(ctx, s.Block.Last, fr)
		cancel()
		if err != nil {
			r.t.Fatalf("resume: %v", err)
		}
	}
	out = append(out, s.Gap...)
	c := s.Cursor
	r.until(fmt.Sprintf("the log has %v", last), func() bool { return last.IsZero() || j.Log.Last().Seq >= last.Seq })
	for v := j.Log.View(); c < v.Head(); {
		b, ok := v.Bytes(c, 1<<20)
		if !ok {
			r.t.Fatalf("cursor %d below the floor %d", c, v.Floor())
		}
		out = append(out, b...)
		c += Cursor(len(b))
	}
	return out
}

// want compares bytes and shows where they part.
func (r *rig) want(what string, got, want []byte) {
	r.t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-60)
	r.t.Fatalf("%s: %d bytes, want %d; they part at %d:\n%q\nwant\n%q", what, len(got), len(want), i,
		got[from:min(len(got), i+120)], want[from:min(len(want), i+120)])
}

func at2(ms []broker.Message, i int) At { return At{Kind: AtID, Pos: ms[i].Position} }

func (r *rig) decode(b []byte, v any) {
	if err := json.Unmarshal(b, v); err != nil {
		r.t.Errorf("%s: %v", b, err)
	}
}

func (r *rig) encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Error(err)
	}
	return b
}

func unchunk(t testing.TB, b []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(httputil.NewChunkedReader(io.MultiReader(bytes.NewReader(b), strings.NewReader(LastChunk))))
	if err != nil {
		t.Fatalf("chunked bytes do not read: %v", err)
	}
	return out
}

// testSeed is SLUICE_SEED or a fresh one, shown with the result.
func testSeed(t testing.TB) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("SLUICE_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("SLUICE_SEED=%d", seed)
	return seed
}

func randomBytes(seed uint64, n int) []byte {
	r, b := rand.New(rand.NewPCG(seed, 0)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
