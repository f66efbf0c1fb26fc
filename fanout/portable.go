package fanout

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PortableConfig is what a Portable is made from. Zero values are replaced by the
// defaults.
type PortableConfig struct {
	// Slow replaces zero limits of Subscriber.Slow; the policy is the subscriber's.
	// Defaults: stall 10s, lag 1 MiB, soft lag 256 KiB for 5s.
	Slow Slow
	// Heartbeat is the silence after which a client gets ":\n". Default 15s.
	Heartbeat time.Duration
	// EndBytes makes the last bytes of a stream that ends; nil = none are told.
	EndBytes EndBytes
	// Coalesce is the shortest time between two writes to a client; the first event
	// after a pause goes at once. Default 0. At most 1s. Clients that share a
	// connection (Multiplexed) get at least 5 ms.
	Coalesce time.Duration
	// Registerer takes the metrics; nil = none.
	Registerer prometheus.Registerer
}

// Multiplexed is implemented by sinks that know their transport. If true, streams
// share a connection: a write deadline is cleared after each write, as it would end
// a quiet stream, and writes are batched. If false, an armed deadline hurts nobody
// between writes. Without it deadlines are cleared.
type Multiplexed interface{ Multiplexed() bool }

const (
	defaultStall     = 10 * time.Second
	defaultLag       = 1 << 20
	defaultSoftLag   = 256 << 10
	defaultSoftTime  = 5 * time.Second
	defaultHeartbeat = 15 * time.Second
	drainGrace       = 5 * time.Second // after which a drain cuts
	sharedCoalesce   = 5 * time.Millisecond
)

// fill replaces the zero limits of s by those of d.
func (s Slow) fill(d Slow) Slow {
	set := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&s.Stall, d.Stall)
	set(&s.SoftTime, d.SoftTime)
	set(&s.MaxAge, d.MaxAge)
	if s.Lag <= 0 {
		s.Lag = d.Lag
	}
	if s.SoftLag <= 0 {
		s.SoftLag = d.SoftLag
	}
	s.SoftLag = min(s.SoftLag, s.Lag)
	return s
}

// Portable serves each client on its caller's goroutine: on any system, over TLS and
// HTTP/2 too. It has no goroutine of its own.
type Portable struct {
	cfg PortableConfig
	met *portableMetrics

	mu       sync.Mutex // guards all below
	readers  map[*reader]struct{}
	draining bool
	drainEnd time.Time     // by then who comes during a drain is ended, too
	empty    chan struct{} // closed when the last reader went; nil = nobody waits
}

// NewPortable makes an engine; it starts nothing.
func NewPortable(cfg PortableConfig) *Portable {
	cfg.Slow = cfg.Slow.fill(Slow{Stall: defaultStall, Lag: defaultLag, SoftLag: defaultSoftLag, SoftTime: defaultSoftTime})
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = defaultHeartbeat
	}
	if cfg.EndBytes == nil {
		cfg.EndBytes = func(dst []byte, _ Reason) []byte { return dst }
	}
	cfg.Coalesce = min(max(0, cfg.Coalesce), time.Second)
	return &Portable{cfg: cfg, met: newPortableMetrics(cfg.Registerer), readers: map[*reader]struct{}{}}
}

// Serve sends s to its client and returns when the stream has ended. ctx is the
// request's: its end means that the client went.
func (p *Portable) Serve(ctx context.Context, to Sink, s Subscriber) End {
	r := &reader{p: p, ctx: ctx, sink: to, s: s, slow: s.Slow.fill(p.cfg.Slow), coalesce: p.cfg.Coalesce,
		heartbeat: s.Heartbeat, cut: make(chan struct{}, 1)}
	if r.heartbeat <= 0 {
		r.heartbeat = p.cfg.Heartbeat
	}
	if m, ok := to.(Multiplexed); ok {
		r.keepDeadline = !m.Multiplexed()
		if m.Multiplexed() {
			r.coalesce = max(r.coalesce, sharedCoalesce)
		}
	}
	p.enter(r)
	defer p.leave(r)
	if s.Recheck != nil {
		if reason := s.Recheck(s.Meta); reason != "" {
			r.endFor(reason, time.Now())
		}
	}
	r.run()
	p.met.ended(&r.end)
	return r.end
}

func (p *Portable) enter(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers[r] = struct{}{}
	p.met.subscribers(1)
	if p.draining {
		r.endFor(EndDrain, p.drainEnd)
	}
}

func (p *Portable) leave(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.readers, r)
	p.met.subscribers(-1)
	if len(p.readers) == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// Count is how many clients are being served.
func (p *Portable) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.readers)
}

// Cut ends the streams for which why answers a reason, spread evenly over the time.
// They end between two events, with the end bytes of their reason; one that is in a write
// a second after its time is told nothing. why is called at once, with the engine's lock
// held.
func (p *Portable) Cut(over time.Duration, why func(meta uint32) Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	type ending struct {
		r      *reader
		reason Reason
	}
	var list []ending
	for r := range p.readers {
		if reason := why(r.s.Meta); reason != "" {
			list = append(list, ending{r, reason})
		}
	}
	now := time.Now()
	for i, e := range list { // in the map's order: no client is always last
		e.r.endFor(e.reason, now.Add(over*time.Duration(i)/time.Duration(len(list))))
	}
}

// Tell sends gateway bytes, in full events, to the streams for which what answers some:
// between two events. what is called at once, with the engine's lock held; what it
// returned is not changed afterwards.
func (p *Portable) Tell(what func(meta uint32) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.readers {
		if b := what(r.s.Meta); len(b) > 0 {
			r.slip(b)
		}
	}
}

// Laggards offers c the streams that lag most: those that read backlog or that have
// been in one write for a tenth of a second.
func (p *Portable) Laggards(c *Cull) {
	c.Expect(1)
	var l []Laggard
	now := time.Now()
	p.mu.Lock()
	for r := range p.readers {
		if behind, lags := r.lag(now); lags {
			l = append(l, Laggard{Bytes: behind, End: func() { p.cull(r) }})
		}
	}
	p.mu.Unlock()
	c.Offer(l)
}

// cull ends r if it is still there and lags.
func (p *Portable) cull(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.readers[r]; !there {
		return
	}
	if _, lags := r.lag(time.Now()); lags {
		r.abort(EndMemory)
	}
}

// Drain ends all streams evenly over the time, whoever comes meanwhile too; 5 s
// later, or when ctx ends, it cuts what is left and returns.
func (p *Portable) Drain(ctx context.Context, over time.Duration) error {
	p.mu.Lock()
	p.draining, p.drainEnd = true, time.Now().Add(over)
	p.mu.Unlock()
	p.Cut(over, func(uint32) Reason { return EndDrain })
	late := time.NewTimer(over + drainGrace)
	defer late.Stop()
	select {
	case <-p.emptied():
		return nil
	case <-late.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	for r := range p.readers {
		r.abort(EndDrain)
	}
	p.mu.Unlock()
	<-p.emptied()
	return ctx.Err()
}

// emptied returns a channel that is closed once nobody is served.
func (p *Portable) emptied() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.readers) == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	return p.empty
}
