package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/feed"
)

// patience is how long a test waits for something that must happen; only a broken program uses it up.
const patience = 60 * time.Second

// liveServer is `sluice serve` as a process of its own, with its data in a folder of the test.
type liveServer struct {
	dir      string
	addrs    map[string]string // by listener
	password string
}

// startLive starts a server and waits until it is ready and the first administrator can sign in.
func startLive(t *testing.T) *liveServer {
	t.Helper()
	s := &liveServer{dir: t.TempDir(), addrs: map[string]string{}}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	s.addrs["control"] = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	cmd := exec.Command(program, "serve", "--data", filepath.Join(s.dir, "data"), "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--dev-tls",
		"--control", s.addrs["control"], "--ops", "", "--log-format", "json")
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SLUICE_") }), asMain+"=1",
		"SLUICE_EDGE_DRAIN_DELAY=0s", "SLUICE_FANOUT_DRAIN_OVER=300ms")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	waits := 2 // for all listeners, and for the first administrator
	var log bytes.Buffer
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Listener, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			switch line.Msg {
			case "listening":
				s.addrs[line.Listener] = line.Addr
			case "ready", "first administrator made":
				if waits--; waits == 0 {
					close(ready)
				}
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
			t.Error("the server did not end")
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", &log)
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("the server ended")
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "first-admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	s.password = strings.TrimSpace(string(text))
	return s
}

// url is where a listener answers.
func (s *liveServer) url(t *testing.T, listener string) string {
	t.Helper()
	addr := s.addrs[listener]
	if addr == "" {
		t.Fatalf("no listener %s in %v", listener, s.addrs)
	}
	if strings.HasSuffix(listener, "https") {
		return "https://" + addr
	}
	return "http://" + addr
}

// startFeed serves the demo market and returns its URL.
func startFeed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	market := feed.New(1, feed.Options{Start: today(), Rate: 20})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveFeed(ctx, ln, market) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		market.Close()
	})
	return "http://" + ln.Addr().String()
}

// shell is somebody at a terminal: an environment of their own, verbs run by run.
type shell struct {
	t       *testing.T
	env     map[string]string
	dir     string
	environ []string // of what a verb starts; nil = the test's
}

func newShell(t *testing.T, server string) *shell {
	dir := t.TempDir()
	return &shell{t: t, dir: dir, env: map[string]string{"SLUICE_SERVER": server, "SLUICE_CREDENTIALS": filepath.Join(dir, "home", "credentials.json")}}
}

// do runs a verb with a standard input and returns its exit code and what it printed.
func (s *shell) do(stdin string, args ...string) (code int, out, notes string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	code = run(ctx, args, env{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, signals: make(chan os.Signal), environ: s.environ,
		lookup: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok }})
	return code, stdout.String(), stderr.String()
}

// follows runs a verb that goes on until interrupted.
func (s *shell) follows(args ...string) (out *followed, interrupt func(), ended <-chan int) {
	s.t.Helper()
	out = &followed{text: make(chan []byte, 256)}
	signals, done := make(chan os.Signal, 1), make(chan int, 1)
	go func() { // ends with the interrupt, at the latest with the test
		done <- run(s.t.Context(), args, env{stdout: out, stderr: io.Discard, signals: signals,
			lookup: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok }})
	}()
	return out, func() { signals <- os.Interrupt }, done
}

// followed is what a verb prints while it runs.
type followed struct {
	text chan []byte
	seen []byte
}

func (f *followed) Write(b []byte) (int, error) {
	f.text <- bytes.Clone(b)
	return len(b), nil
}

// awaits waits until more was printed that holds a text.
func (f *followed) awaits(t *testing.T, want string) {
	t.Helper()
	late := time.After(patience)
	for !bytes.Contains(f.seen, []byte(want)) {
		select {
		case b := <-f.text:
			f.seen = append(f.seen, b...)
		case <-late:
			t.Fatalf("no %q in %s", want, f.seen)
		}
	}
	_, f.seen, _ = bytes.Cut(f.seen, []byte(want))
}

// ok runs a verb that must succeed and returns what it printed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	code, out, notes := s.do("", args...)
	if code != exitOK {
		s.t.Fatalf("sluice %s ended with %d:\n%s%s", strings.Join(args, " "), code, out, notes)
	}
	return out
}

// fails runs a verb that must end with code and say want on standard error.
func (s *shell) fails(code int, want string, args ...string) string {
	s.t.Helper()
	got, out, notes := s.do("", args...)
	if got != code || !strings.Contains(notes, want) {
		s.t.Fatalf("sluice %s ended with %d, want %d and %q:\n%s%s", strings.Join(args, " "), got, code, want, out, notes)
	}
	return notes
}

// file writes a file of the shell's folder and returns its path.
func (s *shell) file(name, text string) string {
	s.t.Helper()
	at := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return at
}

// has fails unless text holds every one of parts.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in\n%s", p, text)
		}
	}
}

// status asks an edge until it answers with a status other than until's reason to wait: changes need a moment to get there.
func status(t *testing.T, url string, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		got := 0
		if err == nil {
			got = resp.StatusCode
			resp.Body.Close()
		}
		cancel()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %d (%v), want %d", url, got, err, want)
		}
	}
}
