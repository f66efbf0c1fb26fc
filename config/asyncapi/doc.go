// Package asyncapi writes catalog's APIs as AsyncAPI documents, reads such documents into APIs, and tells with pointer, line and column
// what is wrong with one. It is the only place that says "channel".
//
// Read export.go (what a document holds, by profile; export2.go and export3.go for the two families of versions, security.go), import.go
// (document to API; channels.go, servers.go), shape.go (the table of which object has which fields in which version), walk.go (a document
// against the table), schema.go (payload schemas), rules.go (what a table cannot say), refs.go (references inside a document), report.go
// (findings).
//
// Goroutines: none. Everything here is a pure function of its input: no file is opened and no request is made, whatever a document
// refers to. Fetching a document by its address is for the caller, through internal/outbound.
//
// Invariants: 13. A document's text reaches an upstream URL only through the catalog's own checks, which every imported API passes. 19.
// A document has at most 4 MiB, 500 channels, 64 levels, chains of 32 references, and a report at most 200 findings.
//
// It knows no store: whether an API exists already is for config/catalog, and what the caller wants kept of it comes in as Options.Base.
package asyncapi
