package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// deafBus is a bus that can be cut from the broker one way or the other without an error.
type deafBus struct {
	broker.Bus
	mute, deaf atomic.Bool
}

func (b *deafBus) Publish(subject string, body []byte) error {
	if b.mute.Load() {
		return nil
	}
	return b.Bus.Publish(subject, body)
}

func (b *deafBus) Subscribe(subject string, h func(string, []byte, func([]byte) error)) (func(), error) {
	return b.Bus.Subscribe(subject, func(s string, body []byte, reply func([]byte) error) {
		if !b.deaf.Load() {
			h(s, body, reply)
		}
	})
}

// crowd is nodes that beat over one broker in a bubble.
type crowd struct {
	t *testing.T
	m *brokertest.Memory
}

type one struct {
	*Members
	bus  *deafBus
	node *brokertest.Memory
	stop func() // says goodbye
}

func inCrowd(t *testing.T, test func(*crowd)) {
	synctest.Test(t, func(t *testing.T) { test(&crowd{t, brokertest.NewMemory(t)}) })
}

func (c *crowd) start(name, boot string, change func(*MembersConfig)) *one {
	c.t.Helper()
	o := &one{node: c.m.Peer()}
	o.bus = &deafBus{Bus: o.node.Bus()}
	cfg := MembersConfig{Node: name, Boot: boot, Capacity: 10, Bus: o.bus, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	m, err := NewMembers(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	o.Members = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
		done <- nil
		synctest.Wait()
	}
	c.t.Cleanup(o.stop)
	synctest.Wait()
	return o
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func names(nodes []Node) string {
	var s []string
	for _, n := range nodes {
		s = append(s, n.Name)
	}
	return strings.Join(s, " ")
}

func (c *crowd) sees(o *one, want string) {
	c.t.Helper()
	if got := names(o.Nodes()); got != want {
		c.t.Fatalf("sees %q, want %q", got, want)
	}
}

func TestNodesListenJoinAndDie(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a := c.start("a", "1", nil)
		after(listenTime - time.Millisecond)
		if a.Settled() {
			t.Error("settled before it has listened")
		}
		after(beatEvery + time.Millisecond)
		c.sees(a, "a") // nobody else to wait for
		if !a.Settled() {
			t.Error("not settled")
		}
		b := c.start("b", "1", nil)
		after(listenTime)
		c.sees(a, "a")
		if got := names(a.All()); got != "a b" || !a.Alive("b", "1") || a.Alive("b", "2") {
			t.Errorf("all %q", got)
		}
		after(joinPause + scanEvery + 10*time.Millisecond)
		c.sees(a, "a b")
		c.sees(b, "a b")
		b.bus.mute.Store(true) // dies without a word
		after(deadAfter - beatEvery)
		c.sees(a, "a b")
		after(beatEvery + scanEvery)
		c.sees(a, "a")
		if a.Alive("b", "1") {
			t.Error("the dead live")
		}
	})
}

func TestJoinsAreTakenTogether(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a := c.start("a", "1", nil)
		after(listenTime + beatEvery)
		c.start("b", "1", nil)
		after(300 * time.Millisecond)
		c.start("c", "1", nil)
		for range 100 {
			after(50 * time.Millisecond)
			if got := names(a.Nodes()); got == "a b" || got == "a c" {
				t.Fatalf("%q: two nodes that come together make two plans", got)
			}
		}
		c.sees(a, "a b c")
	})
}

func TestGoodbyeDrainAndANewStart(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a, b := c.start("a", "1", nil), c.start("b", "1", nil)
		after(listenTime + time.Second)
		c.sees(a, "a b")
		b.Tell(7, true)
		synctest.Wait()
		c.sees(a, "a")
		if all := a.All(); len(all) != 2 || !all[1].Draining || all[1].Load != 7 || !a.Alive("b", "1") {
			t.Errorf("%+v: one that drains lives", all)
		}
		b.stop()
		if a.Alive("b", "1") {
			t.Error("one that has said goodbye lives")
		}
		b2 := c.start("b", "2", nil)
		if !a.Alive("b", "2") {
			t.Error("a new start is not seen")
		}
		after(listenTime + time.Second)
		c.sees(a, "a b")
		b2.bus.mute.Store(true)
		c.start("b", "3", nil) // killed and started again at once
		if a.Alive("b", "2") || !a.Alive("b", "3") {
			t.Error("the start before lives on")
		}
		c.sees(a, "a")
	})
}

func TestFence(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a, b := c.start("a", "1", nil), c.start("b", "1", nil)
		after(listenTime + time.Second)
		for i, cut := range []struct {
			name string
			cut  func(*one, bool)
		}{
			{"link", func(o *one, on bool) {
				if on {
					o.node.Cut()
				} else {
					o.node.Heal()
				}
			}},
			{"mute", func(o *one, on bool) { o.bus.mute.Store(on) }},
			{"deaf", func(o *one, on bool) { o.bus.deaf.Store(on) }},
		} {
			cut.cut(a, true)
			after(fenceAfter - beatEvery)
			if a.Standing().Fenced {
				t.Fatalf("%s: fenced too early", cut.name)
			}
			after(beatEvery + scanEvery)
			if s := a.Standing(); !s.Fenced || s.Fences != uint64(i+1) {
				t.Fatalf("%s: standing %+v", cut.name, s)
			}
			if cut.name != "deaf" && !b.Alive("a", "1") {
				t.Fatalf("%s: dead for others before it is fenced", cut.name)
			}
			cut.cut(a, false)
			after(beatEvery)
			if s := a.Standing(); s.Fenced || s.Fences != uint64(i+1) {
				t.Fatalf("%s: standing %+v after it healed", cut.name, s)
			}
			after(5 * time.Second)
			c.sees(a, "a b")
		}
		if s := b.Standing(); s.Fences != 0 {
			t.Errorf("the other one: %+v", s)
		}
	})
}

// A node without peers goes on without the broker: a restart of it costs nothing.
func TestNoPeerNoFence(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a := c.start("a", "1", nil)
		after(listenTime + time.Second)
		a.node.Cut()
		after(time.Minute)
		if s := a.Standing(); s.Fences != 0 || !a.Settled() {
			t.Errorf("standing %+v", s)
		}
		a.node.Heal()
		after(time.Second)
		b := c.start("b", "1", nil)
		after(listenTime + time.Second)
		b.stop()
		after(peerTime + time.Second)
		a.node.Cut()
		after(time.Minute)
		if s := a.Standing(); s.Fences != 0 {
			t.Errorf("standing %+v, the last peer was seen a minute ago", s)
		}
	})
}

// What comes late proves nothing: an own beat counts from when it was sent. So a process that was stopped finds out before any
// of its timers has fired, and before it reads what had come meanwhile.
func TestOldBeatsDoNotLiftTheFence(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a := c.start("a", "1", nil)
		c.start("b", "1", nil)
		after(listenTime + time.Second)
		a.bus.mute.Store(true) // its beats are under way for long
		a.mu.Lock()
		last := broker.Beat{V: 1, Node: "a", Boot: "1", N: a.n, Capacity: 10}
		a.mu.Unlock()
		after(fenceAfter)
		body, err := json.Marshal(last)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := c.m.Bus().Publish(broker.BeatSubject("a"), body); err != nil {
				t.Fatal(err)
			}
			after(beatEvery)
		}
		if s := a.Standing(); !s.Fenced || s.Fences != 1 {
			t.Errorf("standing %+v", s)
		}
	})
}

func TestObserverOnlyListens(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		o := c.start("edge", "1", func(cfg *MembersConfig) { cfg.Observe, cfg.Capacity = true, 0 })
		a := c.start("a", "1", nil)
		after(listenTime + time.Second)
		c.sees(o, "a")
		c.sees(a, "a")
		if o.Settled() || o.Standing().Fences != 0 {
			t.Error("an observer has a say")
		}
		a.bus.mute.Store(true)
		after(deadAfter + scanEvery)
		c.sees(o, "")
	})
}

func TestBeatsAreBounded(t *testing.T) {
	inCrowd(t, func(c *crowd) {
		a := c.start("a", "1", nil)
		for i := range maxNodes + 10 {
			body, err := json.Marshal(broker.Beat{V: 1, Node: fmt.Sprint("x", i), Boot: "1", Capacity: 1})
			if err != nil {
				t.Fatal(err)
			}
			a.hear(body)
		}
		for _, bad := range []string{"", "{", `{"v":2,"node":"y","boot":"1"}`, `{"v":1,"boot":"1"}`, `{"v":1,"node":"y"}`,
			`{"v":1,"node":"y","boot":"1","capacity":-1}`, `{"v":1,"node":"y","boot":"1","x":"` + strings.Repeat("x", maxBeat) + `"}`} {
			a.hear([]byte(bad))
		}
		if n := len(a.All()); n != maxNodes {
			t.Errorf("%d nodes are known", n)
		}
	})
}
