// Package sse is the event-stream wire format in both directions: a decoder for what upstreams send, as the HTML standard
// defines it, and an encoder for what is stored and what clients get.
//
// Read decoder.go (Next, the line loop), block.go (what one line does to the event being assembled), encode.go (bodies
// and frames), body.go (what an edge accepts as a stored body).
//
// Three shapes of one event meet here:
//
//	event  Event: type, data, effective id; slices into the decoder's buffer
//	body   "event: <type>\n" (optional), "data: <line>\n" per line; what a broker message carries
//	frame  body + "id: <id>\n" + "\n"; what every client of a feed gets, byte for byte the same
//
// Goroutines: none. A Decoder belongs to one goroutine; the encoder's functions are pure.
//
// Invariants: 12 (a gateway event never rewinds an id; ids use only [0-9a-z-]) and 14 (upstream bytes are hostile: every
// length is capped, bad input costs that event and never the process).
//
// Not here: connecting, timers and resuming (ingest/upstream), event ids (fanout), HTTP.
package sse
