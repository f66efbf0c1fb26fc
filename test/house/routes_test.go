package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Auth classes of routes: who may ask them, and what checks it.
const (
	byLadder   = "ladder"   // clients of APIs: the edge's admission ladder
	byContract = "contract" // x-roles of openapi.yaml, checked before every operation; config/admin has a test for each role
	byIssuer   = "issuer"   // an application with its secret, or a client with a credential: the built-in issuer checks it
	open       = "open"     // everybody: documents that are public
	byListener = "listener" // whoever reaches the ops listener, which is on the loopback by default
)

// routes lists every place where production code gives a router a route, or decides by a path that it names, with the auth class. A route that is missing here fails: say
// who may ask it. Contract stands for all of a generated file.
var routes = map[string]map[string]string{
	"edge/front.go":           {"/*": byLadder},
	"config/admin/api.gen.go": {"": byContract},
	"internal/obs/ops.go": {"GET /livez": byListener, "GET /healthz": byListener, "GET /readyz": byListener, "GET /metrics": byListener,
		"GET /version": byListener, "/debug/pprof/": byListener, "/debug/pprof/cmdline": byListener, "/debug/pprof/profile": byListener,
		"/debug/pprof/symbol": byListener, "/debug/pprof/trace": byListener},
	"internal/access/token/oauth.go": {"/oauth2/token": byIssuer, "/oauth2/revoke": byIssuer, "/oauth2/ticket": byIssuer, "/oauth2/cookie": byIssuer,
		"/.well-known/jwks.json": open, "/.well-known/oauth-authorization-server": open},
	"cmd/sluice/process.go": {"GET /feeds": byListener, "GET /status": byListener},
}

// routing are the methods by which routers take routes: of net/http's and of echo's.
var routing = []string{"Handle", "HandleFunc", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "Any", "Match", "Add",
	"Static", "StaticFS", "File", "FileFS", "Group", "RouteNotFound"}

// TestEveryRouteHasAnAuthClass walks the source for routes.
func TestEveryRouteHasAnAuthClass(t *testing.T) {
	seen := map[string]map[string]bool{}
	for _, top := range []string{"edge", "config", "cmd", "internal", "ingest", "fanout"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			file = filepath.ToSlash(file)
			found, err := routesIn(path, nil)
			if err != nil {
				return err
			}
			for _, pattern := range found {
				class := routes[file][pattern]
				if whole := routes[file][""]; whole != "" {
					class, pattern = whole, ""
				}
				if class == "" {
					t.Errorf("%s: route %q has no auth class; see routes in test/house", file, pattern)
				}
				if seen[file] == nil {
					seen[file] = map[string]bool{}
				}
				seen[file][pattern] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for file, list := range routes {
		for pattern := range list {
			if !seen[file][pattern] {
				t.Errorf("%s: the route %q is not there", file, pattern)
			}
		}
	}
}

// TestRouteRuleFails shows that the rule finds what it is for.
func TestRouteRuleFails(t *testing.T) {
	for text, want := range map[string][]string{
		`mux.HandleFunc("GET /secret", f)`:     {"GET /secret"},
		`http.Handle("/", h)`:                  {"/"},
		`e.POST(base+"/x", f)`:                 {"?"},
		`e.Add("GET", "/x", f)`:                {"/x"},
		`h.log.Handle(ctx, record)`:            nil,
		`s.metrics.Add(1)`:                     nil,
		`e.RouteNotFound("/*", f)`:             {"/*"},
		`reg.Match("x", "y")`:                  nil,
		`mux.Handle(pattern, h)`:               {"?"},
		`other.GET("/x", f); set.Add("/name")`: {"/x"},
		`switch path { case "/a/b", "/c": }`:   {"/a/b", "/c"},
		`switch sep { case "/", "x": }`:        nil,
	} {
		got, err := routesIn("x.go", "package x\nimport (\"net/http\"; \"github.com/labstack/echo/v4\")\nvar _ = http.NewServeMux\nvar _ = echo.New\nfunc f() { "+text+" }\n")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

// routesIn lists the patterns of routes that a file gives to a router; "?" for one that is not a literal. Files that import no router
// have none.
func routesIn(path string, src any) (patterns []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
		return i.Path.Value == `"net/http"` || strings.Contains(i.Path.Value, "labstack/echo") || strings.HasSuffix(i.Path.Value, `internal/obs"`)
	}) {
		return nil, nil
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if branch, ok := n.(*ast.CaseClause); ok {
			for _, e := range branch.List {
				if lit, ok := e.(*ast.BasicLit); ok && len(lit.Value) > 3 && lit.Value[1] == '/' {
					patterns = append(patterns, lit.Value[1:len(lit.Value)-1])
				}
			}
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(routing, sel.Sel.Name) || len(call.Args) < 2 {
			return true
		}
		at := 0
		if name := sel.Sel.Name; name == "Add" || name == "Match" {
			at = 1
		}
		switch arg := call.Args[at].(type) {
		case *ast.BasicLit:
			if text := strings.Trim(arg.Value, "\"`"); strings.Contains(text, "/") {
				patterns = append(patterns, text)
			}
		case *ast.BinaryExpr:
			patterns = append(patterns, "?")
		case *ast.Ident:
			if router, ok := sel.X.(*ast.Ident); ok && (router.Name == "mux" || router.Name == "e" || router.Name == "router" || router.Name == "http") {
				patterns = append(patterns, "?")
			}
		}
		return true
	})
	return patterns, nil
}
