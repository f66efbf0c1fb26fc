package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sluice/test/load"
)

// benchProfile profiles a gateway of its own under load.
type benchProfile struct {
	cell load.Cell
	time time.Duration // of the CPU profile
	out  string
	note io.Writer
}

func newBenchProfile(e env) *cobra.Command {
	p := benchProfile{note: e.stderr}
	c := &cobra.Command{
		Use:   "profile",
		Short: "Profile a gateway under load: CPU, heap and goroutines",
		Long: "profile starts a gateway of its own, puts the load of one cell on it, and while events flow takes profiles from its\n" +
			"/debug/pprof/. It leaves cpu.pb.gz, heap.pb.gz, goroutine.pb.gz and goroutine.txt in a folder: for `go tool pprof`.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			return withCode(exitFailed, p.run(ctx))
		},
	}
	c.Flags().IntVarP(&p.cell.Clients, "clients", "c", 2000, "connections to open")
	c.Flags().Float64VarP(&p.cell.Rate, "rate", "r", 20, "events per second")
	c.Flags().DurationVarP(&p.time, "time", "d", 15*time.Second, "how long the CPU is profiled")
	c.Flags().StringVar(&p.out, "out", "profile", "folder for the profiles")
	return c
}

// run puts the load on a gateway and takes the profiles meanwhile.
func (p *benchProfile) run(ctx context.Context) error {
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return err
	}
	cell := p.cell
	ops, stop, err := startSluiceWithOps(ctx, &cell, -1)
	if err != nil {
		return err
	}
	defer stop()
	cell.Duration = p.time + 2*time.Second // the heap and the goroutines are those of a gateway that works
	var taken error
	var taking sync.WaitGroup
	begin := sync.OnceFunc(func() { taking.Go(func() { taken = p.take(ctx, ops+"/debug/pprof/") }) })
	cell.OnSample = func(s load.Sample) {
		load.WriteSample(p.note, "profile", s)
		if s.Phase == "measure" {
			begin()
		}
	}
	r, err := cell.Run(ctx)
	taking.Wait()
	if err != nil || taken != nil {
		return errors.Join(err, taken)
	}
	if r.Delivered == 0 {
		return errors.New("nothing was delivered: the profiles are of an idle gateway, or missing")
	}
	fmt.Fprintf(p.note, "%d deliveries, profiles in %s\n", r.Delivered, p.out)
	return nil
}

// take saves the profiles, that of the CPU first: it takes its time.
func (p *benchProfile) take(ctx context.Context, base string) error {
	for _, f := range []struct{ name, path string }{
		{"cpu.pb.gz", fmt.Sprintf("profile?seconds=%d", max(1, int(p.time.Seconds())))},
		{"heap.pb.gz", "heap"},
		{"goroutine.pb.gz", "goroutine"},
		{"goroutine.txt", "goroutine?debug=1"},
	} {
		if err := fetch(ctx, base+f.path, filepath.Join(p.out, f.name)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// fetch saves what a URL answers.
func fetch(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
