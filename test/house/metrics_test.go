package house

import (
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated parts of documents anew")

// metricLabels are the labels a metric may have. Each takes a bounded set of values: by configuration (api, listener), by
// the program (the others). Never one by a client, an address, a key or a feed.
var metricLabels = []string{"api", "bucket", "code", "commit", "conn", "engine", "event", "issuer", "kind", "level", "listener", "policy", "proto",
	"reason", "result", "shard", "state", "type", "version"}

// metric is one family as the code makes it.
type metric struct{ name, typ, labels, help string }

func (m metric) row() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", m.name, m.typ, m.labels, m.help)
}

// TestMetricsAreDocumented fails when the table of metrics in deploy/prometheus/README.md is not what the code makes, when a
// name or label breaks the rules, or when two packages make one name differently. `go test ./test/house -update` writes the
// table.
func TestMetricsAreDocumented(t *testing.T) {
	all := codeMetrics(t)
	if len(all) < 50 {
		t.Fatalf("only %d metrics found: has the way they are made changed?", len(all))
	}
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		table.WriteString(m.row())
		for _, l := range strings.Fields(m.labels) {
			if !slices.Contains(metricLabels, l) {
				t.Errorf("%s: label %q is not in metricLabels", name, l)
			}
		}
		if total := strings.HasSuffix(name, "_total"); total != (m.typ == "counter") {
			t.Errorf("%s is a %s: counters, and only they, end in _total", name, m.typ)
		}
		if m.help == "" || !strings.HasSuffix(m.help, ".") && !strings.Contains(m.help, "; ") {
			t.Errorf("%s: its help is no sentence: %q", name, m.help)
		}
	}
	file := filepath.Join(root, "deploy", "prometheus", "README.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| name | type | labels | meaning |\n|---|---|---|---|\n"
	before, rest, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("%s holds no table of metrics", file)
	}
	old, after, _ := strings.Cut(rest, "\n\n")
	if *update {
		if err := os.WriteFile(file, []byte(before+head+table.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	documented := map[string]bool{}
	for row := range strings.Lines(old + "\n") {
		documented[row] = true
	}
	for _, m := range all {
		if !documented[m.row()] {
			t.Errorf("%s: not documented, or otherwise; `go test ./test/house -update` writes:\n%s", m.name, m.row())
		}
		delete(documented, m.row())
	}
	for row := range documented {
		t.Errorf("documented, but not made by the code: %s", row)
	}
}

// codeMetrics finds every sluice_… family that production code makes.
func codeMetrics(t *testing.T) map[string]metric {
	all := map[string]metric{}
	goFiles(t, func(path string, fset *token.FileSet, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/test/") || !imports(file, "github.com/prometheus/client_golang/prometheus") {
			return
		}
		for _, d := range file.Decls {
			for _, m := range metricsIn(d) {
				if old, twice := all[m.name]; twice && old != m {
					t.Errorf("%s: %s is made twice, and not alike:\n%s%s", fset.Position(d.Pos()), m.name, old.row(), m.row())
				}
				all[m.name] = m
			}
		}
	})
	return all
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

// maker is a local function that makes families whose names begin alike.
type maker struct {
	prefix, typ string
	labels      []string
}

// metricsIn finds the families made in one declaration: by a constructor of the Prometheus library with a whole name, or by a
// local function that puts a prefix before the name.
func metricsIn(body ast.Decl) (list []metric) {
	makers := map[string]maker{}
	ast.Inspect(body, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Rhs) != 1 {
			return true
		}
		lit, ok := a.Rhs[0].(*ast.FuncLit)
		if !ok {
			return true
		}
		if m, ok := makerOf(lit); ok {
			makers[a.Lhs[0].(*ast.Ident).Name] = m
		}
		return true
	})
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if id, ok := call.Fun.(*ast.Ident); ok && len(call.Args) >= 2 {
			m, made := makers[id.Name]
			name, literal := text(call.Args[0])
			help, _ := text(call.Args[1])
			if made && literal {
				labels := slices.Clone(m.labels)
				for _, a := range call.Args[2:] {
					if l, ok := text(a); ok {
						labels = append(labels, l)
					}
				}
				list = append(list, metric{m.prefix + name, m.typ, strings.Join(labels, " "), help})
			}
			return true
		}
		typ := constructor(call)
		if typ == "" {
			return true
		}
		if name, help, ok := named(call); ok && strings.HasPrefix(name, "sluice_") {
			if strings.HasSuffix(name, "_total") {
				typ = "counter" // also one that a collector of ours reports
			}
			list = append(list, metric{name, typ, strings.Join(labelsIn(call), " "), help})
		}
		return true
	})
	return list
}

// constructor is the type of family that a call makes; "" = none.
func constructor(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if x, isID := selX(sel); !ok || !isID || x != "prometheus" {
		return ""
	}
	switch name := sel.Sel.Name; {
	case strings.HasPrefix(name, "NewCounter"):
		return "counter"
	case strings.HasPrefix(name, "NewHistogram"):
		return "histogram"
	case strings.HasPrefix(name, "NewGauge"), name == "NewDesc": // what our collectors report are gauges, unless they are named as counters
		return "gauge"
	}
	return ""
}

func selX(sel *ast.SelectorExpr) (string, bool) {
	if sel == nil {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// named is name and help of a constructor's options, or of NewDesc.
func named(call *ast.CallExpr) (name, help string, ok bool) {
	if opts, is := call.Args[0].(*ast.CompositeLit); is {
		for _, e := range opts.Elts {
			kv := e.(*ast.KeyValueExpr)
			switch kv.Key.(*ast.Ident).Name {
			case "Name":
				name, ok = text(kv.Value)
			case "Help":
				help, _ = text(kv.Value)
			}
		}
		return name, help, ok
	}
	if len(call.Args) > 1 {
		name, ok = text(call.Args[0])
		help, _ = text(call.Args[1])
	}
	return name, help, ok
}

// labelsIn are the labels written out in n: []string{…} and the keys of prometheus.Labels{…}.
func labelsIn(n ast.Node) (labels []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		array, isArray := lit.Type.(*ast.ArrayType)
		sel, isSel := lit.Type.(*ast.SelectorExpr)
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok && isSel && sel.Sel.Name == "Labels" {
				e = kv.Key
			} else if !isArray || fmt.Sprint(array.Elt) != "string" {
				continue
			}
			if l, ok := text(e); ok {
				labels = append(labels, l)
			}
		}
		return true
	})
	return labels
}

// makerOf reads a local function that makes families.
func makerOf(fn *ast.FuncLit) (m maker, ok bool) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if prefix, is := text(n.X); is && strings.HasPrefix(prefix, "sluice_") {
				m.prefix, ok = prefix, true
			}
		case *ast.CallExpr:
			if typ := constructor(n); typ != "" {
				m.typ = typ
			}
		}
		return true
	})
	m.labels = labelsIn(fn.Body)
	return m, ok && m.typ != ""
}

// text is the value of a string literal or of a sum of them.
func text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, ok1 := text(e.X)
		y, ok2 := text(e.Y)
		return x + y, ok1 && ok2
	}
	return "", false
}
