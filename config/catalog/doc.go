// Package catalog knows which APIs exist, what is in them, and which of them a request means.
//
// Read api.go and topic.go (the resource), decode.go, validate.go and bundle.go (file to checked definition), snapshot.go (the
// immutable view), match.go and path.go (a request's way to its feed and its upstream URL), diff.go (what a change means for feeds and
// clients), store.go, dir.go, static.go (where definitions come from).
//
// Goroutines: none of its own; a watcher's channel is closed by context.AfterFunc.
//
// Invariants: 13. Client input enters an upstream URL only as a matched, checked topic parameter or allow-listed query; a path is
// matched once, on segments decoded exactly once, and ambiguous ones are refused. 17. One request sees one snapshot: immutable,
// swapped whole; a bad update keeps the last good one. 19. Every list of a definition has a bound.
//
// It opens no connection and knows no broker but for the names of feeds; what a client may do with a match is for the edge, what a
// feed does for ingest.
package catalog
