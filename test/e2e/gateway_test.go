package e2e

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

// patience is how long a test waits for something that must happen; only a broken program uses it up.
const patience = 90 * time.Second

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

// gateway is one sluice process and its successors on the same addresses and data.
type gateway struct {
	t     *testing.T
	path  string
	dir   string
	env   []string
	addrs map[string]string // by listener; the ports stay over restarts

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and its log is read
	err  error         // of the process, after done

	mu   sync.Mutex // guards below
	log  []entry
	more chan struct{} // closed and renewed with each log line
}

// entry is one line of the log.
type entry map[string]any

func (e entry) is(key string, want any) bool { return fmt.Sprint(e[key]) == fmt.Sprint(want) }

// gatewayOptions say what differs between gateways.
type gatewayOptions struct {
	engine string            // portable or auto, the default
	apis   map[string]string // definition files
	env    []string          // SLUICE_… settings over baseConfig
	https  bool
	plain  bool // without the race detector in any case
}

// newGateway prepares a gateway without starting it; what still runs at the end of the test is killed.
func newGateway(t *testing.T, o gatewayOptions) *gateway {
	t.Helper()
	g := &gateway{
		t: t, path: binary(t, o.plain), dir: t.TempDir(), env: o.env, more: make(chan struct{}),
		addrs: map[string]string{"edge-http": freeAddr(t), "ops": freeAddr(t)},
	}
	if o.https {
		g.addrs["edge-https"] = freeAddr(t)
	}
	if o.engine == "" {
		o.engine = "auto"
	}
	if err := os.Mkdir(filepath.Join(g.dir, "apis"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.write("sluice.yaml", fmt.Sprintf(baseConfig, o.engine))
	for name, text := range o.apis {
		g.write(filepath.Join("apis", name), text)
	}
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			g.dumpLog()
		}
	})
	return g
}

func (g *gateway) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// freeAddr finds a loopback port below the ephemeral range, so that no client's own port takes it between two starts.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// start starts the process and returns when it is ready.
func (g *gateway) start() {
	g.t.Helper()
	g.spawn()
	g.waitLog("ready", func(e entry) bool { return e.is("msg", "ready") })
	for name, addr := range g.addrs {
		g.waitLog("listening on "+addr, func(e entry) bool { return e.is("msg", "listening") && e.is("listener", name) && e.is("addr", addr) })
	}
}

// spawn starts the process.
func (g *gateway) spawn() {
	g.t.Helper()
	args := []string{
		"serve", "--config", filepath.Join(g.dir, "sluice.yaml"), "--apis", filepath.Join(g.dir, "apis"), "--data", filepath.Join(g.dir, "data"),
		"--http", g.addrs["edge-http"], "--ops", g.addrs["ops"], "--control", "",
	}
	if addr := g.addrs["edge-https"]; addr != "" {
		args = append(args, "--https", addr, "--dev-tls")
	}
	cmd := exec.Command(g.path, args...)
	cmd.Dir = g.dir
	own := func(e string) bool { return strings.HasPrefix(e, "SLUICE_") }
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), own), "GORACE=halt_on_error=1 exitcode=66"), g.env...)
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

func (g *gateway) readLog(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := entry{}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = entry{"text": lines.Text()}
		}
		g.noteLine(e)
	}
}

func (g *gateway) noteLine(e entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e != nil {
		g.log = append(g.log, e)
	}
	close(g.more)
	g.more = make(chan struct{})
}

// waitLog waits until the running process has logged such a line, and returns the first one.
func (g *gateway) waitLog(what string, ok func(entry) bool) entry {
	g.t.Helper()
	limit := time.After(patience)
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

// logged counts such lines.
func (g *gateway) logged(ok func(entry) bool) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.log {
		if ok(e) {
			n++
		}
	}
	return n
}

// dumpLog shows what the last process complained of, and its last lines; all of it if SLUICE_E2E_FACTS names a folder.
func (g *gateway) dumpLog() {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := os.Getenv("SLUICE_E2E_FACTS") != ""
	const last = 10
	for i, e := range g.log {
		if all || i >= len(g.log)-last || e.is("level", "WARN") || e.is("level", "ERROR") || e["text"] != nil {
			line, _ := json.Marshal(e)
			g.t.Logf("gateway: %s", line)
		}
	}
}

func (g *gateway) signal(s os.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// stop ends the process with SIGTERM and wants exit code 0.
func (g *gateway) stop() {
	g.t.Helper()
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		g.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// wait waits for the end of the process and returns its exit code.
func (g *gateway) wait() int {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatal("the gateway does not end")
	}
	var exit *exec.ExitError
	if errors.As(g.err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// kill ends the process at once, if there is one.
func (g *gateway) kill() {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	<-g.done
	g.cmd = nil
}

// url is the address of a path on the plaintext listener.
func (g *gateway) url(path string) string { return "http://" + g.addrs["edge-http"] + path }

// get asks for a path on the ops listener and returns status and body.
func (g *gateway) ops(path string) (int, []byte) {
	g.t.Helper()
	resp, err := oneShot().Get("http://" + g.addrs["ops"] + path)
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

// oneShot is an HTTP client that keeps no connections and follows no redirects.
func oneShot() *http.Client {
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// feedStatus is what GET /feeds tells of a feed, as far as these tests look.
type feedStatus struct {
	Path, State, Why, Resume string
	Opens, Events, Markers   uint64
}

// feeds asks GET /feeds for the feed of a path; ok is false if it is not there.
func (g *gateway) feed(path string) (s feedStatus, ok bool) {
	g.t.Helper()
	code, body := g.ops("/feeds")
	var all struct{ Feeds []feedStatus }
	if err := json.Unmarshal(body, &all); err != nil || code != http.StatusOK {
		g.t.Fatalf("GET /feeds: %d, %v: %s", code, err, body)
	}
	for _, s := range all.Feeds {
		if s.Path == path {
			return s, true
		}
	}
	return feedStatus{}, false
}

// waitFeed polls GET /feeds until it says what is wanted. It is the one place that has nothing else to wait for.
func (g *gateway) waitFeed(path, what string, ok func(s feedStatus, there bool) bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, there := g.feed(path)
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

// peakMemory is the largest resident size of the process so far, in bytes; 0 where /proc does not tell.
func (g *gateway) peakMemory() int64 {
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
