// Package trace is how stages tell what they did as spans: a name, a beginning and an
// end, a few bounded attributes, and which other spans they belong to. It knows no
// exporter: a Recorder takes what has ended.
//
// Read first: span.go (Tracer and Span), context.go (what travels in a traceparent).
//
// A nil *Tracer is tracing switched off and a nil *Span is one that is not recorded:
// every method may be called on them, does nothing and costs a comparison. So no stage
// asks whether tracing is on.
//
// Spans are per connection, commit or take-over, never per event. A span that is open
// is a few words of ours; only its end reaches the recorder, so that many thousand open
// streams cost no more than that.
//
// Goroutines: none. Invariants: 9 (End does not wait), 18, 19 (attributes, their length
// and links are bounded).
//
// Not here: sampling, exporting and what the environment asks for (internal/obs).
package trace
