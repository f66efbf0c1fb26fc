package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tutorial's commands do in this order what it shows, on ports that are free here.
func TestTutorial(t *testing.T) {
	t.Parallel()
	playDocument(t, "../../deploy/examples/tutorial.md", 25)
}

// So do those of the page about applications, subscriptions and keys; and then the programs that it gives away read a stream.
func TestAccessPage(t *testing.T) {
	t.Parallel()
	sh := playDocument(t, "../../deploy/examples/access.md", 25)
	for lang, run := range map[string]string{"curl": "bash", "python": "python3", "fetch": "node"} {
		if _, err := exec.LookPath(run); err != nil {
			t.Logf("no %s here", run)
			continue
		}
		command := fmt.Sprintf("sluice snippet Market@1.0.0 /ticks --lang %s >snippet.mjs; SLUICE_KEY=$KEY timeout 30 %s snippet.mjs 2>&1 | grep -m 1 MASSIVE", lang, run)
		if got := sh.run(command); !strings.Contains(got, `"s":"MASSIVE"`) {
			t.Errorf("%s reads %q\n%s", lang, got, sh.run("cat snippet.mjs"))
		}
	}
}

// playDocument runs the commands of a page, at least so many, and compares what they print with what the page shows. It returns the shell
// that ran them.
func playDocument(t *testing.T, file string, least int) *bash {
	t.Helper()
	for _, need := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("no %s here", need)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ports := swapPorts(t, "8090", "8080", "8443", "9080", "9090")
	steps := parseTutorial(t, ports(string(text)))
	if len(steps) < least {
		t.Fatalf("only %d commands found", len(steps))
	}
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "sluice")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	env := append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SLUICE_") }),
		asMain+"=1", "PATH="+dir+":"+os.Getenv("PATH"), "SLUICE_CREDENTIALS="+filepath.Join(dir, "credentials.json"),
		"SLUICE_SERVER="+ports("http://127.0.0.1:9080"), "SLUICE_EDGE_HTTP_ADDR="+ports("127.0.0.1:8080"),
		"SLUICE_CONTROL_ADDR="+ports("127.0.0.1:9080"), "SLUICE_OPS_ADDR="+ports("127.0.0.1:9090"), "SLUICE_LOG_LEVEL=warn",
		"SLUICE_EDGE_DRAIN_DELAY=0s", "SLUICE_FANOUT_DRAIN_OVER=300ms")
	sh := startBash(t, dir, env)
	for _, s := range steps {
		if command, ok := strings.CutSuffix(s.command, " &"); ok {
			startBackground(t, dir, env, command, s)
			continue
		}
		got := sh.run(s.command)
		if !s.pattern().MatchString(got) {
			t.Fatalf("%s:%d: %s\nprints\n%s\nbut the page shows\n%s", filepath.Base(file), s.line, s.command, got, s.output)
		}
	}
	return sh
}

// swapPorts returns a function that puts free ports in the place of those that a text names after a colon.
func swapPorts(t *testing.T, names ...string) func(string) string {
	t.Helper()
	var pairs []string
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // all at the end, so that none is given twice
		pairs = append(pairs, ":"+name, ":"+port)
	}
	return strings.NewReplacer(pairs...).Replace
}

// step is one command of the tutorial with what it prints.
type step struct {
	line    int
	command string
	output  string
}

// parseTutorial finds the commands in the console blocks: behind `$ `, going on behind `> `.
func parseTutorial(t *testing.T, text string) (steps []step) {
	t.Helper()
	in := false
	n := 0
	for raw := range strings.Lines(text) {
		n++
		line := strings.TrimSuffix(raw, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			in = line == "```console"
		case !in:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: n, command: line[2:]})
		case len(steps) == 0:
			t.Fatalf("line %d: output without a command", n)
		case strings.HasPrefix(line, "> "):
			steps[len(steps)-1].command += "\n" + line[2:]
		default:
			steps[len(steps)-1].output += line + "\n"
		}
	}
	return steps
}

// pattern matches what a step may print: … on a line of its own stands for any lines, within one for any text.
func (s step) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(s.output) {
		if line == "…\n" {
			b.WriteString(`(?s:.*)`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", "[^\n]*"))
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// bash is one shell that runs commands one after the other.
type bash struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	n   int
}

func startBash(t *testing.T, dir string, env []string) *bash {
	t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Env = dir, env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		out.Close()
	})
	return &bash{t: t, in: in, out: bufio.NewReader(out)}
}

// run runs a command and returns what it printed.
func (b *bash) run(command string) string {
	b.t.Helper()
	b.n++
	end := fmt.Sprintf("--- end of command %d ---", b.n)
	if _, err := fmt.Fprintf(b.in, "%s\necho; echo '%s'\n", command, end); err != nil {
		b.t.Fatal(err)
	}
	lines := make(chan string, 1)
	go func() {
		var out strings.Builder
		for {
			line, err := b.out.ReadString('\n')
			if strings.TrimSuffix(line, "\n") == end || err != nil {
				lines <- strings.TrimSuffix(out.String(), "\n")
				return
			}
			out.WriteString(line)
		}
	}()
	select {
	case out := <-lines:
		return out
	case <-time.After(patience):
		b.t.Fatalf("%s\ndoes not end", command)
	}
	return ""
}

// startBackground starts a program that stays and waits until it has printed what the tutorial shows.
func startBackground(t *testing.T, dir string, env []string, command string, s step) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+command)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards printed
	var printed strings.Builder
	shown, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		told := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			printed.WriteString(lines.Text() + "\n")
			if !told && s.pattern().MatchString(printed.String()) {
				told = true
				close(shown)
			}
			mu.Unlock()
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
			t.Errorf("%s did not end", command)
		}
		if t.Failed() {
			t.Logf("%s printed\n%s", command, &printed)
		}
	})
	select {
	case <-shown:
	case <-ended:
	case <-time.After(patience):
	}
	mu.Lock()
	defer mu.Unlock()
	if !s.pattern().MatchString(printed.String()) {
		t.Fatalf("tutorial.md:%d: %s\nprints\n%s\nbut the tutorial shows\n%s", s.line, command, &printed, s.output)
	}
}
