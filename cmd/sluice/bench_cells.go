package main

import (
	"context"
	"fmt"
	"time"

	"sluice/test/load"
)

// publishedRow is one line of the table in README.md.
type publishedRow struct{ cell, sluice, raw, nchan string }

// manyClients is 8,000 × 5 events/s: what a delivery costs when there is nothing to gather.
func (p *published) manyClients(ctx context.Context) error {
	n := p.clients(8000)
	return p.against(ctx, fmt.Sprintf("%s clients × 5 events/s", count(n)), load.Cell{Clients: n, Rate: 5, Duration: p.time})
}

func (p *published) securedClients(ctx context.Context) error { return p.secured(ctx, 8000, 5) }
func (p *published) securedEvents(ctx context.Context) error  { return p.secured(ctx, 1000, 100) }

// secured is a cell with API keys and a plan that counts every event, in turn with one that anybody may read.
func (p *published) secured(ctx context.Context, clients int, rate float64) error {
	n := p.clients(clients)
	name := fmt.Sprintf("%s clients × %.0f events/s, with keys and quotas", count(n), rate)
	cell := load.Cell{Clients: n, Rate: rate, Duration: p.time}
	slowly := cell
	slowly.Ramp = 95 // one application may connect 100 times a second
	cmp, err := p.compare(ctx, name, 1, load.Entry{Name: "secured", Cell: slowly, Start: func(c *load.Cell) (func(), error) {
		return startSecured(ctx, c, p.cpu)
	}}, p.sluice(ctx, cell))
	if err != nil {
		return err
	}
	row := publishedRow{cell: name + ", CPU per delivery", raw: "–", nchan: "–", sluice: fmt.Sprintf("%.1f µs", cmp.Series[0].ServerPer)}
	for _, r := range cmp.Ratios {
		if r.What == "cpu per delivery" {
			row.sluice += fmt.Sprintf(" = %.2f × without (%.2f–%.2f)", r.Median, r.Min, r.Max)
		}
	}
	p.rows = append(p.rows, row)
	return cmp.Err()
}

// manyEvents is 1,000 × 100 events/s: latency.
func (p *published) manyEvents(ctx context.Context) error {
	n := p.clients(1000)
	return p.against(ctx, fmt.Sprintf("%s clients × 100 events/s", count(n)), load.Cell{Clients: n, Rate: 100, Duration: p.time})
}

// against measures a cell with the raw loop and Nchan beside, and adds rows for CPU and latency.
func (p *published) against(ctx context.Context, name string, cell load.Cell) error {
	entries := []load.Entry{p.sluice(ctx, cell), rawEntry(ctx, cell, p.cpu)}
	if p.nchan {
		entries = append(entries, load.Entry{Name: "nchan", Cell: cell, Start: func(c *load.Cell) (func(), error) {
			return startNchan(ctx, c, p.cpu)
		}})
	}
	cmp, err := p.compare(ctx, name, 1, entries...)
	if err != nil {
		return err
	}
	cpu, late := publishedRow{cell: name + ", CPU per delivery"}, publishedRow{cell: name + ", latency p50 / p99"}
	for i, cells := range [][2]*string{{&cpu.sluice, &late.sluice}, {&cpu.raw, &late.raw}, {&cpu.nchan, &late.nchan}} {
		*cells[0], *cells[1] = "–", "–"
		if i < len(cmp.Series) && cmp.Counted(i) > 0 {
			s := cmp.Series[i]
			*cells[0] = fmt.Sprintf("%.1f µs", s.ServerPer)
			*cells[1] = load.Millis(s.P50) + " / " + load.Millis(s.P99)
			if s.Held {
				*cells[1] += ", does not keep up"
			}
		}
	}
	for _, r := range cmp.Ratios {
		if r.What == "cpu per delivery" && r.Against == "raw" {
			cpu.sluice += fmt.Sprintf(" = %.2f × raw (%.2f–%.2f)", r.Median, r.Min, r.Max)
		}
	}
	p.rows = append(p.rows, cpu, late)
	return cmp.Err()
}

// coalesced is 1,000 × 200 events/s with writes gathered for 50 ms.
func (p *published) coalesced(ctx context.Context) error {
	n := p.clients(1000)
	name := fmt.Sprintf("%s clients × 200 events/s, gathered for 50 ms", count(n))
	cell := load.Cell{Clients: n, Rate: 200, Duration: p.time}
	cmp, err := p.compare(ctx, name, -1, p.sluice(ctx, cell, "SLUICE_FANOUT_COALESCE_HTTP1=50ms"))
	if err != nil {
		return err
	}
	s := cmp.Series[0]
	p.rows = append(p.rows, publishedRow{name + ", CPU per delivery; p99", fmt.Sprintf("%.2f µs; %s", s.ServerPer, load.Millis(s.P99)), "–", "–"})
	return cmp.Err()
}

// idleMemory compares the memory of servers with 1,000 and 9,000 silent clients.
func (p *published) idleMemory(ctx context.Context) error {
	few, many := p.clients(1000), p.clients(9000)
	row := publishedRow{cell: fmt.Sprintf("memory per idle client, from %s to %s", count(few), count(many)), raw: "–", nchan: "–"}
	grown := func(name string, start func(c *load.Cell) (func(), error)) (string, error) {
		var rss [2]int64
		for i, n := range []int{few, many} {
			cell := load.Cell{Clients: n, Rate: -1, Warmup: -1, Duration: time.Second, Settle: p.time * 3 / 2}
			r, err := p.single(ctx, fmt.Sprintf("%s idle clients, %s", count(n), name), load.Entry{Name: name, Cell: cell, Start: start})
			if err != nil {
				return "", err
			}
			rss[i] = r.RSSIdle
		}
		return fmt.Sprintf("%.2f KB", float64(rss[1]-rss[0])/1024/float64(many-few)), nil
	}
	var err error
	if row.sluice, err = grown("sluice", func(c *load.Cell) (func(), error) { return startSluice(ctx, c, p.cpu) }); err != nil {
		return err
	}
	if p.nchan {
		if row.nchan, err = grown("nchan", func(c *load.Cell) (func(), error) { return startNchan(ctx, c, p.cpu) }); err != nil {
			return err
		}
	}
	p.rows = append(p.rows, row)
	return nil
}

// storm sends all clients away, lets them miss 1,000 events, and calls them back at once.
func (p *published) storm(ctx context.Context) error {
	n := p.clients(15_000)
	name := fmt.Sprintf("%s clients return at once, each ≥ 1,000 events behind", count(n))
	cell := load.Cell{Clients: n, Rate: 2, Duration: 5 * p.time, ResumeBehind: 1000, BurstRate: 500, Drain: 20 * time.Second}
	r, err := p.single(ctx, name, p.sluice(ctx, cell))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("all live in %.1f s, %d lost, %d doubled", r.Resume.AllLiveS, r.Count(load.Lost), r.Count(load.Doubled))
	if r.Resume.Back < r.Resume.Clients {
		text = fmt.Sprintf("only %d of %d back in time", r.Resume.Back, r.Resume.Clients)
	}
	p.rows = append(p.rows, publishedRow{name, text, "–", "–"})
	return nil
}
