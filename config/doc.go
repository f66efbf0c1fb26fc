// Package config holds every setting of one process: what it is called, what it defaults to, what it may be.
//
// Read config.go (the manual; edge.go, fanout.go, ingest.go, broker.go are its sections), load.go (flags before environment before
// file before defaults), validate.go (what is refused). schema.json and example.yaml are generated from the same types.
//
// Goroutines: none. Load reads the file it is told and the certificate files that one names, nothing else.
//
// Invariants: 19. A Config from Load or Default is complete and valid; an unknown key, a value out of range or a contradiction is an
// error with file, line and column, and all of them are told at once.
//
// It does not know what a setting does: the stages read their sections. API definitions are config/catalog's.
package config
