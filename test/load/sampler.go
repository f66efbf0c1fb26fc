package load

import (
	"context"
	"time"
)

// sums adds up the counters of all books.
func (r *runner) sums() (s sums) {
	for _, b := range r.engine.books() {
		b.mu.Lock()
		s.all += b.all + b.unjudged
		s.delivered += b.delivered
		s.bytes += b.bytes
		s.live += b.live
		s.reconnects += b.reconnects
		s.back += b.resumes.TotalCount()
		for f := range b.counts {
			s.counts[f] += b.counts[f]
		}
		b.mu.Unlock()
	}
	return s
}

// sampler takes a sample every second until ctx ends, and one at the end.
func (r *runner) sampler(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	from := time.Now()
	for {
		select {
		case <-ctx.Done():
			r.sample(time.Since(from))
			return
		case <-tick.C:
			now := time.Now()
			r.sample(now.Sub(from))
			from = now
		}
	}
}

// minSample is the shortest time that makes a sample.
const minSample = 100 * time.Millisecond

// sample collects what happened in the last d.
func (r *runner) sample(d time.Duration) {
	second := newHist()
	for _, b := range r.engine.books() {
		b.mu.Lock()
		second.Merge(b.interval)
		b.interval.Reset()
		b.mu.Unlock()
	}
	s := r.sums()
	use, err := readUsage(r.cell.PIDs)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		use = r.lastUse // the server has ended; the phases will say so
	}
	r.total.Merge(second)
	if d < minSample {
		return // the end came right after a tick: its rate would say nothing
	}
	out := Sample{
		At: time.Now(), Second: time.Since(r.began).Seconds(), Phase: r.phase, Live: s.live, Published: r.publishedSoFar(),
		Delivered: s.all - r.last.all, Rate: float64(s.all-r.last.all) / d.Seconds(), Latency: summary(second),
		CPU: 100 * (use.cpu - r.lastUse.cpu).Seconds() / d.Seconds(), RSS: use.rss, Bytes: s.bytes - r.last.bytes,
		Lost: s.counts[Lost], Doubled: s.counts[Doubled], Reordered: s.counts[Reordered],
		Reconnects: s.reconnects - r.last.reconnects, Done: r.done(),
	}
	if out.Delivered > 0 {
		out.CPUPer = (use.cpu - r.lastUse.cpu).Seconds() * 1e6 / float64(out.Delivered)
	}
	r.last, r.lastUse = s, use
	if len(r.samples) < maxSamples {
		r.samples = append(r.samples, out)
	}
	if r.cell.OnSample != nil {
		r.cell.OnSample(out)
	}
}

func (r *runner) publishedSoFar() (n int64) {
	for t := range r.run.published {
		n += r.run.published[t].Load()
	}
	return n
}

// done is how much of the run is over, as far as the timetable says.
func (r *runner) done() float64 {
	ramp := time.Duration(float64(r.cell.Clients+r.cell.Slow)/r.cell.Ramp*float64(time.Second)) + r.cell.Settle
	whole := ramp + r.cell.Warmup + r.cell.Duration
	end := r.end.Load()
	if end == 0 {
		return min(time.Since(r.began).Seconds()/whole.Seconds(), float64(ramp)/float64(whole))
	}
	left := time.Until(time.Unix(0, end))
	return min(max(1-left.Seconds()/whole.Seconds(), 0), 1)
}
