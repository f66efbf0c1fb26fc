// Package ingest keeps every feed of this node flowing from its upstream into the broker: in order, fenced, with every
// seam at which something may be missing marked in the feed itself.
//
// Read supervisor.go (the loop that decides what runs here), place.go (what the plan says of each feed, and what is done about
// it), demand.go (feeds that run only while someone listens, in the whole cluster), hand.go (from node to node), standby.go, page.go (what a
// node tells others of its feeds), worker.go (one feed: tenure, reader, committer), reader.go (connect, read, back off), queue.go
// (what waits, and when reading stops), commit.go (group commit, what each refusal means, and when nothing is stored because
// the node may have been taken for dead), seam.go, overlap.go and resume.go (what a reconnect proves), status.go.
//
//	upstream ──Conn.Next──▶ reader ──queue──▶ committer ──Writer.Commit──▶ broker
//	                           ▲ stops while the queue is full      └─▶ beacon
//
// Goroutines: the supervisor's loop (Run), the book of owners beside it where other nodes can be; two per feed, its worker
// (take-over, then the committer) and its reader, which the worker starts and awaits; one per feed that is being offered to
// another node, one that gives back entries nobody needs, and one that keeps a standby warm. Run returns when all are gone.
//
// Invariants: 4 (nothing gets past the broker), 5 (one writer per feed, one commit in flight), 12 (a seam is stored), 13
// (the upstream URL is made from the catalog), 14 (upstream bytes are hostile), 17, 18, 19.
//
// Not here: the wire format (internal/sse), one connection (ingest/upstream), who owns a feed (ingest/lease), streams and
// subjects (internal/broker), creating streams (whoever holds broker.Admin).
package ingest
