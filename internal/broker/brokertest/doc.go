// Package brokertest gives tests a broker: Start runs the real server in this process,
// Memory is a stand-in for synctest bubbles, where sockets and foreign goroutines are not
// allowed. Conformance is the suite that both pass; what it does not check may differ.
//
// Both are a Broker: what stages use, and Faults that make it misbehave.
//
// Goroutines: Start's are the library's and end with the test. Memory has one per bus
// subscription and per watch; they end with stop, their context, or Close.
package brokertest
