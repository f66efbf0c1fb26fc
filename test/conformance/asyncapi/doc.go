// Package asyncapi holds the tests that let the official JSON schemas, parser and converter of AsyncAPI judge what config/asyncapi writes
// and what it says of documents.
//
// Read README.md (what is proved, how to run), judge_test.go (the official tools as a process), mutants_test.go (thousands of documents
// with one mistake each), disagreements.txt (verdicts that differ, and why).
//
// Goroutines: one per judge, which feeds it; Close waits for it.
package asyncapi
