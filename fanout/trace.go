package fanout

import (
	"time"

	"sluice/internal/broker"
	"sluice/internal/trace"
)

// traces are the recorded commits that a reader of block, nil = of the log, has to do
// with: those that stored the block, and the newest known of the feed.
func (f *Feed) traces(block *Block) []trace.Context {
	f.mu.Lock()
	newest := f.traced
	f.mu.Unlock()
	var list []trace.Context
	if block != nil {
		list = append(list, block.traces...)
	}
	if newest.Valid() {
		list = append(list, newest)
	}
	return list
}

// repairSpan is one repair as a span, owned by the repair. Nil is one not recorded.
type repairSpan struct {
	span   *trace.Span
	events uint64 // appended to the feed before it
	gaps   uint64 // told by the feed before it
	reads  int64
}

// beginRepair begins the span of a repair, nil if it is not recorded.
func (f *Feed) beginRepair() *repairSpan {
	span := f.hub.tracer.Start("fanout.repair", trace.Internal, time.Time{})
	if span == nil {
		return nil
	}
	f.hub.mu.Lock()
	topic := f.demand.Topic
	f.hub.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	span.Set(trace.Str("sluice.api", f.api), trace.Str("sluice.topic", topic), trace.Str("sluice.cause", f.why))
	return &repairSpan{span: span, events: f.events, gaps: f.gaps.Load()}
}

// read notes one answer of the broker.
func (r *repairSpan) read(b *broker.Block) {
	if r == nil {
		return
	}
	r.reads++
	for i := range b.Messages {
		r.span.Link(b.Messages[i].Trace)
	}
}

// endRepair ends the span: the feed is synced, gone, or the hub ends.
func (f *Feed) endRepair(r *repairSpan) {
	if r == nil {
		return
	}
	result := "synced" // and perhaps dirty again since
	f.mu.Lock()
	events := f.events - r.events
	if f.phase == phaseGone {
		result = "gone"
	}
	f.mu.Unlock()
	if f.hub.base.Err() != nil {
		result = "stopped"
	}
	r.span.Set(trace.Str("sluice.result", result), trace.Int("sluice.events", int64(events)),
		trace.Int("sluice.gaps", int64(f.gaps.Load()-r.gaps)), trace.Int("sluice.reads", r.reads))
	r.span.End()
}
