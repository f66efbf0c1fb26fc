package admin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A program that the page shows reads events as they were sent, comes back behind the last one that was whole, as fast as it was told,
// and ends when the topic is gone.
func TestSnippetsRun(t *testing.T) {
	const first = "retry: 1\n\n: hello\ndata: one\nid: 1-a\n\n:\nevent: tick\ndata: {\"a\": 1,\ndata:  \"b\": 2}\nid: 2-b\n\nid: 3-c\n\ndata: torn\nid: 4-d\n"
	const second = "data:five\nid: 5-e\n\n"
	const want = "message one\ntick {\"a\": 1,\n \"b\": 2}\nmessage five\n"
	for _, c := range []struct {
		file, name string
		command    []string
		always     bool // CI has it
	}{
		{"go.go.txt", "main.go", []string{"go", "run"}, true},
		{"python.py", "stream.py", []string{"python3"}, true},
		{"fetch.mjs", "stream.mjs", []string{"node"}, true},
		{"java.java", "Stream.java", []string{"java"}, false},
	} {
		t.Run(c.file, func(t *testing.T) {
			if _, err := exec.LookPath(c.command[0]); err != nil {
				if c.always {
					t.Skipf("%s is missing: the program is not run", c.command[0])
				}
				t.Logf("NOTE %s is missing: the program is not run", c.command[0])
				return
			}
			var mu sync.Mutex // guards asked
			var asked []string
			edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, fmt.Sprintf("%s %s %s", r.URL.Path, r.Header.Get("X-Key"), r.Header.Get("Last-Event-ID")))
				text := map[int]string{1: first, 2: second}[len(asked)]
				if text == "" {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = fmt.Fprint(w, text)
				_ = http.NewResponseController(w).Flush()
				if len(asked) == 1 {
					panic(http.ErrAbortHandler) // cut in mid-event, without the end that chunks have
				}
			}))
			t.Cleanup(edge.Close)
			code, err := fillSnippet(c.file, edge.URL+"/it's/%27", "X-Key", "", true)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), c.name)
			if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			var out, errs bytes.Buffer
			cmd := exec.CommandContext(ctx, c.command[0], append(c.command[1:], path)...)
			cmd.Env = append(os.Environ(), "SLUICE_KEY=slk_x")
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
			}
			// What a program says of the cut is its own matter.
			var events []string
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, "message ") || strings.HasPrefix(line, "tick ") || strings.HasPrefix(line, " ") {
					events = append(events, line)
				}
			}
			if got := strings.Join(events, ""); got != want {
				t.Errorf("it printed\n%s, want\n%s", out.String(), want)
			}
			mu.Lock()
			defer mu.Unlock()
			if got, wants := strings.Join(asked, "\n"), "/it's/' slk_x \n/it's/' slk_x 3-c\n/it's/' slk_x 5-e"; got != wants {
				t.Errorf("it asked for\n%s, want\n%s", got, wants)
			}
		})
	}
}

// Without a credential there is nothing that is not used: Go would not compile.
func TestSnippetsOfOpenTopics(t *testing.T) {
	for _, one := range snippets {
		code, err := fillSnippet(one.file, "https://e.example.com/x", "ApiKey", "'message', 'tick'", false)
		if err != nil || strings.Contains(code, "SLUICE_KEY") || strings.Contains(code, "\"os\"") || strings.Contains(code, "import os") || strings.Contains(code, "@") {
			t.Errorf("%s: %v\n%s", one.file, err, code)
		}
		if one.lang == "eventsource" && !strings.Contains(code, "['message', 'tick']") {
			t.Errorf("%s", code)
		}
	}
}
