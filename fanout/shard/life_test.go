//go:build linux

package shard

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/fanout"
)

// FuzzSubscriberLife drives one shard through joins, events, reads, stalls, closes,
// cuts and trims given by the input's bytes. Whatever happens, each descriptor and slot
// is given back once and each client reported once (the rig's cleanup), and what a
// client got is a contiguous run of events from where it joined, or a told gap with the
// exact count.
func FuzzSubscriberLife(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 40, 1, 2, 0, 200, 6, 30})
	f.Add([]byte{2, 5, 200, 5, 200, 5, 200, 5, 200, 6, 3, 2, 0, 255, 2, 0, 255})
	f.Add([]byte{1, 0, 5, 255, 5, 255, 6, 1, 2, 1, 255, 2, 1, 255, 3, 0, 8, 1})
	f.Add(bytes.Repeat([]byte{0, 1, 20, 2, 0, 90, 2, 1, 10, 5, 250, 6, 4, 1, 1, 3, 2, 7, 1}, 12))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 600 {
			return
		}
		newLife(t).run(program)
	})
}

// life is a fuzzed shard and what is known of its clients.
type life struct {
	t       *testing.T
	r       *rig
	f       *feed
	clients []*lifeClient
}

type lifeClient struct {
	*peer
	first   uint64 // sequence of the event that comes first
	chunked bool
	policy  fanout.Policy
	feed    *asker
}

func newLife(t *testing.T) *life {
	r := newRig(t, Config{Heartbeat: time.Second, Slow: fanout.Slow{
		Stall: 3 * time.Second, Lag: 40 << 10, SoftLag: 20 << 10, SoftTime: time.Second}})
	return &life{t: t, r: r, f: r.feed(fanout.LogConfig{WindowBytes: 64 << 10})}
}

// run reads one operation per byte, and its operands from the bytes that follow.
func (l *life) run(program []byte) {
	at := 0
	next := func() int {
		if at == len(program) {
			return 0
		}
		at++
		return int(program[at-1])
	}
	client := func() *lifeClient {
		if n := next(); len(l.clients) > 0 {
			return l.clients[n%len(l.clients)]
		}
		return nil
	}
	for at < len(program) && len(l.clients) < 40 {
		switch op := next(); op % 9 {
		case 0:
			l.join(next())
		case 1:
			l.f.event(next())
			l.r.step()
		case 2:
			if c := client(); c != nil && c.fd >= 0 {
				c.read(1 + 64*next())
				l.r.step()
			}
		case 3:
			if c := client(); c != nil {
				c.close()
				l.r.step()
			}
		case 4:
			if c := client(); c != nil && c.fd >= 0 {
				_ = unix.Shutdown(c.fd, unix.SHUT_WR) // it may be gone
			}
		case 5:
			for range next() {
				l.f.append(300)
			}
			l.f.log.Publish()
			if op < 128 {
				l.r.step()
			}
		case 6:
			l.r.pass(time.Duration(next()%50) * tickLen)
		case 7:
			of := uint32(next())
			l.r.s.in.put(message{cut: &cut{over: time.Duration(next()%8) * tickLen, why: func(meta uint32) fanout.Reason {
				if meta%8 == of%8 {
					return "denied"
				}
				return ""
			}}})
			l.r.step()
		case 8:
			l.answer()
			l.r.step()
		}
	}
	l.r.step()
	for _, c := range l.clients {
		if c.fd >= 0 {
			l.r.all(c.peer)
		}
		l.check(c)
	}
}

func (l *life) join(kind int) {
	c := &lifeClient{first: l.f.seq + 1, chunked: kind&1 != 0, policy: fanout.Policy(kind >> 1 % 3), feed: &asker{}}
	sub := l.f.live(uint32(len(l.clients)))
	sub.Next, sub.Slow.Policy, sub.Head = c.feed, c.policy, []byte("head\n\n")
	if c.chunked {
		sub.Log, sub.Framing = l.f.log.Chunked(), fanout.Chunked
		sub.Start.Cursor = sub.Log.View().Head()
		sub.Head = fanout.AppendChunk(nil, sub.Head)
	}
	if kind&32 != 0 {
		sub.Ends = l.r.now.Add(2 * time.Second)
	}
	if kind&64 != 0 {
		sub.Meter = &bucket{tokens: kind}
	}
	c.peer = l.r.offer(sub)
	l.clients = append(l.clients, c)
	if kind < 128 {
		l.r.step()
	}
}

// answer answers all who asked where to go on: exactly behind what they have if the log
// holds it, else they end.
func (l *life) answer() {
	for _, c := range l.clients {
		log := l.f.log
		if c.chunked {
			log = log.Chunked()
		}
		for len(c.feed.done) > 0 {
			p := c.feed.asked[len(c.feed.asked)-len(c.feed.done)]
			at, rel := log.After(p)
			if rel != fanout.Exact {
				c.feed.answer(fanout.Start{}, errGone)
				continue
			}
			c.feed.answer(fanout.Start{Cursor: at}, nil)
		}
	}
}

var errGone = &strconv.NumError{Func: "After", Num: "position", Err: strconv.ErrRange}

var (
	eventOf = regexp.MustCompile(`^data: (\d+) x*\nid: ([0-9a-z]+)-[0-9a-z]+$`)
	gapOf   = regexp.MustCompile(`^event: gateway\.gap\ndata: .*"from":(null|"([0-9a-z]+)-[0-9a-z]+").*"missed":(\d+)}$`)
)

// check reads what a client got, entry by entry.
func (l *life) check(c *lifeClient) {
	l.t.Helper()
	body := c.got.String()
	if c.chunked {
		body = unchunkPart(l.t, body)
	}
	end := strings.LastIndex(body, "\n\n") + 2
	if end < 2 {
		return // not even the head
	}
	entries := strings.Split(strings.TrimSuffix(body[:end], "\n\n"), "\n\n")
	want, over := c.first, false
	for i, entry := range entries {
		entry = strings.TrimLeft(entry, ":\n") // heartbeats stand before entries
		switch {
		case over:
			l.t.Fatalf("client %d: %q behind the end", c.meta, entry)
		case i == 0 && entry == "head":
		case strings.HasPrefix(entry, "end: "):
			over = true
		case eventOf.MatchString(entry):
			if n, _ := strconv.ParseUint(eventOf.FindStringSubmatch(entry)[1], 10, 64); n != want {
				l.t.Fatalf("client %d, policy %d: event %d, want %d", c.meta, c.policy, n, want)
			}
			want++
		case c.policy == fanout.Latest && gapOf.MatchString(entry):
			m := gapOf.FindStringSubmatch(entry)
			missed, _ := strconv.ParseUint(m[3], 10, 64)
			from, _ := strconv.ParseUint(m[2], 36, 64)
			if from != want-1 {
				l.t.Fatalf("client %d: gap from %d, want %d", c.meta, from, want-1)
			}
			want += missed
		default:
			l.t.Fatalf("client %d: broken entry %q", c.meta, entry)
		}
	}
}

// unchunkPart takes apart what there is of a chunked body.
func unchunkPart(t *testing.T, body string) string {
	var b strings.Builder
	for {
		size, rest, ok := strings.Cut(body, "\r\n")
		if !ok {
			return b.String()
		}
		n, err := strconv.ParseUint(size, 16, 32)
		if err != nil {
			t.Fatalf("chunk size %q: %v", size, err)
		}
		if uint64(len(rest)) < n+2 {
			return b.String()
		}
		b.WriteString(rest[:n])
		body = rest[n+2:]
	}
}

// A client that reads a block gets all of it, then goes on where the feed says.
func TestABlockIsReadBeforeTheLog(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	feed := &asker{}
	var first, second []byte
	for i := range 300 {
		first = fanout.AppendFrame(first, []byte("data: "+strings.Repeat("x", i)+"\n"), position(uint64(i+1), r.now))
	}
	second = fanout.AppendFrame(second, []byte("data: second\n"), position(301, r.now))
	f.seq = 301
	f.event(10)
	sub := f.live(1)
	sub.Next, sub.Head = feed, []byte("head\n\n")
	sub.Start = fanout.Start{Block: &fanout.Block{Bytes: first, Last: position(300, r.now)}, Offset: 100}
	p := r.join(sub)
	want := "head\n\n" + string(first[100:])
	wantBytes(t, r.all(p), want)
	if len(feed.asked) != 1 || feed.asked[0] != position(300, r.now) {
		t.Fatalf("asked %v", feed.asked)
	}
	if e := r.s.slab.at(0); e.state != stWaiting {
		t.Errorf("state %d, want waiting", e.state)
	}
	f.event(20) // a waiting client is not in a pass
	r.step()
	wantBytes(t, r.all(p), want)
	feed.answer(fanout.Start{Block: &fanout.Block{Bytes: second, Last: position(301, r.now)}}, nil)
	r.step()
	want += string(second)
	wantBytes(t, r.all(p), want)
	feed.answer(fanout.Start{Cursor: 0}, nil)
	r.step()
	want += f.all.String()
	wantBytes(t, r.all(p), want)
	if len(r.s.side) != 0 {
		t.Error("the block is still held")
	}
	f.event(5)
	r.step()
	p.close()
	r.step()
	if end := r.wantEnd(1, fanout.EndClient); end.Last.Seq != 304 {
		t.Errorf("end %+v", end)
	}
}

// An answer that comes after the client went must not touch who has its slot now.
func TestALateAnswerIsIgnored(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	feed := &asker{}
	sub := f.live(1)
	sub.Next = feed
	sub.Start = fanout.Start{Block: &fanout.Block{Bytes: []byte("data: x\n\n"), Last: position(1, r.now)}}
	p := r.join(sub)
	p.close()
	r.step()
	r.wantEnd(1, fanout.EndClient)
	q := r.join(f.live(2))
	feed.answer(fanout.Start{Gap: []byte("not yours")}, nil)
	r.step()
	wantBytes(t, r.all(q), "")
	r.wantAlive(2)
}

// Blocks that never come nearer to the log end after some, and not before a stall's time:
// a burst alone is no slowness.
func TestBacklogWithoutProgressEnds(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{WindowBytes: 64 << 10})
	f.seq = 1000
	for range 1000 {
		f.event(1000) // the floor is above 1000
	}
	feed := &asker{}
	block := &fanout.Block{Bytes: []byte("data: x\n\n"), Last: position(5, r.now)}
	sub := f.live(1)
	sub.Next, sub.Start = feed, fanout.Start{Block: block}
	p := r.join(sub)
	rounds := 0
	for ; len(feed.done) > 0 && rounds < 100; rounds++ {
		feed.answer(fanout.Start{Block: block}, nil)
		r.step()
		p.read(1 << 10)
	}
	if rounds != 100 {
		t.Fatalf("ended after %d rounds without any time passing", rounds)
	}
	r.pass(10 * time.Second)
	r.wantAlive(1)
	feed.answer(fanout.Start{Block: block}, nil)
	r.step()
	r.pass(1200 * time.Millisecond)
	r.wantEnd(1, fanout.EndSlow)
}
