// Package house checks the rules of the repository that a compiler does not: who may import whom, where third-party
// modules enter, that tests do not sleep, that every fuzz target runs in CI and that code and documents name the same
// things. It has no production code. Read rules_test.go for the tables, then the test that fails.
package house
