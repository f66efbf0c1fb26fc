// Package e2e runs the real program: a market as upstream, the gateway as a process of its own with the embedded broker,
// and clients that come back with their last id. What a run proves is judged by test/oracle from what the clients received.
//
// Read gateway_test.go (the process), line_test.go (market, gateway, clients and judge together), then any test.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// binDir holds the programs that binary builds; set by TestMain.
var binDir string

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait more than they work: twice as many at once as there are processors, unless told otherwise.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// buildPlain and buildRace build the program once; only binary calls them.
var (
	buildPlain = sync.OnceValues(func() (string, error) { return build("sluice") })
	buildRace  = sync.OnceValues(func() (string, error) { return build("sluice-race", "-race") })
)

func build(name string, flags ...string) (string, error) {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(binDir, name)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "sluice/cmd/sluice")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build %v: %w\n%s", flags, err, out)
	}
	return path, nil
}

// binary returns the program: with the race detector if the tests have it, unless plain is wanted.
func binary(t *testing.T, plain bool) string {
	t.Helper()
	path, err := buildPlain, error(nil)
	if !plain && raceDetector() {
		path = buildRace
	}
	p, err := path()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// raceDetector says whether this test binary was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
