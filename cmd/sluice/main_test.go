package main

import (
	"os"
	"testing"
)

// TestMain lets the test binary be the program itself, for tests that need it as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
