// Package chaos proves the promises of many nodes with faults: a whole deployment of real processes (package topology), a
// market that knows what it said, clients that come back at another edge each time, and the oracle that judges what they
// got. A scenario is a fault, repeated while events flow; its times and victims come from a seed.
//
//	make chaos                          every scenario with five seeds: about an hour
//	make chaos SEEDS=1 S=ingest-kill    one of them
//	go test ./test/chaos                the smoke part, as CI runs it
//
// Beside the scenarios: TestTakeover times a take-over, TestPartition cuts an edge off with a firewall, TestRoll rolls all edges
// and counts reconnects, TestCost measures an edge of a cluster, TestHotApply and TestLifecycle change and end APIs of the shared
// catalog under clients; each says how the full run is asked for.
//
// Each run prints its verdict; with CHAOS_REPORT=file also one line of JSON. A run that produced too little or met too few
// faults is void and counts as failed.
//
// Read scenarios.go (what is done), run.go (what it is done to), then chaos_test.go.
package chaos
