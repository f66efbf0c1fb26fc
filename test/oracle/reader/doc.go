// Package reader is a logical client: it reads one feed of the seeded market through a gateway, reconnects with the last id
// it saw, compares every payload with the bytes the market must have sent, and writes down what happened as facts.
//
// Read reader.go. Goroutines: Client.Run works on its caller's; the other methods may be called from anywhere.
//
// What it does not do: it judges nothing (package oracle does) and knows nothing of the gateway but its wire contract.
package reader
