//go:build linux

package shard

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/fanout"
)

// joinTCP adds a client over a real connection.
func (r *rig) joinTCP(l net.Listener, sub fanout.Subscriber) *net.TCPConn {
	r.t.Helper()
	server, client := tcpPair(r.t, l)
	fd, err := takeSocket(server)
	if err != nil {
		r.t.Fatal(err)
	}
	server.Close()
	r.s.count.Add(1)
	r.s.in.put(message{join: &joining{fd: fd, sub: sub}})
	r.step()
	r.t.Cleanup(func() { client.Close() })
	return client
}

// until turns the shard until something has happened that another end of a
// connection caused.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s", what)
		}
		r.step()
	}
}

func (r *rig) untilEnded(meta uint32) {
	r.t.Helper()
	r.until(fmt.Sprintf("end of client %d", meta), func() bool { return len(r.ended[meta]) > 0 })
}

func TestClientsThatGoAreNoticed(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(c *net.TCPConn) error
		want  fanout.Reason
	}{
		{"close", (*net.TCPConn).Close, fanout.EndClient},
		{"half-close", (*net.TCPConn).CloseWrite, fanout.EndClient},
		{"reset", func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() }, fanout.EndClient},
		{"close with bytes sent", func(c *net.TCPConn) error { _, _ = c.Write([]byte("GET / HTTP/1.1\r\n")); return c.Close() }, fanout.EndClient},
		{"17 KiB of input", func(c *net.TCPConn) error { _, err := c.Write(make([]byte, 17<<10)); return err }, fanout.EndAbuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			f := r.feed(fanout.LogConfig{})
			client := r.joinTCP(listen(t), f.live(1))
			r.wantAlive(1)
			if err := c.leave(client); err != nil {
				t.Fatal(err)
			}
			r.untilEnded(1)
			r.wantEnd(1, c.want)
			if r.s.slab.live != 0 || len(r.s.byLog) != 0 {
				t.Error("the client is still held")
			}
		})
	}
}

func TestAFewBytesOfInputAreThrownAway(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	client := r.joinTCP(listen(t), f.live(1))
	if _, err := client.Write(make([]byte, 16<<10)); err != nil {
		t.Fatal(err)
	}
	r.until("16 KiB are thrown away", func() bool { return r.s.slab.at(0).thrown == 16<<10 })
	r.wantAlive(1)
	f.event(10)
	r.step()
	readFull(t, client, f.all.String())
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	r.untilEnded(1)
	r.wantEnd(1, fanout.EndAbuse)
}

// What was sent before a graceful close arrives although the client's input was never
// read: an ordinary close would reset the connection.
func TestAGracefulCloseLosesNothing(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	client := r.joinTCP(listen(t), f.live(1))
	f.event(5000)
	r.step()
	if _, err := client.Write([]byte("unread input")); err != nil {
		t.Fatal(err)
	}
	r.s.tell(0, r.s.slab.at(0), "revoked") // no turn in between reads the input
	readFull(t, client, f.all.String()+"end: revoked\n\n")
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("read %d, %v behind the end, want EOF", n, err)
	}
	r.wantAlive(1) // until the client closes too, or a second has passed
	client.Close()
	r.untilEnded(1)
	r.wantEnd(1, "revoked")
}

func TestAClientThatDoesNotCloseIsClosedAfterASecond(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	r.s.in.put(message{cut: &cut{why: func(uint32) fanout.Reason { return "revoked" }}})
	r.pass(900 * time.Millisecond)
	r.wantAlive(1)
	r.pass(200 * time.Millisecond)
	r.wantEnd(1, "revoked")
	if got := r.all(p); got != "end: revoked\n\n" || !p.eof {
		t.Errorf("got %q, end of file %v", got, p.eof)
	}
}

func TestLifetime(t *testing.T) {
	for _, framing := range []fanout.Framing{fanout.Identity, fanout.Chunked} {
		r := newRig(t, Config{})
		f := r.feed(fanout.LogConfig{})
		sub := f.live(1)
		sub.Ends = r.now.Add(10 * time.Second)
		want := "end: lifetime\n\n"
		if framing == fanout.Chunked {
			sub.Log, sub.Framing = f.log.Chunked(), framing
			want = "f\r\nend: lifetime\n\n\r\n0\r\n\r\n"
		}
		p := r.join(sub)
		r.pass(9900 * time.Millisecond)
		wantBytes(t, r.all(p), "")
		r.pass(200 * time.Millisecond)
		wantBytes(t, r.all(p), want)
		if !p.eof {
			t.Error("no end of file")
		}
	}
}

func TestEndsComeBetweenEntries(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	sub := f.live(1)
	sub.Ends = r.now.Add(time.Second)
	p := r.join(sub)
	r.s.slab.at(0).state = stParked // as one whose meter ran dry within an event
	whole := f.event(100)
	n, errno := send(r.s.slab.at(0).fd, []byte(whole[:40]))
	if n != 40 || errno != 0 {
		t.Fatal(n, errno)
	}
	r.s.slab.at(0).cursor += 40
	r.pass(2 * time.Second)
	wantBytes(t, r.all(p), whole+"end: lifetime\n\n")
	r.pass(2 * time.Second)
	if end := r.wantEnd(1, fanout.EndLifetime); end.Events != 1 || end.Last.Seq != 1 || end.Bytes != uint64(len(p.got.String())) {
		t.Errorf("end %+v of %d bytes", end, p.got.Len())
	}
}

func TestABlockedClientIsToldNothing(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, SoftTime: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	f.event(100 << 10)
	r.step()
	r.s.in.put(message{cut: &cut{why: func(uint32) fanout.Reason { return "revoked" }}})
	r.pass(2 * time.Second)
	end := r.wantEnd(1, "revoked")
	if got := r.all(p); strings.Contains(got, "end:") || !p.eof {
		t.Errorf("got %d bytes with end %v, end of file %v", len(got), strings.Contains(got, "end:"), p.eof)
	}
	if end.Events != 0 || !end.Last.IsZero() || end.Bytes != uint64(p.got.Len()) {
		t.Errorf("end %+v, want no whole event and %d bytes", end, p.got.Len())
	}
}

// However the chosen ones lie among the others: those of one API have often come one after the other.
func TestCutEndsOnlyThoseChosenEvenly(t *testing.T) {
	for name, chosen := range map[string]func(meta uint32) bool{
		"every other": func(meta uint32) bool { return meta%2 == 0 },
		"neighbours":  func(meta uint32) bool { return meta >= 100 && meta < 300 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			f := r.feed(fanout.LogConfig{})
			for i := range 400 {
				r.join(f.live(uint32(i)))
			}
			r.s.in.put(message{cut: &cut{over: 4 * time.Second, why: func(meta uint32) fanout.Reason {
				if chosen(meta) {
					return "denied"
				}
				return ""
			}}})
			begun := func() (n int) {
				for slot := range r.s.slab.top {
					if s := r.s.slab.at(slot).state; s == stClosing || s == stFree {
						n++
					}
				}
				return n
			}
			r.step()
			for second := 1; second <= 4; second++ {
				r.pass(time.Second)
				if n, want := begun(), 50*second; n < want-10 || n > want+10 {
					t.Errorf("after %d s %d have ended, want about %d", second, n, want)
				}
			}
			r.pass(2 * time.Second)
			for i := range uint32(400) {
				if chosen(i) {
					r.wantEnd(i, "denied")
					continue
				}
				r.wantAlive(i)
			}
			if len(r.s.cuts) != 0 {
				t.Error("the cut is still held")
			}
		})
	}
}

func TestStepsLeadThroughAllSlots(t *testing.T) {
	for n := uint32(1); n <= 300; n++ {
		seen := map[uint32]bool{}
		for i := range n {
			seen[i*stepOf(n)%n] = true
		}
		if len(seen) != int(n) {
			t.Fatalf("of %d slots %d are met", n, len(seen))
		}
	}
}

func TestACutAsksWhoWasAdoptedBefore(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	p := r.offer(f.live(1))
	r.s.in.put(message{cut: &cut{why: func(uint32) fanout.Reason { return "denied" }}})
	r.step()
	wantBytes(t, r.all(p), "end: denied\n\n")
}

func TestWhoJoinsDuringADrainIsEnded(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	r.s.in.put(message{cut: &cut{drain: true, over: 30 * time.Second, why: func(uint32) fanout.Reason { return fanout.EndDrain }}})
	r.step()
	f.event(10)
	p := r.join(f.live(1))
	wantBytes(t, r.all(p), "end: drain\n\n")
	r.pass(1200 * time.Millisecond)
	r.wantEnd(1, fanout.EndDrain)
}

func TestAClosedLogEndsItsClientsWithEverythingSent(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, SoftTime: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	var peers []*peer
	for i := range 300 {
		peers = append(peers, r.join(f.live(uint32(i))))
	}
	other := r.feed(fanout.LogConfig{})
	stays := r.join(other.live(1000))
	f.event(3000)
	f.log.Close("topic-deleted")
	r.step()
	for _, p := range peers {
		wantBytes(t, r.all(p), f.all.String()+"end: topic-deleted\n\n")
	}
	late := r.join(f.live(2000))
	wantBytes(t, r.all(late), "end: topic-deleted\n\n")
	r.pass(1200 * time.Millisecond)
	for i := range peers {
		if end := r.wantEnd(uint32(i), "topic-deleted"); end.Events != 1 {
			t.Errorf("client %d: end %+v", i, end)
		}
	}
	other.event(10)
	r.step()
	wantBytes(t, r.all(stays), other.all.String())
	if len(r.s.byLog) != 1 {
		t.Errorf("%d rosters, want 1", len(r.s.byLog))
	}
}

// An event of a socket that was closed in the same round must not touch the client
// that got its slot.
func TestEventsOfAnEarlierClientAreIgnored(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	gen := r.s.slab.at(0).gen
	p.close()
	r.step()
	r.wantEnd(1, fanout.EndClient)
	q := r.join(f.live(2))
	if e := r.s.slab.at(0); e.meta != 2 || e.gen == gen {
		t.Fatalf("slot 0 has meta %d, generation %d as before %d", e.meta, e.gen, gen)
	}
	r.s.poll.events[0] = unix.EpollEvent{Events: unix.EPOLLHUP | unix.EPOLLIN, Fd: 0, Pad: int32(gen)}
	r.s.poll.ready = 1
	r.s.pollSockets()
	r.s.answered(&answer{slot: 0, gen: gen})
	r.s.report()
	r.wantAlive(2)
	f.event(5)
	r.step()
	wantBytes(t, r.all(q), f.all.String())
}

func TestClosingManyIsLinear(t *testing.T) {
	r := newRig(t, Config{})
	s := r.s
	f := r.feed(fanout.LogConfig{})
	l := s.roster(f.log, nil)
	const n = 50_000 // without sockets: what is counted are moves in the member list
	for range n {
		slot, e := s.slab.alloc()
		e.state, e.fd = stLive, -1
		s.enter(slot, e, l)
	}
	s.count.Add(n)
	for slot := range uint32(n) {
		e := s.slab.at(slot)
		if l.members[e.pos] != slot {
			t.Fatalf("slot %d is not where it says", slot)
		}
		s.leave(e)
		s.slab.release(slot)
		s.count.Add(-1)
	}
	if len(s.byLog) != 0 || cap(l.members) > n/4 {
		t.Errorf("%d rosters; the list still has room for %d", len(s.byLog), cap(l.members))
	}
	if s.slab.top != n {
		t.Errorf("top %d", s.slab.top)
	}
	for range n {
		s.slab.alloc()
	}
	if s.slab.top != n {
		t.Errorf("free slots were not used again: top %d", s.slab.top)
	}
	for slot := range uint32(n) {
		s.slab.release(slot)
	}
}

// A log that is published to and closed while a pass runs ends everybody: who was behind
// when the ends began is looked at again after the next pass.
func TestAFeedThatEndsWithinAPassEndsAll(t *testing.T) {
	const members = turnSends + 50
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	var peers []*peer
	for i := range members {
		peers = append(peers, r.join(f.live(uint32(i))))
	}
	f.event(10)
	r.s.turn(r.now)
	if n := r.s.rosters[0].left; n == 0 || !r.s.rosters[0].running {
		t.Fatalf("the pass is over, %d left", n)
	}
	f.event(10)
	f.log.Close("topic-deleted")
	r.step()
	r.pass(2 * time.Second)
	for i, p := range peers {
		wantBytes(t, r.all(p), f.all.String()+"end: topic-deleted\n\n")
		r.wantEnd(uint32(i), "topic-deleted")
	}
}
