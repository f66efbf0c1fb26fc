// Package admin is the management REST API: the catalog's operations over HTTP.
//
// Read openapi.yaml first: it is the contract, and types and routes are generated from it.
package admin
