package load

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteSample writes one second as a line.
func WriteSample(w io.Writer, name string, s Sample) {
	fmt.Fprintf(w, "%s %6.1fs %-8s clients=%d deliveries/s=%.0f", name, s.Second, s.Phase, s.Live, s.Rate)
	if s.Latency.Count > 0 {
		fmt.Fprintf(w, " p50=%s p99=%s max=%s", Millis(s.Latency.P50), Millis(s.Latency.P99), Millis(s.Latency.Max))
	}
	if s.RSS > 0 {
		fmt.Fprintf(w, " cpu=%.0f%% rss=%s", s.CPU, Bytes(float64(s.RSS)))
		if s.CPUPer > 0 {
			fmt.Fprintf(w, " cpu/delivery=%.2fµs", s.CPUPer)
		}
	}
	if s.Reconnects > 0 {
		fmt.Fprintf(w, " reconnects=%d", s.Reconnects)
	}
	if n := s.Lost + s.Doubled + s.Reordered; n > 0 {
		fmt.Fprintf(w, " LOST=%d DOUBLED=%d REORDERED=%d", s.Lost, s.Doubled, s.Reordered)
	}
	fmt.Fprintln(w)
}

// WriteSummary writes what a run found, as a table.
func WriteSummary(w io.Writer, r *Result) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "\n%s  %s\n", r.Name, r.URL)
	row("clients", "%d of %d connected in %.1f s by %s, %d reconnects", r.Connected, r.Clients+r.SlowReaders, r.ConnectS, r.Engine, r.Reconnects)
	if r.Expected > 0 {
		row("deliveries", "%d of %d, %.0f/s over %.1f s, %d of them replayed", r.Delivered, r.Expected, r.PerSecond, r.Seconds, r.Replayed)
	} else {
		row("deliveries", "%d, %.0f/s over %.1f s", r.Delivered, r.PerSecond, r.Seconds)
	}
	if r.Latency.Count > 0 {
		row("latency", "%s", latencyText(r.Latency))
		row("to last client", "%s", latencyText(r.LastClient))
		row("fairness", "slowest tenth of connect order %.2f × the fastest", r.Fairness.Spread)
	}
	if r.RSSIdle > 0 && r.Delivered > 0 {
		row("server CPU", "%.2f µs per delivery, %.0f %% of a core", r.ServerPer, r.ServerPct)
	}
	if r.RSSIdle > 0 {
		row("server memory", "%s before, %s idle (%.2f KB per client), %s at the end", Bytes(float64(r.RSSBefore)), Bytes(float64(r.RSSIdle)), r.PerIdle/1024, Bytes(float64(r.RSSEnd)))
	}
	if r.Delivered > 0 {
		row("bench CPU", "%.2f µs per delivery", r.ClientPer)
	}
	if p := r.Published; p.Events > 0 {
		why := ""
		if p.Held {
			why = ": the server did not take them in time"
		}
		row("published", "%d events, at most %s after they were due%s", p.Events, Millis(p.LateMax), why)
	}
	if s := r.Resume; s != nil {
		row("mass resume", "%d of %d back, each ≥ %d behind; all live in %.2f s, half in %.0f ms", s.Back, s.Clients, s.Behind, s.AllLiveS, s.MedianMS)
	}
	if r.SlowReaders > 0 {
		row("slow readers", "%d, cut by the server %d times", r.SlowReaders, r.SlowCut)
	}
	for _, t := range r.Told {
		row("told", "%s, %d times", t.What, t.Count)
	}
	writeVerdict(w, r, row)
}

func writeVerdict(w io.Writer, r *Result, row func(string, string, ...any)) {
	row("checks", "%d lost, %d doubled, %d reordered", r.Count(Lost), r.Count(Doubled), r.Count(Reordered))
	for _, f := range r.Faults {
		name := f.Fault
		if f.Fatal {
			name = strings.ToUpper(name)
		}
		if f.First != nil {
			row(name, "%d; first: %s", f.Count, f.First)
		} else {
			row(name, "%d", f.Count)
		}
	}
	if r.Void != "" {
		row("VOID", "%s", r.Void)
	}
	if r.Failed != "" {
		row("FAILED", "%s", r.Failed)
	}
}

// WriteComparison writes what rounds found, as a table.
func WriteComparison(w io.Writer, c *Comparison) {
	fmt.Fprintf(w, "\n%d rounds in turn; void: %d\n", c.Rounds, len(c.Void))
	fmt.Fprintf(w, "  %-14s %16s %10s %10s   %s\n", "", "CPU/delivery µs", "p50 ms", "p99 ms", "by round")
	for _, s := range c.Series {
		var runs []string
		for _, r := range s.Runs {
			runs = append(runs, fmt.Sprintf("%.2f", r.ServerPer))
		}
		fmt.Fprintf(w, "  %-14s %16.2f %10.1f %10.1f   %s\n", s.Name, s.ServerPer, s.P50, s.P99, strings.Join(runs, " "))
	}
	for _, r := range c.Ratios {
		fmt.Fprintf(w, "  %s of %s: %.2f × that of %s (median of %d rounds that count, %.2f to %.2f)\n", r.What, c.Series[0].Name, r.Median, r.Against, r.Rounds, r.Min, r.Max)
	}
	for _, why := range c.Void {
		fmt.Fprintf(w, "  VOID %s\n", why)
	}
}

func latencyText(l Latency) string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", Millis(l.P50), Millis(l.P90), Millis(l.P99), Millis(l.P999), Millis(l.Max))
}

// Millis shows milliseconds with three digits that matter.
func Millis(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// Bytes shows a size in binary units.
func Bytes(n float64) string {
	for _, unit := range []string{"B", "KB", "MB"} {
		if n < 1024 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4g GB", n)
}
