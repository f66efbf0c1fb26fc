// Package feed is the seeded market: a real SSE upstream whose every event is a pure function of a seed,
// and which can misbehave on command.
//
// It ships in the binary as "sluice feed" and as the upstream of "sluice demo", and it is the upstream of the
// end-to-end and fault tests. Because event n of a feed can be recomputed by anybody who knows the seed
// (Tape), a receiver judges what it got by its bytes, and no log of what was sent is needed.
//
// Read first: tape.go (what event n says and when it is due), market.go (the http.Handler), stream.go (one
// connection), fault.go (the table of faults).
//
// Routes: /stream/ticks, /stream/quotes?s=SYMBOL and /stream/any/{anything}; the feeds are named as a gateway
// would name them: /ticks, /quotes/SYMBOL, /any/{anything}. A connection misbehaves when asked with
// ?fault=NAME[:ARG], when a Step says so, or when a test calls Market.Inject.
//
// Goroutines: a connection is its HTTP handler plus one that waits for the client to go away; Market.Close
// ends both and waits for them. New starts nothing.
//
// What it does not do: it stores no events, judges nothing (package oracle does), and trusts its caller: it
// listens where it is told and has no authentication.
package feed
