package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// simSink is a client's end of a stream: it can stall, and it can go away.
type simSink struct {
	mu       sync.Mutex
	buf      bytes.Buffer
	stalled  chan struct{} // closed when it takes bytes again; nil = it does
	gone     chan struct{}
	deadline time.Time
}

func (s *simSink) Write(p []byte) (int, error) {
	for {
		s.mu.Lock()
		stalled, deadline := s.stalled, s.deadline
		if stalled == nil {
			defer s.mu.Unlock()
			select {
			case <-s.gone:
				return 0, errors.New("gone")
			default:
			}
			return s.buf.Write(p)
		}
		s.mu.Unlock()
		late := time.NewTimer(time.Until(deadline))
		select {
		case <-stalled:
			late.Stop()
		case <-s.gone:
			late.Stop()
			return 0, errors.New("gone")
		case <-late.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *simSink) Flush() error { return nil }

func (s *simSink) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.IsZero() {
		t = time.Now().Add(24 * time.Hour)
	}
	s.deadline = t
	return nil
}

func (s *simSink) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && s.stalled == nil {
		s.stalled = make(chan struct{})
	} else if !on && s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
}

func (s *simSink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// simClient is one logical client: it comes back with the last id it got whole.
type simClient struct {
	w      *simWorld
	policy Policy
	sink   *simSink
	stop   context.CancelFunc
	done   chan struct{}
	seen   map[int]bool
	last   int // number of the last event, 0 = none
	id     broker.Position
	fresh  bool // nothing was received yet
	end    End  // of the last connection
	most   int  // highest number seen
	again  int  // events up to this one may come again: it was told
}

// simWorld is a feed, its true history, and what clients may and may not see.
type simWorld struct {
	*rig
	f       broker.FeedID
	engine  *Portable
	clients []*simClient
	pos     map[int]broker.Position  // of event n
	follows map[[2]int]bool          // b was stored right behind a
	behind  map[int]int              // the event right behind which n was stored
	gone    map[broker.Position]bool // stored once, and removed
	tail    int
	trace   *story
	saved   int // tail at the last save, -1 = none
	hurt    bool
	next    uint64 // r.prev at the save
}

func (w *simWorld) note(f string, a ...any) { w.trace.note(f, a...) }

// story is what happened, shown when a run fails. The hub's log goes there too.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (tr *story) note(f string, a ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf(f, a...))
}

func (tr *story) Write(b []byte) (int, error) {
	tr.note("      %s", bytes.TrimSpace(b))
	return len(b), nil
}

func (tr *story) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.lines, "\n")
}

func (w *simWorld) append(k int) {
	w.note("append %d from %d", k, w.n[w.f]+1)
	for range k {
		p := w.commit(w.f, 1)
		n := w.n[w.f]
		w.pos[n] = p
		w.follows[[2]int{w.tail, n}], w.behind[n] = true, w.tail
		w.tail = n
	}
}

func (w *simWorld) connect(c *simClient, at At) {
	ctx, stop := context.WithCancel(w.ctx)
	c.sink = &simSink{gone: make(chan struct{}), deadline: time.Now().Add(24 * time.Hour)}
	c.stop, c.done = stop, make(chan struct{})
	sink, done := c.sink, c.done
	go func() {
		defer close(done)
		for {
			j, err := w.hub.Join(ctx, Want{Feed: w.f, At: at, Else: At{Kind: AtEarliest}})
			if ctx.Err() != nil {
				if err == nil {
					j.Release()
				}
				return
			}
			if errors.Is(err, ErrUnavailable) { // a client comes again
				if sleep(ctx, time.Second) != nil {
					return
				}
				continue
			}
			if err != nil {
				w.t.Errorf("join: %v", err)
				return
			}
			c.end = w.engine.Serve(ctx, sink, Subscriber{Log: j.Log, Next: j.Feed, Start: j.Start, Head: append([]byte("retry: 1\n"), j.Gap...),
				Slow: Slow{Policy: c.policy, Lag: 4 << 10, SoftLag: 2 << 10, SoftTime: time.Second, Stall: 5 * time.Second}})
			j.Release()
			return
		}
	}()
}

// cut takes the client away and checks all that it received.
func (w *simWorld) cut(c *simClient) {
	if c.sink == nil {
		return
	}
	close(c.sink.gone)
	c.stop()
	<-c.done
	w.judge(c, c.sink.text())
	c.sink = nil
}

// judge: contiguous or told, nothing twice, nothing that was never stored.
func (w *simWorld) judge(c *simClient, body string) {
	w.note("  judge client: had %d@%v, end %+v", c.last, c.id, c.end)
	body = strings.ReplaceAll(strings.TrimPrefix(body, "retry: 1\n"), "\n:\n", "\n")
	body = strings.TrimPrefix(body, ":\n")
	told, first := false, c.id
	for {
		block, rest, whole := strings.Cut(body, "\n\n")
		for strings.HasPrefix(block, ":\n") {
			block = block[2:]
		}
		if !whole {
			return
		}
		body = rest
		if gap, ok := strings.CutPrefix(block, "event: gateway.gap\ndata: "); ok {
			var g struct {
				Reason            string
				From, To          *string
				Possible, Doubles bool
			}
			if err := json.Unmarshal([]byte(gap), &g); err != nil {
				w.t.Fatalf("gap %q: %v", gap, err)
			}
			if !w.hurt && g.Reason != string(GapSlow) {
				w.t.Fatalf("nothing was lost, yet told: %s", gap)
			}
			told = true
			w.note("   told %s", gap)
			if g.Doubles || g.Reason == string(GapUnknown) { // behind unknown comes the start without an id: here all that is kept
				c.again = c.most
			}
			continue
		}
		if strings.HasPrefix(block, "retry: ") || strings.HasPrefix(block, "event: gateway.end") {
			continue
		}
		data, id, ok := strings.Cut(strings.TrimPrefix(block, "data: "), "\nid: ")
		n, err := strconv.Atoi(data)
		p, parsed := ParseID(id)
		if !ok || err != nil || !parsed || w.pos[n] != p {
			w.t.Fatalf("%q is no stored event (event %d is %v)", block, n, w.pos[n])
		}
		if c.seen[n] && n > c.again {
			w.t.Fatalf("event %d twice, after %d", n, c.last)
		}
		if !c.fresh && !told && !w.follows[[2]int{c.last, n}] && !w.mistaken(c.last, n) {
			w.t.Fatalf("event %d (%v) follows %d (%v) and nothing was told; first of this connection: %v", n, w.pos[n], c.last, w.pos[c.last], first)
		}
		if n != c.last+1 {
			w.note("   got %d@%v", n, p)
		}
		c.seen[n], c.last, c.id, c.fresh, told, c.most = true, n, p, false, false, max(c.most, n)
	}
}

// mistaken says that event last, lost with a restored store, had the sequence of the event before n, which was removed:
// its id cannot be told from that one's. See anchorTrimmed.
func (w *simWorld) mistaken(last, n int) bool {
	before := w.behind[n]
	return before != last && w.pos[before].Seq == w.pos[last].Seq && w.gone[w.pos[before]]
}

// runHandover plays ops on a feed with a handful of clients and judges all of them.
func runHandover(t *testing.T, ops []byte) {
	mem := brokertest.NewMemory(t)
	tr := &story{}
	r := newRigLog(t, mem, tr, HubConfig{Lanes: 1, Linger: 3 * time.Second, Log: LogConfig{WindowBytes: 16 << 10, MaxSegment: 4 << 10}})
	r.pen = mem.Peer()
	w := &simWorld{rig: r, trace: tr, f: testFeed("a"), engine: NewPortable(PortableConfig{}), pos: map[int]broker.Position{},
		follows: map[[2]int]bool{}, behind: map[int]int{}, gone: map[broker.Position]bool{}, saved: -1}
	w.append(3)
	for i := range 5 {
		w.clients = append(w.clients, &simClient{w: w, seen: map[int]bool{}, fresh: true, policy: []Policy{Drop, Backlog, Latest}[i%3]})
	}
	cut := false
	defer func() {
		if t.Failed() {
			fmt.Println(tr)
		}
	}()
	for i := 0; i+1 < len(ops) && i < 160; i += 2 {
		arg := int(ops[i+1])
		w.note("op %d %d tail %d@%v client %d have %d", ops[i]%15, arg, w.tail, w.pos[w.tail], arg%5, w.clients[arg%5].last)
		c := w.clients[arg%len(w.clients)]
		switch ops[i] % 15 {
		case 0, 1, 2:
			w.append(1 + arg%8)
		case 3:
			if w.n[w.f] < 1500 {
				w.append(60 + arg)
			}
		case 4, 5, 6:
			w.cut(c)
			at := At{Kind: AtID, Pos: c.id}
			if c.fresh {
				at = At{Kind: []AtKind{AtLive, AtEarliest}[arg%2]}
			}
			w.connect(c, at)
		case 7:
			r.b.DropLast(w.f)
		case 8:
			if c.sink != nil {
				c.sink.stall(arg%2 == 0)
			}
		case 9:
			time.Sleep(time.Duration(arg) * 50 * time.Millisecond)
		case 10:
			w.beacon(w.f, w.pos[w.tail], broker.StateUp)
		case 11:
			if ms := w.stored(w.f); len(ms) > 2 {
				w.hurt = true
				if k := arg % (len(ms) - 1); arg%2 == 0 {
					for i := range k {
						w.gone[ms[i].Position] = true
					}
					r.b.PurgeTo(testAPI, ms[k].Seq)
				} else if k > 0 {
					w.gone[ms[k].Position] = true
					r.b.DeleteMsg(testAPI, ms[k].Seq)
				}
			}
		case 12:
			switch {
			case arg%3 == 0 && w.saved < 0:
				r.b.Save()
				w.saved, w.next = w.tail, r.prev[w.f]
			case arg%3 == 1 && w.saved >= 0:
				w.hurt = true
				r.b.RestoreOld()
				w.tail, r.prev[w.f], w.saved = w.saved, w.next, -1
			case arg%3 == 2:
				w.hurt, w.saved = true, -1
				r.b.Recreate(testAPI)
				w.tail, r.prev[w.f] = -w.n[w.f]-1, 0 // nothing follows what was
				w.append(1)
			}
		case 13:
			if cut = !cut; cut {
				r.b.Cut()
			} else {
				r.b.Heal()
			}
		case 14:
			synctest.Wait()
		}
	}
	// All is well again: everybody must reach the end.
	r.b.Heal()
	w.append(2)
	for round := range 4 { // who was dropped comes back
		for _, c := range w.clients {
			w.cut(c)
			at := At{Kind: AtID, Pos: c.id}
			if c.fresh {
				at = At{Kind: AtEarliest}
			}
			w.connect(c, at)
		}
		if round == 0 {
			w.append(2)
		}
		for range 6 {
			w.beacon(w.f, w.pos[w.tail], broker.StateUp)
			time.Sleep(10 * time.Second)
		}
	}
	for i, c := range w.clients {
		w.cut(c)
		if c.last != w.tail {
			t.Fatalf("client %d ended at %d of %d: %+v", i, c.last, w.tail, c.end)
		}
	}
	r.close()
}

// FuzzHandover: appends, trims, joins, cuts, lost live messages, stalls, restored and
// recreated logs in any order: every client gets a contiguous run or is told, nothing
// twice, nothing that was never stored, and reaches the end.
func FuzzHandover(f *testing.F) {
	f.Add([]byte{4, 0, 4, 1, 0, 3, 3, 200, 4, 0, 4, 2, 7, 0, 0, 1, 9, 20, 10, 0, 0, 5})
	f.Add([]byte{4, 1, 5, 2, 3, 100, 11, 20, 4, 1, 11, 33, 5, 2, 0, 7, 9, 100, 4, 3, 3, 255, 6, 4})
	f.Add([]byte{4, 1, 12, 0, 0, 5, 4, 3, 14, 0, 12, 1, 0, 2, 9, 60, 4, 1, 12, 2, 0, 3, 4, 1, 9, 200})
	f.Add([]byte{4, 0, 4, 1, 4, 2, 8, 2, 3, 255, 3, 255, 8, 7, 9, 10, 13, 0, 0, 7, 4, 3, 9, 90, 13, 0, 9, 200, 0, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		synctest.Test(t, func(t *testing.T) { runHandover(t, ops) })
	})
}

// TestHandoverAtRandom plays random runs; SLUICE_SEED repeats one.
func TestHandoverAtRandom(t *testing.T) {
	runs := 300
	if testing.Short() {
		runs = 60
	}
	seed := testSeed(t)
	for i := range runs {
		ops := randomBytes(seed+uint64(i), 160)
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					fmt.Printf("run %d of seed %d: %v\n", i, seed, ops)
				}
			}()
			runHandover(t, ops)
		})
		if t.Failed() {
			return
		}
	}
}
