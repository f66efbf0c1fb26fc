// Package fanout turns one feed into bytes for very many subscribers: a feed is one
// append-only log of encoded frames on this node, a subscriber is a cursor into it,
// and a delivery is one write of what lies between cursor and head. Nothing is queued
// per client.
//
// Read log.go with segment.go and lookup.go (the log), hub.go, feed.go, chain.go,
// repair.go and open.go (how a log is filled and kept complete), join.go, place.go,
// resume.go, judge.go and blocks.go (where a reader begins, and backlog), portable.go
// and reader.go (the engine that runs everywhere), cull.go (who ends when memory is
// short, across engines). Package shard is the Linux engine.
//
// # Goroutines
//
// Hub.Run owns the lanes, one goroutine each with a live connection of its own, a
// tender (linger, trim, memory) and an announcer of demand. Feeds that open or are
// repaired, backlog fetches and asynchronous resumes run beside them; Run waits for
// all. Whoever holds Feed.mu is its log's appender: the lane for live events, a
// repair for missed ones, so a repair that waits for the broker stops no other feed.
// Portable has no goroutine: Serve runs on its caller's.
//
// # Invariants (numbers of ARCHITECTURE.md)
//
//   - 6: a live message is appended only if it links to the newest one; otherwise the
//     broker is read first. The beacon covers the last message.
//   - 7: a resume is exact only if the anchor's time matched or the next event links
//     to it; all else is a told gap. Ids ahead of the log wait 2 s at most.
//   - 8: bytes below a log's head never change; one appender; no frame holds a
//     client's byte.
//   - 9: the appender never waits for a reader.
//   - 12: gateway events have no id here and stand between entries only.
//   - 18, 19: NewHub and NewPortable start nothing; logs, blocks, feeds, fetches and
//     kept live events are bounded.
//
// Backlog and live are the same bytes in the same order: blocks are sent only up to
// where the log ends, and a reader goes over to the log at an event found in both.
//
// It does not know HTTP, definitions of APIs or who may read (edge does), nor does it
// store anything (internal/broker).
package fanout
