// Package access says who may read a stream: the plans, applications, subscriptions and keys that the broker keeps, what was denied or
// revoked, and the credentials that clients bring.
//
// Read principal.go (a client once known), kinds.go (what is stored), snapshot.go (all of it at one moment, immutable). Package token
// turns credentials into a Principal.
//
// It knows no HTTP and no catalog: edge and config/admin bring them together.
package access
