// Package presence is what edges tell of themselves over the broker, and who listens to it: which edges live, how far each follows the
// catalog, how many clients its feeds have there, what it counts, and how limits are used.
//
// Read presence.go (what is told), teller.go (an edge's side), roster.go (the listener's), clients.go, figures.go and usage.go (questions
// and their answers).
//
// Goroutines: Teller.Run, which waits for its answers about limits, and Roster.Run, owned by the caller; what is heard comes on the broker library's goroutine.
//
// A beat is a word, not a proof: nothing that must be right rests on it. Invariant 19: at most 1,000 edges, 8 KiB of each beat.
//
// It knows nothing of what an API is: revisions are numbers, APIs are ids. Ingest nodes have beats of their own (ingest/lease).
package presence
