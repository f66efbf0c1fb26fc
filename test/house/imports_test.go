package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is what go list tells of one package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Module     struct{ Dir string }
}

// short is the import path without the module's name.
func (p pkg) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "sluice"), "/")
}

// packages lists our packages as built for goos.
func packages(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Module", "./...")
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, p := range packages(t, goos) {
			if len(p.GoFiles) == 0 || strings.HasPrefix(p.short(), "test/") && !slices.Contains(shipped, p.short()) {
				continue
			}
			checkImports(t, goos, p)
		}
	}
}

func checkImports(t *testing.T, goos string, p pkg) {
	t.Helper()
	name := p.short()
	allowed, known := mayImport[name]
	if !known {
		t.Errorf("%s: package is not in the table mayImport of rules_test.go", name)
		return
	}
	for _, imp := range p.Imports {
		switch own, isOwn := strings.CutPrefix(imp, "sluice/"); {
		case isOwn && name == "cmd/sluice":
			if strings.HasPrefix(own, "test/") && !slices.Contains(shipped, own) {
				t.Errorf("%s imports %s: production code must not import tests", name, own)
			}
		case isOwn && !slices.Contains(allowed, own):
			t.Errorf("%s (%s) imports %s: allowed are %v", name, goos, own, allowed)
		case imp == "testing" && !slices.Contains(testHelpers, name):
			t.Errorf("%s imports testing in production code", name)
		case (imp == "unsafe" || imp == "syscall") && !slices.Contains(unsafeHomes, name) && name != "cmd/sluice" && imp == "unsafe":
			t.Errorf("%s imports %s: only %v may", name, imp, unsafeHomes)
		case imp == "C":
			t.Errorf("%s uses cgo", name)
		case !isOwn && strings.Contains(strings.Split(imp, "/")[0], "."):
			checkDoor(t, name, imp)
		}
	}
}

func checkDoor(t *testing.T, name, imp string) {
	t.Helper()
	for module, users := range doors {
		if imp == module || strings.HasPrefix(imp, module+"/") {
			if !slices.Contains(users, name) {
				t.Errorf("%s imports %s: its doors are %v", name, imp, users)
			}
			return
		}
	}
	t.Errorf("%s imports %s: no door is listed for it in rules_test.go", name, imp)
}
