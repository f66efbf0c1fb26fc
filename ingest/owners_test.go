package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/ingest/lease"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/outbound"
)

// owner is one of several ingest nodes on the real broker of a rig.
type owner struct {
	name string
	b    *brokertest.Node
	bus  *cutBus
	s    *Supervisor
	reg  *prometheus.Registry
	stop func()
}

// join starts a node.
func (r *rig) join(name, boot string) *owner {
	r.t.Helper()
	o := &owner{name: name, b: r.b.Peer(), reg: prometheus.NewRegistry()}
	o.bus = &cutBus{Bus: o.b.Bus()}
	log := slog.New(slog.NewTextHandler(r.log, nil)).With("node", name)
	m, err := lease.NewMembers(lease.MembersConfig{Node: name, Boot: boot, Capacity: 100, Bus: o.bus, Log: log})
	r.check(err)
	own, err := o.b.Admin().Bucket(r.t.Context(), "own", 1)
	r.check(err)
	o.s, err = New(r.cfg.Ingest, r.cfg.Upstream, Deps{Node: name, Boot: boot, Members: m, Catalog: r.cat, Writer: o.b.Writer(), Bus: o.bus,
		Own: own, Guard: outbound.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Log: log, Metrics: o.reg})
	r.check(err)
	r.s = o.s // for what a failed wait shows
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.check(m.Run(ctx)) })
	running.Go(func() { r.check(o.s.Run(ctx)) })
	o.stop = func() { cancel(); running.Wait() }
	r.t.Cleanup(o.stop)
	return o
}

// meet waits until the nodes plan with each other.
func (r *rig) meet(nodes ...*owner) {
	r.t.Helper()
	r.until("the nodes plan with each other", func() bool {
		for _, o := range nodes {
			if len(o.s.members.Nodes()) != len(nodes) {
				return false
			}
		}
		return true
	})
}

// reads waits until exactly one of the nodes reads /ticks, none of them being not, and returns it.
func (r *rig) reads(not *owner, nodes ...*owner) (found *owner) {
	r.t.Helper()
	r.until("one node owns the feed", func() bool {
		found = nil
		n := 0
		for _, o := range nodes {
			for _, st := range o.s.Feeds() {
				if st.Path == "/ticks" && st.State == broker.StateUp && st.Epoch > 0 {
					found = o
					n++
				}
			}
		}
		return n == 1 && found != not
	})
	return found
}

// TestOwnersOnARealBroker lets two nodes hand over, be cut off, take over and both believe, on the real server: each event of an
// upstream that resumes is stored once and in order, and no owner writes between the commits of the next.
func TestOwnersOnARealBroker(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	sent := 0
	flow := func(n int) {
		for range n {
			sent++
			p.add(fmt.Sprint(sent))
		}
	}
	all := func() {
		t.Helper()
		r.until(fmt.Sprintf("%d events are stored", sent), func() bool { return len(r.texts(feedOf("/ticks"))) >= sent })
		var epochs []uint64
		for i, m := range r.stored(feedOf("/ticks")) {
			epochs = append(epochs, m.Epoch)
			if string(m.Body) != fmt.Sprintf("data: %d\n", i+1) {
				t.Fatalf("event %d is %q\n%s", i+1, m.Body, r.log)
			}
		}
		if !slices.IsSorted(epochs) {
			t.Fatalf("epochs %v", epochs)
		}
	}
	a, b := r.join("a", "1"), r.join("b", "1")
	r.meet(a, b)
	first := r.reads(nil, a, b)
	flow(10)
	all()

	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r.check(first.s.Drain(limit))
	first.stop()
	second := r.reads(nil, a, b)
	if second == first || value(t, first.reg, "sluice_ingest_handovers_total", "given") != 1 {
		t.Fatalf("not handed over\n%s", r.log)
	}
	flow(10)
	all()

	third := r.join("c", "1")
	r.meet(second, third)
	second.b.Cut()
	flow(10)
	if r.reads(second, second, third) != third {
		t.Fatal("nobody took over")
	}
	flow(10)
	all()
	second.b.Heal()
	flow(10)
	r.until("the old owner has given up", func() bool { return value(t, second.reg, "sluice_ingest_feeds_lost_total") == 1 })
	if value(t, second.reg, "sluice_ingest_self_fences_total") != 1 {
		t.Errorf("no fence was counted\n%s", r.log)
	}
	all()

	second.bus.ignore("hb.ing." + third.name)
	third.bus.ignore("hb.ing." + second.name)
	r.until("the feed was lost to each other", func() bool {
		flow(1)
		return value(t, second.reg, "sluice_ingest_feeds_lost_total")+value(t, third.reg, "sluice_ingest_feeds_lost_total") >= 5
	})
	second.bus.ignore("")
	third.bus.ignore("")
	r.reads(nil, second, third)
	flow(10)
	all()
}
