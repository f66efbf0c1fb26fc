package main

import (
	"os"
	"testing"
)

// asMain is the variable that makes the test binary the program itself, for tests that need it
// as a process of its own. Those tests name it by this constant: without TestMain such a
// process would run the tests again, and they start it.
const asMain = "SLUICE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	if dir := os.Getenv(asEditor); dir != "" {
		os.Exit(playEditor(dir, os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}
