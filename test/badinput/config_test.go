package badinput

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/test/gateway"
)

// TestConfig sends settings, definitions, flags and reloads.
func TestConfig(t *testing.T) {
	t.Parallel()
	f := load(t, "config")
	program := gateway.Binary(t, false)
	var reloads []Case
	for _, c := range f.Cases {
		if c.Send.Reload != nil {
			reloads = append(reloads, c)
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			ran(t, c.ID)
			configCase(t, program, c)
		})
	}
	t.Run("reload", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, f.Fixtures["main"], "auto")
		for _, c := range reloads {
			t.Run(c.ID, func(t *testing.T) {
				ran(t, c.ID)
				r.reload(t, c)
			})
		}
		r.end()
	})
}

// configCase runs the program in a folder of its own and checks exit code and what it says. Nothing else may appear in the
// folder: what is refused starts nothing.
func configCase(t *testing.T, program string, c Case) {
	dir := t.TempDir()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fill := strings.NewReplacer("${busy}", busy.Addr().String(), "${canary}", canary, "${many}", strings.TrimSuffix(strings.Repeat("y,", 1000), ","),
		"${aliases}", strings.TrimSuffix(strings.Repeat("*a,", 400), ","))
	for name, text := range c.Send.Files {
		mode := os.FileMode(0o600)
		if rest, open := strings.CutPrefix(name, "open:"); open {
			name, mode = rest, 0o644
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(fill.Replace(text)), mode)); err != nil {
			t.Fatal(err)
		}
	}
	before := list(t, dir)
	var args []string
	for _, a := range c.Send.Args {
		args = append(args, fill.Replace(a))
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline) // a program that takes the input runs until then
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "SLUICE_") })
	for _, e := range c.Send.Env {
		cmd.Env = append(cmd.Env, fill.Replace(e))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if c.Want.Exit == nil || cmd.ProcessState.ExitCode() != *c.Want.Exit {
		t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
	}
	wantLines(t, informed.ReplaceAllString(stderr.String(), ""), c.Want.Stderr)
	if c.Want.Stdout != "" && !regexp.MustCompile(c.Want.Stdout).MatchString(stdout.String()) || c.Want.Stdout == "" && stdout.Len() > 0 {
		t.Errorf("stdout %q, want %q", stdout.String(), c.Want.Stdout)
	}
	noCanary(t, "the output", stdout.String()+stderr.String())
	// Who got as far as its data folder leaves it with the lock, which a later process needs to be the same file.
	data := filepath.Join(dir, "data")
	after := slices.DeleteFunc(list(t, dir), func(path string) bool { return path == data || path == filepath.Join(data, "lock") })
	if c.Want.Header["data"] == "" && !slices.Equal(before, after) {
		t.Errorf("files %v, before %v", after, before)
	}
}

// informed are lines of the log that complain of nothing: who got as far as its broker has parts that work meanwhile.
var informed = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d+ INFO .*\n`)

// wantLines wants exactly the lines that the patterns describe, in their order.
func wantLines(t *testing.T, text string, patterns []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	ok := len(lines) == len(patterns) || text == "" && len(patterns) == 0
	for i := 0; ok && i < len(patterns); i++ {
		ok = regexp.MustCompile(`\A(?:` + patterns[i] + `)\z`).MatchString(lines[i])
	}
	if !ok {
		t.Errorf("stderr\n%swant lines\n%s", text, strings.Join(patterns, "\n"))
	}
}

// list names all files below dir.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// reload puts files into the folder of definitions and sends SIGHUP. The file is wrong: all stays as it was, and the log
// says where. Then the files go again, so that the next case begins as this one did.
func (r *rig) reload(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	r.fed = []string{r.watched[0].name()}
	counts := r.metrics()
	before := r.stateAt(counts)
	kept := map[string]string{}
	for name, text := range c.Send.Reload {
		path := filepath.Join("apis", name)
		if old, err := os.ReadFile(filepath.Join(r.gate.Dir, path)); err == nil {
			kept[name] = string(old)
		}
		r.gate.Write(path, r.expand(text))
	}
	refused := func(e gateway.Entry) bool { return e.Is("msg", c.Want.Log.Event) }
	n := r.gate.Logged(refused)
	r.gate.Signal(syscall.SIGHUP)
	until(t, "the reload is refused", func() bool { return r.gate.Logged(refused) == n+1 })
	var line gateway.Entry
	for _, e := range r.gate.Log() {
		if refused(e) {
			line = e
		}
	}
	if !line.Is("level", c.Want.Log.Level) {
		t.Errorf("level %v, want %s", line["level"], c.Want.Log.Level)
	}
	wantLines(t, strings.ReplaceAll(fmt.Sprint(line["error"]), filepath.Join(r.gate.Dir, "apis")+string(filepath.Separator), ""), c.Want.Stderr)
	r.checkCounts(t, c.Want, counts, false)
	if after := r.state(); !after.same(before, false) {
		t.Errorf("state\n%+v\nbefore\n%+v", after, before)
	}
	r.flows(t)
	for name := range c.Send.Reload {
		if old, ok := kept[name]; ok {
			r.gate.Write(filepath.Join("apis", name), old)
		} else if err := os.Remove(filepath.Join(r.gate.Dir, "apis", name)); err != nil {
			t.Fatal(err)
		}
	}
}
