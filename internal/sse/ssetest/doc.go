// Package ssetest reads the parse vectors of internal/sse for the tests that run them: those of the decoder itself, and
// those that send them through a whole gateway.
//
// Read ssetest.go. Goroutines: none. For tests only; nothing in production imports it.
package ssetest
