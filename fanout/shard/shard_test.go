//go:build linux

package shard

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/fanout"
)

func TestAnEventReachesEveryMember(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	var peers []*peer
	for i := range 600 { // more than a quantum
		peers = append(peers, r.join(f.live(uint32(i))))
	}
	f.event(100)
	f.append(50)
	f.append(60)
	f.log.Publish()
	r.step()
	for _, p := range peers {
		wantBytes(t, r.all(p), f.all.String())
	}
	if r.s.stats.sends != 600 && r.s.stats.sends != 0 { // 0: the tick copied them
		t.Errorf("%d sends for 600 clients with three events waiting", r.s.stats.sends)
	}
}

func TestHeadGapAndFirstEventsGoInOneSend(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	start := f.log.View().Head()
	f.event(100)
	f.event(100)
	sub := f.live(1)
	sub.Start = fanout.Start{Cursor: start, Gap: []byte("gap\n\n")}
	sub.Head = []byte("HTTP/1.1 200 OK\r\n\r\n")
	p := r.join(sub)
	wantBytes(t, r.all(p), "HTTP/1.1 200 OK\r\n\r\ngap\n\n"+f.all.String())
	if r.s.stats.sends != 1 {
		t.Errorf("%d sends, want 1", r.s.stats.sends)
	}
	if len(r.s.side) != 0 {
		t.Error("the head is still held")
	}
}

func TestAFullSocketIsGoneOnWithWhenItTakesMore(t *testing.T) {
	for _, policy := range []fanout.Policy{fanout.Drop, fanout.Backlog, fanout.Latest} {
		r := newRig(t, Config{})
		f := r.feed(fanout.LogConfig{})
		sub := f.live(1)
		sub.Slow.Policy = policy
		p := r.join(sub)
		for range 200 {
			f.event(777)
			r.step()
		}
		if e := r.s.slab.at(0); e.state != stBlocked || e.flags&flagOut == 0 {
			t.Fatalf("policy %d: state %d flags %b, want blocked and armed", policy, e.state, e.flags)
		}
		for range 500 {
			p.read(333)
			r.step()
		}
		wantBytes(t, r.all(p), f.all.String())
		e := r.s.slab.at(0)
		if e.state != stLive || e.flags&(flagOut|flagExtra) != 0 {
			t.Errorf("policy %d: state %d flags %b, want live, not armed, no extra", policy, e.state, e.flags)
		}
		p.close()
		r.step()
		end := r.wantEnd(1, fanout.EndClient)
		if end.Events != 200 || end.Last.Seq != 200 || end.Bytes != uint64(f.all.Len()) {
			t.Errorf("policy %d: end %+v, want 200 events and %d bytes", policy, end, f.all.Len())
		}
	}
}

// A member swapped into the visited part of a running pass must not sleep there.
func TestRemovalInMidPassLosesNobody(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	var peers []*peer
	for i := range 10 {
		peers = append(peers, r.join(f.live(uint32(i))))
	}
	l := r.s.rosters[0]
	f.event(10)
	r.s.beginPass(l)
	gone := l.members[l.visit+1]
	sends, visits := 3, 100
	r.s.pass(l, &sends, &visits)
	r.s.drop(gone, r.s.slab.at(gone), fanout.EndClient, false) // visited; the last one, not visited, takes its place
	sends, visits = 100, 100
	r.s.pass(l, &sends, &visits)
	r.s.endPass(l)
	r.s.catchUp()
	for i, p := range peers {
		p.read(1 << 20)
		if want := f.all.String(); uint32(i) != gone && p.got.String() != want {
			t.Errorf("client %d got %q, want %q", i, p.got.String(), want)
		}
	}
	r.s.readInbox()
}

func TestWhoJoinsInMidPassIsNotMissedAndMakesNobodyMissed(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	var peers []*peer
	for i := range 10 {
		peers = append(peers, r.join(f.live(uint32(i))))
	}
	l := r.s.rosters[0]
	old := f.live(10)
	f.event(10)
	r.s.beginPass(l)
	sends, visits := 3, 100
	r.s.pass(l, &sends, &visits)
	peers = append(peers, r.offer(old))
	r.s.readInbox()
	r.s.joinSome()
	sends, visits = 100, 100
	r.s.pass(l, &sends, &visits)
	r.s.endPass(l)
	for i, p := range peers {
		p.read(1 << 20)
		if p.got.String() != f.all.String() {
			t.Errorf("client %d got %q", i, p.got.String())
		}
	}
}

func TestAPublishDuringAPassIsFollowedByAnother(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	q := r.join(f.live(2))
	l := r.s.rosters[0]
	f.event(10)
	r.s.readInbox()
	r.s.dirty.pop()
	l.queued = false
	r.s.beginPass(l)
	sends, visits := 1, 1
	r.s.pass(l, &sends, &visits)
	f.event(20) // the visited one does not see it in this pass
	r.s.readInbox()
	sends, visits = 10, 10
	r.s.pass(l, &sends, &visits)
	r.s.endPass(l)
	r.step()
	wantBytes(t, r.all(p), f.all.String())
	wantBytes(t, r.all(q), f.all.String())
}

func TestPassesBeginAtAnotherMemberEachTime(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	for i := range 80 {
		r.join(f.live(uint32(i)))
	}
	last := map[uint32]int{}
	for range 64 {
		f.event(1)
		l := r.s.rosters[0]
		r.step()
		last[l.members[(l.visit+len(l.members)-1)%len(l.members)]]++
	}
	for slot, n := range last {
		if n > 16 {
			t.Errorf("member %d was last in %d of 64 passes", slot, n)
		}
	}
}

func TestALargeLeadIsSentInTurns(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	sub := f.live(1)
	for range 300 {
		f.event(1000)
	}
	ours, p := newPeer(t, 1)
	if err := unix.SetsockoptInt(int(ours), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
		t.Fatal(err)
	}
	r.s.count.Add(1)
	r.s.in.put(message{join: &joining{fd: ours, sub: sub}})
	r.s.turn(r.now)
	if n := p.read(1 << 20); n == 0 || n > turnBytes {
		t.Errorf("%d bytes in one turn, want at most %d", n, turnBytes)
	}
	wantBytes(t, r.all(p), f.all.String())
}

func TestHeartbeatsComeInSilenceOnly(t *testing.T) {
	for _, framing := range []fanout.Framing{fanout.Identity, fanout.Chunked} {
		r := newRig(t, Config{Heartbeat: 15 * time.Second})
		f := r.feed(fanout.LogConfig{})
		sub := f.live(1)
		beat := ":\n"
		if framing == fanout.Chunked {
			sub.Log, sub.Framing, beat = f.log.Chunked(), fanout.Chunked, "2\r\n:\n\r\n"
		}
		p := r.join(sub)
		other := sub
		other.Meta, other.Heartbeat = 2, 5*time.Second
		q := r.join(other)
		r.pass(14900 * time.Millisecond)
		wantBytes(t, r.all(p), "")
		r.pass(200 * time.Millisecond)
		wantBytes(t, r.all(p), beat)
		r.pass(14 * time.Second)
		f.event(3)
		r.pass(14 * time.Second)
		if n := strings.Count(r.all(p), beat); n != 1 {
			t.Errorf("framing %d: %d heartbeats, want 1: the event broke the silence", framing, n)
		}
		if n := strings.Count(r.all(q), beat); n != 7 {
			t.Errorf("framing %d: %d heartbeats of a client with its own interval, want 7", framing, n)
		}
	}
}

// A client that stands within an entry gets no heartbeat until the entry is whole.
func TestNoHeartbeatWithinAnEntry(t *testing.T) {
	r := newRig(t, Config{Heartbeat: time.Second})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	e := r.s.slab.at(0)
	e.state = stWaiting // as one that waits for what goes on there
	event := f.event(100)
	r.step()
	if n, errno := send(e.fd, []byte(event[:40])); n != 40 || errno != 0 {
		t.Fatal(n, errno)
	}
	e.cursor += 40
	r.pass(3 * time.Second)
	wantBytes(t, r.all(p), event[:40])
	r.s.advance(0, e)
	r.pass(1500 * time.Millisecond)
	wantBytes(t, r.all(p), event+":\n")
}

// What came after the last turn and before the shard said that it parks wakes nobody:
// the shard must look once more.
func TestAShardLooksOnceMoreBeforeItParks(t *testing.T) {
	r := newRig(t, Config{}) // its alarm is far in the future
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	for range 100 {
		f.event(10)
		if err := r.s.park(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.step()
	}
	wantBytes(t, r.all(p), f.all.String())
	p.close() // and so must it see sockets that became ready
	if err := r.s.park(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.step()
	r.wantEnd(1, fanout.EndClient)
}

// The sweep of a large slab is spread over ticks, and still reaches everybody.
func TestASweepReachesEverySlot(t *testing.T) {
	r := newRig(t, Config{Heartbeat: time.Second})
	s := r.s
	for range sweepFloor*3 + 7 {
		slot, e := s.slab.alloc()
		e.state, e.fd = stClosing, int32(slot)
	}
	seen := 0
	s.planSweep(1)
	for n := 0; s.sweepLeft > 0; n++ {
		before := s.sweepLeft
		s.sweep()
		if before-s.sweepLeft > turnSweep {
			t.Fatalf("one turn looked at %d slots", before-s.sweepLeft)
		}
		seen += int(before - s.sweepLeft)
	}
	if seen != sweepFloor {
		t.Errorf("a tick looked at %d slots, want %d", seen, sweepFloor)
	}
	s.planSweep(1000)
	if s.sweepLeft != s.slab.top {
		t.Errorf("after a long pause %d slots are planned, want all %d once", s.sweepLeft, s.slab.top)
	}
	for slot := range s.slab.top { // nothing here is real
		s.slab.release(slot)
	}
}

func TestAnEventTooLargeForOneTurnCarriesNoHeartbeatInside(t *testing.T) {
	r := newRig(t, Config{Heartbeat: time.Second, Slow: fanout.Slow{Stall: time.Hour, SoftTime: time.Hour}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	f.event(300 << 10)
	r.pass(5 * time.Second)
	p.read(5000)
	r.pass(5 * time.Second)
	got := r.all(p)
	wantBytes(t, got, f.all.String())
}
