// Package lease decides which node runs a feed and keeps the proof: an entry per feed in the key-value bucket "own", taken
// by compare-and-set, whose revision is the feed's epoch.
//
// Read lease.go (the interfaces and what a Lease is), own.go (the entry).
//
// Goroutines: none.
//
// Invariants: 5 (the broker's fence is what keeps two writers apart; a lease only spares them the fight).
//
// Not here: the fence itself (internal/broker), what an owner does (ingest).
package lease
