// Package quota counts what is shared by all edges: events per window, seats and connects. Exactly: never one event more than a limit.
//
// Read limit.go (windows), bucket.go (what a delivery costs), limiter.go (how a bucket is filled), seats.go, admit.go (what a client asks
// for when it comes), source.go (what edges share, and how), source_memory.go, source_redis.go with its *.lua, README.md (keys).
//
// A Bucket holds events that were allotted to this edge; a delivery takes them with one compare-and-swap and never waits. Limiter.Run
// fills buckets from the Source behind: all doubt (a lost answer, a crash, a return nobody confirmed) loses events and never makes
// them. Without a Source of their own edges cannot share: see Memory.
//
// Goroutines: Run owns the loop and at most maxCalls calls at a time, and waits for them. Take and Give may be called by any goroutine.
//
// It knows no plans, APIs or streams (edge does), and no HTTP but for the problems that it answers.
package quota
