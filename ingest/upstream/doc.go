// Package upstream is one connection to one SSE upstream: the request, redirects, what each answer means, and events until
// the connection ends.
//
// Read client.go (Open: request, redirects, the table of answers), conn.go (Next, the two timers), errors.go (the state
// and the reaction that each failure stands for).
//
// Goroutines: none of its own beyond net/http's and a timer's; ending the context given to Open ends them.
//
// Invariants: 13 (the URL comes from the catalog, never from a client) and 14 (upstream bytes are hostile: every length is
// capped, bad input costs that event or connection).
//
// Not here: when to connect again, which Last-Event-ID to send and what its answer proves (ingest); which addresses may be
// dialled (internal/outbound).
package upstream
