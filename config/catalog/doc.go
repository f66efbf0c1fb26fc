// Package catalog knows which APIs exist, what is in them, and which of them a request means.
//
// Read api.go and topic.go (the resource), decode.go, validate.go and bundle.go (file to checked definition), snapshot.go (the
// immutable view), match.go and path.go (a request's way to its feed and its upstream URL), diff.go (what a change means for feeds and
// clients), store.go, dir.go, static.go (where definitions come from). The catalog that nodes share: manager.go and operations.go (what
// it offers), stored.go (what is in the bucket), seen.go and follow.go (what a node knows of it), serve.go (what an edge group is
// served), disk.go (the last good copy), changes.go (what a reader missed), change.go and draft.go (how a change is made), edit.go,
// transition.go, lifecycle.go, revisions.go, versions.go, apply.go (the changes), subscriptions.go (what it asks whoever keeps plans and
// subscriptions).
//
// Goroutines: a Manager's Run, and one of its own that writes the last good copy and ends before Run does; a watcher's channel is closed
// by context.AfterFunc.
//
// Locks: a Manager's mutex guards what was seen; it is held while snapshots are made, never while the broker is asked.
//
// Invariants: 13. Client input enters an upstream URL only as a matched, checked topic parameter or allow-listed query; a path is
// matched once, on segments decoded exactly once, and ambiguous ones are refused. 17. One request sees one snapshot: immutable,
// swapped whole; a bad update keeps the last good one. 19. Every list of a definition has a bound.
//
// A change is one atomic batch of compare-and-set writes: the record, the revisions it adds and removes, and the gate if it could
// collide with another API. Nothing is decided on what may be old: a refusal that rests on other APIs is made again on what the leader
// has; what was written first wins.
//
// It opens no connection: of the broker it knows the names of feeds and one bucket; what a client may do with a match is for the edge,
// what a feed does for ingest.
package catalog
