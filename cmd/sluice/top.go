package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// topFlags is the command line of top.
type topFlags struct {
	ops      string
	interval time.Duration
	sort     string
	once     bool
	json     bool
}

func newTop(e env) *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch a running sluice: its feeds, clients, rates and memory",
		Long: "top asks a node's ops listener and shows a live table on a terminal, else one plain table per interval.\n" +
			"Keys: c e l g a n t sort by clients, events/s, lag, gaps, age of the last event, name, state;\n" +
			"arrows and page keys scroll, space asks at once, q quits.",
		Example: "  sluice top\n  sluice top --ops edge-3:9090 --sort lag\n  sluice top --once --json | jq .rates",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if v, ok := e.lookup("SLUICE_OPS_ADDR"); ok && !c.Flags().Changed("ops") {
				f.ops = v
			}
			by, ok := topOrders[f.sort]
			if !ok {
				return withCode(exitUsage, fmt.Errorf("--sort %q: want one of %s", f.sort, strings.Join(topOrderNames(), ", ")))
			}
			if f.interval < 100*time.Millisecond {
				return withCode(exitUsage, fmt.Errorf("--interval %s: at least 100ms", f.interval))
			}
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			poll := &topPoller{addr: f.ops}
			out, isFile := e.stdout.(*os.File)
			if isFile && isTerminal(out) && !f.once && !f.json {
				return withCode(exitFailed, watchTop(ctx, e, poll, f.interval, by))
			}
			return withCode(exitFailed, printTop(ctx, e, poll, f, by))
		},
	}
	c.Flags().StringVar(&f.ops, "ops", "127.0.0.1:9090", "host:port of the ops listener; SLUICE_OPS_ADDR is used if set")
	c.Flags().DurationVar(&f.interval, "interval", time.Second, "time between two looks")
	c.Flags().StringVar(&f.sort, "sort", "clients", "order of feeds: "+strings.Join(topOrderNames(), ", "))
	c.Flags().BoolVar(&f.once, "once", false, "look twice, one interval apart, print one table and end")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object per look")
	return c
}

// printTop prints one table or object per interval until ctx ends. Rates take two looks, so the first one prints nothing.
func printTop(ctx context.Context, e env, poll *topPoller, f topFlags, by topOrder) error {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for look := 0; ; look++ {
		frame, err := poll.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (f.once || look == 0):
			return err
		case err != nil:
			fmt.Fprintf(e.stderr, "sluice top: %v\n", err)
		case frame.Rates == nil:
		default:
			if err := writeTop(e, frame, f.json, by); err != nil {
				return err
			}
			if f.once {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func writeTop(e env, frame topFrame, asJSON bool, by topOrder) error {
	if asJSON {
		return json.NewEncoder(e.stdout).Encode(frame)
	}
	frame.sortBy(by)
	t := topTable{width: 100, plain: true}
	_, err := fmt.Fprintln(e.stdout, strings.Join(append(t.head(frame), append(t.rows(frame.Feeds), "")...), "\n"))
	return err
}

var errNoAnswer = errors.New("no answer")
