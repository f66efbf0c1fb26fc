// Package edge is the data plane's front: it routes a client's request, admits it,
// finds where its stream begins and hands it to an engine of package fanout.
//
// Read first: stream.go (how a client gets in, one step a line), then front.go (what
// is checked before), choice.go (what a request may ask), credential.go (what it shows of
// who it is), ladder.go (what is asked of that, at the door and later), takeover.go (which
// engine, and the seam to net/http), right.go (by what streams may be read), warden.go and
// warden_rights.go (who is ended for what changed), close.go (how a stream's books are
// closed), memory.go (what happens when memory is short).
//
// What a client sees:
//
//   - 200, text/event-stream; the first body bytes are "retry: <ms>\n", then at most
//     one gateway.gap, then events. Each event ends with "id: <id>" and a blank line.
//   - Start: Last-Event-ID (header, else query lastEventId, last_event_id or
//     Last-Event-ID), else since, else from, else the topic's start. control= opts in
//     to gateway.live, gateway.stale, gateway.fresh and bookmarks.
//   - A credential that ends is told ten seconds before, by gateway.reauth.
//   - An end is told by its own retry line and gateway.end: end.go.
//   - A refusal is application/problem+json. A temporary one is told to an SSE request
//     as a stream that ends at once, since an EventSource never returns after a status
//     that is not 200: refuse.go.
//
// Goroutines: Run owns one per listener, the closer (seats, access lines), the warden
// (changes of the catalog and of who may read, credentials that end), the memory watch
// and the certificate watch, and awaits them. net/http owns one per connection; that of a
// connection handed to a shard ends at once, the others last as long as their stream.
//
// Invariants: 10 (a plaintext client owns no goroutine here), 13 (paths are matched
// once, escaped, by the catalog), 15 (an event is sent only while the credential covers
// its topic), 17 (one request sees one snapshot), 19 (tables are bounded by seats). A seat
// is given back once, by whoever closes the socket: the engine reports the end to Ended,
// with the number that the record has in meta.go.
//
// Not here: matching (config/catalog), verifying (internal/access/token), positions and
// gaps (fanout), problem types (internal/problem).
package edge
