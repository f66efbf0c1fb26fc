// Package oracle judges runs: it reads facts, what the upstream produced, what the broker stored, what each client
// received and was told, and says which promises of the system were broken.
//
// Read first: fact.go (the lines of a fact file), judge.go (what is checked as facts arrive), settle.go (what can only be
// checked at the end), verdict.go (the result).
//
// A logical client spans reconnects: a program that reads one feed and comes back with the last id it saw (package reader
// is one). Its facts come in its own order; facts of different sources may be mixed in any order. Losses and doubles are
// judged by event numbers, which the reader takes from payloads whose bytes it compared, so counting alone proves nothing.
//
// The invariants, as far as one node can break them:
//
//	I1 ordered               sequence and number rise; the number may step back only across a gap with doubles
//	I2 unique                no event twice, except across a gap with doubles
//	I3 contiguous or told    a hole between two events has a gap in it
//	I4 resumable             the same across a resume
//	I5 agreement             one sequence is one event at one time, for all clients and the store
//	I6 no phantom            received ⊆ stored ⊆ produced
//	I7 filter                nothing of another feed
//	I8 honest gap            a gap with possible:false covers an event
//	I9 ingest once           stored once, in order, epochs do not interleave, one upstream connection per feed
//	I10 converges            in the end every client has the newest event
//
// Goroutines: none; a Judge belongs to one goroutine, a Book serialises many.
//
// What it does not do: it drives nothing and waits for nothing.
package oracle
