package load

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// runner is one run of a cell: its parts, and what the sampler adds up.
type runner struct {
	cell   *Cell
	run    *common
	engine engine
	pub    *publisher // nil when only listening
	origin *origin    // nil when not the origin
	began  time.Time
	result *Result

	end      atomic.Int64 // ns: when counting should end, 0 = not known yet
	resuming atomic.Bool  // a mass resume goes on: no churn meanwhile

	mu      sync.Mutex // guards what follows: the sampler writes, the end of the run reads
	phase   string
	total   *hdrhistogram.Histogram
	samples []Sample
	last    sums
	lastUse usage
}

// sums are the counters of all books at one moment.
type sums struct {
	all, delivered, bytes, live, reconnects, back int64
	counts                                        [faults]int64
}

// saturated is the share of the CPU it may use beyond which the bench measures itself.
const saturated = 0.95

// maxSamples bounds the seconds that are kept: a day.
const maxSamples = 86_400

// Run measures one cell. The error says that it could not be measured; what it found wrong is in the result. When ctx
// ends early the result covers what was seen until then, and is void.
func (c Cell) Run(ctx context.Context) (*Result, error) {
	cell, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r, err := newRunner(ctx, cell)
	if err != nil {
		return nil, err
	}
	return r.whole(ctx)
}

// newRunner prepares everything; the origin listens already.
func newRunner(ctx context.Context, c *Cell) (*runner, error) {
	t, err := newTarget(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &runner{cell: c, total: newHist(), began: time.Now(), phase: "connect"}
	r.run = &common{
		own: c.publishes(), countOnly: c.CountOnly, tag: rand.Int64N(1<<31) + 1, topics: int64(c.Topics), lateAfter: c.LateAfter.Microseconds(),
		seed: maphash.MakeSeed(), published: make([]atomic.Int64, c.Topics), target: make([]atomic.Int64, c.Topics),
	}
	table := c.table()
	r.run.events = int(min(table.total, maxEvents))
	if c.publishes() {
		r.run.countFrom.Store(table.count(c.Warmup))
	} else {
		r.run.events = 10_000
	}
	r.result = &Result{
		Name: c.Name, URL: c.URL, Clients: c.Clients, Topics: c.Topics, Rate: c.Rate, Size: c.Size, SlowReaders: c.Slow, Engine: "epoll",
	}
	if c.Portable {
		r.result.Engine = "net/http"
		r.engine = newPortable(c, t, r.run)
	} else if r.engine, err = newEpoll(c, t, r.run, min(c.Workers, c.Clients+c.Slow)); err != nil {
		return nil, err
	}
	switch {
	case c.Origin != "":
		if r.origin, err = newOrigin(ctx, c.Origin, c.Topics, r.run.tag); err != nil {
			return nil, err
		}
		r.pub = newPublisher(c, r.run, r.origin, table)
	case c.Publish != nil:
		r.pub = newPublisher(c, r.run, newPoster(*c.Publish, c.Insecure), table)
	}
	return r, nil
}

// whole runs all phases, stops every part and sums up.
func (r *runner) whole(ctx context.Context) (*Result, error) {
	before, err := readUsage(r.cell.PIDs)
	if err != nil {
		return nil, err
	}
	r.result.RSSBefore, r.lastUse = before.rss, before

	parts, stop := context.WithCancel(context.Background()) // ended by us, after the last phase
	defer stop()
	var wg sync.WaitGroup
	var engineErr, originErr error
	if r.origin != nil {
		wg.Go(func() { originErr = r.origin.run(parts) })
	}
	wg.Go(func() { engineErr = r.engine.run(parts) })
	sampling, stopSampling := context.WithCancel(context.Background())
	sampled := make(chan struct{})
	go func() { defer close(sampled); r.sampler(sampling) }()

	err = r.phases(ctx)

	stopSampling()
	<-sampled
	heads := r.heads()
	stop()
	wg.Wait()
	if p, ok := r.poster(); ok {
		p.close()
	}
	if err := errors.Join(err, engineErr, originErr); err != nil && ctx.Err() == nil {
		return nil, err
	}
	r.sumUp(ctx, heads)
	return r.result, nil
}

func (r *runner) poster() (*poster, bool) {
	if r.pub == nil {
		return nil, false
	}
	p, ok := r.pub.to.(*poster)
	return p, ok
}

// phases goes through the run. It returns early when ctx ends.
func (r *runner) phases(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.enter("settle")
	if !pause(ctx, r.cell.Settle) {
		return ctx.Err()
	}
	if r.origin != nil {
		limit, cancel := context.WithTimeout(ctx, r.cell.ConnectTimeout)
		err := r.origin.ready(limit)
		cancel()
		if err != nil {
			return err
		}
	}
	idle, err := readUsage(r.cell.PIDs)
	if err != nil {
		return err
	}
	r.result.RSSIdle = idle.rss
	if n := r.sums().live; n > 0 && idle.rss > 0 {
		r.result.PerIdle = float64(idle.rss-r.result.RSSBefore) / float64(n)
	}
	return r.flow(ctx)
}

// connectAll opens every client along the ramp and waits until all are live or time is up.
func (r *runner) connectAll(ctx context.Context) error {
	began := time.Now()
	total := r.cell.Clients + r.cell.Slow
	for i := range total {
		r.engine.open(i, began.Add(time.Duration(float64(i)/r.cell.Ramp*float64(time.Second))), false)
	}
	limit := time.Duration(float64(total)/r.cell.Ramp*float64(time.Second)) + r.cell.ConnectTimeout
	r.until(ctx, limit, func() bool { return r.sums().live >= int64(total) })
	r.result.ConnectS = time.Since(began).Seconds()
	if ctx.Err() == nil && r.sums().live == 0 {
		r.result.Failed = "no client connected" // the reason is found when the books are summed up
	}
	return ctx.Err()
}

// flow is the time in which events flow: warm-up, the measured part with its disturbances, the rest.
func (r *runner) flow(ctx context.Context) error {
	if r.result.Failed != "" {
		return nil
	}
	r.enter("warmup")
	start := time.Now().Add(50 * time.Millisecond)
	counted := start.Add(r.cell.Warmup)
	r.end.Store(counted.Add(r.cell.Duration).UnixNano())
	published := make(chan struct{})
	if r.pub != nil && r.cell.Rate > 0 {
		r.pub.start = start
		go func() { defer close(published); r.pub.keep(ctx) }()
	} else {
		close(published)
	}
	defer func() { <-published }()

	if !pause(ctx, time.Until(counted)) {
		return ctx.Err()
	}
	r.enter("measure")
	r.run.counting.Store(true)
	use0, err := readUsage(r.cell.PIDs)
	if err != nil {
		return err
	}
	own0, t0 := ownCPU(), time.Now()
	disturbed := make(chan struct{})
	disturbing, calm := context.WithCancel(ctx)
	go func() { defer close(disturbed); r.disturb(disturbing, counted) }()
	pause(ctx, time.Until(counted.Add(r.cell.Duration)))
	calm()
	<-disturbed
	if r.pub != nil {
		<-published
		r.enter("drain")
		r.drain(ctx)
	}
	use1, err := readUsage(r.cell.PIDs)
	if err != nil {
		return err
	}
	r.charge(use0, use1, ownCPU()-own0, time.Since(t0))
	return ctx.Err()
}

// charge notes what the measured part cost.
func (r *runner) charge(use0, use1 usage, own, took time.Duration) {
	s := r.sums()
	per := func(d time.Duration) float64 {
		if s.delivered == 0 {
			return 0
		}
		return float64(d.Nanoseconds()) / 1000 / float64(s.delivered)
	}
	r.result.RSSEnd = use1.rss
	r.result.Seconds = took.Seconds()
	r.result.ServerPer, r.result.ClientPer = per(use1.cpu-use0.cpu), per(own)
	r.result.ClientPct = 100 * own.Seconds() / took.Seconds()
	r.result.ServerPct = 100 * (use1.cpu - use0.cpu).Seconds() / took.Seconds()
	r.result.PerSecond = float64(s.delivered) / took.Seconds()
}

// disturb does what the cell asks to be done to its clients while events flow, until ctx ends.
func (r *runner) disturb(ctx context.Context, counted time.Time) {
	var wg sync.WaitGroup
	if r.cell.ResumeBehind > 0 {
		wg.Go(func() {
			if pause(ctx, time.Until(counted.Add(r.cell.leaveAt()))) {
				r.massResume(ctx)
			}
		})
	}
	if r.cell.Churn > 0 {
		wg.Go(func() { r.churn(ctx, counted) })
	}
	wg.Wait()
}

// churn makes clients hang up and resume, evenly in time, chosen by chance.
func (r *runner) churn(ctx context.Context, start time.Time) {
	table := timetable{start: start, rate: r.cell.Churn, total: 1 << 62}
	for i := range table.total {
		if !pause(ctx, time.Until(table.at(i))) {
			return
		}
		if r.resuming.Load() {
			continue
		}
		c := rand.IntN(r.cell.Clients)
		r.engine.leave(c)
		r.engine.open(c, time.Now(), false)
	}
}

// massResume sends all clients away, waits until they are as far behind as the cell says, and calls all at once.
func (r *runner) massResume(ctx context.Context) {
	r.resuming.Store(true)
	defer r.resuming.Store(false)
	r.enter("away")
	for i := range r.cell.Clients {
		r.engine.leave(i)
	}
	slow := int64(r.cell.Slow)
	r.until(ctx, 10*time.Second, func() bool { return r.sums().live <= slow })
	base := make([]int64, r.cell.Topics)
	for t := range base {
		base[t] = r.run.published[t].Load()
	}
	r.until(ctx, r.cell.Duration, func() bool {
		for t := range base {
			if r.run.published[t].Load() < base[t]+int64(r.cell.ResumeBehind) {
				return false
			}
		}
		return true
	})
	for t := range base {
		r.run.target[t].Store(r.run.published[t].Load())
	}
	r.enter("return")
	called := time.Now()
	r.run.returnAt.Store(called.UnixNano())
	for i := range r.cell.Clients {
		r.engine.open(i, called, true)
	}
	r.until(ctx, r.cell.Duration, func() bool { return r.sums().back >= int64(r.cell.Clients) })
	r.result.Resume = &Resume{Clients: int64(r.cell.Clients), Behind: r.cell.ResumeBehind}
	r.enter("measure")
}

// drain waits for the last deliveries: until all came, none came for two seconds, or time is up.
func (r *runner) drain(ctx context.Context) {
	want := r.expected()
	var seen int64
	since := time.Now()
	r.until(ctx, r.cell.Drain, func() bool {
		s := r.sums()
		if s.all != seen {
			seen, since = s.all, time.Now()
		}
		return s.delivered >= want || time.Since(since) > 2*time.Second
	})
}

// expected is how many counted deliveries there must be if every client gets every event.
func (r *runner) expected() int64 {
	if r.pub == nil {
		return 0
	}
	from, topics := r.run.countFrom.Load(), int64(r.cell.Topics)
	var want int64
	for t := range topics {
		// Events of this topic below countFrom do not count.
		skipped := (from - t + topics - 1) / topics
		clients := (int64(r.cell.Clients) - t + topics - 1) / topics
		want += max(r.run.published[t].Load()-max(skipped, 0), 0) * max(clients, 0)
	}
	return want
}

// heads are the newest numbers by topic, 0 if nobody knows.
func (r *runner) heads() []int64 {
	heads := make([]int64, r.cell.Topics)
	for t := range heads {
		heads[t] = r.run.published[t].Load()
	}
	return heads
}

// sumUp judges the end of every client and writes the result. Every part is at rest.
func (r *runner) sumUp(ctx context.Context, heads []int64) {
	books := r.engine.books()
	all := books[0]
	clients := r.engine.clients()
	for i, c := range clients {
		b := books[i%len(books)]
		head := heads[c.topic]
		if c.slow || ctx.Err() != nil || r.pub == nil {
			head = 0
		}
		if b.finish(c, head); c.everLive {
			r.result.Connected++
		}
	}
	for _, b := range books[1:] {
		all.merge(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	res := r.result
	res.take(all)
	res.Expected = r.expected()
	res.Latency = summary(r.total)
	res.Fairness = fairness(clients[:r.cell.Clients])
	res.Samples = r.samples
	if res.Resume != nil {
		s := summary(all.resumes)
		res.Resume.Back, res.Resume.WithoutID = s.Count, all.withoutID
		res.Resume.AllLiveS, res.Resume.MedianMS, res.Resume.P99MS = s.Max/1000, s.P50, s.P99
	}
	if r.pub != nil {
		res.Published = r.pub.result()
		if res.Published.Behind {
			res.Void = fmt.Sprintf("the publisher fell behind: by %.0f ms at the 99th percentile", res.Published.OwnP99)
		}
	}
	if most := 100 * float64(min(runtime.NumCPU(), runtime.GOMAXPROCS(0))); res.ClientPct > saturated*most {
		res.Void = fmt.Sprintf("the bench itself was out of CPU: it used %.0f of %.0f %%", res.ClientPct, most)
	}
	if ctx.Err() != nil {
		res.Void = "stopped early"
	}
	res.judge(r.cell, all)
}

// enter begins a phase.
func (r *runner) enter(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = phase
}

// until asks every few ms whether something is so, for at most limit.
func (r *runner) until(ctx context.Context, limit time.Duration, is func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-tick.C:
		}
	}
}

// pause waits; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
