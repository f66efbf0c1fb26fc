// Package portal serves the web pages of the control role: the publisher's and the developer's side, built from ui/ by `make ui`.
//
// Read server.go (the pages, and what stands there without them) and try.go (a stream by way of this listener, for the try-out).
//
// The pages call the management API of the same origin; nothing here decides anything that the API would not.
package portal
