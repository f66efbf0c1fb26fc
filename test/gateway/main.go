package gateway

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

// binDir holds the programs that Binary builds; set by Main.
var binDir string

// Main runs the tests of a package that starts gateways: call it from TestMain. It makes room for the program, runs twice as
// many tests at once as there are processors, wants all goroutines gone at the end, and then calls after, if that is not
// nil, with the exit code.
func Main(m *testing.M, after func(code int)) {
	flag.Parse()
	// These tests wait more than they work: twice as many at once as there are processors, unless told otherwise.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	dir, err := os.MkdirTemp("", "sluice-gateway-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		if after != nil {
			after(code)
		}
		os.Exit(code)
	}))
}

// buildPlain and buildRace build the program once; only Binary calls them.
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

// Binary returns the program: with the race detector if the tests have it, unless plain is wanted.
func Binary(t testing.TB, plain bool) string {
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
