package load

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// behindAfter is how late the publisher may be by its own fault, at its 99th percentile, before a cell is void.
const behindAfter = 100 * time.Millisecond

// timetable says when event g = 0, 1, … is due: evenly, from start, whatever happens (open loop). After the first before
// events a burst may come at a rate of its own.
type timetable struct {
	start time.Time
	rate  float64
	total int64

	before    int64
	burst     int64
	burstRate float64
}

func (t timetable) at(g int64) time.Time {
	plain, quick := g, int64(0)
	if t.burst > 0 {
		quick = min(max(g-t.before, 0), t.burst)
		plain -= quick
	}
	after := float64(plain) / t.rate
	if quick > 0 {
		after += float64(quick) / t.burstRate
	}
	return t.start.Add(time.Duration(after * float64(time.Second)))
}

// count is how many events are due within d of the start, before the burst.
func (t timetable) count(d time.Duration) int64 {
	return min(int64(d.Seconds()*t.rate+1e-9), t.total)
}

// source takes events to the server under test.
type source interface {
	// publish sends event n ≥ 1 of a topic. Calls for one topic come in order, one at a time.
	publish(ctx context.Context, topic int, n int64, data []byte) error
	// lanes is how many goroutines may publish at once, topics being shared out among them.
	lanes() int
}

// publisher keeps a timetable.
type publisher struct {
	timetable
	cell *Cell
	run  *common
	to   source

	mu     sync.Mutex              // guards what follows
	late   *hdrhistogram.Histogram // µs between due and sent
	own    *hdrhistogram.Histogram // the part of it in which no earlier event was still being taken by the server
	failed int64
	why    error // the first failure
}

func newPublisher(c *Cell, run *common, to source, t timetable) *publisher {
	return &publisher{timetable: t, cell: c, run: run, to: to, late: newHist(), own: newHist()}
}

// keep publishes all events when they are due, until ctx ends.
func (p *publisher) keep(ctx context.Context) {
	var wg sync.WaitGroup
	lanes := min(p.to.lanes(), p.cell.Topics)
	for lane := range lanes {
		wg.Go(func() { p.lane(ctx, lane, lanes) })
	}
	wg.Wait()
}

// lane publishes the events of every lanes-th topic.
func (p *publisher) lane(ctx context.Context, lane, lanes int) {
	topics := int64(p.cell.Topics)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var data []byte
	var free time.Time // when the server had taken the event before
	for g := range p.total {
		topic := g % topics
		if topic%int64(lanes) != int64(lane) {
			continue
		}
		due := p.at(g)
		if d := time.Until(due); d > 0 {
			timer.Reset(d)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		now := time.Now()
		late, own := now.Sub(due), now.Sub(due)
		if free.After(due) {
			own = now.Sub(free)
		}
		data = appendPayload(data[:0], g/topics+1, due.UnixNano(), p.run.tag, p.cell.Size)
		// Counted as published before it is sent: a client may have it before publish returns.
		p.run.published[topic].Store(g/topics + 1)
		err := p.to.publish(ctx, int(topic), g/topics+1, data)
		if ctx.Err() != nil {
			return
		}
		free = time.Now()
		p.sent(late, own, err)
	}
}

// sent accounts for one event.
func (p *publisher) sent(late, own time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record(p.late, late.Microseconds())
	record(p.own, own.Microseconds())
	if err != nil {
		if p.failed++; p.why == nil {
			p.why = err
		}
	}
}

// Published is how the publisher kept its timetable.
type Published struct {
	Events int64 `json:"events"`
	Failed int64 `json:"failed"`
	// Why is the first failure.
	Why string `json:"why,omitempty"`
	// LateP99 is by how much events were sent after they were due, in ms.
	LateP99 float64 `json:"late_p99_ms"`
	LateMax float64 `json:"late_max_ms"`
	// OwnP99 is the part of it that is not the server's: it was not busy taking the event before.
	OwnP99 float64 `json:"own_p99_ms"`
	// Behind says that the publisher itself could not keep up: the cell is void.
	Behind bool `json:"behind"`
	// Held says that the server did not take events when they were due. Latencies include it.
	Held bool `json:"held"`
}

// result sums up.
func (p *publisher) result() Published {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Published{Events: p.late.TotalCount(), Failed: p.failed}
	if p.why != nil {
		r.Why = p.why.Error()
	}
	if r.Events > 0 {
		r.LateP99, r.LateMax, r.OwnP99 = ms(p.late.ValueAtPercentile(99)), ms(p.late.Max()), ms(p.own.ValueAtPercentile(99))
	}
	limit := ms(behindAfter.Microseconds())
	r.Behind = r.OwnP99 > limit
	r.Held = r.LateP99 > limit && !r.Behind
	return r
}
