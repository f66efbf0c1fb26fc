package portal

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	ui       = "../../config/portal/ui"
	password = "walks through every page"
	patience = 90 * time.Second
)

// missing skips a test that lacks a tool; in CI that fails.
func missing(t *testing.T, what, help string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %s", what, help)
	}
	t.Skipf("%s is missing: %s", what, help)
}

// pages makes sure that the pages can be built and their tests run.
func pages(t *testing.T) {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name, "install Node.js 20 or later")
		}
	}
	if _, err := os.Stat(filepath.Join(ui, "node_modules")); err != nil {
		missing(t, "config/portal/ui/node_modules", "npm ci --ignore-scripts in config/portal/ui")
	}
}

// browser finds Chromium.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "chromium", "install the package chromium")
	return ""
}

// run runs a command of the pages.
func run(t *testing.T, ctx context.Context, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = ui
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	t.Logf("%s", bytes.TrimSpace(out))
}

// freeAddr is a loopback address with a port that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// start runs the program until the test ends, and waits until url answers.
func start(t *testing.T, program, url string, env []string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // owned by the cleanup below
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s %s:\n%s", program, args[0], out.String())
		}
	})
	client := http.Client{Timeout: 5 * time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		if res, err := client.Get(url); err == nil {
			res.Body.Close()
			if res.StatusCode < 500 {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%s ended:\n%s", args[0], out.String())
		case <-limit:
			t.Fatalf("%s does not answer at %s", args[0], url)
		}
	}
}

// TestUnits runs the unit tests of the pages.
func TestUnits(t *testing.T) {
	pages(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	test := []string{"run", "--silent", "test"}
	if testing.Short() { // the types are for the compiler, which TestWalks asks when it has time
		test = []string{"exec", "--offline", "--", "vitest", "run"}
	}
	run(t, ctx, nil, "npm", test...)
}

// TestWalks builds the pages and the program with them, and walks through it. With -short it walks the seed alone, and looks at fewer pages.
func TestWalks(t *testing.T) {
	pages(t)
	chromium := browser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	walks, build, short := []string{"seed", "roles", "errors", "plans", "monitor", "weight"}, []string{"run", "--silent", "build"}, ""
	if testing.Short() {
		walks, build, short = walks[:1], []string{"exec", "--offline", "--", "vite", "build", "--logLevel", "warn"}, "1"
	}
	run(t, ctx, nil, "npm", build...)
	dir := t.TempDir()
	program := filepath.Join(dir, "sluice")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "sluice/cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	shots, err := filepath.Abs("../out/portal")
	if err != nil {
		t.Fatal(err)
	}
	for _, walk := range walks {
		t.Run(walk, func(t *testing.T) {
			feed, control, edge := freeAddr(t), freeAddr(t), freeAddr(t)
			start(t, program, "http://"+feed+"/stream/any/probe?fault=none", nil, "feed", "--addr", feed, "--rate", "20")
			data := t.TempDir()
			secret := filepath.Join(data, "password")
			if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			start(t, program, "http://"+control+"/version", []string{"SLUICE_CONTROL_ADMIN_PASSWORD_FILE=" + secret},
				"serve", "--data", filepath.Join(data, "data"), "--http", edge, "--https", freeAddr(t), "--dev-tls", "--ops", freeAddr(t), "--control", control)
			run(t, ctx, []string{"PORTAL_URL=http://" + control + "/portal/", "PORTAL_PASSWORD=" + password, "PROVIDER_URL=http://" + feed, "EDGE_URL=http://" + edge,
				"OUT=" + filepath.Join(shots, walk), "CHROMIUM=" + chromium, "SHORT=" + short}, "node", "--test", fmt.Sprintf("walk/%s.test.mjs", walk))
		})
	}
}
