//go:build linux

package shard

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"sluice/fanout"
)

const word = "event: gateway.test\ndata: x\n\n"

// say has the shard tell every client.
func (r *rig) say(text string) {
	r.t.Helper()
	r.s.in.put(message{cut: &cut{what: func(uint32) []byte { return []byte(text) }}})
	r.step()
}

// Who stands in an event is told behind it; who takes nothing for ten seconds is not told any more.
func TestTellWaitsForTheEndOfAnEvent(t *testing.T) {
	for _, framing := range []fanout.Framing{fanout.Identity, fanout.Chunked} {
		r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, Lag: 1 << 30, SoftLag: 1 << 30}})
		f := r.feed(fanout.LogConfig{})
		sub := f.live(1)
		sub.Framing = framing
		p := r.join(sub)
		f.event(40_000)
		r.step()
		r.say(word)
		if len(r.s.notes) != 1 {
			t.Fatalf("%d notes, want one for the client whose socket is full", len(r.s.notes))
		}
		event := r.all(p)
		if event != f.all.String() {
			t.Fatalf("%d bytes of an event of %d", len(event), f.all.Len())
		}
		r.pass(tickLen)
		want := string(appendFramed(nil, []byte(word), r.s.slab.at(0).flags))
		wantBytes(t, r.all(p)[len(event):], want)
		if len(r.s.notes) != 0 {
			t.Error("the note is kept")
		}
		f.event(10)
		r.step()
		if got := r.all(p)[len(event)+len(want):]; !strings.HasPrefix(got, "data: 2 ") {
			t.Errorf("then %q", got)
		}

		f.event(40_000)
		r.step()
		r.say(word)
		r.pass(noteTicks * tickLen)
		if len(r.s.notes) != 0 {
			t.Error("the note is kept after ten seconds")
		}
		r.wantAlive(1)
		if got := r.all(p); strings.Count(got, word) != 1 {
			t.Error("told after all")
		}
	}
}

// What is told while something told before waits comes behind it, also when the client stands between
// two events by then; and what waits is bounded.
func TestTellKeepsTheOrder(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, Lag: 1 << 30, SoftLag: 1 << 30}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	f.event(40_000)
	r.step()
	words := ""
	say := func(n int) {
		word := fmt.Sprintf("event: gateway.test\ndata: %d\n\n", n)
		words += word
		r.say(word)
	}
	say(1)
	event := r.all(p) // it stands between events from here on
	say(2)
	say(3)
	r.pass(tickLen)
	say(4)
	r.pass(tickLen)
	if got := r.all(p)[len(event):]; got != words {
		t.Errorf("told %q, want %q", got, words)
	}
	if len(r.s.notes) != 0 || r.s.slab.at(0).flags&flagNoted != 0 {
		t.Error("something waits still")
	}

	f.event(40_000)
	r.step()
	for range 3 * notesPerClient {
		r.say(word)
	}
	if len(r.s.notes) != notesPerClient {
		t.Errorf("%d notes wait, want %d", len(r.s.notes), notesPerClient)
	}
}

// A word that the socket takes a part of is finished before anything else.
func TestTellInParts(t *testing.T) {
	r := newRig(t, Config{Slow: fanout.Slow{Stall: time.Hour, Lag: 1 << 30, SoftLag: 1 << 30}})
	f := r.feed(fanout.LogConfig{})
	p := r.join(f.live(1))
	long := "event: gateway.test\ndata: " + strings.Repeat("y", 60_000) + "\n\n"
	r.say(long)
	f.event(10)
	r.say(word)
	r.step()
	got := r.all(p)
	r.pass(tickLen)
	wantBytes(t, r.all(p), long+f.all.String()+word)
	if !strings.HasPrefix(long, got[:100]) {
		t.Errorf("began with %q", got[:100])
	}
	p.close()
	r.step()
	if e := r.wantEnd(1, fanout.EndClient); e.Events != 1 || e.Bytes != uint64(len(long)+f.all.Len()+len(word)) {
		t.Errorf("end %+v", e)
	}
}

// A connection that must not get what the kernel holds is reset and told nothing.
func TestHardEnd(t *testing.T) {
	r := newRig(t, Config{})
	f := r.feed(fanout.LogConfig{})
	c := r.joinTCP(listen(t), f.live(1))
	f.event(100)
	r.step()
	r.s.tell(0, r.s.slab.at(0), fanout.EndRevokedHard)
	r.step()
	r.wantEnd(1, fanout.EndRevokedHard)
	if rest, err := io.ReadAll(c); err == nil || strings.Contains(string(rest), "end:") {
		t.Errorf("%q, %v, want a reset and no word", rest, err)
	}
}
