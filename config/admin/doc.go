// Package admin is the management REST API: the catalog's operations over HTTP, and nothing that the catalog does not do itself.
//
// Read openapi.yaml first: it is the contract. Routes and types are generated from it (api.gen.go), and what it says of parameters, of
// media types and of who may call an operation (x-roles) is checked as it says (contract.go, guard.go). Then server.go (how a request
// comes in), answer.go (an error's way to a problem document), body.go (strict reading of bodies), etag.go, page.go, write.go (what
// changes have in common), and one file per kind of resource: apis.go, topics.go, lifecycle.go, revisions.go, versions.go, bundle.go,
// asyncapi.go, wso2.go, dev.go, snippets.go (with the programs in the folder of that name), session.go, info.go. Who may read streams:
// access.go (what its resources have in common), plans.go, applications.go (keys too), subscriptions.go, denies.go (revocations too),
// tickets.go, bundle_access.go (these kinds in a bundle), carry.go (what the catalog asks of subscriptions). html.go makes the readable page
// of the contract.
//
// Goroutines: Server.Run has one for net/http's server and one that watches the certificate, which it awaits; requests are net/http's.
//
// Invariants: 17. One request reads records of one catalog and writes compare-and-set on them. 18. New starts nothing. 19. A body has at
// most 1 MiB, an imported document 4 MiB, a page 200 entries.
//
// Bodies are read by internal/doc, so that every error has a pointer, a line and a column; no validator of schemas sees a definition.
// What a developer may see is built field by field (dev.go). Who somebody is, is for internal/auth.
package admin
