package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for a fact. It is generous: nothing here measures time.
const patience = 60 * time.Second

// gateway is a process of the binary with one folder of definitions, restartable on the same addresses.
type gateway struct {
	t     *testing.T
	apis  string
	data  string
	extra []string

	http, https, ops string // host:port, known after start
	cmd              *exec.Cmd
	gone             chan struct{} // closed when the process and its log are done

	mu  sync.Mutex
	log []string // the last lines of the process, for failures
}

// startGateway writes the definitions to a folder, starts the binary on free ports and waits until it is ready. It ends
// with the test.
func startGateway(t *testing.T, definitions []string, extra ...string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{t: t, apis: filepath.Join(dir, "apis"), data: filepath.Join(dir, "data"), extra: extra}
	if err := os.MkdirAll(g.apis, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, text := range append(definitions, probe(t)) {
		if err := os.WriteFile(filepath.Join(g.apis, fmt.Sprintf("api-%d.yaml", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.http, g.ops = "127.0.0.1:0", "127.0.0.1:0"
	for _, arg := range extra {
		if arg == "--dev-tls" {
			g.https = "127.0.0.1:0"
		}
	}
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("last lines of the gateway:\n%s", g.lastLines())
		}
	})
	g.start()
	return g
}

// start runs the binary on the addresses known so far and waits until it is ready.
func (g *gateway) start() {
	g.t.Helper()
	args := append([]string{"serve", "--apis", g.apis, "--data", g.data, "--http", g.http, "--https", g.https, "--ops", g.ops,
		"--control", "", "--log-format", "json"}, g.extra...)
	g.cmd = exec.Command(os.Getenv(binaryEnv), args...)
	logs, err := g.cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ready := make(chan struct{})
	g.gone = make(chan struct{})
	go g.follow(logs, ready)
	select {
	case <-ready:
	case <-g.gone:
		g.t.Fatalf("gateway ended before it was ready:\n%s", g.lastLines())
	case <-time.After(patience):
		g.t.Fatalf("gateway not ready in %v:\n%s", patience, g.lastLines())
	}
	until(g.t, "readyz says 200", func() bool {
		res, err := http.Get("http://" + g.ops + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	// Readiness is about listeners and broker. A stream asked for in the same instant may still be refused for a moment
	// (503, told as such because of errors=status), which would be a refusal more than the tests count.
	until(g.t, "streams are served", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url("/probe/1.0.0/p/1?errors=status"), nil)
		if err != nil {
			g.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// until asks again and again whether fact holds, for as long as patience lasts.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !fact(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// follow reads the log of the process to its end: the addresses, then readiness.
func (g *gateway) follow(logs io.Reader, ready chan<- struct{}) {
	defer close(g.gone)
	told := false
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Msg, Listener, Addr string }
		g.keep(lines.Text())
		if json.Unmarshal(lines.Bytes(), &line) != nil || told {
			continue
		}
		switch {
		case line.Msg == "listening" && line.Listener == "edge-http":
			g.http = line.Addr
		case line.Msg == "listening" && line.Listener == "edge-https":
			g.https = line.Addr
		case line.Msg == "listening" && line.Listener == "ops":
			g.ops = line.Addr
		case line.Msg == "ready":
			told = true
			close(ready)
		}
	}
	_ = g.cmd.Wait() // the pipe is at its end, so the process is gone or going
}

func (g *gateway) keep(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.log) == 40 {
		g.log = g.log[1:]
	}
	g.log = append(g.log, line)
}

func (g *gateway) lastLines() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.log, "\n")
}

// kill ends the process as kill -9 does and waits for it. Killing it twice is fine.
func (g *gateway) kill() {
	if g.cmd == nil || g.cmd.Process == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	<-g.gone
}

// drain asks the process to end as a supervisor does, and waits for exit status 0.
func (g *gateway) drain() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	select {
	case <-g.gone:
	case <-time.After(patience):
		g.t.Fatalf("not drained in %v", patience)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		g.t.Errorf("drained with exit status %d, want 0", code)
	}
}

// quickDrain is the arguments that make a drain begin at once and end streams within a second.
func quickDrain(t *testing.T) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte("edge: {drain: {delay: 0s}}\nfanout: {drain: {over: 1s}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", path}
}

// url is the address of path on the plaintext listener.
func (g *gateway) url(path string) string { return "http://" + g.http + path }

// probe is an API that the rig itself asks for a stream; its backend says nothing.
func probe(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return definition("probe", srv.URL, "  topics: [{name: '/p/{n}', params: {n: '^1$'}, security: none}]\n")
}

// definition is an API at /<name>/1.0.0 with the given body of spec, indented by two spaces.
func definition(name, endpoint, spec string) string {
	return "apiVersion: sluice/v1\nkind: API\nmetadata: {name: " + name + "}\nspec:\n  context: /" + name +
		"\n  version: 1.0.0\n  state: PUBLISHED\n  endpoint: " + endpoint + "\n  cors: {origins: ['*']}\n" + spec
}

// deadline is a context that ends with the test or when patience does.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// missing skips a test for want of a program, saying what to do about it.
func missing(t *testing.T, what, remedy string) {
	t.Helper()
	t.Skipf("SKIPPED: %s is missing. Remedy: %s", what, remedy)
}
