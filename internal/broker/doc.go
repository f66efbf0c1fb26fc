// Package broker is everything JetStream: the embedded server, streams and subjects,
// the fenced commit, live events and beacons, reads without consumers, buckets and core
// messages. No other package imports the NATS modules.
//
// Read broker.go (the types and interfaces the stages meet through), feedid.go (paths
// to subjects), message.go (headers of a stored message), then writer.go with
// pipeline.go and batch.go, live.go, direct.go. Servers elsewhere: conn.go, login.go.
//
// # What is stored
//
//	ev.<api>.<feed>      events; stream EV_<api>, one per API
//	live.<api>.<feed>    the live copy, republished by the stream
//	bcn.<api>.<feed>     beacons, core messages
//	dem.open, dem.list   demand, core messages
//	hb.ing.<node>        beats of ingest nodes, core messages
//	hand.<node>          feeds offered and handed to an ingest node, core messages
//	feeds.<node>         questions for an ingest node's page of feeds, core messages
//	hb.edge.<node>       beats of edges: how far each follows the catalog, core messages
//	clients.<node>       questions for an edge's clients of an API, core messages
//	KV own, api, …       buckets; a revision of own is a writer's epoch
//
// A body is the exact prefix of a client's frame: "event:" and "data:" lines. Headers:
// Sse-Tx <epoch>.<n>[.<i>] (which commit, which event of it), Sse-Prev (the feed's
// sequence before this one; absent inside an atomic batch, where it is the one before),
// Sse-Id (upstream id), Sse-Rx (time of receipt), Sse-Ctl: gap (a marker), Sse-Path (of
// feeds whose path is too long for a subject), traceparent (the commit's span, on its
// first event, if it is recorded). Anything else under a feed's subject is
// foreign: it is left out and shows as a hole.
//
// # Goroutines
//
// Node owns the client library's (connection readers and writers; they end with Close)
// and the embedded server's. A Watch of a bucket has one, which ends with its context.
// Commit, Read, Next run on their callers.
//
// # Invariants
//
//   - 5: one writer per feed, fenced: every stored event expected its predecessor as the
//     feed's last (predict.go says why also when events are sent ahead of answers).
//   - 6 and 7 rest on Link, Last and Position of each message: facts, judged by fanout.
//   - 3: a read's answer is whole or an error; nothing is cut silently.
//   - 18, 19: Open's resources end with Close; queues and caches are bounded.
//
// It does not decide who may write (ingest/lease), repair feeds (fanout) or know what an
// API is (config/catalog).
package broker
