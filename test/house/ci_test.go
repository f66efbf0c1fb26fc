package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// goFiles calls f for every Go file of the repository, parsed.
func goFiles(t *testing.T, f func(path string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "bin" || d.Name() == "data") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f(path, fset, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoSleep refuses time.Sleep in tests, but for files that import testing/synctest, where time is fake: a test waits
// for a fact.
func TestNoSleep(t *testing.T) {
	goFiles(t, func(path string, fset *token.FileSet, file *ast.File) {
		if !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "test/") {
			return
		}
		for _, imp := range file.Imports {
			if imp.Path.Value == `"testing/synctest"` {
				return
			}
		}
		for _, call := range callsOf(file, "time", "Sleep") {
			t.Errorf("%s: time.Sleep outside a synctest bubble: wait for a fact", fset.Position(call.Pos()))
		}
	})
}

func callsOf(body ast.Node, pkg, name string) (calls []*ast.CallExpr) {
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg && sel.Sel.Name == name {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// TestFuzzTargetsRunInCI fails when a fuzz target is not named in the list that .ci/run and make fuzz read.
func TestFuzzTargetsRunInCI(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(root, "test", "fuzz.txt"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) == 2 && !strings.HasPrefix(line, "#") {
			listed[f[0]+" "+f[1]] = false
		}
	}
	goFiles(t, func(path string, fset *token.FileSet, file *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		dir, _ := filepath.Rel(root, filepath.Dir(path))
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !regexp.MustCompile(`^Fuzz[A-Z]`).MatchString(fn.Name.Name) {
				continue
			}
			key := filepath.ToSlash(dir) + " " + fn.Name.Name
			if _, ok := listed[key]; !ok {
				t.Errorf("%s: %s is not in test/fuzz.txt", fset.Position(fn.Pos()), key)
			}
			listed[key] = true
		}
	})
	for key, found := range listed {
		if !found {
			t.Errorf("test/fuzz.txt lists %q, which does not exist", key)
		}
	}
}

// TestNoLocalTraces refuses paths of somebody's machine and registry hosts in what is committed.
func TestNoLocalTraces(t *testing.T) {
	bad := regexp.MustCompile(`/(home|Users)/[a-z]+/|/` + `work/|/` + `root/|proxy\.` + `golang\.org|registry\.` + `npmjs\.org|deb\.` + `debian\.org`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "bin" || d.Name() == "data" {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Name() == ".git" { // of a worktree it is a file that names the repository
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 1<<20 {
			return err
		}
		if m := bad.Find(b); m != nil {
			t.Errorf("%s: holds %q", path, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPackageComments wants a package comment that routes the reader in every package.
func TestPackageComments(t *testing.T) {
	has := map[string]bool{}
	goFiles(t, func(path string, _ *token.FileSet, file *ast.File) {
		dir := filepath.Dir(path)
		has[dir] = has[dir] || file.Doc != nil && strings.TrimSpace(file.Doc.Text()) != ""
	})
	for dir, ok := range has {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}
