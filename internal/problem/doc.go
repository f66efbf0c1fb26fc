// Package problem is the one table from error kinds to HTTP answers (RFC 9457).
//
// Read kind.go (the kinds anyone may wrap, and the table), problem.go (error to bytes).
//
// Goroutines: none. It knows no HTTP handler: whoever fronts HTTP writes the status, the header fields and the bytes that From and
// JSON give.
//
// Nothing of the request is echoed, and no internal text leaves: only an Error's Detail and Errors do; the rest of an error chain is
// for the log.
package problem
