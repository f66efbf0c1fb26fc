// Package version says which build this is.
//
// Read version.go. Goroutines: none. The version comes from the module or from the linker (-X sluice/internal/version.release=…), the
// rest from what the Go tool recorded in the binary.
package version

import (
	"runtime"
	"runtime/debug"
)

// release is set by the linker of a release build; empty elsewhere.
var release string

// Build is the identity of this binary.
type Build struct {
	Version string `json:"version"` // 1.2.3, or dev
	Commit  string `json:"commit"`  // revision it was built from, "" when unknown; a trailing + means uncommitted changes
	Date    string `json:"date"`    // time of that commit, RFC 3339, "" when unknown
	Go      string `json:"go"`      // toolchain, go1.26.8
}

// Read returns the identity of this binary.
func Read() Build {
	b := Build{Version: release, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && b.Commit != "" {
		b.Commit += "+"
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

// String is the version alone: what User-Agent and logs carry.
func (b Build) String() string { return b.Version }
