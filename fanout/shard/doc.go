// Package shard writes logs to plaintext HTTP/1.1 sockets on Linux without a
// goroutine, channel, queue or buffer per client.
//
// An Engine has N shards. A shard is one goroutine with one epoll; it owns its
// sockets alone: nobody else sends on, polls or closes them. A client is a 64-byte
// slot without pointers; a delivery is one non-blocking send of the bytes between
// its cursor and the log's head, shared by all.
//
// Read engine.go (who calls what), shard.go (a turn of the loop), pass.go (an event
// to all members of a log), client.go (what one client is owed, in order), sweep.go
// (heartbeats, limits, lifetimes), close.go (how clients end), cull.go (who lags
// most). slab.go and inbox.go are the two data structures; poll_linux.go and sock_linux.go the system calls.
//
// Goroutines: one per shard, started by Engine.Run, which waits for them. Adopt, Cut,
// Laggards and Drain are messages to shards. Config.Ended, the why of a Cut and Meters are
// called on a shard's goroutine.
//
// Invariants 8–11 of ARCHITECTURE.md, and here:
//
//  1. A live member of a log is at its head, in the unvisited part of a running
//     pass, or on the catch-up list. A blocked one has EPOLLOUT armed.
//  2. The dirty latch of a log is cleared before its head is read, and a shard parks
//     only after it looked at its inbox once more: no wake-up is lost.
//  3. A slot's generation changes before the slot is used again; events, answers and
//     list entries of an older generation are ignored.
//  4. Heartbeats, gaps and end bytes start at entry boundaries only, after all that
//     is owed.
//  5. A cursor moves by exactly what the kernel accepted. Every adopted socket is
//     closed once and reported once.
//
// Subscriber.Head and Start.Gap are sent exactly as they are given. For Framing
// Chunked the engine makes chunks of heartbeats, its own gaps and end bytes, and ends
// the body.
//
// Off Linux New returns ErrUnsupported; the portable engine of package fanout serves
// everybody there. TLS, HTTP/2 and HTTP/1.0 clients are its work everywhere.
package shard
