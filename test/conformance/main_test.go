package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryEnv carries the path of the binary from TestMain to the tests. Set beforehand, it names a binary to test instead.
const binaryEnv = "CONFORMANCE_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the binary once and runs the tests.
func run(m *testing.M) int {
	if os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", path, "../../cmd/sluice")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: build:", err)
		return 1
	}
	if err := os.Setenv(binaryEnv, path); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	return m.Run()
}
