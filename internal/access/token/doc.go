// Package token turns what clients send to prove who they are into an access.Principal: JWTs of configured issuers and of the built-in one,
// API keys, one-use tickets and stream cookies. It also is the built-in issuer, on control.
//
// Read token.go (Verifier, the one door), then one file per kind: jwt.go (walk.go reads the JSON, jwks.go has the issuers' keys, cache.go
// what was verified), key.go, ticket.go. issuer.go signs, oauth.go answers /oauth2/….
//
// Goroutines: Verifier.Run owns one per issuer, which fetches its keys; Issuer.Run one per request that it answers, at most 64.
//
// Invariants: 15 (every kind ends in one Principal and walks the same ladder), 19 (every set, cache and body has a bound).
//
// No secret is stored, logged or told: buckets hold SHA-256, errors hold a kind and a word for the log, and all causes of one kind are
// answered with the same bytes. It decides who somebody is, never what may be read: that is the edge's ladder.
package token
