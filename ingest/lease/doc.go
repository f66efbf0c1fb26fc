// Package lease decides which node runs a feed and keeps the proof: an entry per feed in the key-value bucket "own", taken
// by compare-and-set, whose revision is the feed's epoch.
//
// Read lease.go (what a Lease is and what can be done with it), own.go (the entry), book.go (who holds what), beat.go (which
// nodes live, and when this one must not act), plan.go (which node should have which feed).
//
// A node sends a beat every 500 ms and is dead for another one that has not heard it for 3 s. A node that does not hear its
// own beats for 2 s, one second before others may call it dead, lets its upstreams go: one connection per feed. That is
// politeness; what keeps two writers apart is the broker's fence.
//
// Goroutines: none of its own; Members.Run and Book.Run are run by their owner.
//
// Invariants: 5 (the broker's fence is what keeps two writers apart; a lease only spares them the fight), 18, 19.
//
// Not here: the fence itself (internal/broker), what an owner does and how it hands a feed over (ingest).
package lease
