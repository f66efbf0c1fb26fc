// Package outbound is the one way to dial an address that a user of the gateway can name: endpoints of APIs, import URLs.
//
// Read guard.go (which addresses may be connected to, checked on the address itself at the moment of connecting, so that
// neither a name that resolves differently the second time nor a redirect gets past it), transport.go (HTTP/1.1 with every
// wait and length bounded), hosts.go (the servers that the gateway itself uses), fetch.go (one document by its address).
//
// Goroutines: none of its own; a Transport has net/http's, one pair per open connection.
//
// Invariants: 14 (upstream bytes are hostile: every length is capped).
//
// Not here: following an upstream's redirects, retries, credentials (ingest/upstream).
package outbound
