package asyncapi

import (
	"flag"
	"os"
	"testing"
)

// A short run draws fewer random APIs.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); testing.Short() && f.Value.String() == f.DefValue {
		_ = flag.Set("rapid.checks", "20") // a number is taken
	}
	os.Exit(m.Run())
}
