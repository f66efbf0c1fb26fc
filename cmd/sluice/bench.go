package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sluice/test/load"
)

// benchFlags is the command line of bench, beside what goes into the cell as it is.
type benchFlags struct {
	cell load.Cell

	headers        []string
	publish        string
	body           string
	publishHeaders []string
	expect         string
	repeat         int
	baselines      []string
	pin            int
	json           bool
	jsonLines      bool
	quiet          bool
	plain          bool
	report         string
	remote         bool
}

func newBench(e env) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench URL",
		Short: "Measure any SSE server: delivery cost, latency, memory; judge every event at every client",
		Long: "bench opens many connections to an SSE URL and judges at each of them what arrives: order, loss, doubles,\n" +
			"ids, and how long after it was due. It publishes by being the upstream of the server under test (--origin, paths\n" +
			"/t/<topic>), by POST (--publish), or only listens. {topic} or %d in a URL is the number of a client's topic.\n" +
			"It ends with 1 if an event was lost, doubled, reordered or corrupt.",
		Example: "  sluice bench http://localhost:8080/market/1.0.0/ticks --clients 500\n" +
			"  sluice bench http://localhost:8080/bench/1.0.0/t/0 --origin 127.0.0.1:9900 --clients 8000 --rate 5 --pids 4711\n" +
			"  sluice bench http://localhost/sub --publish http://localhost/pub --baseline raw --repeat 5 --pids 4711\n" +
			"  sluice bench https://hub/.well-known/mercure?topic=t --publish https://hub/.well-known/mercure \\\n" +
			"    --body 'topic=t&data={{data|form}}' --publish-header 'Authorization: Bearer …' \\\n" +
			"    --publish-header 'Content-Type: application/x-www-form-urlencoded'",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.cell.URL = args[0]
			if err := f.finish(); err != nil {
				return withCode(exitUsage, err)
			}
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			return runBench(ctx, e, f)
		},
	}
	f.add(c)
	c.AddCommand(newBenchRaw(e), newBenchPublished(e), newBenchProfile(e))
	return c
}

// add puts the flags on c.
func (f *benchFlags) add(c *cobra.Command) {
	fl, cell := c.Flags(), &f.cell
	fl.IntVarP(&cell.Clients, "clients", "c", 1000, "connections to open")
	fl.IntVar(&cell.Topics, "topics", 1, "topics; client i reads topic i modulo this")
	fl.Float64Var(&cell.Ramp, "ramp", 5000, "connections to begin per second")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "request header of clients, 'Name: value' (repeatable)")
	fl.StringVar(&cell.Origin, "origin", "", "listen on this host:port as the upstream of the server under test")
	fl.StringVar(&f.publish, "publish", "", "POST every event to this URL")
	fl.StringVar(&f.body, "body", "{{data}}", "template of a POST: {{data}}, {{data|json}}, {{data|form}}, {{topic}}, {{n}}")
	fl.StringArrayVar(&f.publishHeaders, "publish-header", nil, "header of a POST, 'Name: value' (repeatable)")
	fl.StringVar(&f.expect, "expect", "auto", "auto: judge what carries a number; none: only count")
	fl.Float64VarP(&cell.Rate, "rate", "r", 10, "events per second, over all topics")
	fl.IntVar(&cell.Size, "size", 200, "bytes of an event's data")
	fl.DurationVarP(&cell.Duration, "duration", "d", 10*time.Second, "how long events count")
	fl.DurationVar(&cell.Warmup, "warmup", 2*time.Second, "how long events flow before they count")
	fl.DurationVar(&cell.Settle, "settle", 2*time.Second, "pause between the last connection and the first event")
	fl.DurationVar(&cell.Drain, "drain", 10*time.Second, "how long to wait for the last deliveries")
	fl.Float64Var(&cell.Churn, "churn", 0, "clients per second that hang up and resume")
	fl.IntVar(&cell.Slow, "slow", 0, "add so many slow readers")
	fl.IntVar(&cell.SlowRate, "slow-rate", 0, "bytes per second of a slow reader; 0 never reads")
	fl.IntVar(&cell.ResumeBehind, "resume-behind", 0, "all clients hang up, miss so many events, and return at once")
	fl.Float64Var(&cell.BurstRate, "burst-rate", 0, "events per second while they are away (0 = as always)")
	fl.IntSliceVar(&cell.PIDs, "pids", nil, "processes of the server: their CPU and memory are read")
	fl.IntVar(&cell.Workers, "workers", 0, "goroutines that own connections (0 = by CPUs)")
	fl.BoolVar(&cell.Portable, "portable", false, "use net/http and a goroutine per client, as https and HTTP/2 do anyway")
	fl.BoolVar(&cell.HTTP2, "http2", false, "speak HTTP/2, also without TLS")
	fl.BoolVarP(&cell.Insecure, "insecure", "k", false, "accept any TLS certificate")
	fl.DurationVar(&cell.LateAfter, "late-after", time.Second, "name deliveries later than this")
	fl.BoolVar(&cell.Strict, "strict", false, "fail also for what is only named: late, cut, refused, told gaps")
	fl.IntVar(&f.repeat, "repeat", 1, "rounds; with baselines they take turns")
	fl.StringArrayVar(&f.baselines, "baseline", nil, "raw, or 'URL [publish=URL] [body=…] [pids=1,2] [name=…]' (repeatable)")
	fl.IntVar(&f.pin, "pin", -1, "CPU for the raw loop: the one that the server is pinned to")
	fl.BoolVar(&f.json, "json", false, "print one JSON document at the end")
	fl.BoolVar(&f.jsonLines, "json-lines", false, "print every second and every result as a line of JSON")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print only the summary")
	fl.BoolVar(&f.plain, "plain", false, "no live view, also on a terminal")
	fl.StringVar(&f.report, "report", "", "write an HTML report to this file")
	fl.BoolVar(&f.remote, "remote", false, "allow a server that is not on this machine")
}

// newBenchRaw is the raw loop that --baseline raw starts as a process of its own.
func newBenchRaw(e env) *cobra.Command {
	var addr string
	var cpu int
	c := &cobra.Command{
		Use:    "raw-loop",
		Short:  "Serve the floor that bench compares with",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			return withCode(exitFailed, load.RawLoop(ctx, addr, cpu, e.stdout))
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "IPv4 host:port to listen on")
	c.Flags().IntVar(&cpu, "pin", -1, "CPU to run on, -1 = any")
	return c
}

// rawEntry is the raw loop as a baseline of cell: a fresh process for every run.
func rawEntry(ctx context.Context, cell load.Cell, pin int) load.Entry {
	cell.Origin, cell.Portable, cell.HTTP2, cell.Header = "", false, false, nil
	cell.ResumeBehind, cell.Churn, cell.Slow = 0, 0, 0
	return load.Entry{Name: "raw", Cell: cell, Start: func(c *load.Cell) (func(), error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p, err := load.StartRaw(ctx, self, "bench", "raw-loop", fmt.Sprintf("--pin=%d", pin))
		if err != nil {
			return nil, err
		}
		c.URL, c.PIDs = "http://"+p.Addr+"/", []int{p.PID}
		c.Topics, c.Publish = 1, &load.Publish{URL: "http://" + p.Addr + "/", Body: "{{data}}"}
		return p.Stop, nil
	}}
}

var errBenchFailed = errors.New("the checks failed")
