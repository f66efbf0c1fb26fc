// Package gateway runs the real program as a process of its own, for the tests that need all of it: on ports of its own,
// with its data in a folder of the test, its log read line by line.
//
// Read gateway.go (the process: New, Start, WaitLog, Ops), main.go (what a TestMain calls; building the program).
//
// Goroutines: one per process that reads its log and waits for its end; Kill waits for it, and New arranges that for the end
// of the test.
package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for something that must happen; only a broken program uses it up.
const Patience = 90 * time.Second

// baseConfig are the settings of every gateway of these tests; a test changes more by the environment. The limits for slow
// readers are out of reach: on a busy machine every reader is slow now and then.
const baseConfig = `log: {level: info, format: json}
edge: {drain: {delay: 0s}}
fanout:
  engine: %s
  drain: {over: 300ms}
  window: {bytes: 64MiB}
  slow: {stall: 1m, lag: 64MiB, softLag: 64MiB}
upstream: {backoff: {base: 100ms, max: 1s, parked: 1s}}
`

// Gateway is one sluice process and its successors on the same addresses and data.
type Gateway struct {
	t     testing.TB
	Path  string            // of the program
	Dir   string            // holds sluice.yaml, apis and data
	env   []string          // SLUICE_… and OTEL_… settings
	Addrs map[string]string // by listener; the ports stay over restarts

	shared bool // works by the catalog that the broker keeps
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended and its log is read
	err    error         // of the process, after done

	mu   sync.Mutex // guards below
	log  []Entry
	more chan struct{} // closed and renewed with each log line
}

// Entry is one line of the log.
type Entry map[string]any

// Is says that a line has the value under the key.
func (e Entry) Is(key string, want any) bool { return fmt.Sprint(e[key]) == fmt.Sprint(want) }

// Options say what differs between gateways.
type Options struct {
	Engine string            // portable or auto, the default
	APIs   map[string]string // definition files
	Env    []string          // SLUICE_… settings over baseConfig, and OTEL_… ones
	HTTPS  bool
	// Control opens the management API over the catalog that the broker keeps; Catalog follows that catalog. Either leaves APIs out.
	Control, Catalog bool
	Plain            bool // without the race detector in any case
}

// New prepares a gateway without starting it; what still runs at the end of the test is killed.
func New(t testing.TB, o Options) *Gateway {
	t.Helper()
	g := &Gateway{
		t: t, Path: Binary(t, o.Plain), Dir: t.TempDir(), env: o.Env, more: make(chan struct{}),
		Addrs: map[string]string{"edge-http": FreeAddr(t), "ops": FreeAddr(t)},
	}
	if o.HTTPS {
		g.Addrs["edge-https"] = FreeAddr(t)
	}
	if o.Control {
		g.Addrs["control"] = FreeAddr(t)
	}
	g.shared = o.Control || o.Catalog
	if o.Engine == "" {
		o.Engine = "auto"
	}
	if err := os.Mkdir(filepath.Join(g.Dir, "apis"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.Write("sluice.yaml", fmt.Sprintf(baseConfig, o.Engine))
	for name, text := range o.APIs {
		g.Write(filepath.Join("apis", name), text)
	}
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			g.DumpLog()
		}
	})
	return g
}

// Write writes a file below Dir.
func (g *Gateway) Write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.Dir, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// given holds the addresses that FreeAddr has answered: who got one may not listen at the moment.
var given sync.Map

// FreeAddr finds a loopback port below the ephemeral range, so that no client's own port takes it between two starts. It
// answers none twice.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		ln.Close()
		if _, taken := given.LoadOrStore(addr, true); !taken {
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// Start starts the process and returns when it is ready.
func (g *Gateway) Start() {
	g.t.Helper()
	g.Spawn()
	g.WaitLog("ready", func(e Entry) bool { return e.Is("msg", "ready") })
	for name, addr := range g.Addrs {
		g.WaitLog("listening on "+addr, func(e Entry) bool { return e.Is("msg", "listening") && e.Is("listener", name) && e.Is("addr", addr) })
	}
}

// Spawn starts the process.
func (g *Gateway) Spawn() {
	g.t.Helper()
	args := []string{
		"serve", "--config", filepath.Join(g.Dir, "sluice.yaml"), "--data", filepath.Join(g.Dir, "data"),
		"--http", g.Addrs["edge-http"], "--ops", g.Addrs["ops"], "--control", g.Addrs["control"],
	}
	if !g.shared {
		args = append(args, "--apis", filepath.Join(g.Dir, "apis"))
	}
	if addr := g.Addrs["edge-https"]; addr != "" {
		args = append(args, "--https", addr, "--dev-tls")
	}
	cmd := g.command(args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	g.log = nil
	g.mu.Unlock()
	g.cmd, g.done = cmd, make(chan struct{})
	go func() {
		g.readLog(stderr)
		g.err = cmd.Wait()
		close(g.done)
		g.noteLine(nil)
	}()
}

// command is the program with the gateway's settings.
func (g *Gateway) command(args ...string) *exec.Cmd {
	cmd := exec.Command(g.Path, args...)
	cmd.Dir = g.Dir
	own := func(e string) bool { return strings.HasPrefix(e, "SLUICE_") || strings.HasPrefix(e, "OTEL_") }
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), own), "GORACE=halt_on_error=1 exitcode=66"), g.env...)
	return cmd
}

// Run runs another verb of the program with the gateway's settings and returns its exit code and what it printed.
func (g *Gateway) Run(args ...string) (code int, out string) {
	g.t.Helper()
	text, err := g.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(text)
}

func (g *Gateway) readLog(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := Entry{}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = Entry{"text": lines.Text()}
		}
		g.noteLine(e)
	}
}

func (g *Gateway) noteLine(e Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e != nil {
		g.log = append(g.log, e)
	}
	close(g.more)
	g.more = make(chan struct{})
}

// WaitLog waits until the running process has logged such a line, and returns the first one.
func (g *Gateway) WaitLog(what string, ok func(Entry) bool) Entry {
	g.t.Helper()
	limit := time.After(Patience)
	for {
		g.mu.Lock()
		log, more := g.log, g.more
		g.mu.Unlock()
		for _, e := range log {
			if ok(e) {
				return e
			}
		}
		select {
		case <-more:
		case <-g.done:
			g.t.Fatalf("the gateway ended (%v) before it logged: %s", g.err, what)
		case <-limit:
			g.t.Fatalf("the gateway did not log: %s", what)
		}
	}
}

// Logged counts such lines.
func (g *Gateway) Logged(ok func(Entry) bool) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.log {
		if ok(e) {
			n++
		}
	}
	return n
}

// Log returns what the process has logged so far. After Wait or Kill that is all it ever logged.
func (g *Gateway) Log() []Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.log)
}

// DumpLog shows what the last process complained of, and its last lines; all of it if SLUICE_E2E_FACTS names a folder.
func (g *Gateway) DumpLog() {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := os.Getenv("SLUICE_E2E_FACTS") != ""
	const last = 10
	for i, e := range g.log {
		if all || i >= len(g.log)-last || e.Is("level", "WARN") || e.Is("level", "ERROR") || e["text"] != nil {
			line, _ := json.Marshal(e)
			g.t.Logf("gateway: %s", line)
		}
	}
}

// Signal sends a signal to the process.
func (g *Gateway) Signal(s os.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// Stop ends the process with SIGTERM and wants exit code 0.
func (g *Gateway) Stop() {
	g.t.Helper()
	g.Signal(syscall.SIGTERM)
	if code := g.Wait(); code != 0 {
		g.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// Wait waits for the end of the process and returns its exit code.
func (g *Gateway) Wait() int {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(Patience):
		g.t.Fatal("the gateway does not end")
	}
	var exit *exec.ExitError
	if errors.As(g.err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Kill ends the process at once, if there is one.
func (g *Gateway) Kill() {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	<-g.done
	g.cmd = nil
}

// URL is the address of a path on the plaintext listener.
func (g *Gateway) URL(path string) string { return "http://" + g.Addrs["edge-http"] + path }

// Ops asks for a path on the ops listener and returns status and body.
func (g *Gateway) Ops(path string) (int, []byte) {
	g.t.Helper()
	resp, err := OneShot().Get("http://" + g.Addrs["ops"] + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// OneShot is an HTTP client that keeps no connections and follows no redirects.
func OneShot() *http.Client {
	return &http.Client{
		Timeout:       Patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// FeedStatus is what GET /feeds tells of a feed, as far as these tests look.
type FeedStatus struct {
	Path, State, Why, Resume, Node, Standby string
	Opens, Events, Markers, Epoch           uint64
}

// Feed asks GET /feeds for the feed of a path; ok is false if it is not there.
func (g *Gateway) Feed(path string) (s FeedStatus, ok bool) {
	g.t.Helper()
	code, body := g.Ops("/feeds")
	var all struct{ Feeds []FeedStatus }
	if err := json.Unmarshal(body, &all); err != nil || code != http.StatusOK {
		g.t.Fatalf("GET /feeds: %d, %v: %s", code, err, body)
	}
	for _, s := range all.Feeds {
		if s.Path == path {
			return s, true
		}
	}
	return FeedStatus{}, false
}

// WaitFeed polls GET /feeds until it says what is wanted. It is the one place that has nothing else to wait for.
func (g *Gateway) WaitFeed(path, what string, ok func(s FeedStatus, there bool) bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, there := g.Feed(path)
		if ok(s, there) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.t.Fatalf("GET /feeds does not say %s of %s, but %+v", what, path, s)
		}
	}
}

// PID is the running process's, or the last one's.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Done returns a channel that is closed when the process started last has ended and its log is read.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// PeakMemory is the largest resident size of the process so far, in bytes; 0 where /proc does not tell.
func (g *Gateway) PeakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := strings.CutPrefix(string(line), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}
