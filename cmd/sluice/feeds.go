package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// newFeeds prints GET /feeds of a node: every feed of the cluster, and the nodes that own them.
func newFeeds(e env) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "feeds [URL]",
		Short: "List every feed of the cluster: who owns it, its upstream's state, how far it is behind",
		Long: "feeds asks the ops listener of any node; URL is http://host:port or host:port, default 127.0.0.1:9090, or\n" +
			"SLUICE_OPS_ADDR if set. It ends with 1 if a node did not tell of its feeds.",
		Example: "  sluice feeds\n  sluice feeds edge-3:9090\n  sluice feeds http://edge-3:9090 -o json | jq '.feeds[] | select(.state != \"up\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			addr := "127.0.0.1:9090"
			if v, ok := e.lookup("SLUICE_OPS_ADDR"); ok {
				addr = v
			}
			if len(args) == 1 {
				addr = args[0]
			}
			if output != "table" && output != "json" {
				return withCode(exitUsage, fmt.Errorf("--output %q: want table or json", output))
			}
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			return withCode(exitFailed, printFeeds(ctx, e.stdout, addr, output == "json"))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// printFeeds asks once and prints what it got.
func printFeeds(ctx context.Context, w io.Writer, addr string, asJSON bool) error {
	poll := topPoller{addr: strings.TrimSuffix(strings.TrimPrefix(addr, "http://"), "/")}
	var r feedsReport
	if err := poll.get(ctx, "/feeds", &r); err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := feedTable(w, r); err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if n.Err != "" {
			return fmt.Errorf("node %s did not tell of its feeds: %s", clean(n.Name), clean(n.Err))
		}
	}
	return nil
}

// feedTable writes the feeds, one per line, then the nodes.
func feedTable(out io.Writer, r feedsReport) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FEED\tSTATE\tOWNER\tSTANDBY\tEPOCH\tEV/S\tLAG\tLAST\tDEMAND\tWHY")
	for i := range r.Feeds {
		f := &r.Feeds[i]
		lag, last := "0", "-"
		if f.LagMs > 0 {
			lag = span(f.LagMs)
		}
		if f.LastEventAgeMs >= 0 {
			last = span(f.LastEventAgeMs)
		}
		demand := strconv.Itoa(f.Demand)
		if f.Always {
			demand = "always"
		}
		epoch := "-"
		if f.Epoch > 0 {
			epoch = strconv.FormatUint(f.Epoch, 10)
		}
		fmt.Fprintf(w, "%s/%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean(f.API), clean(f.Version), clean(f.Path), clean(f.State),
			dash(f.Node), dash(f.Standby), epoch, short(f.EventsPerSecond), lag, last, demand, clean(f.Why))
	}
	if len(r.Nodes) > 0 {
		fmt.Fprintln(w, "\nNODE\tSTATE\tFEEDS\tCAPACITY\tBEAT\tWHY")
	}
	for _, n := range r.Nodes {
		state := "joined"
		switch {
		case n.Draining:
			state = "draining"
		case n.Capacity == 0:
			state = "starting"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", clean(n.Name), state, n.Load, n.Capacity,
			(time.Duration(n.SilentMs) * time.Millisecond).String(), clean(n.Err))
	}
	return w.Flush()
}

// dash stands for nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}
