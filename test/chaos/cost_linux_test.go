package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/topology"
)

// benchAPI is what the bench reads; {market} is the bench itself.
const benchAPI = `apiVersion: sluice/v1
kind: API
metadata: {name: bench}
spec:
  context: /bench
  version: 1.0.0
  endpoint: http://{market}
  state: PUBLISHED
  topics: [{name: '/t/{n}', params: {n: '^[0-9]{1,4}$'}, backend: '/t/{n}', security: none}]
`

// work is what the NATS servers have done: messages sent, CPU used, events stored.
type work struct{ out, micros, events float64 }

// perEvent is the work between two moments by the events of that time.
func (w work) perEvent(before work) (out, micros float64) {
	n := w.events - before.events
	return (w.out - before.out) / n, (w.micros - before.micros) / n
}

// TestCost measures an edge of a cluster with one client and with many: what the edge spends for each delivery, beside a loop of
// raw sends, and that what the NATS servers do for an event does not grow with the clients. The edge has a CPU and a shard to
// itself, as has the loop in its turn; all others share the rest. CHAOS_CLIENTS=8000 CHAOS_REPEAT=3
// CHAOS_SECONDS=20 is the run of the acceptance, whose goal is 1.15 times the raw loop; on a busy machine such figures say little, so only the
// servers' messages are judged here.
func TestCost(t *testing.T) {
	clients, repeat := number(t, "CHAOS_CLIENTS", 200), number(t, "CHAOS_REPEAT", 1)
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("taskset is not installed (apt-get install util-linux)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := ln.Addr().String()
	ln.Close() // the bench listens there, run after run
	opt := programs
	opt.Dir, opt.Market, opt.Edges = t.TempDir(), origin, 1
	opt.APIs, opt.Env = map[string]string{"bench.yaml": benchAPI}, append(slices.Clip(settings), "SLUICE_FANOUT_SHARDS=1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	topo, err := topology.New(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { topo.Down(20 * time.Second) })
	if err := topo.Up(ctx, nil); err != nil {
		t.Fatal(err)
	}
	edge := topo.Of(topology.Edge)[0]
	cpu := runtime.NumCPU() - 1
	for _, p := range topo.All() {
		if p == edge {
			pin(ctx, t, p, strconv.Itoa(cpu))
		} else {
			pin(ctx, t, p, others(cpu))
		}
	}
	var out, micros [2]float64
	for i, n := range []int{1, clients} {
		before := servers(ctx, t, topo)
		bench(ctx, t, topo, origin, n)
		out[i], micros[i] = servers(ctx, t, topo).perEvent(before)
		t.Logf("%d clients: the NATS servers send %.1f messages and use %.0f µs per event", n, out[i], micros[i])
	}
	if out[1] > 1.2*out[0] {
		t.Errorf("the servers send %.2f messages per event for %d clients, %.2f for one", out[1], clients, out[0])
	}
	report := bench(ctx, t, topo, origin, clients, "--baseline", "raw", "--pin", strconv.Itoa(cpu), "--repeat", strconv.Itoa(repeat))
	for _, s := range report.Comparison.Series {
		t.Logf("%s: %.2f µs per delivery, p99 %.1f ms", s.Name, s.Server, s.P99)
	}
	for _, r := range report.Comparison.Ratios {
		t.Logf("%s against %s: %.2f (%.2f to %.2f in %d rounds)", r.What, r.Against, r.Median, r.Min, r.Max, r.Rounds)
	}
}

// others is all CPUs but one, as taskset has it; that one if there is no other.
func others(cpu int) string {
	if cpu == 0 {
		return "0"
	}
	return fmt.Sprintf("0-%d", cpu-1)
}

// pin keeps all threads of a process on some CPUs.
func pin(ctx context.Context, t *testing.T, p *topology.Process, cpus string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, "taskset", "-apc", cpus, strconv.Itoa(p.PID())).CombinedOutput(); err != nil {
		t.Fatalf("pin %s: %v: %s", p.Name, err, out)
	}
}

// benched is what the bench says, as far as it is looked at.
type benched struct {
	Comparison struct {
		Series []struct {
			Name   string
			Server float64 `json:"server_us_per_delivery"`
			P99    float64 `json:"p99_ms"`
		}
		Ratios []struct {
			Against, What    string
			Median, Min, Max float64
			Rounds           int
		}
	}
}

// bench runs the bench against the edge; it fails the test if an event was lost or doubled.
func bench(ctx context.Context, t *testing.T, topo *topology.Topology, origin string, clients int, more ...string) (b benched) {
	t.Helper()
	edge := topo.Of(topology.Edge)[0]
	args := append([]string{
		"-c", others(runtime.NumCPU() - 1), programs.Sluice, "bench", "http://" + edge.Addr + "/bench/1.0.0/t/0", "--origin", origin, "--clients", strconv.Itoa(clients), "--rate", "5",
		"--duration", fmt.Sprintf("%ds", number(t, "CHAOS_SECONDS", 8)), "--pids", strconv.Itoa(edge.PID()), "--json", "--plain",
	}, more...)
	out, err := exec.CommandContext(ctx, "taskset", args...).Output()
	if err == nil {
		err = json.Unmarshal(out, &b)
	}
	if err != nil {
		t.Fatalf("%v: %v: %.2000s", args, err, out)
	}
	return b
}

// servers asks the NATS servers what they have done.
func servers(ctx context.Context, t *testing.T, topo *topology.Topology) (sum work) {
	t.Helper()
	const tick = 10_000 // µs, of the kernel's accounts
	for _, p := range topo.Of(topology.Broker) {
		var v struct {
			Out float64 `json:"out_msgs"`
		}
		var z jsz
		if err := errors.Join(getJSON(ctx, "http://"+p.Ops+"/varz", &v), getJSON(ctx, "http://"+p.Ops+"/jsz?accounts=true&streams=true", &z)); err != nil {
			t.Fatal(err)
		}
		sum.out += v.Out
		for _, a := range z.Accounts {
			for _, s := range a.Streams {
				if strings.HasPrefix(s.Name, "EV_bench") && s.Cluster.Leader == p.Name {
					sum.events += float64(s.State.LastSeq)
				}
			}
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
		for _, f := range fields[11:13] {
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatalf("%s: %v", stat, err)
			}
			sum.micros += n * tick
		}
	}
	return sum
}
