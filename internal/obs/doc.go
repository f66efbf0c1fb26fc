// Package obs sets up what a process tells about itself: its log, its metric
// registry, its traces and the handlers of the ops listener (health, metrics, version,
// profiles).
//
// Read first: log.go (formats), limit.go (no log storm), health.go (what makes a
// node unready), ops.go (the listener), traceenv.go (what the environment asks of
// tracing), traces.go (queue and export), otlp.go (the wire).
//
// Goroutines: Ops.Run owns one HTTP server; Traces.Run exports on its caller's, with one
// more while it ends and those of an HTTP client; nothing else here starts any.
//
// Only cmd/sluice imports this package. Stages get a *slog.Logger, a
// prometheus.Registerer and a *trace.Tracer passed in and offer their health as plain
// functions. What the spans are and which variables count: deploy/otel/README.md.
package obs
