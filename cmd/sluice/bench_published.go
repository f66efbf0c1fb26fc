package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/test/load"
)

// published measures the cells that README.md shows.
type published struct {
	scale  float64
	rounds int
	time   time.Duration // of one measured run
	readme string
	out    string
	plain  bool // do not bind processes to CPUs
	only   []string

	notes io.Writer
	cpu   int // of the servers, -1 = any
	nchan bool
	rows  []publishedRow
}

func newBenchPublished(e env) *cobra.Command {
	p := published{notes: e.stderr}
	c := &cobra.Command{
		Use:   "published",
		Short: "Measure the cells that README.md shows, beside the raw loop and, if installed, Nchan",
		Long: "published starts a gateway of its own for every run, bound to the first CPU, and measures it in turn with the raw\n" +
			"loop and with Nchan (Debian: nginx, libnginx-mod-nchan). It prints a table; --readme writes it between the\n" +
			"markers of a file. 15 minutes on two cores that are otherwise idle.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.checkOnly(); err != nil {
				return withCode(exitUsage, err)
			}
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			err := p.run(ctx)
			table := p.table(load.ReadMachine(os.Args))
			fmt.Fprint(e.stdout, table)
			if err == nil && p.readme != "" {
				err = replaceBetweenMarkers(p.readme, table)
			}
			return withCode(exitFailed, err)
		},
	}
	c.Flags().Float64Var(&p.scale, "scale", 1, "share of the clients of each cell")
	c.Flags().IntVar(&p.rounds, "rounds", 3, "rounds of each comparison")
	c.Flags().DurationVar(&p.time, "time", 8*time.Second, "how long events count in a run")
	c.Flags().StringSliceVar(&p.only, "only", nil, "measure only these cells: clients, secured, events, secured-events, gathered, memory, storm")
	c.Flags().StringVar(&p.readme, "readme", "", "file whose table to replace, between <!-- bench --> and <!-- /bench -->")
	c.Flags().StringVar(&p.out, "out", "", "folder for an HTML report and a JSON document of each cell")
	c.Flags().BoolVar(&p.plain, "no-pin", false, "do not bind processes to CPUs")
	return c
}

type publishedCell struct {
	name    string
	measure func(context.Context) error
}

func (p *published) cells() []publishedCell {
	return []publishedCell{
		{"clients", p.manyClients}, {"secured", p.securedClients}, {"events", p.manyEvents}, {"secured-events", p.securedEvents}, {"gathered", p.coalesced}, {"memory", p.idleMemory}, {"storm", p.storm},
	}
}

// checkOnly refuses names that no cell has, and a table for readers that lacks some.
func (p *published) checkOnly() error {
	var names []string
	for _, c := range p.cells() {
		names = append(names, c.name)
	}
	for _, name := range p.only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--only %q: allowed are %s", name, strings.Join(names, ", "))
		}
	}
	if len(p.only) > 0 && p.readme != "" {
		return errors.New("--readme takes all cells: without --only")
	}
	return nil
}

// run measures the cells.
func (p *published) run(ctx context.Context) error {
	p.cpu, p.nchan = -1, hasNchan()
	if n := runtime.NumCPU(); !p.plain && n > 1 && runtime.GOOS == "linux" {
		p.cpu = 0
		rest := make([]int, 0, n-1)
		for cpu := 1; cpu < n; cpu++ {
			rest = append(rest, cpu)
		}
		if err := load.PinSelf(rest...); err != nil {
			return err
		}
	}
	if !p.nchan {
		fmt.Fprintln(p.notes, "SKIP nchan: nginx with its module not found (apt-get install nginx libnginx-mod-nchan)")
	}
	var failed []error
	for _, cell := range p.cells() {
		if len(p.only) > 0 && !slices.Contains(p.only, cell.name) {
			continue
		}
		// A cell that fails leaves its row out; the others still tell something.
		if err := cell.measure(ctx); err != nil {
			fmt.Fprintf(p.notes, "FAILED %v\n", err)
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(failed...)
}

// clients scales a number of clients.
func (p *published) clients(n int) int { return max(int(float64(n)*p.scale), 10) }

// sluice is the gateway as an entry.
func (p *published) sluice(ctx context.Context, cell load.Cell, environ ...string) load.Entry {
	return load.Entry{Name: "sluice", Cell: cell, Start: func(c *load.Cell) (func(), error) {
		return startSluice(ctx, c, p.cpu, environ...)
	}}
}

// compare measures entries in rounds; raw is the index of the raw loop, -1 = none.
func (p *published) compare(ctx context.Context, name string, raw int, entries ...load.Entry) (*load.Comparison, error) {
	fmt.Fprintf(p.notes, "== %s\n", name)
	cmp, err := load.Rounds{Entries: entries, Raw: raw, Repeat: p.rounds, OnRun: func(round int, entry string, r *load.Result) {
		fmt.Fprintf(p.notes, "   round %d, %s: %.2f µs per delivery, p99 %s%s\n", round+1, entry, r.ServerPer, load.Millis(r.Latency.P99), failure(r))
	}}.Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cmp, p.save(name, load.Document{Machine: load.ReadMachine(os.Args), Comparison: cmp})
}

// single measures one entry once.
func (p *published) single(ctx context.Context, name string, e load.Entry) (*load.Result, error) {
	cmp, err := (&published{rounds: 1, out: p.out, notes: p.notes}).compare(ctx, name, -1, e)
	if err != nil {
		return nil, err
	}
	r := cmp.Series[0].Runs[0]
	if r.Failed != "" {
		return nil, fmt.Errorf("%s: %s", name, r.Failed)
	}
	return r, nil
}

// save writes what a cell found, if there is a folder for it.
func (p *published) save(name string, d load.Document) error {
	if p.out == "" {
		return nil
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return err
	}
	return writeReport(filepath.Join(p.out, fileName(name)+".html"), d)
}
