// Package certs is how a listener speaks TLS: which versions and suites, and a certificate that is read again when its files change.
//
// Read certs.go (a Pair of files, its reload, its metrics), dev.go (the certificate that is made for development).
//
// Goroutines: none of its own; Watch is the caller's.
package certs
