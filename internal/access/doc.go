// Package access says who may read a stream: the plans, applications, subscriptions and keys that the broker keeps, what was denied or
// revoked, and the credentials that clients bring.
//
// Read principal.go (a client once known), kinds.go (what is stored), snapshot.go (all of it at one moment, immutable), store.go (who
// keeps it), change.go (how it is changed), key.go (how secrets look). Package token turns credentials into a Principal.
//
// Every node that needs it follows buckets access and revoke with a Store, and shows them as one Snapshot. Control changes bucket access
// only by batches that hold the key gate, at the revision that the change was decided on: so checks of what must be unique, of limits and
// of references are exact, whichever nodes write at once. Revocations stand alone, each under its own key, so that one never waits.
//
// Invariants: a Snapshot never loses a record that nobody deleted, were the bucket wiped or restored; until both buckets were read, or the
// last good copy on disk was, nothing is shown; no secret is stored, only hashes.
//
// Goroutines: Store.Run owns one per bucket, one for the beacons, on control one for the first plans, and waits for all.
//
// It knows no HTTP and no catalog: edge and config/admin bring them together.
package access
