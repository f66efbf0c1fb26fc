package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// topLine is a gateway with a market and three clients.
func topLine(t *testing.T) *line {
	l := newLine(t, feed.Options{Rate: 50}, gateway.Options{}, oracle.Run{}, ticksTopic, quotesTopic)
	l.readMany("/ticks", 3, nil)
	return l
}

// Off a terminal sluice top prints plain tables or objects, and ends with an error when nobody answers.
func TestTopPiped(t *testing.T) {
	t.Parallel()
	l := topLine(t)
	top := func(args ...string) (string, error) {
		out, err := exec.Command(gateway.Binary(t, false), append([]string{"top", "--interval", "300ms"}, args...)...).Output()
		return string(out), err
	}
	text, err := top("--ops", l.gate.Addrs["ops"], "--once")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"clients 3 of ", "deliveries ", "FEED", "market/1.0.0/ticks", " up ", "broker up"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("escape sequences in a pipe: %q", text)
	}
	text, err = top("--ops", l.gate.Addrs["ops"], "--once", "--json")
	var frame struct {
		Node struct {
			Connections int
			Deliveries  float64
			CPUSeconds  float64
			Memory      struct{ Used float64 }
		}
		Feeds []struct {
			Path            string
			State           string
			Owned           bool
			EventsPerSecond float64
			Edge            struct {
				State   string
				Clients int
				Events  uint64
			}
		}
		Rates struct{ DeliveriesPerSecond float64 }
	}
	if err != nil || json.Unmarshal([]byte(text), &frame) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	n := frame.Node
	if n.Connections != 3 || n.Deliveries == 0 || n.CPUSeconds == 0 || n.Memory.Used == 0 || frame.Rates.DeliveriesPerSecond == 0 {
		t.Errorf("%+v", frame)
	}
	if len(frame.Feeds) != 1 {
		t.Fatalf("%+v", frame.Feeds)
	}
	if f := frame.Feeds[0]; f.Path != "/ticks" || f.State != "up" || !f.Owned || f.EventsPerSecond == 0 || f.Edge.State != "synced" || f.Edge.Clients != 3 || f.Edge.Events == 0 {
		t.Errorf("%+v", f)
	}
	if _, err := top("--ops", gateway.FreeAddr(t), "--once"); err == nil {
		t.Error("no error though nobody answers")
	}
}

// On a plain terminal of 80 by 24 the table stands, moves, sorts by its keys, keeps off colour when told, and goes with q.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux: apt-get install tmux")
	}
	l := topLine(t)
	for _, noColor := range []bool{false, true} {
		tm := newTmux(t)
		ended := filepath.Join(t.TempDir(), "ended")
		env := "env -u NO_COLOR"
		if noColor {
			env = "env NO_COLOR=1"
		}
		tm.run("new-session", "-d", "-x", "80", "-y", "24",
			fmt.Sprintf("%s %s top --ops %s --interval 200ms; echo $? > %s; sleep 600", env, gateway.Binary(t, false), l.gate.Addrs["ops"], ended))
		screen := tm.until("the feed", func(s string) bool {
			return strings.Contains(s, "market/1.0.0/ticks") && strings.Contains(s, "clients 3 of")
		})
		if !strings.Contains(screen, "q quit") || strings.Count(screen, "\n") > 24 {
			t.Errorf("screen:\n%s", screen)
		}
		for row := range strings.Lines(screen) {
			if len(strings.TrimRight(row, "\n")) > 80 {
				t.Errorf("wider than 80: %q", row)
			}
		}
		if colored := strings.Contains(tm.run("capture-pane", "-p", "-e"), "\x1b[32m"); colored == noColor {
			t.Errorf("NO_COLOR %v: colour %v", noColor, colored)
		}
		tm.until("movement", func(s string) bool { return s != screen })
		tm.run("send-keys", "t")
		tm.run("send-keys", "q")
		tm.until("the end", func(string) bool {
			code, err := os.ReadFile(ended)
			return err == nil && strings.TrimSpace(string(code)) == "0"
		})
	}
}

// tmux is a terminal server of this test's own.
type tmux struct {
	t      *testing.T
	socket string
}

func newTmux(t *testing.T) *tmux {
	tm := &tmux{t, filepath.Join(t.TempDir(), "s")}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", tm.socket, "kill-server").Run() })
	return tm
}

func (tm *tmux) run(args ...string) string {
	tm.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("tmux", append([]string{"-S", tm.socket, "-f", "/dev/null"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tm.t.Fatalf("tmux %v: %v: %s", args, err, &stderr)
	}
	return string(out)
}

// until polls the screen, which has no way to tell of a change, and returns it once ok.
func (tm *tmux) until(what string, ok func(screen string) bool) string {
	tm.t.Helper()
	limit, poll := time.After(gateway.Patience), time.NewTicker(50*time.Millisecond)
	defer poll.Stop()
	for {
		screen := tm.run("capture-pane", "-p")
		if ok(screen) {
			return screen
		}
		select {
		case <-poll.C:
		case <-limit:
			tm.t.Fatalf("the screen does not show %s:\n%s", what, screen)
		}
	}
}
