// Package load measures any server that fans events out over Server-Sent Events: it is what "sluice bench" runs.
//
// A cell opens many connections, publishes events by a timetable (or only listens), judges at every client what
// arrives and puts the server's own CPU time and memory beside it. Rounds repeat cells in turn with baselines, because
// on a shared machine only ratios of neighbouring runs mean something.
//
// Read first: cell.go (Cell, what can be set, and Run, its phases), parser.go (bytes to events, per client), judge.go
// (what one client may see), book.go (what one worker adds up). Then the engines that own the connections: epoll_linux.go
// for plaintext HTTP/1.1, portable.go for everything else; the sources of events: origin.go, post.go; rounds.go;
// rawloop_linux.go, the floor that figures are compared with.
//
// Goroutines: one per epoll worker, or one per portable client; the publisher; the sampler. Cell.Run starts all of them
// and has waited for all when it returns.
//
// Honesty: latency counts from when an event was due, not from when it was sent, so that a stalled publisher or server
// cannot hide (open loop). A publisher that falls behind its timetable by itself makes the cell void, and it says so; one
// that waits for a server to take the event before is late by the server's fault. So is a bench that is out of CPU void.
//
// It ships in the binary, so it obeys production rules. What it does not do: start the server under test, draw in a
// terminal (cmd/sluice), assert speed.
package load
