package load

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Entry is one of the servers that rounds compare.
type Entry struct {
	Name string
	// Cell measures it. Its clients, rate, size and times should be those of the others.
	Cell Cell
	// Start makes the server ready for one run, and Stop ends it. Nil: it runs already.
	Start func(c *Cell) (stop func(), err error)
}

// Rounds repeats cells in turn: single runs drift by a factor of two with a neighbour on the machine, ratios of
// neighbouring runs do not.
type Rounds struct {
	// Entries are measured once a round, forwards in one round and backwards in the next. The first is the one of interest.
	Entries []Entry
	// Raw is the index of the raw loop, -1 = none: a round in which it is more than a quarter off its own median is void.
	Raw    int
	Repeat int
	// OnRun hears of every finished run. May be nil.
	OnRun func(round int, entry string, r *Result)
}

// Ratio is how the first entry compares with another, over the rounds that count.
type Ratio struct {
	Against string  `json:"against"`
	What    string  `json:"what"` // "cpu per delivery" or "p99"
	Median  float64 `json:"median"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Rounds  int     `json:"rounds"`
}

// Series is what one entry did in all rounds.
type Series struct {
	Name      string    `json:"name"`
	Runs      []*Result `json:"runs"`
	ServerPer float64   `json:"server_us_per_delivery"` // medians of the runs that count
	P50       float64   `json:"p50_ms"`
	P99       float64   `json:"p99_ms"`
	PerIdle   float64   `json:"bytes_per_idle_client"`
	// Held says that in a run that counts the server did not take events when they were due: it cannot keep up.
	Held bool `json:"held"`
}

// Comparison is what rounds found.
type Comparison struct {
	Rounds int      `json:"rounds"`
	Void   []string `json:"void"` // why which runs and rounds do not count
	Series []Series `json:"series"`
	Ratios []Ratio  `json:"ratios"`
}

// Run measures all rounds. A run that fails its checks does not end the rounds: its result says so.
func (r Rounds) Run(ctx context.Context) (*Comparison, error) {
	cmp := &Comparison{Rounds: max(r.Repeat, 1)}
	for _, e := range r.Entries {
		cmp.Series = append(cmp.Series, Series{Name: e.Name, Runs: make([]*Result, cmp.Rounds)})
	}
	for round := range cmp.Rounds {
		for _, i := range turn(len(r.Entries), round) {
			res, err := r.Entries[i].run(ctx)
			if err != nil {
				return cmp, fmt.Errorf("round %d, %s: %w", round+1, r.Entries[i].Name, err)
			}
			cmp.Series[i].Runs[round] = res
			if r.OnRun != nil {
				r.OnRun(round, r.Entries[i].Name, res)
			}
			if ctx.Err() != nil {
				return cmp, ctx.Err()
			}
		}
	}
	cmp.sumUp(r.Raw)
	return cmp, nil
}

// Counted is how many runs of an entry count.
func (c *Comparison) Counted(entry int) (n int) {
	for _, r := range c.Series[entry].Runs {
		if r.counts {
			n++
		}
	}
	return n
}

// Err is the first failed check of the first entry, or that none of its runs counts; nil if neither.
func (c *Comparison) Err() error {
	for round, r := range c.Series[0].Runs {
		if r.Failed != "" {
			return fmt.Errorf("round %d, %s: %s", round+1, c.Series[0].Name, r.Failed)
		}
	}
	if c.Counted(0) == 0 {
		return fmt.Errorf("no run counts: %s", c.Void[0])
	}
	return nil
}

// turn is the order of n entries in a round.
func turn(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

func (e Entry) run(ctx context.Context) (*Result, error) {
	cell := e.Cell
	cell.Name = e.Name
	if e.Start != nil {
		stop, err := e.Start(&cell)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	return cell.Run(ctx)
}

// sumUp finds void runs and rounds, then medians and ratios of the others. raw is the index of the raw loop, or -1.
func (c *Comparison) sumUp(raw int) {
	c.judgeRuns()
	if raw >= 0 {
		c.judgeRounds(c.Series[raw].Runs)
	}
	for i := range c.Series {
		s := &c.Series[i]
		s.ServerPer = median(pick(s.Runs, func(r *Result) float64 { return r.ServerPer }))
		s.P50 = median(pick(s.Runs, func(r *Result) float64 { return r.Latency.P50 }))
		s.P99 = median(pick(s.Runs, func(r *Result) float64 { return r.Latency.P99 }))
		s.PerIdle = median(pick(s.Runs, func(r *Result) float64 { return r.PerIdle }))
		s.Held = slices.ContainsFunc(s.Runs, func(r *Result) bool { return r.counts && r.Published.Held })
	}
	for _, other := range c.Series[1:] {
		for _, m := range measures {
			c.ratio(other, m.what, m.of)
		}
	}
}

// measures are what entries are compared by.
var measures = []struct {
	what string
	of   func(*Result) float64
}{
	{"cpu per delivery", func(r *Result) float64 { return r.ServerPer }},
	{"p99", func(r *Result) float64 { return r.Latency.P99 }},
}

// voidOff is how far the raw loop may be off its own median, as a share, before a round is void.
const voidOff = 0.25

// judgeRuns voids runs that say so themselves, or failed.
func (c *Comparison) judgeRuns() {
	for round := range c.Rounds {
		for _, s := range c.Series {
			r := s.Runs[round]
			why := r.Void
			if r.Failed != "" {
				why = r.Failed
			}
			if r.counts = why == ""; !r.counts {
				c.Void = append(c.Void, fmt.Sprintf("round %d: %s: %s", round+1, s.Name, why))
			}
		}
	}
}

// judgeRounds voids all runs of rounds in which the raw loop was off its own median: the machine was another then.
func (c *Comparison) judgeRounds(raw []*Result) {
	middle := median(pick(raw, func(r *Result) float64 { return r.ServerPer }))
	for round, r := range raw {
		off := math.Abs(r.ServerPer-middle) / middle
		if !r.counts || middle == 0 || off <= voidOff {
			continue
		}
		for _, s := range c.Series {
			s.Runs[round].counts = false
		}
		c.Void = append(c.Void, fmt.Sprintf("round %d: the raw loop took %.2f µs per delivery, %.0f %% off its median of %.2f", round+1, r.ServerPer, 100*off, middle))
	}
}

// ratio adds how the first entry compares with another.
func (c *Comparison) ratio(other Series, what string, of func(*Result) float64) {
	var ratios []float64
	for round, r := range c.Series[0].Runs {
		if base := other.Runs[round]; r.counts && base.counts && of(base) > 0 && of(r) > 0 {
			ratios = append(ratios, of(r)/of(base))
		}
	}
	if len(ratios) > 0 {
		c.Ratios = append(c.Ratios, Ratio{
			Against: other.Name, What: what, Median: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios), Rounds: len(ratios),
		})
	}
}

// pick reads one figure of the runs that count.
func pick(runs []*Result, of func(*Result) float64) (v []float64) {
	for _, r := range runs {
		if r.counts {
			v = append(v, of(r))
		}
	}
	return v
}

// median is the middle of v, 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
