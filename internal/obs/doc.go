// Package obs sets up what a process tells about itself: its log, its metric
// registry and the handlers of the ops listener (health, metrics, version,
// profiles).
//
// Read first: log.go (formats), limit.go (no log storm), health.go (what makes a
// node unready), ops.go (the listener).
//
// Goroutines: Ops.Run owns one HTTP server; nothing else here starts any.
//
// Only cmd/sluice imports this package. Stages get a *slog.Logger and a
// prometheus.Registerer passed in and offer their health as plain functions.
package obs
