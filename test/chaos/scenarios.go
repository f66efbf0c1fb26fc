//go:build unix

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"sluice/internal/broker"
	"sluice/test/feed"
	"sluice/test/oracle/reader"
	"sluice/test/topology"
)

// scenario is a fault and what is promised of it. Common to all: nothing lost, doubled or reordered, every gap real.
type scenario struct {
	name   string
	row    string // of the promise table
	market feed.Options
	env    []string // settings of the gateways
	// unsure: the upstream cannot resume, so that what it says while nobody listens is lost, and told.
	unsure bool
	// overlap is how long one feed may have two upstream connections. Default 3.5 s.
	overlap time.Duration
	n       int // how often; default 3
	smoke   bool
	// told: what is stored is lost, so every client must be told of each fault.
	told bool
	// reused: the store goes back to an older state and uses sequences again, for other events.
	reused bool
	do     func(r *run, i int)
	// brokerHost is Options.BrokerHost of the topology.
	brokerHost map[string]string
	// catalog keeps the definitions in the broker.
	catalog bool
	// after looks at more than what clients got.
	after func(r *run)
}

func (sc *scenario) times() int { return max(sc.n, 3) }

// scenarios returns all of them.
func scenarios() []*scenario {
	return []*scenario{
		{name: "client-cut", row: "A1 A2", smoke: true, n: 6, do: func(r *run, _ int) {
			r.fault("half of the clients hang up and choose an edge")
			for _, c := range r.clients {
				if r.rng.IntN(2) == 0 {
					c.Cut()
				}
			}
		}},
		{name: "client-reset", row: "A1", n: 6, do: func(r *run, _ int) {
			e := r.pick(topology.Edge)
			r.fault("connections of clients at " + e.Name + " are reset")
			r.reset(e.Addr)
		}},
		{name: "edge-kill", row: "A10", smoke: true, do: func(r *run, _ int) {
			e := r.pick(topology.Edge)
			r.kill(e)
			r.pause(time.Second)
			r.start(e)
		}},
		{name: "edge-freeze", row: "A11", do: func(r *run, _ int) { r.freeze(r.pick(topology.Edge), 5*time.Second) }},
		{name: "edge-roll", row: "A12", smoke: true, do: func(r *run, i int) {
			e := r.topo.Of(topology.Edge)[i%3]
			r.fault("roll " + e.Name)
			e.End(syscall.SIGTERM, patience)
			r.start(e)
		}},
		{name: "edges-all-kill", row: "A10", do: func(r *run, _ int) {
			r.fault("kill -9 all edges")
			for _, e := range r.topo.Of(topology.Edge) {
				e.Kill()
			}
			for _, e := range r.topo.Of(topology.Edge) {
				r.start(e)
			}
		}},
		{name: "ingest-kill", row: "A16", smoke: true, do: func(r *run, i int) {
			p := r.topo.Of(topology.Ingest)[i%2]
			r.kill(p)
			r.flow()
			r.start(p)
		}},
		{name: "ingest-kill-ignoring-upstream", row: "A16 A32", unsure: true, market: feed.Options{Resume: feed.ResumeIgnore}, do: func(r *run, i int) {
			p := r.topo.Of(topology.Ingest)[i%2]
			r.kill(p)
			r.flow()
			r.start(p)
		}},
		{name: "ingest-kill-no-ids", row: "A16 A31", unsure: true, market: feed.Options{IDs: feed.IDNone}, do: func(r *run, i int) {
			p := r.topo.Of(topology.Ingest)[i%2]
			r.kill(p)
			r.flow()
			r.start(p)
		}},
		{name: "ingest-freeze", row: "A17", smoke: true, n: 4, overlap: 20 * time.Second, do: func(r *run, i int) {
			r.freeze(r.topo.Of(topology.Ingest)[i%2], 10*time.Second)
		}, after: func(r *run) {
			n := r.metric(topology.Ingest, "sluice_ingest_self_fences_total") + r.metric(topology.Ingest, "sluice_ingest_feeds_lost_total") +
				r.metric(topology.Ingest, "sluice_ingest_fenced_total")
			if n == 0 {
				r.t.Error("no node that slept was fenced, by itself or by a commit that was refused")
			}
		}},
		{name: "ingest-roll", row: "A12 A16", n: 4, do: func(r *run, i int) {
			p := r.topo.Of(topology.Ingest)[i%2]
			r.fault("roll " + p.Name)
			p.End(syscall.SIGTERM, patience)
			r.gone(p)
			r.start(p)
		}},
		{name: "ingest-all-kill", row: "A16", do: func(r *run, _ int) {
			for _, p := range r.topo.Of(topology.Ingest) {
				r.kill(p)
			}
			r.pause(time.Second)
			for _, p := range r.topo.Of(topology.Ingest) {
				r.start(p)
			}
		}},
		{name: "broker-kill-leader", row: "A24", smoke: true, do: func(r *run, _ int) {
			p := r.leader()
			r.kill(p)
			r.flow()
			r.start(p)
		}},
		{name: "broker-kill-any", row: "A24", n: 4, do: func(r *run, _ int) {
			p := r.pick(topology.Broker)
			r.kill(p)
			r.pause(2 * time.Second)
			r.start(p)
		}},
		{name: "broker-roll", row: "A24", do: func(r *run, i int) {
			p := r.topo.Of(topology.Broker)[i%3]
			r.fault("roll " + p.Name)
			p.End(syscall.SIGTERM, patience)
			r.start(p)
		}},
		{name: "broker-freeze", row: "A24", do: func(r *run, _ int) { r.freeze(r.leader(), 8*time.Second) }},
		{name: "broker-no-quorum", row: "A25", do: func(r *run, i int) {
			down := []*topology.Process{r.topo.Of(topology.Broker)[i%3], r.topo.Of(topology.Broker)[(i+1)%3]}
			for _, p := range down {
				r.kill(p)
			}
			r.pause(8 * time.Second)
			for _, p := range down {
				r.start(p)
			}
		}},
		{name: "broker-all-kill", row: "A20", do: func(r *run, _ int) {
			r.fault("kill -9 all NATS servers")
			for _, p := range r.topo.Of(topology.Broker) {
				p.Kill()
			}
			for _, p := range r.topo.Of(topology.Broker) {
				if err := r.topo.Start(p); err != nil {
					r.t.Fatal(err)
				}
			}
		}},
		{name: "store-gone", row: "A5 A23", told: true, do: func(r *run, _ int) {
			late := r.seen()
			r.fault("the store is lost")
			r.withoutBrokers(func(dir string) error { return os.RemoveAll(dir) })
			r.flow()
			r.resume(late)
		}},
		{name: "store-restored", row: "A5 A23", told: true, reused: true, do: func(r *run, _ int) {
			r.withoutBrokers(func(dir string) error { return os.CopyFS(dir+".saved", os.DirFS(dir)) })
			r.flow()
			r.pause(r.load.quiet)
			late := r.seen()
			r.fault("an old copy of the store is put back")
			r.withoutBrokers(func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Rename(dir+".saved", dir)) })
			r.flow()
			r.resume(late)
		}},
		{name: "stream-deleted", row: "A5 A23", smoke: true, unsure: true, do: func(r *run, _ int) {
			late := r.seen()
			r.pause(r.load.quiet)
			r.fault("somebody deletes the market's stream")
			r.deleteStream("market", "1.0.0")
			r.flow()
			r.resume(late)
		}},
		{name: "broker-links-reset", row: "A26", n: 6, do: func(r *run, _ int) {
			p := r.pick(topology.Broker)
			r.fault("connections of gateways at " + p.Name + " are reset")
			r.reset(p.Addr)
		}},
		{name: "upstream-cut", row: "A29", smoke: true, n: 6, do: func(r *run, i int) {
			r.inject([]string{"fin:3", "rst:id", "fin:line", "eof:40", "accept-close", "status:503"}[i%6])
		}},
		{name: "upstream-garbage", row: "A33", n: 6, do: func(r *run, i int) {
			r.inject([]string{"html", "gzip", "not-http", "bad-chunk", "redirect-loop", "headers:1MiB"}[i%6])
		}},
		{name: "upstream-silent", row: "A30", env: []string{"SLUICE_UPSTREAM_IDLE=5s"}, do: func(r *run, _ int) { r.inject("stall:0s") }},
		{name: "upstream-burst", row: "A3", n: 4, do: func(r *run, _ int) { r.inject("burst:2000") }},
		{name: "balancer-kill", row: "A10", do: func(r *run, _ int) {
			p := r.pick(topology.Balancer)
			r.kill(p)
			r.pause(time.Second)
			r.start(p)
		}},
		{name: "control-and-redis-kill", row: "A34", do: func(r *run, i int) {
			p := r.pick([]topology.Kind{topology.Control, topology.Redis}[i%2])
			r.kill(p)
			r.pause(2 * time.Second)
			r.start(p)
		}},
		{name: "any-kill", row: "A10 A16 A24", n: 11, do: func(r *run, i int) {
			p := r.topo.All()[i%len(r.topo.All())]
			r.kill(p)
			r.pause(time.Second)
			r.start(p)
		}},
		{name: "demand-flaps", row: "A45", n: 4, do: func(r *run, _ int) {
			r.fault("all clients hang up at once")
			for _, c := range r.clients {
				c.Cut()
			}
		}},
		{name: "mixed", row: "A38", n: 12, overlap: 20 * time.Second, do: func(r *run, _ int) {
			others := []string{"client-cut", "client-reset", "edge-kill", "edge-freeze", "ingest-kill", "broker-kill-any", "broker-links-reset",
				"upstream-cut", "balancer-kill"}
			named(others[r.rng.IntN(len(others))]).do(r, r.rng.IntN(1000))
		}},
	}
}

// withoutBrokers changes the folder of each NATS server while none of them runs.
func (r *run) withoutBrokers(change func(dir string) error) {
	r.t.Helper()
	all := r.topo.Of(topology.Broker)
	for _, p := range all {
		p.Kill()
	}
	for _, p := range all {
		if err := change(r.topo.Folder(p)); err != nil {
			r.t.Fatal(err)
		}
		if err := r.topo.Start(p); err != nil {
			r.t.Fatal(err)
		}
	}
}

// place is how far a client was.
type place struct {
	feed, id string
	n        uint64
}

// seen is how far some client of each feed is.
func (r *run) seen() (at []place) {
	for _, c := range r.clients[:len(feeds)] {
		s := c.State()
		at = append(at, place{c.Feed(), s.ID, s.N})
	}
	return at
}

// resume lets new clients go on from where others were, and waits until they are served.
func (r *run) resume(from []place) {
	r.t.Helper()
	for _, p := range from {
		r.late = append(r.late, r.readWith(reader.Options{
			Name: fmt.Sprintf("late%d", len(r.late)), URL: "http://any.edge/market/1.0.0" + p.feed, Feed: p.feed, HTTP: r.edges.client(),
			LastID: p.id, From: p.n + 1,
		}))
	}
	r.flow()
}

// deleteStream removes an API's stream as an operator with the rights of control can.
func (r *run) deleteStream(name, version string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	cfg := broker.Config{Name: "chaos", Inbox: "_INBOX_ctl", Login: broker.Login{File: r.topo.Key(topology.Control)}}
	for _, p := range r.topo.Of(topology.Broker) {
		cfg.URLs = append(cfg.URLs, "nats://"+p.Addr)
	}
	node, err := broker.Open(ctx, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer node.Close(ctx)
	answer, err := node.Bus().Request(ctx, "$JS.API.STREAM.DELETE.EV_"+broker.APIToken(name, version), nil)
	if err != nil || !bytes.Contains(answer, []byte(`"success":true`)) {
		r.t.Fatalf("delete the stream: %v: %s", err, answer)
	}
}

func named(name string) *scenario {
	for _, sc := range scenarios() {
		if sc.name == name {
			return sc
		}
	}
	return nil
}

// reset resets all TCP connections that were accepted at an address.
func (r *run) reset(addr string) {
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	if out, err := exec.Command("ss", "-K", "state", "established", "sport", "=", ":"+port).CombinedOutput(); err != nil {
		r.t.Fatalf("ss -K: %v: %s", err, out)
	}
}

// inject makes the market do something wrong, and waits until it is asked again.
func (r *run) inject(what string) {
	f, err := feed.ParseFault(what)
	if err != nil {
		r.t.Fatal(err)
	}
	f.Feed = feeds[0]
	opens := r.market.Stats(f.Feed).Opens
	r.fault("upstream: " + what)
	r.market.Inject(f)
	if f.Kind == feed.Burst {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if err := r.market.Wait(ctx, f.Feed, func(s feed.Stats) bool { return s.Opens > opens }); err != nil {
		r.t.Fatalf("nobody connects again after %s: %v", what, err)
	}
}

// jsz is what a NATS server says of its streams.
type jsz struct {
	Accounts []struct {
		Streams []struct {
			Name    string
			Cluster struct{ Leader string }
			State   struct {
				LastSeq uint64 `json:"last_seq"`
			}
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// leader is the NATS server that leads the market's stream.
func (r *run) leader() *topology.Process {
	for _, p := range r.topo.Of(topology.Broker) {
		var z jsz
		if err := getJSON(r.ctx, "http://"+p.Ops+"/jsz?accounts=true&streams=true", &z); err != nil {
			continue // it may be down
		}
		for _, a := range z.Accounts {
			for _, s := range a.Streams {
				if l := r.topo.Named(s.Cluster.Leader); strings.HasPrefix(s.Name, "EV_market") && l != nil && l.Running() {
					return l
				}
			}
		}
	}
	r.t.Fatal("nobody leads the market's stream")
	return nil
}
