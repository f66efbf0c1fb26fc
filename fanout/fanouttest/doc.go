// Package fanouttest is the suite that every engine of package fanout passes: real
// sockets, a real http.Server, a hub on an in-memory broker, and clients that check
// every byte. Run is called by fanout with the portable engine and by fanout/shard
// with its own.
//
// Read suite.go (what a test gives and what runs), world.go (one broker, hub, engine
// and server), client.go (a strict reader), then the cases_*.go files.
//
// Goroutines: each world's hub, engine and server end with its test, which fails if
// one is left, or a descriptor.
package fanouttest
