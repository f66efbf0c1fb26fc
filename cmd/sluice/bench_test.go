package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"sluice/test/load"
)

// newTestHub is a small real SSE server: POST appends an event, GET streams. loses says which event is never sent.
func newTestHub(t *testing.T, loses int) *httptest.Server {
	var mu sync.Mutex
	var events []string
	changed := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			data, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			events = append(events, string(data))
			close(changed)
			changed = make(chan struct{})
			return
		}
		mu.Lock()
		next := len(events)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		for http.NewResponseController(w).Flush() == nil {
			mu.Lock()
			more, wait := events[next:], changed
			mu.Unlock()
			for _, data := range more {
				if next++; next != loses {
					fmt.Fprintf(w, "data: %s\nid: %d\n\n", data, next)
				}
			}
			if len(more) > 0 {
				continue
			}
			select {
			case <-wait:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// benchArgs is a short run against a hub.
func benchArgs(url string, more ...string) []string {
	return append([]string{"bench", url, "--publish", url, "-c", "10", "-r", "40", "-d", "500ms", "--warmup", "0s", "--settle", "0s", "--drain", "1s"}, more...)
}

// runArgs runs the program in this process.
func runArgs(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, notes bytes.Buffer
	code = run(t.Context(), args, env{stdout: &out, stderr: &notes, signals: make(chan os.Signal), lookup: os.LookupEnv, environ: os.Environ()})
	return code, out.String(), notes.String()
}

func TestBenchPrintsASummary(t *testing.T) {
	code, out, notes := runArgs(t, benchArgs(newTestHub(t, 0).URL)...)
	for _, want := range []string{"10 of 10 connected", "200 of 200", "0 lost, 0 doubled, 0 reordered", "p99.9", "bench    "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if code != exitOK || notes != "" || strings.Contains(out, "\x1b") {
		t.Errorf("code %d, notes %q", code, notes)
	}
}

func TestBenchFailsOnLoss(t *testing.T) {
	code, out, notes := runArgs(t, benchArgs(newTestHub(t, 5).URL, "-q")...)
	if code != exitFailed || !strings.Contains(out, "LOST               10; first: client") || !strings.Contains(notes, "the checks failed") {
		t.Errorf("code %d, notes %q:\n%s", code, notes, out)
	}
}

func TestBenchPrintsJSON(t *testing.T) {
	code, out, _ := runArgs(t, benchArgs(newTestHub(t, 0).URL, "--json", "--repeat", "2")...)
	var doc load.Document
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != exitOK {
		t.Fatalf("code %d, %v:\n%s", code, err, out)
	}
	if doc.Comparison == nil || len(doc.Comparison.Series[0].Runs) != 2 || doc.Comparison.Series[0].Runs[1].Delivered != 200 || doc.Machine.Cores == 0 {
		t.Errorf("%+v", doc)
	}
	code, out, _ = runArgs(t, benchArgs(newTestHub(t, 0).URL, "--json-lines")...)
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		var v map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for k := range v {
			kinds[k]++
		}
	}
	if code != exitOK || kinds["sample"] == 0 || kinds["result"] != 1 || kinds["machine"] != 1 {
		t.Errorf("code %d, lines %v", code, kinds)
	}
}

func TestBenchWritesAReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.html")
	if code, out, notes := runArgs(t, benchArgs(newTestHub(t, 0).URL, "-q", "--report", file)...); code != exitOK {
		t.Fatalf("code %d, %s %s", code, out, notes)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), `<script type="application/json" id="document">`)
	data, _, _ := strings.Cut(rest, "</script>")
	var doc load.Document
	if err := json.Unmarshal([]byte(data), &doc); err != nil || doc.Result == nil || doc.Result.Delivered != 200 {
		t.Errorf("%v: %.200s", err, data)
	}
	for _, outside := range []string{"src=", "href=", "@import", "fetch(", "url("} {
		if strings.Contains(string(page), outside) {
			t.Errorf("the page needs the network: %s", outside)
		}
	}
}

func TestBenchRefusesBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"not an http or https URL": {"ftp://x"},
		"add --remote":             {"http://192.0.2.1/"},
		"not 'Name: value'":        {"http://127.0.0.1/", "-H", "x"},
		"allowed are auto, none":   {"http://127.0.0.1/", "--expect", "all"},
		"listening only":           {"http://127.0.0.1/", "--expect", "none", "--origin", ":0"},
		"exclude each other":       {"http://127.0.0.1/", "--json", "--json-lines"},
	} {
		if code, _, notes := runArgs(t, append([]string{"bench"}, args...)...); code != exitUsage || !strings.Contains(notes, want) {
			t.Errorf("%v: code %d, %q", args, code, notes)
		}
	}
	if _, err := (&benchFlags{}).baseline("http://127.0.0.1/ port=1"); err == nil {
		t.Error("an unknown key of a baseline is accepted")
	}
	e, err := (&benchFlags{}).baseline("http://127.0.0.1/s publish=http://127.0.0.1/p pids=1,2 name=x body=a b {{data}}")
	if err != nil || e.Name != "x" || e.Cell.Publish.URL != "http://127.0.0.1/p" || e.Cell.Publish.Body != "a b {{data}}" || len(e.Cell.PIDs) != 2 {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestBenchViewFits draws the view at several sizes: it never has more lines or columns than the terminal.
func TestBenchViewFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {80, 10}, {40, 24}, {200, 60}} {
		v := &benchView{target: "http://127.0.0.1:8080/" + strings.Repeat("x", 300), name: "bench", stop: func() {}}
		v.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for i := range 400 {
			s := load.Sample{Phase: "measure", Second: float64(i), Live: 1_000_000, Rate: float64(i * 9999), Done: float64(i) / 399, RSS: 1 << 33}
			s.Latency = load.Latency{Count: 1, P99: float64(i % 50), Max: 12345}
			v.Update(benchSampled{"bench", s})
		}
		for i := range 5 {
			v.Update(benchRan("round " + strconv.Itoa(i)))
		}
		lines := strings.Split(v.View().Content, "\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if w := lipgloss.Width(line); size[0] >= 80 && w > size[0] {
				t.Errorf("%v: %d columns: %s", size, w, line)
			}
		}
	}
}

// TestBenchViewInATerminal watches the real program in a real 80×24 terminal, then presses q.
func TestBenchViewInATerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux: not found (apt-get install tmux)")
	}
	hub := newTestHub(t, 0)
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "tmux", append([]string{"-S", socket, "-f", os.DevNull}, args...)...)
		cmd.Env = append(os.Environ(), asMain+"=1", "NO_COLOR=1", "TERM=xterm-256color")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	args := benchArgs(hub.URL, "-c", "20", "-d", "1h", "--rate", "20")
	line := "'" + os.Args[0] + "' '" + strings.Join(args, "' '") + "'; echo code $?; cat"
	tmux("new-session", "-d", "-x", "80", "-y", "24", line)
	t.Cleanup(func() { // not by the test's context: that has ended by now
		if out, err := exec.Command("tmux", "-S", socket, "kill-server").CombinedOutput(); err != nil {
			t.Errorf("tmux kill-server: %v: %s", err, out)
		}
	})

	// await captures the screen until it holds all texts.
	await := func(flags []string, texts ...string) string {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		limit := time.After(60 * time.Second)
		for {
			screen := tmux(append([]string{"capture-pane", "-p"}, flags...)...)
			missing := ""
			for _, want := range texts {
				if !strings.Contains(screen, want) {
					missing = want
				}
			}
			if missing == "" {
				return screen
			}
			select {
			case <-limit:
				t.Fatalf("no %q on the screen:\n%s", missing, screen)
			case <-tick.C:
			}
		}
	}
	screen := await([]string{"-e"}, "sluice bench", "measure", "clients  20", "deliveries/s", "p99 latency", "0 lost, 0 doubled", "┤", "q ends")
	if regexp.MustCompile(`\x1b\[(3|9)[0-7]m`).MatchString(screen) {
		t.Errorf("colours in spite of NO_COLOR: %q", screen)
	}
	if n := strings.Count(strings.TrimRight(screen, "\n"), "\n") + 1; n > 24 {
		t.Errorf("%d lines", n)
	}
	tmux("send-keys", "q")
	await(nil, "20 of 20 connected", "stopped early", "code 0")
}
