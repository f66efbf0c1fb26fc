//go:build unix

// Command cluster runs the multi-node deployment on this machine and shows it: make cluster, make cluster-down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/test/topology"
)

const usage = `usage: cluster up [flags]     start the cluster and show it until q or Ctrl-C, then end it
       cluster down [flags]   end a cluster that was left running, and remove what it stored
`

// patience is how long a process may take to end by itself: longer than an edge drains.
const patience = 45 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("the first argument is up or down: see cluster up -h")
	}
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage); flags.PrintDefaults() }
	dir := flags.String("dir", ".cluster", "folder of logs, stores and settings")
	root := flags.String("root", ".", "the repository")
	listen := flags.String("listen", "127.0.0.1:8080", "host:port of the load balancer")
	ingests := flags.Int("ingest", 2, "ingest nodes")
	edges := flags.Int("edges", 3, "edges")
	again := flags.Duration("restart", 2*time.Second, "start a process that ended again after this time; 0 = never")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is one argument too many", flags.Arg(0))
	}
	switch args[0] {
	case "up":
		return up(ctx, topology.Options{Dir: *dir, Root: *root, Listen: *listen, Ingests: *ingests, Edges: *edges}, *again, out)
	case "down":
		ended, err := topology.DownFrom(*dir, patience)
		if len(ended) > 0 {
			fmt.Fprintln(out, "ended", strings.Join(ended, ", "))
		} else if err == nil {
			fmt.Fprintln(out, "nothing was running")
		}
		return err
	}
	return fmt.Errorf("%q is neither up nor down", args[0])
}

// up runs the cluster until ctx ends or the person at the terminal leaves.
func up(ctx context.Context, opt topology.Options, again time.Duration, out io.Writer) error {
	if ended, err := topology.DownFrom(opt.Dir, patience); err != nil {
		return err
	} else if len(ended) > 0 {
		fmt.Fprintln(out, "ended what was left of an earlier cluster:", strings.Join(ended, ", "))
	}
	fmt.Fprintln(out, "building sluice and nats-server …")
	t, err := topology.New(ctx, opt)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(out, "ending the cluster: edges let their clients go …")
		t.Down(patience)
	}()
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := t.Up(starting, func(k topology.Kind) { fmt.Fprintf(out, "ready: %s\n", k) }); err != nil {
		return err
	}
	var watch sync.WaitGroup
	keeping, stop := context.WithCancel(ctx)
	defer func() { stop(); watch.Wait() }()
	if again > 0 {
		watch.Go(func() { keepUp(keeping, t, again) })
	}
	hints := hintsOf(t)
	if terminal(os.Stdout) && terminal(os.Stdin) {
		return show(ctx, t, hints)
	}
	fmt.Fprintln(out, strings.Join(hints, "\n"))
	<-ctx.Done()
	return nil
}

// terminal reports whether f is one.
func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// hintsOf says what to try.
func hintsOf(t *topology.Topology) []string {
	return []string{
		"curl -N " + t.URL("/market/1.0.0/ticks"),
		"curl -N " + t.URL("/market/1.0.0/quotes/ACME"),
		"curl -s http://" + t.Of(topology.Ingest)[0].Ops + "/feeds",
	}
}

// keepUp starts what ended again, as the supervisor of a real deployment does, until ctx ends.
func keepUp(ctx context.Context, t *topology.Topology, after time.Duration) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	down := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, p := range t.All() {
				since, known := down[p.Name]
				switch {
				case p.Running():
					delete(down, p.Name)
				case !known:
					down[p.Name] = now
				case now.Sub(since) >= after:
					delete(down, p.Name)
					_ = t.Start(p) // it is tried again after the same time
				}
			}
		}
	}
}
