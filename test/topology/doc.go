// Package topology runs the whole multi-node deployment as processes of one machine: NATS servers, Redis, control, ingest
// nodes, edges, a load balancer and a market to look at. `make cluster` shows it to a person (cluster/), the fault suite
// drives it: every process can be killed, stopped, frozen and started again under its name and at its addresses.
//
// The processes are the real ones with the settings of deploy/: nats-server is built from the go.mod module, sluice from
// this tree, redis-server and haproxy come from the system. What they say goes to <dir>/<name>.log.
//
// Read topology.go (what there is), process.go (one of them), then roles.go (how each kind is started).
package topology
