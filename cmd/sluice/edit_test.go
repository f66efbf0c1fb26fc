package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asEditor names a folder of edits: then the program is an editor that makes the next of them.
const asEditor = "SLUICE_TEST_EDITS"

// playEditor replaces in a file what the next edit says, and keeps what it saw.
func playEditor(dir, file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 1
	}
	n := 1
	for ; ; n++ {
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("%d.seen", n))); err != nil {
			break
		}
	}
	edit, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.edit", n)))
	if err != nil || os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.seen", n)), text, 0o600) != nil {
		return 1
	}
	from, to, _ := bytes.Cut(edit, []byte("=>"))
	if os.WriteFile(file, bytes.Replace(text, from, to, 1), 0o600) != nil {
		return 1
	}
	return 0
}

// testEdit edits an API with client.retry 3s as a person would: what is wrong comes back above its line, what somebody else changed
// meanwhile is not lost, and nothing saved changes nothing.
func testEdit(t *testing.T, s *shell, id string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.env["EDITOR"] = program
	edits := func(list ...string) (seen func(n int) string) {
		dir := t.TempDir()
		for i, edit := range list {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.edit", i+1)), []byte(edit), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.environ = append(os.Environ(), asEditor+"="+dir)
		return func(n int) string {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.seen", n)))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	edits("retry: 3s=>retry: 3s")
	if out := s.ok("edit", id); out != id+" not changed\n" {
		t.Errorf("edit of nothing says %q", out)
	}
	seen := edits("retry: 3s=>retry: 2h", "retry: 2h=>retry: 4s\n    colour: blue", "    colour: blue\n=>")
	if out := s.ok("edit", id); out != id+" changed\n" {
		t.Errorf("edit says %q", out)
	}
	has(t, s.ok("get", "api", id), "retry: 4s")
	above := func(text, line string) string {
		lines := strings.Split(text, "\n")
		for i, l := range lines {
			if strings.TrimSpace(l) == line && i > 0 {
				return lines[i-1]
			}
		}
		return ""
	}
	if got := above(seen(2), "retry: 2h"); !strings.HasPrefix(got, "#! /spec/client/retry: ") {
		t.Errorf("above the wrong line stands %q:\n%s", got, seen(2))
	}
	if got := above(seen(3), "colour: blue"); !strings.HasPrefix(got, "#! /spec/client/colour: ") || strings.Contains(seen(3), "/spec/client/retry") {
		t.Errorf("above the wrong line stands %q:\n%s", got, seen(3))
	}
	edits("retry: 4s=>retry: 3h", "nothing=>nothing")
	notes := s.fails(exitFailed, "given up; what you wrote is in ", "edit", id)
	_, file, _ := strings.Cut(strings.TrimSpace(notes), "is in ")
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "retry: 3h") {
		t.Errorf("%s: %v, %s", file, err, text)
	}
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Error(err)
	}
	s.env["EDITOR"] = filepath.Join(s.dir, "no-editor")
	s.fails(exitFailed, "EDITOR names another", "edit", id)
	delete(s.env, "EDITOR")
	s.ok("set", id, "client.retry=3s")
}

// Definitions are checked without a server, with the place of each mistake.
func TestValidate(t *testing.T) {
	s := newShell(t, "http://127.0.0.1:1")
	const good = "apiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec: {context: /a, version: '1', endpoint: 'http://127.0.0.1:9'}\n"
	file := s.file("apis/a.yaml", good)
	if out := s.ok("validate", "-f", file); out != "ok: 1 definition\n" {
		t.Errorf("validate says %q", out)
	}
	if code, out, notes := s.do(good+"---\n"+strings.ReplaceAll(good, "a}", "b}"), "validate", "-f", "-"); code != exitInvalid || out != "" || !strings.Contains(notes, "-:") {
		t.Errorf("two with one context: %d, %s%s", code, out, notes)
	}
	bad := s.file("apis/b.yaml", "apiVersion: sluice/v1\nkind: API\nmetadata: {name: b}\nspec:\n  context: /b\n  version: '1'\n  topcs: []\n")
	s.fails(exitInvalid, bad+":7:3: /spec/topcs: unknown key; did you mean \"topics\"?", "validate", "-f", filepath.Dir(file))
	s.fails(exitInvalid, "has no definition in it", "validate", "-f", s.file("empty.yaml", "\n"))
	s.fails(exitUsage, "no such file", "validate", "-f", filepath.Join(s.dir, "nothing"))
	s.fails(exitUsage, "required flag", "validate")
	has(t, s.ok("schema", "API"), `"$schema"`, "sluice/v1 API")
	has(t, s.ok("schema", "settings"), "sluice.yaml")
	s.fails(exitUsage, `did you mean "API"?`, "schema", "APi")
}
