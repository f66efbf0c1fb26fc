package deploy

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/config"
	"sluice/test/gateway"
)

// TestImage does what the Dockerfile does, as far as that goes without Docker: its build command runs over the files that
// .dockerignore lets through; the program it makes is static, and runs as the image's user in a root folder that holds the image's
// files, read-only, and nothing else; the image's health check passes; SIGTERM ends it with 0.
func TestImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: a root folder of its own, and a user of its own")
	}
	image := readDockerfile(t)
	out := t.TempDir()
	if err := os.Chmod(filepath.Dir(out), 0o755); err != nil { // the image's user has to get there
		t.Fatal(err)
	}
	build := exec.Command("sh", "-c", strings.ReplaceAll(image.build, "/out/", out+"/"))
	build.Dir, build.Env = buildContext(t), append(os.Environ(), "VERSION=1.2.3")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", image.build, err, text)
	}
	mustBeStatic(t, filepath.Join(out, "sluice"))

	rootDir := filepath.Join(out, "root")
	for _, dir := range []string{rootDir, filepath.Join(rootDir, "data")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(out, "sluice"), filepath.Join(rootDir, "sluice")); err != nil {
		t.Fatal(err)
	}
	ops, http := gateway.FreeAddr(t), gateway.FreeAddr(t)
	env := append(image.env, "SLUICE_OPS_ADDR="+ops, "SLUICE_EDGE_HTTP_ADDR="+http, "SLUICE_CONTROL_ADDR=", "SLUICE_EDGE_DRAIN_DELAY=0s")
	serve := image.run(rootDir, env, append(image.entrypoint, image.command...)...)
	var log bytes.Buffer
	serve.Stdout, serve.Stderr, serve.WaitDelay = &log, &log, 10*time.Second
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve.Wait() }()
	healthy := func() bool {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("ended: %v\n%s", err, log.String())
		default:
		}
		return image.run(rootDir, env, image.health...).Run() == nil
	}
	until(t, "the image's health check passes", healthy)
	if text, err := image.run(rootDir, env, "/sluice", "version").CombinedOutput(); err != nil || !strings.Contains(string(text), "1.2.3") {
		t.Errorf("version: %v\n%s", err, text)
	}
	mustBeUser(t, serve.Process.Pid, image.user)
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("ended after SIGTERM with %v\n%s", err, log.String())
	}
	if image.run(rootDir, env, image.health...).Run() == nil {
		t.Error("the health check of a program that is gone passes")
	}
}

// dockerfile is what the tests use of the Dockerfile.
type dockerfile struct {
	build                       string // the command that builds the program
	user                        string
	env                         []string
	health, entrypoint, command []string
}

// readDockerfile reads the last stage, and the build command of the first.
func readDockerfile(t *testing.T) (d dockerfile) {
	t.Helper()
	text := strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")
	for l := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch {
		case verb == "RUN" && strings.Contains(rest, "go build"):
			d.build = rest
		case verb == "USER":
			d.user = rest
		case verb == "ENV" && strings.HasPrefix(rest, "SLUICE_"):
			d.env = append(d.env, rest)
		case verb == "HEALTHCHECK":
			d.health = execForm(t, rest[strings.Index(rest, "CMD ")+4:])
		case verb == "ENTRYPOINT":
			d.entrypoint = execForm(t, rest)
		case verb == "CMD":
			d.command = execForm(t, rest)
		}
	}
	if d.build == "" || !regexp.MustCompile(`^\d+:\d+$`).MatchString(d.user) || len(d.health) == 0 || len(d.entrypoint) == 0 || len(d.command) == 0 {
		t.Fatalf("Dockerfile: %+v", d)
	}
	for _, line := range []string{"\nSTOPSIGNAL SIGTERM\n", "\nVOLUME /data\n", "\nCOPY --from=build --chown=65532:65532 /out/data /data\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("Dockerfile: no line %q", line)
		}
	}
	cfg, _, err := config.Load("", d.env, nil)
	if err != nil || cfg.Data != "/data" {
		t.Errorf("Dockerfile: data in %s, %v", cfg.Data, err)
	}
	return d
}

// execForm reads ["a", "b"].
func execForm(t *testing.T, text string) (words []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	if !strings.HasPrefix(text, "[") {
		t.Fatalf("Dockerfile: %s needs a shell, the image has none", text)
	}
	return words
}

// run is a command in a mount namespace of its own, in which the image's files are all there is, read-only but for /data.
func (d dockerfile) run(rootDir string, env []string, args ...string) *exec.Cmd {
	script := `set -e; root=$1; shift
mount --make-rprivate /
mkdir -p "$root.data"; chown ` + d.user + ` "$root.data"
mount --bind "$root" "$root"; mount -o remount,ro,bind "$root"; mount --bind "$root.data" "$root/data"
exec chroot --userspec=` + d.user + ` "$root" "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", rootDir}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

// buildContext copies what .dockerignore lets through: nothing but what it names with an exclamation mark, less what follows.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var kept, dropped []string
	for l := range strings.Lines(read(t, ".dockerignore")) {
		l = strings.TrimSpace(l)
		if name, ok := strings.CutPrefix(l, "!"); ok {
			kept = append(kept, name)
		} else if name, ok := strings.CutPrefix(l, "**/"); ok {
			dropped = append(dropped, name)
		} else if l != "" && l != "*" && !strings.HasPrefix(l, "#") {
			t.Fatalf(".dockerignore: %s is not understood here", l)
		}
	}
	for _, name := range kept {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			for _, pattern := range dropped {
				if match, _ := filepath.Match(pattern, e.Name()); match && e.IsDir() {
					return fs.SkipDir
				} else if match {
					return nil
				}
			}
			rel, _ := filepath.Rel(root, path)
			if e.IsDir() {
				return os.MkdirAll(filepath.Join(dir, rel), 0o755)
			}
			text, err := os.ReadFile(path)
			return errors.Join(err, os.MkdirAll(filepath.Dir(filepath.Join(dir, rel)), 0o755), os.WriteFile(filepath.Join(dir, rel), text, 0o600))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mustBeStatic fails if the program asks for a loader or a library.
func mustBeStatic(t *testing.T, name string) {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program wants a loader")
		}
	}
	if libs, _ := f.ImportedLibraries(); len(libs) > 0 {
		t.Errorf("the program wants %v", libs)
	}
}

// mustBeUser fails if the process runs as somebody else.
func mustBeUser(t *testing.T, pid int, user string) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	uid, gid, _ := strings.Cut(user, ":")
	for _, line := range []string{"Uid:\t" + uid + "\t", "Gid:\t" + gid + "\t"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("not %q, but\n%s", line, status)
		}
	}
}
