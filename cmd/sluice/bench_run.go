package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	tea "charm.land/bubbletea/v2"

	"sluice/test/load"
)

// runBench measures as f says and prints.
func runBench(ctx context.Context, e env, f benchFlags) error {
	doc := load.Document{Machine: load.ReadMachine(os.Args)}
	out := newBenchPrinter(e, f)
	err := out.while(ctx, func(ctx context.Context) (err error) {
		doc.Result, doc.Comparison, err = measure(ctx, f, out)
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return withCode(exitFailed, err)
	}
	if err := out.final(doc); err != nil {
		return withCode(exitFailed, err)
	}
	if f.report != "" {
		if err := writeReport(f.report, doc); err != nil {
			return withCode(exitFailed, err)
		}
	}
	if doc.Failed() {
		return withCode(exitFailed, errBenchFailed)
	}
	return nil
}

// measure runs one cell, or rounds.
func measure(ctx context.Context, f benchFlags, out *benchPrinter) (*load.Result, *load.Comparison, error) {
	if f.repeat <= 1 && len(f.baselines) == 0 {
		cell := f.cell
		cell.OnSample = func(s load.Sample) { out.sample(cell.Name, s) }
		res, err := cell.Run(ctx)
		return res, nil, err
	}
	entries, raw, err := f.entries(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range entries {
		name := entries[i].Name
		entries[i].Cell.OnSample = func(s load.Sample) { out.sample(name, s) }
	}
	cmp, err := load.Rounds{Entries: entries, Raw: raw, Repeat: f.repeat, OnRun: out.ran}.Run(ctx)
	return nil, cmp, err
}

// benchPrinter shows a run as the flags and the terminal want it.
type benchPrinter struct {
	f    benchFlags
	out  io.Writer     // results
	note io.Writer     // progress
	show func(tea.Msg) // to the live view, nil without one
	e    env
}

func newBenchPrinter(e env, f benchFlags) *benchPrinter {
	p := &benchPrinter{f: f, out: e.stdout, note: e.stdout, e: e}
	if f.json {
		p.note = e.stderr
	}
	return p
}

// sample shows one second.
func (p *benchPrinter) sample(name string, s load.Sample) {
	switch {
	case p.show != nil:
		p.show(benchSampled{name, s})
	case p.f.jsonLines:
		p.line(map[string]any{"name": name, "sample": s})
	case !p.f.quiet:
		load.WriteSample(p.note, name, s)
	}
}

// ran shows one finished run of several.
func (p *benchPrinter) ran(round int, name string, r *load.Result) {
	text := fmt.Sprintf("round %d, %s: %.2f µs per delivery, p99 %s%s", round+1, name, r.ServerPer, load.Millis(r.Latency.P99), failure(r))
	switch {
	case p.show != nil:
		p.show(benchRan(text))
	case p.f.jsonLines:
		p.line(map[string]any{"name": name, "round": round + 1, "result": bare(r)})
	case !p.f.quiet:
		fmt.Fprintln(p.note, "--", text)
	}
}

// failure is a remark on a run that did not go well.
func failure(r *load.Result) string {
	switch {
	case r.Failed != "":
		return ", FAILED: " + r.Failed
	case r.Void != "":
		return ", VOID: " + r.Void
	}
	return ""
}

// final shows everything that was found.
func (p *benchPrinter) final(d load.Document) error {
	switch {
	case p.f.json:
		enc := json.NewEncoder(p.out)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	case p.f.jsonLines:
		if d.Result != nil {
			p.line(map[string]any{"name": d.Result.Name, "result": bare(d.Result)})
		}
		p.line(map[string]any{"machine": d.Machine})
		return nil
	}
	if d.Result != nil {
		load.WriteSummary(p.out, d.Result)
	}
	if d.Comparison != nil {
		load.WriteComparison(p.out, d.Comparison)
	}
	return nil
}

// line prints one line of JSON.
func (p *benchPrinter) line(v any) {
	_ = json.NewEncoder(p.out).Encode(v) // a closed pipe ends the process by itself
}

// bare is r without its samples, which were printed already.
func bare(r *load.Result) *load.Result {
	short := *r
	short.Samples = nil
	return &short
}
