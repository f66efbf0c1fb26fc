package house

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTracesAreDocumented fails when the spans, attributes or variables of deploy/otel/README.md are not those of the code.
func TestTracesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "otel", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]bool{}
	goFiles(t, func(path string, _ *token.FileSet, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/test/") {
			return
		}
		if imports(file, "sluice/internal/trace") {
			for _, name := range spanWords(file) {
				code[name] = true
			}
		}
		if strings.HasSuffix(filepath.ToSlash(path), "internal/obs/traceenv.go") {
			for _, name := range traceVariables(file) {
				code[name] = true
			}
		}
	})
	if len(code) < 50 {
		t.Fatalf("only %d names found: has the way they are written changed?", len(code))
	}
	documented := map[string]bool{}
	for row := range strings.Lines(string(text)) {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row, -1) {
			if spanWord.MatchString(m[1]) || strings.HasPrefix(m[1], "OTEL_") {
				documented[m[1]] = true
			}
		}
	}
	for name := range code {
		if !documented[name] {
			t.Errorf("deploy/otel/README.md: no row has %s, which the code has", name)
		}
	}
	for name := range documented {
		if !code[name] && name != "service.version" && name != "service.instance.id" { // those are the resource's
			t.Errorf("deploy/otel/README.md has %s, which the code does not", name)
		}
	}
}

// spanWord is the form of a span's name or an attribute's key.
var spanWord = regexp.MustCompile(`^[a-z]+(\.[a-z_]+)+$`)

// spanWords are the names of spans and the keys of attributes that a file has: the words that begin like a stage's span, and
// the first argument of each attribute.
func spanWords(file *ast.File) (words []string) {
	span := regexp.MustCompile(`^(edge|fanout|ingest)\.[a-z]+$`)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, ok := text(n); ok && span.MatchString(s) {
				words = append(words, s)
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if x, is := selX(sel); !ok || !is || x != "trace" || len(n.Args) != 2 {
				return true
			}
			if key, ok := text(n.Args[0]); ok && spanWord.MatchString(key) {
				words = append(words, key)
			}
		}
		return true
	})
	return words
}

// traceVariables are the variables that a file reads: those written out, and those of traces and of all signals whose end is
// given to either or signal.
func traceVariables(file *ast.File) (names []string) {
	whole := regexp.MustCompile(`^OTEL_[A-Z_]*[A-Z]$`)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, ok := text(n); ok && whole.MatchString(s) {
				names = append(names, s)
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "either" && sel.Sel.Name != "signal" || len(n.Args) != 1 {
				return true
			}
			if end, ok := text(n.Args[0]); ok {
				names = append(names, "OTEL_EXPORTER_OTLP_"+end, "OTEL_EXPORTER_OTLP_TRACES_"+end)
			}
		}
		return true
	})
	return names
}
