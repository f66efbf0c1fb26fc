package version

import (
	"runtime"
	"testing"
)

func TestReadNamesTheToolchainAndAVersion(t *testing.T) {
	b := Read()
	if b.Go != runtime.Version() {
		t.Errorf("Go = %q, want %q", b.Go, runtime.Version())
	}
	if b.Version != "dev" || b.String() != "dev" {
		t.Errorf("a build without -X is %q (%q), want dev", b.Version, b)
	}
}
