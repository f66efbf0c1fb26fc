// Package conformance holds the tests that drive the real binary with clients we did not write: a browser, curl, Go and
// npm libraries, and the parse vectors sent through the whole gateway.
//
// Read README.md (what is proved, how to run), rig_test.go (the gateway as a process), upstream_test.go (the backend behind
// it), strict_test.go (a reader that accepts only what the edge promises to send).
//
// Goroutines: only those of the tests. Not here: the parser on its own (internal/sse), faults of broker and processes
// (test/chaos), bad requests (test/badinput).
package conformance
